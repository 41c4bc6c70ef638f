package suite

import (
	"crypto/sha3"
	"encoding/hex"
	"fmt"
	"sync"

	"filippo.io/bigmod"
)

// modp is Diffie-Hellman modulo a safe prime with generator 2 (RFC 3526), in constant time.
type modp struct {
	// exponent is the length of private exponents in octets: at least twice the group's strength, as RFC 7919 section 5.2 sizes them for
	// safe primes of these lengths.
	exponent int
	// group is computed from the prime once, at the first use, and read only from then on.
	group func() modpGroup
}

type modpGroup struct {
	p *bigmod.Modulus
	g *bigmod.Nat
}

var (
	modp1024 = newMODP(prime1024, 29)
	modp2048 = newMODP(prime2048, 29)
	modp3072 = newMODP(prime3072, 35)
	modp4096 = newMODP(prime4096, 41)
)

func newMODP(prime string, exponent int) modp {
	return modp{exponent, sync.OnceValue(func() modpGroup {
		b, err := hex.DecodeString(prime)
		if err != nil {
			panic("suite: " + err.Error())
		}
		p, err := bigmod.NewModulus(b)
		if err != nil {
			panic("suite: " + err.Error())
		}
		return modpGroup{p, bigmod.NewNat().SetUint(2).ExpandFor(p)}
	})}
}

// fresh draws a private exponent, its top bit set so that it has the length that the strength rests on.
func (m modp) fresh(entropy *sha3.SHAKE) []byte {
	x := make([]byte, m.exponent)
	_, _ = entropy.Read(x)
	x[0] |= 0x80
	return x
}

func (m modp) generate(entropy *sha3.SHAKE) (private, public []byte, err error) {
	g := m.group()
	private = m.fresh(entropy)
	return private, g.exp(g.g, private), nil
}

func (m modp) respond(entropy *sha3.SHAKE, peer []byte) (public, shared []byte, err error) {
	g := m.group()
	y, err := g.public(peer)
	if err != nil {
		return nil, nil, err
	}
	x := m.fresh(entropy)
	defer clear(x)
	return g.exp(g.g, x), g.exp(y, x), nil
}

func (m modp) finish(private, peer []byte) ([]byte, error) {
	if len(private) != m.exponent {
		return nil, fmt.Errorf("private value of %d octets, needs %d", len(private), m.exponent)
	}
	g := m.group()
	y, err := g.public(peer)
	if err != nil {
		return nil, err
	}
	return g.exp(y, private), nil
}

// public checks 1 < y < p-1 (RFC 6989 section 2.1). Exponents are never used twice, so nothing more is needed.
func (g modpGroup) public(b []byte) (*bigmod.Nat, error) {
	y, err := bigmod.NewNat().SetBytes(b, g.p)
	if err != nil || y.IsZero() == 1 || y.IsOne() == 1 || y.IsMinusOne(g.p) == 1 {
		return nil, fmt.Errorf("%w: not between 1 and p-1", ErrPublicValue)
	}
	return y, nil
}

// exp is y^x mod p, padded on the left to the modulus' length (RFC 7296 sections 2.14 and 3.4).
func (g modpGroup) exp(y *bigmod.Nat, x []byte) []byte {
	n := bigmod.NewNat().Exp(y, x, g.p)
	defer clear(n.Bits())
	return n.Bytes(g.p)
}
