package suite

import (
	"crypto/mlkem"
	"crypto/sha3"
	"fmt"

	"github.com/cloudflare/circl/kem"
	circl1024 "github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	circl512 "github.com/cloudflare/circl/kem/mlkem/mlkem512"
	circl768 "github.com/cloudflare/circl/kem/mlkem/mlkem768"
)

// kemSeed is the length of the private value: d | z of FIPS 203 section 7.1, in octets, from which the decapsulation key is made again.
const kemSeed = 64

// kemMethod is ML-KEM (draft-ietf-ipsecme-ikev2-mlkem). The standard library generates and decapsulates where it can; it does not encapsulate from a given
// seed, so scheme does.
type kemMethod struct {
	scheme kem.Scheme
	open   func(seed []byte) (decapsulator, error)
}

// decapsulator is one decapsulation key.
type decapsulator interface {
	public() []byte
	decapsulate(ciphertext []byte) ([]byte, error)
}

var (
	mlkem512  = kemMethod{circl512.Scheme(), openCircl512}
	mlkem768  = kemMethod{circl768.Scheme(), open768}
	mlkem1024 = kemMethod{circl1024.Scheme(), open1024}
)

func (m kemMethod) generate(entropy *sha3.SHAKE) (private, public []byte, err error) {
	private = make([]byte, kemSeed)
	_, _ = entropy.Read(private)
	key, err := m.open(private)
	if err != nil {
		return nil, nil, err
	}
	return private, key.public(), nil
}

// respond encapsulates to the peer's key after the modulus check of FIPS 203 section 7.2; its length was checked before.
func (m kemMethod) respond(entropy *sha3.SHAKE, peer []byte) (public, shared []byte, err error) {
	key, err := m.scheme.UnmarshalBinaryPublicKey(peer)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: a coefficient is not below the modulus", ErrPublicValue)
	}
	seed := make([]byte, m.scheme.EncapsulationSeedSize())
	defer clear(seed)
	_, _ = entropy.Read(seed)
	return m.scheme.EncapsulateDeterministically(key, seed)
}

// finish decapsulates. A ciphertext of the right length that does not belong to the key gives a secret that nobody has (FIPS 203 section 6.3): the IKE SA
// then fails at its first protected message.
func (m kemMethod) finish(private, peer []byte) ([]byte, error) {
	key, err := m.open(private)
	if err != nil {
		return nil, err
	}
	return key.decapsulate(peer)
}

type std768 struct{ k *mlkem.DecapsulationKey768 }

func open768(seed []byte) (decapsulator, error) {
	k, err := mlkem.NewDecapsulationKey768(seed)
	return std768{k}, err
}

func (s std768) public() []byte                        { return s.k.EncapsulationKey().Bytes() }
func (s std768) decapsulate(ct []byte) ([]byte, error) { return s.k.Decapsulate(ct) }

type std1024 struct{ k *mlkem.DecapsulationKey1024 }

func open1024(seed []byte) (decapsulator, error) {
	k, err := mlkem.NewDecapsulationKey1024(seed)
	return std1024{k}, err
}

func (s std1024) public() []byte                        { return s.k.EncapsulationKey().Bytes() }
func (s std1024) decapsulate(ct []byte) ([]byte, error) { return s.k.Decapsulate(ct) }

type circlKey struct {
	scheme kem.Scheme
	pk     kem.PublicKey
	sk     kem.PrivateKey
}

func openCircl512(seed []byte) (decapsulator, error) {
	s := circl512.Scheme()
	if len(seed) != s.SeedSize() {
		return nil, fmt.Errorf("private value of %d octets, needs %d", len(seed), s.SeedSize())
	}
	pk, sk := s.DeriveKeyPair(seed)
	return circlKey{s, pk, sk}, nil
}

func (c circlKey) public() []byte {
	b, _ := c.pk.MarshalBinary() // fails for no key
	return b
}

func (c circlKey) decapsulate(ct []byte) ([]byte, error) { return c.scheme.Decapsulate(c.sk, ct) }
