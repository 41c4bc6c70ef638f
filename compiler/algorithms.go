package compiler

import (
	"fmt"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

// word is one algorithm as proposals write it.
type word[T any] struct {
	text   string
	id     T
	legacy bool // allowed only where the policy says so by name
}

var encrWords = []word[plan.Encr]{
	{"aes128gcm16", plan.Encr{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 128}, false},
	{"aes192gcm16", plan.Encr{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 192}, false},
	{"aes256gcm16", plan.Encr{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 256}, false},
	{"chacha20poly1305", plan.Encr{ID: ikev2.ENCR_CHACHA20_POLY1305}, false},
	{"aes128", plan.Encr{ID: ikev2.ENCR_AES_CBC, KeyBits: 128}, false},
	{"aes192", plan.Encr{ID: ikev2.ENCR_AES_CBC, KeyBits: 192}, false},
	{"aes256", plan.Encr{ID: ikev2.ENCR_AES_CBC, KeyBits: 256}, false},
	{"3des", plan.Encr{ID: ikev2.ENCR_3DES}, true},
}

var integWords = []word[ikev2.IntegID]{
	{"sha256", ikev2.AUTH_HMAC_SHA2_256_128, false},
	{"sha384", ikev2.AUTH_HMAC_SHA2_384_192, false},
	{"sha512", ikev2.AUTH_HMAC_SHA2_512_256, false},
	{"sha1", ikev2.AUTH_HMAC_SHA1_96, true},
	{"aesxcbc", ikev2.AUTH_AES_XCBC_96, true},
}

var prfWords = []word[ikev2.PRFID]{
	{"prfsha256", ikev2.PRF_HMAC_SHA2_256, false},
	{"prfsha384", ikev2.PRF_HMAC_SHA2_384, false},
	{"prfsha512", ikev2.PRF_HMAC_SHA2_512, false},
	{"prfsha1", ikev2.PRF_HMAC_SHA1, true},
	{"prfaesxcbc", ikev2.PRF_AES128_XCBC, true},
}

var keWords = []word[ikev2.KEID]{
	{"x25519", ikev2.KE_CURVE25519, false},
	{"ecp256", ikev2.KE_ECP256, false},
	{"ecp384", ikev2.KE_ECP384, false},
	{"ecp521", ikev2.KE_ECP521, false},
	{"modp2048", ikev2.KE_MODP2048, false},
	{"modp3072", ikev2.KE_MODP3072, false},
	{"modp4096", ikev2.KE_MODP4096, false},
	{"modp1024", ikev2.KE_MODP1024, true},
}

var kemWords = []word[ikev2.KEID]{
	{"mlkem768", ikev2.KE_MLKEM768, false},
	{"mlkem1024", ikev2.KE_MLKEM1024, false},
}

// suite is a named set of proposals. Its ESP lists have no "-esn": both forms of sequence numbers are accepted, extended ones preferred.
type suite struct {
	name     string
	ike, esp []string
}

var suites = []suite{
	{"modern", []string{"aes256gcm16-prfsha384-x25519-mlkem768"}, []string{"aes256gcm16-x25519-mlkem768"}},
	// RFC 4308 sections 2.1 and 2.2: rekeys need no new key exchange.
	{"vpn-a", []string{"3des-sha1-prfsha1-modp1024"}, []string{"3des-sha1"}},
	{"vpn-b", []string{"aes128-aesxcbc-prfaesxcbc-modp2048"}, []string{"aes128-aesxcbc"}},
	// RFC 6379 sections 3.1 and 3.2.
	{"suite-b-gcm-128", []string{"aes128-sha256-prfsha256-ecp256"}, []string{"aes128gcm16-ecp256"}},
	{"suite-b-gcm-256", []string{"aes256-sha384-prfsha384-ecp384"}, []string{"aes256gcm16-ecp384"}},
}

const defaultSuite = "modern"

// tokens reads a proposal word by word and remembers what is legacy in it.
type tokens struct {
	rest   []string
	legacy []string
}

func take[T any](t *tokens, words []word[T]) (id T, ok bool) {
	if len(t.rest) == 0 {
		return id, false
	}
	for _, w := range words {
		if w.text == t.rest[0] {
			if w.legacy {
				t.legacy = append(t.legacy, w.text)
			}
			t.rest = t.rest[1:]
			return w.id, true
		}
	}
	return id, false
}

func list[T any](words []word[T]) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.text
	}
	return strings.Join(out, " ")
}

// cipher reads ENCR[-INTEG].
func (t *tokens) cipher() (encr []plan.Encr, integ []ikev2.IntegID, err error) {
	e, ok := take(t, encrWords)
	if !ok {
		return nil, nil, fmt.Errorf("a cipher comes first: one of %s", list(encrWords))
	}
	i, with := take(t, integWords)
	switch {
	case e.ID.IsAEAD() && with:
		return nil, nil, fmt.Errorf("%v takes no integrity algorithm", e.ID)
	case !e.ID.IsAEAD() && !with:
		return nil, nil, fmt.Errorf("%v needs an integrity algorithm: one of %s", e.ID, list(integWords))
	case with:
		integ = []ikev2.IntegID{i}
	}
	return []plan.Encr{e}, integ, nil
}

// exchange reads KE[-ADDKE].
func (t *tokens) exchange() (ke []ikev2.KEID, add []plan.AddKE) {
	k, ok := take(t, keWords)
	if !ok {
		return nil, nil
	}
	if kem, ok := take(t, kemWords); ok {
		add = []plan.AddKE{{Slot: 1, KE: []ikev2.KEID{kem}}}
	}
	return []ikev2.KEID{k}, add
}

func (t *tokens) end() error {
	if len(t.rest) > 0 {
		return fmt.Errorf("%q does not belong here", t.rest[0])
	}
	return nil
}

// ikeProposal reads ENCR[-INTEG]-PRF-KE[-ADDKE], and says which of its words are legacy.
func ikeProposal(s string) (p plan.IKEProposal, legacy []string, err error) {
	t := &tokens{rest: strings.Split(s, "-")}
	if p.Encr, p.Integ, err = t.cipher(); err != nil {
		return p, nil, err
	}
	prf, ok := take(t, prfWords)
	if !ok {
		return p, nil, fmt.Errorf("a PRF is needed: one of %s", list(prfWords))
	}
	p.PRF = []ikev2.PRFID{prf}
	if p.KE, p.AddKE = t.exchange(); p.KE == nil {
		return p, nil, fmt.Errorf("a key exchange is needed: one of %s", list(keWords))
	}
	return p, t.legacy, t.end()
}

// espProposal reads ENCR[-INTEG][-KE[-ADDKE]][-esn|-noesn], and says which of its words are legacy.
func espProposal(s string) (p plan.ESPProposal, legacy []string, err error) {
	t := &tokens{rest: strings.Split(s, "-")}
	if p.Encr, p.Integ, err = t.cipher(); err != nil {
		return p, nil, err
	}
	p.KE, p.AddKE = t.exchange()
	p.SN = []ikev2.SNID{ikev2.SN_ESN, ikev2.SN_32}
	if len(t.rest) > 0 {
		switch t.rest[0] {
		case "esn":
			p.SN, t.rest = p.SN[:1], t.rest[1:]
		case "noesn":
			p.SN, t.rest = p.SN[1:], t.rest[1:]
		}
	}
	return p, t.legacy, t.end()
}
