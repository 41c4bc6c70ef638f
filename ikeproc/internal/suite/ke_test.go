package suite

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
)

func seed(n uint64) secret.Bytes {
	b := make([]byte, SeedLen)
	binary.BigEndian.PutUint64(b, n)
	return secret.New(b)
}

func ok(t testing.TB, r KEResult) KEResult {
	t.Helper()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

func generate(t testing.TB, m ikev2.KEID, s uint64) KEResult {
	t.Helper()
	return ok(t, KEJob{Op: Generate, Method: m, Seed: seed(s)}.Run())
}

func finish(m ikev2.KEID, private, peer []byte) KEResult {
	return KEJob{Op: Finish, Method: m, Private: key(private), Peer: peer}.Run()
}

// Both ends agree, lengths are the method's, and the same seed makes the same exchange (MK-09, IN-06, IN-08, IN-09).
func TestExchange(t *testing.T) {
	for _, row := range methods {
		t.Run(row.id.String(), func(t *testing.T) {
			run := func(s uint64) (i, r, f KEResult) {
				i = generate(t, row.id, s)
				r = ok(t, KEJob{ID: 8, Op: Respond, Method: row.id, Seed: seed(s), Peer: i.Public}.Run())
				f = ok(t, KEJob{ID: 9, Op: Finish, Method: row.id, Private: secret.Copy(i.Private.Reveal()), Peer: r.Public}.Run())
				return i, r, f
			}
			i, r, f := run(1)
			if len(i.Public) != PublicLen(row.id, false) || len(r.Public) != PublicLen(row.id, true) {
				t.Errorf("public values of %d and %d octets", len(i.Public), len(r.Public))
			}
			if r.ID != 8 || f.ID != 9 {
				t.Error("a result has lost its job")
			}
			if !r.Shared.Equal(f.Shared) || r.Shared.Len() == 0 {
				t.Error("the two sides do not agree")
			}
			if i.Shared.Len() != 0 || r.Private.Len() != 0 || f.Private.Len() != 0 || f.Public != nil {
				t.Error("a result holds more than its operation makes")
			}
			i2, r2, f2 := run(1)
			if !bytes.Equal(i.Public, i2.Public) || !i.Private.Equal(i2.Private) || !bytes.Equal(r.Public, r2.Public) || !f.Shared.Equal(f2.Shared) {
				t.Error("the same seed makes another exchange")
			}
			i3, r3, f3 := run(2)
			if bytes.Equal(i.Public, i3.Public) || bytes.Equal(r.Public, r3.Public) || f.Shared.Equal(f3.Shared) {
				t.Error("another seed makes the same exchange")
			}
			if !row.id.IsKEM() && bytes.Equal(i.Public, r.Public) {
				t.Error("one seed gives initiator and responder the same key")
			}
		})
	}
}

// IN-08: RFC 8031 appendix A.
func TestRFC8031(t *testing.T) {
	var v struct {
		PrivI  octets `json:"priv_i"`
		PrivR  octets `json:"priv_r"`
		PubI   octets `json:"pub_i"`
		PubR   octets `json:"pub_r"`
		Shared octets
	}
	load(t, "rfc/rfc8031.json", &v)
	same(t, "initiator", ok(t, finish(ikev2.KE_CURVE25519, v.PrivI, v.PubR)).Shared.Reveal(), v.Shared)
	same(t, "responder", ok(t, finish(ikev2.KE_CURVE25519, v.PrivR, v.PubI)).Shared.Reveal(), v.Shared)
}

// IN-09: RFC 5903 section 8, public value x | y, secret x alone at full length.
func TestRFC5903(t *testing.T) {
	var file struct {
		Vectors []struct {
			Group  uint16
			Values map[string]octets
		}
	}
	load(t, "rfc/rfc5903.json", &file)
	if len(file.Vectors) != 3 {
		t.Fatal("not all groups")
	}
	for _, g := range file.Vectors {
		v, m := g.Values, ikev2.KEID(g.Group)
		same(t, m.String(), ok(t, finish(m, v["i"], append(v["grx"], v["gry"]...))).Shared.Reveal(), v["girx"])
		same(t, m.String(), ok(t, finish(m, v["r"], append(v["gix"], v["giy"]...))).Shared.Reveal(), v["girx"])
	}
}

// IN-08: X25519 against Wycheproof: what comes out as zero is refused, twist and non-canonical values are computed as RFC 7748 says.
func TestWycheproofX25519(t *testing.T) {
	var w wycheproof
	load(t, "wycheproof/x25519_test.json.gz", &w)
	refused := 0
	for _, v := range w.TestGroups[0].Tests {
		r := finish(ikev2.KE_CURVE25519, v.Private, v.Public)
		if bytes.Equal(v.Shared, make([]byte, 32)) {
			if !errors.Is(r.Err, ErrPublicValue) {
				t.Errorf("%d %s: %v", v.TCID, v.Comment, r.Err)
			}
			refused++
			continue
		}
		same(t, fmt.Sprint(v.TCID, v.Comment), ok(t, r).Shared.Reveal(), v.Shared)
	}
	if refused == 0 {
		t.Error("no point of small order among them")
	}
}

// IN-07, IN-09: ECP groups against Wycheproof. Its points have SEC 1's first octet, which IKE leaves out.
func TestWycheproofECP(t *testing.T) {
	for file, c := range map[string]struct {
		id ikev2.KEID
		c  curve
	}{"ecdh_secp256r1": {ikev2.KE_ECP256, ecp256}, "ecdh_secp384r1": {ikev2.KE_ECP384, ecp384}, "ecdh_secp521r1": {ikev2.KE_ECP521, ecp521}} {
		var w wycheproof
		load(t, "wycheproof/"+file+"_ecpoint_test.json.gz", &w)
		for _, v := range w.TestGroups[0].Tests {
			private := make([]byte, c.c.scalar)
			if over := len(v.Private) - c.c.scalar; over > 0 {
				v.Private = v.Private[over:] // leading zeros of a DER integer
			}
			copy(private[c.c.scalar-len(v.Private):], v.Private)
			var peer []byte
			if len(v.Public) > 0 {
				peer = v.Public[1:]
			}
			r := finish(c.id, private, peer)
			if v.Result != "valid" {
				if !errors.Is(r.Err, ErrPublicValue) {
					t.Errorf("%s %d %s: %v", file, v.TCID, v.Comment, r.Err)
				}
				continue
			}
			same(t, fmt.Sprint(file, v.TCID, v.Comment), ok(t, r).Shared.Reveal(), v.Shared)
		}
	}
}

// MK-09, MK-10: ML-KEM against Wycheproof: key generation and decapsulation from a seed, implicit rejection included.
func TestWycheproofMLKEM(t *testing.T) {
	for file, m := range map[string]struct {
		id ikev2.KEID
		m  kemMethod
	}{"mlkem_512": {ikev2.KE_MLKEM512, mlkem512}, "mlkem_768": {ikev2.KE_MLKEM768, mlkem768}, "mlkem_1024": {ikev2.KE_MLKEM1024, mlkem1024}} {
		var w wycheproof
		load(t, "wycheproof/"+file+"_test.json.gz", &w)
		for _, g := range w.TestGroups {
			for _, v := range g.Tests {
				r := finish(m.id, v.Seed, v.C)
				if v.Result != "valid" {
					if r.Err == nil {
						t.Errorf("%s %d %s is taken", file, v.TCID, v.Comment)
					}
					continue
				}
				same(t, fmt.Sprint(file, v.TCID, v.Comment), ok(t, r).Shared.Reveal(), v.K)
				k, err := m.m.open(v.Seed)
				if err != nil {
					t.Fatal(err)
				}
				same(t, fmt.Sprint(file, v.TCID, " encapsulation key"), k.public(), v.EK)
			}
		}
	}
}

// MK-10: encapsulation against Wycheproof, keys with a coefficient not below the modulus among them.
func TestWycheproofEncapsulation(t *testing.T) {
	var w wycheproof
	load(t, "wycheproof/mlkem_768_encaps_test.json.gz", &w)
	for _, g := range w.TestGroups {
		for _, v := range g.Tests {
			r := KEJob{Op: Respond, Method: ikev2.KE_MLKEM768, Seed: seed(1), Peer: v.EK}.Run()
			if v.Result != "valid" {
				if !errors.Is(r.Err, ErrPublicValue) {
					t.Errorf("%d %s: %v", v.TCID, v.Comment, r.Err)
				}
				continue
			}
			ok(t, r)
			pk, err := mlkem768.scheme.UnmarshalBinaryPublicKey(v.EK)
			if err != nil {
				t.Fatal(err)
			}
			ct, ss, err := mlkem768.scheme.EncapsulateDeterministically(pk, v.M)
			if err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprint(v.TCID, " ciphertext"), ct, v.C)
			same(t, fmt.Sprint(v.TCID, " secret"), ss, v.K)
		}
	}
}

// The library that encapsulates and the one that decapsulates are two; here each does the other's work.
func TestTwoMLKEMsAgree(t *testing.T) {
	i := generate(t, ikev2.KE_MLKEM768, 4)
	ek, err := mlkem.NewEncapsulationKey768(i.Public)
	if err != nil {
		t.Fatal(err)
	}
	ss, ct, err := mlkemtest.Encapsulate768(ek, fill(32, 1))
	if err != nil {
		t.Fatal(err)
	}
	pk, err := mlkem768.scheme.UnmarshalBinaryPublicKey(i.Public)
	if err != nil {
		t.Fatal(err)
	}
	ct2, ss2, err := mlkem768.scheme.EncapsulateDeterministically(pk, fill(32, 1))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ciphertext", ct2, ct)
	same(t, "secret", ss2, ss)
	pk, sk := mlkem1024.scheme.DeriveKeyPair(fill(64, 2))
	dk, err := mlkem.NewDecapsulationKey1024(fill(64, 2))
	if err != nil {
		t.Fatal(err)
	}
	ct, ss, err = mlkem1024.scheme.EncapsulateDeterministically(pk, fill(32, 1))
	if err != nil {
		t.Fatal(err)
	}
	a, err := dk.Decapsulate(ct)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mlkem1024.scheme.Decapsulate(sk, ct)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "secret", a, ss)
	same(t, "secret", b, ss)
}

var primes = map[ikev2.KEID]string{ikev2.KE_MODP1024: prime1024, ikev2.KE_MODP2048: prime2048, ikev2.KE_MODP3072: prime3072, ikev2.KE_MODP4096: prime4096}

// AL-04: the primes are safe primes of the right length, and the exponentiation is math/big's.
func TestMODPAgainstMathBig(t *testing.T) {
	for id, text := range primes {
		p, _ := new(big.Int).SetString(text, 16)
		if p.BitLen() != 8*PublicLen(id, false) {
			t.Errorf("%v has %d bits", id, p.BitLen())
		}
		if id == ikev2.KE_MODP1024 || !testing.Short() {
			if !p.ProbablyPrime(1) || !new(big.Int).Rsh(p, 1).ProbablyPrime(1) {
				t.Errorf("%v is no safe prime", id)
			}
		}
		i := generate(t, id, 1)
		x := new(big.Int).SetBytes(i.Private.Reveal())
		y := new(big.Int).Exp(big.NewInt(2), x, p)
		same(t, id.String(), i.Public, y.FillBytes(make([]byte, len(i.Public))))
		peer := new(big.Int).Sub(p, big.NewInt(2)) // the largest legal value
		r := ok(t, finish(id, i.Private.Reveal(), peer.Bytes()))
		same(t, id.String(), r.Shared.Reveal(), new(big.Int).Exp(peer, x, p).FillBytes(make([]byte, len(i.Public))))
	}
}

// IN-06: a public value and a shared secret that begin with zero octets keep their length on both sides.
func TestMODPLeadingZeros(t *testing.T) {
	const id = ikev2.KE_MODP1024
	var publicZero, sharedZero bool
	i := generate(t, id, 1)
	for n := uint64(0); n < 20000 && !(publicZero && sharedZero); n++ {
		r := ok(t, KEJob{Op: Respond, Method: id, Seed: seed(n), Peer: i.Public}.Run())
		if len(r.Public) != 128 || r.Shared.Len() != 128 {
			t.Fatalf("seed %d: %d and %d octets", n, len(r.Public), r.Shared.Len())
		}
		if (r.Public[0] == 0 && !publicZero) || (r.Shared.Reveal()[0] == 0 && !sharedZero) {
			publicZero = publicZero || r.Public[0] == 0
			sharedZero = sharedZero || r.Shared.Reveal()[0] == 0
			if f := ok(t, finish(id, i.Private.Reveal(), r.Public)); !f.Shared.Equal(r.Shared) {
				t.Fatalf("seed %d: the sides disagree", n)
			}
		}
	}
	if !publicZero || !sharedZero {
		t.Error("no leading zero came up")
	}
}

// IN-07: values that RFC 6989 has the receiver refuse, as initiator and as responder.
func TestPublicValuesRefused(t *testing.T) {
	type bad struct {
		id   ikev2.KEID
		what string
		b    []byte
	}
	var all []bad
	for id, text := range primes {
		p, _ := new(big.Int).SetString(text, 16)
		n := PublicLen(id, false)
		for what, v := range map[string]*big.Int{
			"0": big.NewInt(0), "1": big.NewInt(1), "p-1": new(big.Int).Sub(p, big.NewInt(1)), "p": p,
			"p+2": new(big.Int).Add(p, big.NewInt(2)), "all ones": new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*n)), big.NewInt(1)),
		} {
			all = append(all, bad{id, what, v.FillBytes(make([]byte, n))})
		}
	}
	for id, c := range map[ikev2.KEID]ecdh.Curve{ikev2.KE_ECP256: ecdh.P256(), ikev2.KE_ECP384: ecdh.P384(), ikev2.KE_ECP521: ecdh.P521()} {
		good := generate(t, id, 1).Public
		off := bytes.Clone(good)
		off[len(off)-1] ^= 1
		large := bytes.Clone(good) // x not below p
		for i := range len(large) / 2 {
			large[i] = 0xff
		}
		all = append(all, bad{id, "off the curve", off}, bad{id, "x above p", large}, bad{id, "zero", make([]byte, len(good))})
		if _, err := c.NewPublicKey(append([]byte{4}, good...)); err != nil {
			t.Fatal(err)
		}
	}
	one := make([]byte, 32)
	one[0] = 1
	all = append(all, bad{ikev2.KE_CURVE25519, "zero", make([]byte, 32)}, bad{ikev2.KE_CURVE25519, "one", one})
	for _, row := range methods {
		good := generate(t, row.id, 1).Public
		all = append(all, bad{row.id, "one octet less", good[1:]}, bad{row.id, "one octet more", append([]byte{0}, good...)}, bad{row.id, "nothing", nil})
		if row.id.IsKEM() {
			all = append(all, bad{row.id, "coefficients above the modulus", bytes.Repeat([]byte{0xff}, len(good))})
		}
	}
	for _, b := range all {
		r := KEJob{ID: 5, Op: Respond, Method: b.id, Seed: seed(1), Peer: b.b}.Run()
		if !errors.Is(r.Err, ErrPublicValue) || r.Shared.Len() != 0 || r.Public != nil || r.ID != 5 {
			t.Errorf("responder, %v, %s: %v", b.id, b.what, r)
		}
		if b.id.IsKEM() {
			continue // the responder's value is a ciphertext: only its length can be wrong
		}
		r = finish(b.id, generate(t, b.id, 2).Private.Reveal(), b.b)
		if !errors.Is(r.Err, ErrPublicValue) || r.Shared.Len() != 0 {
			t.Errorf("initiator, %v, %s: %v", b.id, b.what, r)
		}
	}
	for _, row := range methods {
		if r := finish(row.id, generate(t, row.id, 2).Private.Reveal(), make([]byte, row.responder-1)); !errors.Is(r.Err, ErrPublicValue) {
			t.Errorf("initiator, %v, a short value: %v", row.id, r.Err)
		}
	}
}

// Our own mistakes are errors of another kind than the peer's, and never a panic.
func TestJobsThatMakeNoSense(t *testing.T) {
	good := generate(t, ikev2.KE_CURVE25519, 1)
	for name, j := range map[string]KEJob{
		"no operation":   {Method: ikev2.KE_CURVE25519, Seed: seed(1), Peer: good.Public},
		"no method":      {Op: Generate, Seed: seed(1)},
		"MODP768":        {Op: Respond, Method: ikev2.KE_MODP768, Seed: seed(1), Peer: make([]byte, 96)},
		"no seed":        {Op: Generate, Method: ikev2.KE_CURVE25519},
		"a short seed":   {Op: Respond, Method: ikev2.KE_MLKEM768, Seed: key(fill(31, 1)), Peer: make([]byte, 1184)},
		"no private":     {Op: Finish, Method: ikev2.KE_CURVE25519, Peer: good.Public},
		"MODP private":   {Op: Finish, Method: ikev2.KE_MODP2048, Private: key(fill(5, 1)), Peer: fill(256, 1)},
		"512 private":    {Op: Finish, Method: ikev2.KE_MLKEM512, Private: key(fill(5, 1)), Peer: fill(768, 1)},
		"768 private":    {Op: Finish, Method: ikev2.KE_MLKEM768, Private: key(fill(5, 1)), Peer: fill(1088, 1)},
		"1024 private":   {Op: Finish, Method: ikev2.KE_MLKEM1024, Private: key(fill(5, 1)), Peer: fill(1568, 1)},
		"P-256 private":  {Op: Finish, Method: ikev2.KE_ECP256, Private: key(make([]byte, 32)), Peer: make([]byte, 64)},
		"P-521 overflow": {Op: Finish, Method: ikev2.KE_ECP521, Private: key(bytes.Repeat([]byte{0xff}, 66)), Peer: make([]byte, 132)},
	} {
		if r := j.Run(); r.Err == nil || errors.Is(r.Err, ErrPublicValue) {
			t.Errorf("%s: %v", name, r.Err)
		}
	}
}

// KD-09: seed and private value are gone when the job is done, also when it failed.
func TestJobsWipe(t *testing.T) {
	for _, row := range methods {
		s := seed(77)
		bytesOf := s.Reveal()
		i := ok(t, KEJob{Op: Generate, Method: row.id, Seed: s}.Run())
		if !bytes.Equal(bytesOf, make([]byte, SeedLen)) {
			t.Errorf("%v: the seed is still there", row.id)
		}
		private := i.Private.Reveal()
		KEJob{Op: Finish, Method: row.id, Private: i.Private, Peer: []byte("nonsense")}.Run()
		if !bytes.Equal(private, make([]byte, len(private))) {
			t.Errorf("%v: the private value is still there", row.id)
		}
	}
}

// Jobs and results print what they are about and no secret.
func TestJobsPrint(t *testing.T) {
	j := KEJob{ID: 7, Op: Finish, Method: ikev2.KE_MLKEM768, Seed: key([]byte("hush hush")), Private: key([]byte("hush hush"))}
	r := KEResult{ID: 7, Private: key([]byte("hush hush")), Shared: key([]byte("hush hush"))}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %x %s", j, j, j, j, j), fmt.Sprintf("%v %+v %#v %x %s", r, r, r, r, r)} {
		if strings.Contains(s, "hush") || strings.Contains(s, "68757368") || strings.Contains(s, "0x68, 0x75") {
			t.Errorf("a secret is printed: %s", s)
		}
	}
	if j.String() != "key exchange job 7: finish ML_KEM_768" || r.String() != "key exchange job 7: done" {
		t.Error(j, r)
	}
	r.Err = errors.New("why")
	if r.String() != "key exchange job 7: why" || Generate.String() != "generate" || Respond.String() != "respond" || KEOp(9).String() != "operation 9" {
		t.Error(r)
	}
}

// IN-08, IN-09: rejection sampling goes on until a scalar is below the order.
func TestScalarsStayBelowTheOrder(t *testing.T) {
	order, _ := new(big.Int).SetString("01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16)
	for n := range uint64(200) {
		k := new(big.Int).SetBytes(generate(t, ikev2.KE_ECP521, n).Private.Reveal())
		if k.Sign() == 0 || k.Cmp(order) >= 0 {
			t.Fatalf("seed %d: scalar out of range", n)
		}
	}
}
