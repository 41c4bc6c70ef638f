package suite

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// FuzzOpenSK throws octets at every suite: nothing that was not sealed opens, nothing panics, and the only error is ErrICV.
func FuzzOpenSK(f *testing.F) {
	suites := everySuite()
	for n, c := range suites {
		out, _ := pair(f, c)
		body, err := out.SealSK(fill(32, 1), fill(out.BlockSize(), 2))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(n), fill(32, 1), body)
		f.Add(uint8(n), fill(32, 1), body[:len(body)-1])
		f.Add(uint8(n), []byte(nil), body[:out.Overhead()])
	}
	f.Fuzz(func(t *testing.T, n uint8, prefix, body []byte) {
		c := suites[int(n)%len(suites)]
		k := testKeys(t, c)
		out, _, err := k.Protectors(c, true, rand.NewChaCha8([32]byte{1}))
		if err != nil {
			t.Fatal(err)
		}
		_, in, err := k.Protectors(c, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(body)
		plain, err := in.OpenSK(prefix, body)
		if err != nil && (!errors.Is(err, ErrICV) || plain != nil) {
			t.Fatalf("%v: %v", c, err)
		}
		// What opens was sealed with these keys: under the same IV, sealing it again gives the same octets.
		if err == nil {
			again, err := out.SealSK(prefix, plain)
			if err != nil || len(again) != len(body) {
				t.Fatalf("%v opens %x, which it does not seal: %v", c, body, err)
			}
			if info, _ := CipherOf(c.Encr); bytes.Equal(again[:info.IV], body[:info.IV]) && !bytes.Equal(again, body) {
				t.Fatalf("%v opens %x and seals it as %x", c, body, again)
			}
		}
		if !bytes.Equal(body, before) {
			t.Fatal("the message was changed")
		}
	})
}

// FuzzPublicValue hands octets to every method as the peer's key exchange data, to both sides: an answer of the fixed lengths, or the peer's fault.
func FuzzPublicValue(f *testing.F) {
	private := map[ikev2.KEID][]byte{}
	for n, row := range methods {
		i := generate(f, row.id, 1)
		private[row.id] = i.Private.Reveal()
		f.Add(uint8(n), true, i.Public)
		f.Add(uint8(n), true, make([]byte, len(i.Public)))
		f.Add(uint8(n), true, bytes.Repeat([]byte{0xff}, len(i.Public)))
		r := ok(f, KEJob{Op: Respond, Method: row.id, Seed: seed(2), Peer: i.Public}.Run())
		f.Add(uint8(n), false, r.Public)
		f.Add(uint8(n), false, i.Public[:1])
	}
	f.Fuzz(func(t *testing.T, n uint8, respond bool, peer []byte) {
		row := methods[int(n)%len(methods)]
		j := KEJob{ID: 1, Op: Finish, Method: row.id, Private: key(private[row.id]), Peer: peer}
		if respond {
			j = KEJob{ID: 1, Op: Respond, Method: row.id, Seed: seed(3), Peer: peer}
		}
		r := j.Run()
		switch {
		case r.Err != nil:
			if !errors.Is(r.Err, ErrPublicValue) || r.Shared.Len() != 0 || r.Public != nil {
				t.Fatalf("%v: %v", row.id, r.Err)
			}
		case len(peer) != PublicLen(row.id, !respond):
			t.Fatalf("%v takes %d octets", row.id, len(peer))
		case r.Shared.Len() == 0, respond && len(r.Public) != PublicLen(row.id, true):
			t.Fatalf("%v: %d octets shared, %d public", row.id, r.Shared.Len(), len(r.Public))
		}
	})
}
