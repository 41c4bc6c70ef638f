package simnet

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

var (
	epoch = time.Unix(0, 0)
	left  = netip.MustParseAddrPort("198.51.100.1:500")
	right = netip.MustParseAddrPort("203.0.113.1:500")
)

// drain delivers everything and returns it with the clock at the end.
func drain(n *Net, now time.Time) ([]Datagram, time.Time) {
	var out []Datagram
	for {
		at, ok := n.NextDelivery()
		if !ok {
			return out, now
		}
		now = at
		out = append(out, n.Deliver(now)...)
	}
}

func TestZeroLinkDeliversInOrder(t *testing.T) {
	n := New(1)
	data := []byte{0}
	for i := range 100 {
		data[0] = byte(i)
		n.Send(epoch, left, right, data)
	}
	got := n.Deliver(epoch)
	if len(got) != 100 {
		t.Fatalf("%d of 100 arrived", len(got))
	}
	for i, d := range got {
		if d.Data[0] != byte(i) || d.From != left || d.To != right {
			t.Fatalf("datagram %d is %+v", i, d)
		}
	}
	if _, ok := n.NextDelivery(); ok || n.InFlight() != 0 {
		t.Error("something is left")
	}
}

func TestDelay(t *testing.T) {
	n := New(1)
	n.SetDefault(Link{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond})
	n.Send(epoch, left, right, nil)
	at, ok := n.NextDelivery()
	if d := at.Sub(epoch); !ok || d < 20*time.Millisecond || d > 30*time.Millisecond {
		t.Errorf("arrives after %v", d)
	}
	if got := n.Deliver(at.Add(-1)); len(got) != 0 {
		t.Error("arrives before its time")
	}
	if got := n.Deliver(at); len(got) != 1 {
		t.Error("does not arrive at its time")
	}
}

// The same seed and calls give the same network; another seed gives another.
func TestSeedReplays(t *testing.T) {
	run := func(seed uint64) (string, Stats) {
		n := New(seed)
		n.SetDefault(Link{Loss: 0.2, Duplicate: 0.2, Reorder: 0.3, Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond})
		n.AddNAT(NATConfig{Inside: netip.MustParsePrefix("10.0.0.0/8"), Outside: netip.MustParseAddr("192.0.2.1"), Symmetric: true})
		inside := netip.MustParseAddrPort("10.0.0.1:500")
		for i := range 500 {
			n.Send(epoch.Add(time.Duration(i)*time.Millisecond), inside, right, []byte{byte(i)})
		}
		got, end := drain(n, epoch)
		return fmt.Sprint(got, end), n.Stats()
	}
	a, stats := run(42)
	if b, _ := run(42); a != b {
		t.Error("one seed gives two networks")
	}
	if b, _ := run(43); a == b {
		t.Error("two seeds give one network")
	}
	if stats.Lost < 50 || stats.Lost > 150 || stats.Duplicated < 40 || stats.Reordered < 60 ||
		stats.Delivered != stats.Sent-stats.Lost+stats.Duplicated {
		t.Errorf("stats are %+v", stats)
	}
}

func TestReorderingOvertakes(t *testing.T) {
	n := New(7)
	n.SetDefault(Link{Reorder: 0.5, Delay: 10 * time.Millisecond})
	for i := range 50 {
		n.Send(epoch.Add(time.Duration(i)*time.Millisecond), left, right, []byte{byte(i)})
	}
	got, _ := drain(n, epoch)
	overtaken := 0
	for i := range got[1:] {
		if got[i+1].Data[0] < got[i].Data[0] {
			overtaken++
		}
	}
	if len(got) != 50 || overtaken == 0 {
		t.Errorf("%d arrived, %d overtaken", len(got), overtaken)
	}
}

func TestLinksAreDirected(t *testing.T) {
	n := New(1)
	n.SetLink(left.Addr(), right.Addr(), Link{Down: true})
	n.Send(epoch, left, right, nil)
	n.Send(epoch, right, left, nil)
	if got := n.Deliver(epoch); len(got) != 1 || got[0].To != left {
		t.Errorf("got %v", got)
	}
	n.ClearLink(left.Addr(), right.Addr())
	n.Send(epoch, left, right, nil)
	if got := n.Deliver(epoch); len(got) != 1 || n.Stats().Lost != 1 {
		t.Errorf("got %v, %+v", got, n.Stats())
	}
}

func TestMTU(t *testing.T) {
	six := netip.MustParseAddrPort("[2001:db8::1]:500")
	for _, tt := range []struct {
		size int
		to   netip.AddrPort
		want int
	}{{1252, right, 1}, {1253, right, 2}, {1232, six, 1}, {1233, six, 2}, {1240, six, 2}, {3000, right, 3}, {0, right, 1}} {
		l := Link{MTU: 1280}
		if got := l.packets(tt.size, tt.to.Addr()); got != tt.want {
			t.Errorf("%d octets to %s go in %d packets, want %d", tt.size, tt.to, got, tt.want)
		}
	}
	n := New(1)
	n.SetDefault(Link{MTU: 1280, DropFragments: true})
	n.Send(epoch, left, right, make([]byte, 1252))
	n.Send(epoch, left, right, make([]byte, 1253))
	if got := n.Deliver(epoch); len(got) != 1 || n.Stats().TooLong != 1 {
		t.Errorf("%d arrived, %+v", len(got), n.Stats())
	}
	n.SetDefault(Link{MTU: 1280})
	n.Send(epoch, left, right, make([]byte, 5000))
	if got := n.Deliver(epoch); len(got) != 1 || len(got[0].Data) != 5000 {
		t.Error("IP fragments are not put together")
	}
	n.SetDefault(Link{MTU: 20, Loss: 0.5})
	n.Send(epoch, left, right, make([]byte, 100))
	if n.InFlight() != 0 {
		t.Error("something fits an MTU of 20")
	}
}

// The sender's buffer and two copies of a duplicate are apart.
func TestDataIsCopied(t *testing.T) {
	n := New(1)
	n.SetDefault(Link{Duplicate: 1})
	data := []byte{1}
	n.Send(epoch, left, right, data)
	data[0] = 2
	got := n.Deliver(epoch)
	if len(got) != 2 {
		t.Fatalf("%d arrived", len(got))
	}
	got[0].Data[0] = 3
	if got[1].Data[0] != 1 {
		t.Errorf("the duplicate holds %d", got[1].Data[0])
	}
}

func TestInFlightIsBounded(t *testing.T) {
	n := New(1)
	for range MaxInFlight + 10 {
		n.Send(epoch, left, right, nil)
	}
	if n.InFlight() != MaxInFlight || n.Stats().Overflowed != 10 {
		t.Errorf("%d in flight, %+v", n.InFlight(), n.Stats())
	}
}

// A change of one link leaves the fate of the others' datagrams alone.
func TestFatesAreIndependent(t *testing.T) {
	run := func(down bool) []Datagram {
		n := New(5)
		n.SetDefault(Link{Loss: 0.3, Duplicate: 0.1})
		if down {
			n.SetLink(right.Addr(), left.Addr(), Link{Down: true})
		}
		for i := range 100 {
			n.Send(epoch, left, right, []byte{byte(i)})
			n.Send(epoch, right, left, []byte{byte(i)})
		}
		var out []Datagram
		for _, d := range n.Deliver(epoch) {
			if d.To == right {
				out = append(out, d)
			}
		}
		return out
	}
	if !reflect.DeepEqual(run(false), run(true)) {
		t.Error("one link's fate moved another's")
	}
}
