package suite

import (
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
)

func BenchmarkKE(b *testing.B) {
	for _, row := range methods {
		i := generate(b, row.id, 1)
		r := ok(b, KEJob{Op: Respond, Method: row.id, Seed: seed(2), Peer: i.Public}.Run())
		for _, op := range []KEOp{Generate, Respond, Finish} {
			b.Run(row.id.String()+"/"+op.String(), func(b *testing.B) {
				b.ReportAllocs()
				for n := uint64(0); b.Loop(); n++ {
					j := KEJob{Op: op, Method: row.id, Seed: seed(n), Peer: i.Public}
					if op == Finish {
						j.Private, j.Peer = secret.Copy(i.Private.Reveal()), r.Public
					}
					ok(b, j.Run())
				}
			})
		}
	}
}

func BenchmarkSK(b *testing.B) {
	plain, prefix := make([]byte, 256), make([]byte, 32)
	for _, c := range everySuite() {
		out, in := pair(b, c)
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				body, err := out.SealSK(prefix, plain)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := in.OpenSK(prefix, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkIKEKeys(b *testing.B) {
	ni, nr, shared := fill(32, 1), fill(32, 2), key(fill(32, 3))
	for _, p := range prfs {
		b.Run(p.id.String(), func(b *testing.B) {
			c := Chosen{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256, PRF: p.id, KE: ikev2.KE_CURVE25519}
			b.ReportAllocs()
			for b.Loop() {
				s, err := InitialSKEYSEED(p.id, shared, ni, nr)
				if err != nil {
					b.Fatal(err)
				}
				k, err := DeriveIKEKeys(c, s, ni, nr, 1, 2)
				if err != nil {
					b.Fatal(err)
				}
				k.Close()
			}
		})
	}
}

func BenchmarkChildKeys(b *testing.B) {
	ni, nr, skd := fill(32, 1), fill(32, 2), key(fill(32, 3))
	b.ReportAllocs()
	for b.Loop() {
		k, err := ChildKeys(ikev2.PRF_HMAC_SHA2_256, skd, nil, ni, nr, ESP{ikev2.ENCR_AES_GCM_16, 256, ikev2.AUTH_NONE})
		if err != nil {
			b.Fatal(err)
		}
		k.Close()
	}
}

func BenchmarkNewProtectors(b *testing.B) {
	for _, c := range everySuite() {
		k := testKeys(b, c)
		b.Run(c.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := k.Protectors(c, true, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
