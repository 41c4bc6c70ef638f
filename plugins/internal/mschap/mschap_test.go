package mschap

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// example is the exchange of RFC 2759 section 9.2, which RFC 3079 section 3.5.3 goes on with.
type example struct {
	hash          Hash
	auth, peer    Challenge
	nt            NTResponse
	authenticator string
}

func rfcExample(t *testing.T) example {
	t.Helper()
	return example{
		hash:          Hash(unhex(t, "44 EB BA 8D 53 12 B8 D6 11 47 44 11 F5 69 89 AE")),
		auth:          Challenge(unhex(t, "5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28")),
		peer:          Challenge(unhex(t, "21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E")),
		nt:            NTResponse(unhex(t, "82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF")),
		authenticator: "S=407A5589115FD0D6209F510FE9C04566932CDA56",
	}
}

func TestTheExampleOfRFC2759(t *testing.T) {
	e := rfcExample(t)
	h, err := HashPassword("clientPass")
	if err != nil || h != e.hash {
		t.Errorf("NtPasswordHash: %x, %v", [16]byte(h), err)
	}
	if got := hashHash(h); !bytes.Equal(got[:], unhex(t, "41 C0 0C 58 4B D2 D9 1C 40 17 A2 A1 2F A5 9F 3F")) {
		t.Errorf("HashNtPasswordHash: %x", [16]byte(got))
	}
	if got := challengeHash(e.auth, e.peer, "User"); !bytes.Equal(got[:], unhex(t, "D0 2E 43 86 BC E9 12 26")) {
		t.Errorf("ChallengeHash: %x", got)
	}
	if got := Response(h, e.auth, e.peer, "User"); got != e.nt {
		t.Errorf("NT-Response: %x", got)
	}
	if got := Response(h, e.auth, e.peer, `SALES\User`); got != e.nt {
		t.Errorf("NT-Response with a domain, which does not count: %x", got)
	}
	if got := AuthenticatorResponse(h, e.nt, e.auth, e.peer, "User"); got != e.authenticator {
		t.Errorf("authenticator response: %s", got)
	}
	if !CheckAuthenticatorResponse(h, e.nt, e.auth, e.peer, "User", strings.ToLower(e.authenticator)) {
		t.Error("the server's own proof is refused")
	}
	for i := range e.authenticator {
		wrong := []byte(e.authenticator)
		wrong[i] ^= 1
		if CheckAuthenticatorResponse(h, e.nt, e.auth, e.peer, "User", string(wrong)) {
			t.Errorf("a proof with character %d changed is taken", i)
		}
	}
}

func TestDESKeysOfRFC2759(t *testing.T) {
	h, err := HashPassword("MyPw")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"FD 0B 5B 5E 7F 6E 34 D9", "0E 6E 79 67 37 EA 08 FE"} {
		if got := desKey([7]byte(h[7*i : 7*i+7])); !bytes.Equal(got[:], unhex(t, want)) {
			t.Errorf("key %d: %x, want %s", i, got, want)
		}
	}
}

// The keys of 128 bits of RFC 3079 section 3.5.3: the server's send key is the example's SendStartKey128.
func TestKeysOfRFC3079(t *testing.T) {
	e := rfcExample(t)
	master := masterKey(e.hash, e.nt)
	if want := unhex(t, "FD EC E3 71 7A 8C 83 8C B3 88 E5 27 AE 3C DD 31"); !bytes.Equal(master[:], want) {
		t.Errorf("MasterKey: %x", master)
	}
	msk := MSK(e.hash, e.nt)
	if len(msk) != MSKSize || !bytes.Equal(msk[32:], make([]byte, 32)) {
		t.Fatalf("an MSK of %d octets that does not end in 32 zeros", len(msk))
	}
	if want := unhex(t, "8B 7C DC 14 9B 99 3A 1B A1 18 CB 15 3F 56 DC CB"); !bytes.Equal(msk[16:32], want) {
		t.Errorf("MasterSendKey: %x\nMasterReceiveKey: %x", msk[16:32], msk[:16])
	}
	if bytes.Equal(msk[:16], msk[16:32]) {
		t.Error("both directions have one key")
	}
}

func TestPasswordsThatCannotBeHashed(t *testing.T) {
	for name, password := range map[string]string{
		"257 characters":          strings.Repeat("x", 257),
		"129 of two units, 258":   strings.Repeat("\U0001F511", 129),
		"octets that are no UTF8": "secret\xff\xfe",
	} {
		_, err := HashPassword(password)
		if err == nil {
			t.Errorf("%s: hashed", name)
		} else if strings.Contains(err.Error(), password) {
			t.Errorf("%s: the error shows the password", name)
		}
	}
	if _, err := HashPassword(strings.Repeat("\U0001F511", 128)); err != nil {
		t.Errorf("256 units: %v", err)
	}
}

func TestHashesDoNotPrint(t *testing.T) {
	h := Hash{0xde, 0xad}
	for _, verb := range []string{"%v", "%x", "%X", "%s", "%q", "%d", "%#v", "%+v"} {
		if got := fmt.Sprintf(verb, struct{ H Hash }{h}); strings.Contains(strings.ToLower(got), "dead") || strings.Contains(got, "222") {
			t.Errorf("%s shows %s", verb, got)
		}
	}
}
