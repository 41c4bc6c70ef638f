package packet_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
)

var secret = []byte("a secret for tests")

func sealed(t testing.TB, p *radius.Packet) []byte {
	t.Helper()
	b, err := packet.Seal(p, secret)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answered(t testing.TB, p *radius.Packet, request []byte) []byte {
	t.Helper()
	b, err := packet.SealAnswer(p, request, secret)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// access is an Access-Request of the given identifier with an EAP packet of n octets.
func access(id byte, n int) *radius.Packet {
	p := &radius.Packet{Code: radius.CodeAccessRequest, Identifier: id}
	p.Add(packet.UserName, packet.Text("alice"))
	packet.AddEAP(p, eap(n))
	return p
}

func eap(n int) []byte {
	b := bytes.Repeat([]byte{7}, n)
	copy(b, []byte{packet.EAPResponse, 1, byte(n >> 8), byte(n)})
	return b
}

// MD5 over code, identifier, length, sixteen zeros, attributes and secret (RFC 2866 section 3), computed by another implementation.
func TestAccountingRequestIsSignedByItsAuthenticator(t *testing.T) {
	p := &radius.Packet{Code: radius.CodeAccountingRequest, Identifier: 1, Attributes: radius.Attributes{{Type: packet.AcctStatusType, Attribute: packet.Number(7)}}}
	b, err := packet.Seal(p, []byte("s"))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b); got != "0401001a47ccf1ff1e4fb06476408294b3ea946b280600000007" {
		t.Errorf("%s", got)
	}
}

// BlastRADIUS (CVE-2024-3596) needs attributes of the attacker's before the Message-Authenticator.
func TestMessageAuthenticatorComesFirst(t *testing.T) {
	request := sealed(t, access(9, 300))
	if request[20] != byte(packet.MessageAuthenticator) {
		t.Errorf("the request's first attribute is %d", request[20])
	}
	if _, err := packet.OpenAccess(request, secret); err != nil {
		t.Errorf("a server refuses the request: %v", err)
	}
	answer := answered(t, &radius.Packet{Code: radius.CodeAccessReject}, request)
	if answer[20] != byte(packet.MessageAuthenticator) {
		t.Errorf("the answer's first attribute is %d", answer[20])
	}
}

func TestAnswerCountsOnlyIfItFitsTheRequest(t *testing.T) {
	request := sealed(t, access(9, 10))
	other := sealed(t, access(9, 10))
	good := answered(t, &radius.Packet{Code: radius.CodeAccessChallenge, Attributes: radius.Attributes{{Type: packet.State, Attribute: []byte("s")}}}, request)
	if _, err := packet.Open(good, request, secret); err != nil {
		t.Fatalf("the true answer: %v", err)
	}
	if _, err := packet.Open(append(bytes.Clone(good), 1, 2, 3), request, secret); err != nil {
		t.Errorf("padding behind the packet: %v", err)
	}
	plain := &radius.Packet{Code: radius.CodeAccessAccept, Identifier: 9, Secret: secret}
	copy(plain.Authenticator[:], request[4:20])
	unsigned, err := plain.Encode()
	if err != nil {
		t.Fatal(err)
	}
	plain.Add(packet.MessageAuthenticator, make([]byte, 16))
	zeros, err := plain.Encode()
	if err != nil {
		t.Fatal(err)
	}
	plain.Set(packet.MessageAuthenticator, make([]byte, 15))
	short, err := plain.Encode()
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, i int) []byte {
		c := bytes.Clone(b)
		c[i] ^= 1
		return c
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"to another request of the same identifier": {answered(t, &radius.Packet{Code: radius.CodeAccessAccept}, other), packet.ErrAuthenticator},
		"a changed State":                       {flip(good, len(good)-1), packet.ErrAuthenticator},
		"cut in the header":                     {good[:19], packet.ErrMalformed},
		"without Message-Authenticator":         {unsigned, packet.ErrUnsigned},
		"with a Message-Authenticator of zeros": {zeros, packet.ErrSignature},
		"with a short Message-Authenticator":    {short, packet.ErrMalformed},
		"another identifier":                    {flip(good, 1), packet.ErrUnexpected},
		"an Accounting-Response":                {answered(t, &radius.Packet{Code: radius.CodeAccountingResponse}, request), packet.ErrUnexpected},
		"a length past the datagram":            {good[:len(good)-1], packet.ErrMalformed},
		"a length below the header":             {append([]byte{2, 9, 0, 19}, good[4:]...), packet.ErrMalformed},
		"nothing":                               {nil, packet.ErrMalformed},
	} {
		if _, err := packet.Open(c.b, request, secret); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := packet.Open(good, request, []byte("another secret")); !errors.Is(err, packet.ErrAuthenticator) {
		t.Errorf("with another secret: %v", err)
	}
}

func TestLyingAttributeLengthsAreRefused(t *testing.T) {
	request := sealed(t, access(1, 10))
	for _, n := range []byte{0, 1, 30, 255} {
		p := &radius.Packet{Code: radius.CodeAccessAccept, Identifier: 1, Attributes: radius.Attributes{{Type: packet.State, Attribute: []byte("12345678")}}}
		b, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		b[21] = n
		if _, err := packet.Open(resigned(b, request), request, secret); !errors.Is(err, packet.ErrMalformed) {
			t.Errorf("attribute length %d: %v", n, err)
		}
	}
}

func TestEAPIsSplitAndJoined(t *testing.T) {
	for _, n := range []int{4, 252, 253, 254, 506, 507, 3000} {
		p := access(1, n)
		back, err := packet.EAP(p)
		if err != nil || !bytes.Equal(back, eap(n)) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	p := access(1, 300)
	p.Attributes = append(p.Attributes, &radius.AVP{Type: packet.State}, &radius.AVP{Type: packet.EAPMessage, Attribute: []byte{1}})
	if _, err := packet.EAP(p); err == nil {
		t.Error("EAP-Message attributes that do not stand together were joined")
	}
	if _, err := packet.EAP(&radius.Packet{Attributes: radius.Attributes{{Type: packet.EAPMessage, Attribute: []byte{3, 1, 0, 9}}}}); err == nil {
		t.Error("an EAP packet with a lying length was taken")
	}
	if b, err := packet.EAP(&radius.Packet{}); b != nil || err != nil {
		t.Errorf("no EAP-Message: %x, %v", b, err)
	}
}

func TestMSKIsRecvKeyThenSendKey(t *testing.T) {
	request := sealed(t, access(1, 10))
	for _, n := range []int{64, 32} {
		msk := make([]byte, n)
		for i := range msk {
			msk[i] = byte(i + 1)
		}
		p := &radius.Packet{Code: radius.CodeAccessAccept}
		if err := packet.AddMSK(p, msk, request, secret); err != nil {
			t.Fatal(err)
		}
		got, err := packet.MSK(p, request, secret)
		if err != nil || len(got) != 64 || !bytes.Equal(got[:n], msk) || !bytes.Equal(got[n:], make([]byte, 64-n)) {
			t.Errorf("%d octets came back otherwise, with %v", n, err)
		}
		if got, err := packet.MSK(p, request, []byte("another secret")); err == nil && bytes.Equal(got, msk) {
			t.Error("another secret decrypts the key")
		}
		p.Attributes = p.Attributes[:1]
		if _, err := packet.MSK(p, request, secret); err == nil {
			t.Error("half a key was taken")
		}
	}
	if msk, err := packet.MSK(&radius.Packet{}, request, secret); msk != nil || err != nil {
		t.Errorf("without keys: %v", err)
	}
}

func TestFramedAddresses(t *testing.T) {
	v4 := func(s string) netip.Addr {
		return packet.IPv4(&radius.Packet{Attributes: radius.Attributes{{Type: packet.FramedIPAddress, Attribute: packet.Address(netip.MustParseAddr(s))}}})
	}
	for s, want := range map[string]bool{"10.1.2.3": true, "255.255.255.255": false, "255.255.255.254": false, "0.0.0.0": false, "224.0.0.1": false, "127.0.0.1": false} {
		if v4(s).IsValid() != want {
			t.Errorf("Framed-IP-Address %s gives %v", s, v4(s))
		}
	}
	for _, c := range []struct {
		hex  map[radius.Type]string
		want string
	}{
		{map[radius.Type]string{packet.FramedIPv6Address: "20010db8000000000000000000000007"}, "2001:db8::7"},
		{map[radius.Type]string{packet.FramedIPv6Prefix: "008020010db8000000000000000000000007"}, "2001:db8::7"},
		{map[radius.Type]string{packet.FramedIPv6Prefix: "004020010db800000000", packet.FramedInterfaceID: "0000000000000009"}, "2001:db8::9"},
		{map[radius.Type]string{packet.FramedIPv6Prefix: "004020010db800000000"}, "invalid IP"},
		{map[radius.Type]string{packet.FramedIPv6Prefix: "00ff20010db8"}, "invalid IP"},
		{map[radius.Type]string{packet.FramedIPv6Address: "20010db8"}, "invalid IP"},
	} {
		p := &radius.Packet{}
		for k, v := range c.hex {
			b, err := hex.DecodeString(v)
			if err != nil {
				t.Fatal(err)
			}
			p.Add(k, b)
		}
		if got := packet.IPv6(p).String(); got != c.want {
			t.Errorf("%v gives %s, want %s", c.hex, got, c.want)
		}
	}
}

func TestPrintableIsOneLineForALog(t *testing.T) {
	if got := packet.Printable([]byte("Your\r\npassword \x1b[31mhas\xff expired"), 100); got != "Your password [31mhas expired" {
		t.Errorf("%q", got)
	}
	if got := packet.Printable(bytes.Repeat([]byte("é"), 300), 9); len(got) > 9 || got != "éééé" {
		t.Errorf("%q", got)
	}
}
