package suite

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
)

// halfFixedKey is what SKEYSEED takes of each nonce for a PRF of fixed key length, in octets.
const halfFixedKey = 8

// IKEKeys are the keys of one generation of an IKE SA (RFC 7296 section 2.14). i is the initiator of the exchange that made the SA.
type IKEKeys struct {
	SKd        secret.Bytes // for children and rekeys
	SKai, SKar secret.Bytes // integrity; empty with an AEAD (RFC 5282 section 7.1)
	SKei, SKer secret.Bytes // encryption, with the salt of an AEAD
	SKpi, SKpr secret.Bytes // for AUTH and IntAuth
}

// Close wipes all keys.
func (k *IKEKeys) Close() { closeAll(&k.SKd, &k.SKai, &k.SKar, &k.SKei, &k.SKer, &k.SKpi, &k.SKpr) }

// Protectors makes the two directions' Protectors: out for what this side sends, in for what it receives. initiator says whether this
// side initiated the exchange that made the SA. iv is what NewProtector says. The keys are copied: k may be closed afterwards.
func (k *IKEKeys) Protectors(c Chosen, initiator bool, iv io.Reader) (out, in *Protector, err error) {
	i, err := NewProtector(c, k.SKei, k.SKai, iv)
	if err != nil {
		return nil, nil, err
	}
	r, err := NewProtector(c, k.SKer, k.SKar, iv)
	if err != nil {
		return nil, nil, err
	}
	if initiator {
		return i, r, nil
	}
	return r, i, nil
}

// InitialSKEYSEED is SKEYSEED of an IKE_SA_INIT exchange: prf(Ni | Nr, g^ir), where a PRF of fixed key length takes only the first 64 bits of each
// nonce (RFC 7296 section 2.14). shared is the caller's to close.
func InitialSKEYSEED(id ikev2.PRFID, shared secret.Bytes, ni, nr []byte) (secret.Bytes, error) {
	p, err := prfOf(id)
	if err != nil {
		return secret.Bytes{}, err
	}
	if p.fixed {
		ni, nr = ni[:min(len(ni), halfFixedKey)], nr[:min(len(nr), halfFixedKey)]
	}
	key := append(append(make([]byte, 0, len(ni)+len(nr)), ni...), nr...)
	return p.sum(key, shared.Reveal()), nil
}

// IntermediateSKEYSEED is SKEYSEED(n) after the n-th additional key exchange of an IKE SA that is being made: prf(SK_d(n-1), SK(n) | Ni | Nr), the nonces
// those of IKE_SA_INIT (RFC 9370 section 2.2.2).
func IntermediateSKEYSEED(id ikev2.PRFID, skd, shared secret.Bytes, ni, nr []byte) (secret.Bytes, error) {
	return RekeySKEYSEED(id, skd, []secret.Bytes{shared}, ni, nr)
}

// RekeySKEYSEED is SKEYSEED of the IKE SA that replaces another: prf(SK_d, SK(0) | Ni | Nr | SK(1) | … | SK(n)), with SK_d and PRF of the old SA (RFC 7296
// section 2.18, RFC 9370 section 2.2.4). shared holds at least SK(0). The nonces are those of the CREATE_CHILD_SA exchange, whole for every PRF.
func RekeySKEYSEED(oldPRF ikev2.PRFID, skd secret.Bytes, shared []secret.Bytes, ni, nr []byte) (secret.Bytes, error) {
	p, err := prfOf(oldPRF)
	if err != nil {
		return secret.Bytes{}, err
	}
	if len(shared) == 0 {
		return secret.Bytes{}, fmt.Errorf("rekey IKE SA: no shared secret")
	}
	return p.sum(skd.Reveal(), mixed(shared, ni, nr)...), nil
}

// mixed lines up SK(0) | Ni | Nr | SK(1) | … without copying a secret.
func mixed(shared []secret.Bytes, ni, nr []byte) [][]byte {
	parts := make([][]byte, 0, len(shared)+2)
	for i, s := range shared {
		if i == 1 {
			parts = append(parts, ni, nr)
		}
		parts = append(parts, s.Reveal())
	}
	if len(shared) < 2 {
		parts = append(parts, ni, nr)
	}
	return parts
}

// DeriveIKEKeys expands SKEYSEED: {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr) with the new SA's
// PRF, nonces and SPIs (RFC 7296 sections 2.14 and 2.18). skeyseed is the caller's to close.
func DeriveIKEKeys(c Chosen, skeyseed secret.Bytes, ni, nr []byte, spiI, spiR uint64) (IKEKeys, error) {
	e, a, err := c.keyLens()
	if err != nil {
		return IKEKeys{}, err
	}
	var spis [16]byte
	binary.BigEndian.PutUint64(spis[:], spiI)
	binary.BigEndian.PutUint64(spis[8:], spiR)
	d := PRFKeyLen(c.PRF)
	all, err := PRFPlus(c.PRF, skeyseed, 3*d+2*a+2*e, ni, nr, spis[:])
	if err != nil {
		return IKEKeys{}, err
	}
	defer all.Close()
	cut := cutter(all)
	return IKEKeys{SKd: cut(d), SKai: cut(a), SKar: cut(a), SKei: cut(e), SKer: cut(e), SKpi: cut(d), SKpr: cut(d)}, nil
}

// keyLens gives the lengths of SK_e and SK_a in octets.
func (c Chosen) keyLens() (encr, integ int, err error) {
	if err := c.Check(); err != nil {
		return 0, 0, err
	}
	return ESP{c.Encr, c.KeyBits, c.Integ}.KeyLens()
}

// ChildSAKeys are the keys of a pair of child SAs. I is the SA from the initiator of the exchange that made the child to its responder, R the
// way back; the original initiator of the IKE SA does not matter.
type ChildSAKeys struct{ EncrI, IntegI, EncrR, IntegR secret.Bytes }

// Close wipes all keys.
func (k *ChildSAKeys) Close() { closeAll(&k.EncrI, &k.IntegI, &k.EncrR, &k.IntegR) }

// ChildKeys cuts a child's keys from KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1) | … | SK(n)) (RFC 7296 section 2.17, RFC 9370 section 2.2.4). PRF and SK_d are those of
// the IKE SA that protects the exchange; shared is empty without PFS; the nonces are those of the exchange that makes the child.
func ChildKeys(id ikev2.PRFID, skd secret.Bytes, shared []secret.Bytes, ni, nr []byte, t ESP) (ChildSAKeys, error) {
	e, a, err := t.KeyLens()
	if err != nil {
		return ChildSAKeys{}, err
	}
	all, err := PRFPlus(id, skd, 2*e+2*a, mixed(shared, ni, nr)...)
	if err != nil {
		return ChildSAKeys{}, err
	}
	defer all.Close()
	cut := cutter(all)
	return ChildSAKeys{EncrI: cut(e), IntegI: cut(a), EncrR: cut(e), IntegR: cut(a)}, nil
}

// IntAuth is one side's IntAuth after one more IKE_INTERMEDIATE message of that side: prf(SK_p, previous | A | P) (RFC 9242 section 3.3.2). previous is
// empty before the first; SK_p is of the generation that protected the message; a is the message from the IKE header to the end of the SK payload's
// generic header, its lengths those of the message without IV, padding and ICV; inner is the payloads in it, in clear.
func IntAuth(id ikev2.PRFID, skp secret.Bytes, previous, a, inner []byte) ([]byte, error) {
	s, err := PRF(id, skp, previous, a, inner)
	return s.Reveal(), err
}

// IntAuthOctets is what both sides' signed octets end with: IntAuth_i | IntAuth_r | message ID of the first IKE_AUTH request.
func IntAuthOctets(intAuthI, intAuthR []byte, ikeAuthID uint32) []byte {
	b := make([]byte, 0, len(intAuthI)+len(intAuthR)+4)
	b = append(append(b, intAuthI...), intAuthR...)
	return binary.BigEndian.AppendUint32(b, ikeAuthID)
}

// cutter hands out copies of all's octets, one stretch after the other.
func cutter(all secret.Bytes) func(n int) secret.Bytes {
	rest := all.Reveal()
	return func(n int) secret.Bytes {
		var s []byte
		s, rest = rest[:n], rest[n:]
		return secret.Copy(s)
	}
}

func closeAll(keys ...*secret.Bytes) {
	for _, k := range keys {
		k.Close()
	}
}
