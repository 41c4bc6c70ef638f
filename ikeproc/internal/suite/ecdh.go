package suite

import (
	"crypto/ecdh"
	"crypto/sha3"
	"fmt"
)

// curve is X25519 (RFC 8031) or one of the ECP groups (RFC 5903).
type curve struct {
	ecdh.Curve
	// prefix is what the library writes before the coordinates and IKE does not: SEC 1's octet for an uncompressed point.
	prefix []byte
	scalar int  // octets
	mask   byte // of the scalar's first octet: bits above the order's length
}

var (
	x25519 = curve{ecdh.X25519(), nil, 32, 0xff}
	ecp256 = curve{ecdh.P256(), []byte{4}, 32, 0xff}
	ecp384 = curve{ecdh.P384(), []byte{4}, 48, 0xff}
	ecp521 = curve{ecdh.P521(), []byte{4}, 66, 0x01}
)

// fresh draws scalars until one is in 1..order-1, which for any curve here is nearly always the first (FIPS 186-5 appendix A.2.2).
// For X25519 every one is (RFC 7748 section 5).
func (c curve) fresh(entropy *sha3.SHAKE) (key *ecdh.PrivateKey, private []byte, err error) {
	private = make([]byte, c.scalar)
	for range 100 {
		_, _ = entropy.Read(private)
		private[0] &= c.mask
		if key, err = c.NewPrivateKey(private); err == nil {
			return key, private, nil
		}
	}
	return nil, nil, fmt.Errorf("no private key found: %w", err)
}

func (c curve) generate(entropy *sha3.SHAKE) (private, public []byte, err error) {
	key, private, err := c.fresh(entropy)
	if err != nil {
		return nil, nil, err
	}
	return private, key.PublicKey().Bytes()[len(c.prefix):], nil
}

func (c curve) respond(entropy *sha3.SHAKE, peer []byte) (public, shared []byte, err error) {
	key, private, err := c.fresh(entropy)
	if err != nil {
		return nil, nil, err
	}
	defer clear(private)
	shared, err = c.agree(key, peer)
	return key.PublicKey().Bytes()[len(c.prefix):], shared, err
}

func (c curve) finish(private, peer []byte) ([]byte, error) {
	key, err := c.NewPrivateKey(private)
	if err != nil {
		return nil, err
	}
	return c.agree(key, peer)
}

// agree gives the x coordinate of the shared point at its full length (RFC 5903 section 7). A point off the curve, or with a coordinate not below p, is refused
// (RFC 6989 section 2.3); so is a point of small order, by the zero that comes out of it (RFC 7748 section 6.1, RFC 8031 section 3.2).
func (c curve) agree(key *ecdh.PrivateKey, peer []byte) ([]byte, error) {
	point, err := c.NewPublicKey(append(append(make([]byte, 0, len(c.prefix)+len(peer)), c.prefix...), peer...))
	if err != nil {
		return nil, fmt.Errorf("%w: not a point of the curve", ErrPublicValue)
	}
	shared, err := key.ECDH(point)
	if err != nil {
		return nil, fmt.Errorf("%w: the shared secret is zero", ErrPublicValue)
	}
	return shared, nil
}
