package pool

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
)

var start = time.Unix(1_700_000_000, 0)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func rangeOf(name, first, last string) plan.Pool {
	return plan.Pool{Name: name, First: addr(first), Last: addr(last)}
}

func book(t *testing.T, f File, pools ...plan.Pool) *Book {
	t.Helper()
	b, err := Open(f)
	if err != nil {
		t.Fatal(err)
	}
	b.Use(pools)
	return b
}

func leased(t *testing.T, b *Book, who string, session uint64, now time.Time) netip.Addr {
	t.Helper()
	a, err := b.Lease(Wish{Pools: []string{"p"}, Who: who, Session: session, Until: now.Add(time.Hour)}, now)
	if err != nil {
		t.Fatalf("lease for %s: %v", who, err)
	}
	b.Confirm(session)
	return a
}

func TestStickyByIdentity(t *testing.T) {
	b := book(t, nil, rangeOf("p", "10.9.0.1", "10.9.0.9"))
	alice := leased(t, b, "alice", 1, start)
	bob := leased(t, b, "bob", 2, start)
	if alice == bob {
		t.Fatalf("both have %v", alice)
	}
	if err := b.Release(1, start); err != nil {
		t.Fatal(err)
	}
	if again := leased(t, b, "alice", 3, start); again != alice {
		t.Errorf("alice had %v and got %v", alice, again)
	}
	if second := leased(t, b, "alice", 4, start); second == alice {
		t.Errorf("alice's second device got the address of her first")
	}
}

// unique: replace lets the new session have the address; the end of the old one does not free it.
func TestReplacedSessionHandsItsAddressOver(t *testing.T) {
	b := book(t, nil, rangeOf("p", "10.9.0.1", "10.9.0.9"))
	old := leased(t, b, "alice", 1, start)
	got, err := b.Lease(Wish{Pools: []string{"p"}, Who: "alice", Session: 2, Take: true, Until: start.Add(time.Hour)}, start)
	if err != nil || got != old {
		t.Fatalf("got %v, %v; want %v", got, err, old)
	}
	if err := b.Release(1, start); err != nil {
		t.Fatal(err)
	}
	if held := b.Held(2); len(held) != 1 || held[0] != old {
		t.Errorf("after the old session's end the new one holds %v", held)
	}
	if other := leased(t, b, "bob", 3, start); other == old {
		t.Errorf("bob got alice's %v", other)
	}
}

func TestEmptyPoolSaysSo(t *testing.T) {
	b := book(t, nil, rangeOf("p", "10.9.0.1", "10.9.0.2"))
	leased(t, b, "alice", 1, start)
	leased(t, b, "bob", 2, start)
	_, err := b.Lease(Wish{Pools: []string{"p"}, Who: "carol", Session: 3, Until: start.Add(time.Hour)}, start)
	var empty *Empty
	if !errors.As(err, &empty) || empty.Held != 2 {
		t.Fatalf("%v", err)
	}
	if _, err = b.Lease(Wish{Pools: []string{"p"}, Who: "carol", Session: 3, IPv6: true, Until: start.Add(time.Hour)}, start); !errors.As(err, &empty) || empty.Held != 0 {
		t.Fatalf("IPv6: %v", err)
	}
	if err := b.Release(1, start); err != nil {
		t.Fatal(err)
	}
	if a := leased(t, b, "carol", 3, start); a != addr("10.9.0.1") {
		t.Errorf("carol got %v", a)
	}
}

func TestWantedAddress(t *testing.T) {
	b := book(t, nil, rangeOf("p", "10.9.0.1", "10.9.0.9"))
	want := addr("10.9.0.7")
	wish := Wish{Pools: []string{"p"}, Who: "alice", Session: 1, Want: want, Until: start.Add(time.Hour)}
	if a, err := b.Lease(wish, start); err != nil || a != want {
		t.Fatalf("%v, %v", a, err)
	}
	wish.Who, wish.Session = "bob", 2
	if a, err := b.Lease(wish, start); err != nil || a == want {
		t.Fatalf("bob got %v, %v", a, err)
	}
	wish.Who, wish.Session, wish.Want = "carol", 3, addr("192.0.2.1")
	if a, err := b.Lease(wish, start); err != nil || a == wish.Want {
		t.Fatalf("an address outside the pool was given: %v, %v", a, err)
	}
}

func TestProvisionalLeaseEnds(t *testing.T) {
	b := book(t, nil, rangeOf("p", "10.9.0.1", "10.9.0.1"))
	wish := Wish{Pools: []string{"p"}, Who: "alice", Session: 1, Until: start.Add(time.Hour)}
	if _, err := b.Lease(wish, start); err != nil {
		t.Fatal(err)
	}
	wish.Who, wish.Session = "bob", 2
	if _, err := b.Lease(wish, start.Add(Provisional-time.Second)); err == nil {
		t.Fatal("a provisional lease was given away")
	}
	if _, err := b.Lease(wish, start.Add(Provisional)); err != nil {
		t.Fatalf("a provisional lease did not end: %v", err)
	}
	b.Confirm(2)
	wish.Who, wish.Session = "carol", 3
	if _, err := b.Lease(wish, start.Add(30*time.Minute)); err == nil {
		t.Fatal("a confirmed lease was given away")
	}
	if err := b.Extend(2, start.Add(3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lease(wish, start.Add(2*time.Hour)); err == nil {
		t.Fatal("an extended lease was given away")
	}
	if _, err := b.Lease(wish, start.Add(3*time.Hour)); err != nil {
		t.Fatalf("a lease did not end with its grant: %v", err)
	}
}

// What was given is known to the next life of the process, torn slots and all.
func TestRememberedThroughRestarts(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "leases"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pools := rangeOf("p", "10.9.0.1", "10.9.255.254")
	b := book(t, f, pools)
	had := map[string]netip.Addr{}
	for i := range 3000 {
		who := fmt.Sprintf("peer%d", i)
		had[who] = leased(t, b, who, uint64(i+1), start)
	}
	for i := range 1000 {
		if err := b.Release(uint64(i+1), start); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt([]byte{0xff}, 2999*slotSize+30); err != nil { // a crash tore the last one
		t.Fatal(err)
	}
	b = book(t, f, pools)
	given := map[netip.Addr]bool{}
	for i := range 2999 {
		who := fmt.Sprintf("peer%d", i)
		a := leased(t, b, who, uint64(i+10_000), start)
		if i < 1000 && a != had[who] {
			t.Fatalf("%s had %v and got %v", who, had[who], a)
		}
		if given[a] {
			t.Fatalf("%v was given twice", a)
		}
		given[a] = true
	}
	for i := 1000; i < 2999; i++ {
		if given[had[fmt.Sprintf("peer%d", i)]] {
			t.Fatalf("the address that peer%d holds since before the restart was given away", i)
		}
	}
}

// Whatever happens, no address has two holders, and the file says what the book says.
func TestNeverTwice(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "leases"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pools := []plan.Pool{rangeOf("p", "10.9.0.1", "10.9.0.20"), rangeOf("q", "10.9.1.1", "10.9.1.5")}
	b := book(t, f, pools...)
	holder := map[netip.Addr]uint64{}
	until := map[uint64]int64{}
	now := start
	for i := range 20_000 {
		now = now.Add(time.Duration(rng.IntN(20)) * time.Second)
		for a, s := range holder {
			if until[s] <= now.Unix() {
				delete(holder, a)
			}
		}
		switch rng.IntN(4) {
		case 0, 1:
			session := uint64(i + 1)
			take := rng.IntN(2) == 0
			who := fmt.Sprintf("peer%d", rng.IntN(30))
			end := now.Add(time.Duration(60+rng.IntN(600)) * time.Second)
			a, err := b.Lease(Wish{Pools: []string{"p", "q"}, Who: who, Session: session, Take: take, Until: end}, now)
			if err != nil {
				continue
			}
			if old, held := holder[a]; held && !take {
				t.Fatalf("step %d: %v was given to %d while %d had it", i, a, session, old)
			}
			b.Confirm(session)
			holder[a], until[session] = session, end.Unix()
		case 2:
			for a, s := range holder {
				if err := b.Release(s, now); err != nil {
					t.Fatal(err)
				}
				delete(holder, a)
				break
			}
		case 3:
			if rng.IntN(20) == 0 {
				b = book(t, f, pools...)
			}
		}
		for a, s := range holder {
			if got := b.byAddr[a]; got == nil || got.session != s {
				t.Fatalf("step %d: %v is %+v, and %d has it", i, a, got, s)
			}
		}
	}
}

type broken struct{ at []byte }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(b.at)) {
		return 0, io.EOF
	}
	n := copy(p, b.at[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (broken) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// A lease file is a file: whatever it holds, it is read without a crash, and no address is there twice.
func FuzzLeaseFile(f *testing.F) {
	r := record{addr: addr("10.9.0.1"), session: 7, until: start.Unix()}
	f.Add(append(r.encode(), r.encode()...))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, file []byte) {
		b, err := Open(broken{file})
		if err != nil {
			return // refused whole
		}
		b.Use([]plan.Pool{rangeOf("p", "10.9.0.1", "10.9.0.9")})
		if _, err := b.Lease(Wish{Pools: []string{"p"}, Who: "x", Session: 1 << 63, Until: start.Add(time.Hour)}, start); err != nil {
			var empty *Empty
			if !errors.As(err, &empty) {
				t.Fatal(err)
			}
		}
		for a, l := range b.byAddr {
			again, ok := decode(l.encode())
			if !ok || again != l.record || a != l.addr {
				t.Fatalf("%+v is written as %+v", l.record, again)
			}
		}
	})
}

func TestCount(t *testing.T) {
	b := book(t, nil, rangeOf("p", "10.9.0.1", "10.9.0.254"), rangeOf("v6", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"), rangeOf("all", "2001:db8::", "2001:db8:ffff::"))
	leased(t, b, "alice", 1, start)
	for name, want := range map[string]uint64{"p": 254, "v6": 1 << 62, "all": 1 << 62, "none": 0} {
		if size, _ := b.Count(name); size != want {
			t.Errorf("%s has %d addresses, want %d", name, size, want)
		}
	}
	if _, held := b.Count("p"); held != 1 {
		t.Errorf("%d are held", held)
	}
}
