package trio

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/ikeproc"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// authproc or xfrmproc is taken over and says what it likes to an ikeproc that has a tunnel up and is asked for more: answers that are false, spoiled, of
// others or to nothing. ikeproc neither ends nor hangs, nothing leaves in clear, and with honest neighbours again the tunnel is as it was.
func TestHostileNeighbours(t *testing.T) {
	for _, with := range trio[:2] {
		t.Run(string(with), func(t *testing.T) {
			said := 0
			for seed := range uint64(25) {
				seeded(t, seed, nil, func(w *world) {
					w.up()
					l := w.a.usurp(with)
					liar := &liar{rng: rand.New(rand.NewPCG(seed, 2)), link: l}
					go liar.lie()
					for _, verb := range []string{"rekey", "down", "up", "rekey"} {
						for _, g := range []*gateway{w.a, w.b} {
							g.wish(verb)
							sleep(5 * time.Second)
						}
					}
					_ = l.Close()
					synctest.Wait()
					said += liar.said
					w.a.restart(with)
					sleep(10 * time.Minute)
					for _, verb := range []string{"down", "up"} {
						if why := w.a.control(verb, "ab", "", false); why != "" {
							t.Errorf("%s with honest neighbours again: %s", verb, why)
						}
						sleep(time.Minute)
					}
					w.one()
					w.mustPing()
				})
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			if said < 25*100 {
				t.Errorf("ikeproc listened to %d lies only: that shows little", said)
			}
		})
	}
}

// usurp puts the test in the place of ikeproc's neighbour.
func (g *gateway) usurp(with msg.Process) ikeproc.Link {
	g.t.Helper()
	g.kill(with)
	a, b := newLink(msg.IKEProc, with)
	g.procs[msg.IKEProc].links <- a
	g.say(msg.IKEProc, &msg.Link{Process: string(with)})
	return b
}

// wish is a command whose outcome does not matter.
func (g *gateway) wish(verb string) {
	g.t.Helper()
	g.req++
	g.say(msg.IKEProc, &msg.Control{Req: g.req, Verb: verb, Connection: "ab"})
	g.hear(msg.IKEProc)
}

// liar speaks as a neighbour of ikeproc's that was taken over.
type liar struct {
	rng  *rand.Rand
	link ikeproc.Link
	said int
	mu   sync.Mutex
	reqs []uint64 // the numbers of what ikeproc has asked
	spis []uint32 // the SPIs that it has named, and that it was told
}

func (l *liar) lie() {
	go l.hear()
	for range 400 {
		m := l.invent()
		b := msg.Encode(m)
		for range l.rng.IntN(3) {
			if len(b) > 0 {
				b[l.rng.IntN(len(b))] ^= byte(l.rng.Uint32())
			}
		}
		if spoiled, err := msg.Decode(m.Kind(), b); err == nil {
			m = spoiled
		}
		if l.link.Send(m) != nil {
			return
		}
		l.said++
		time.Sleep(time.Duration(l.rng.IntN(200)) * time.Millisecond)
	}
}

// hear keeps the numbers and SPIs of what ikeproc says.
func (l *liar) hear() {
	for {
		m, err := l.link.Receive()
		if err != nil {
			return
		}
		v := reflect.ValueOf(m).Elem()
		l.mu.Lock()
		if f := v.FieldByName("Req"); f.IsValid() {
			l.reqs = append(l.reqs, f.Uint())
		}
		if f := v.FieldByName("SPIIn"); f.IsValid() {
			l.spis = append(l.spis, uint32(f.Uint()))
		}
		l.mu.Unlock()
	}
}

// invent makes up something that this neighbour may say.
func (l *liar) invent() msg.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	req, spi := uint64(l.rng.IntN(50)), l.rng.Uint32()
	if n := len(l.reqs); n > 0 && l.rng.IntN(4) > 0 {
		req = l.reqs[n-1-l.rng.IntN(min(n, 3))]
	}
	if n := len(l.spis); n > 0 && l.rng.IntN(4) > 0 {
		spi = l.spis[l.rng.IntN(n)]
	}
	grant := msg.Grant{Serial: 1, Connection: []string{"ab", "nowhere"}[l.rng.IntN(2)], PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("gw-203-0-113-2.example")},
		Expiry: time.Now().Add(time.Duration(l.rng.IntN(100_000)-50_000) * time.Second).Unix()}
	at := netip.AddrPortFrom([]netip.Addr{addrB, hostB, {}}[l.rng.IntN(3)], 500)
	ts := msg.TS{PortLast: 65535, First: hostA, Last: hostA}
	authproc := []msg.Message{
		&msg.Signed{Req: req, ID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("me")}, Method: 2, Data: make([]byte, 32)}, &msg.Signed{Req: req, Error: "no"},
		&msg.Verified{Req: req, OK: true, Grants: []msg.Grant{grant}}, &msg.Verified{Req: req, OK: true}, &msg.Verified{Req: req, Error: "no"},
		&msg.Renewed{Req: req, Grant: grant}, &msg.Renewed{Req: req, Error: "no"}, &msg.TrustHints{Problems: []msg.Problem{{Connection: "ab", Text: "bad"}, {Connection: "nowhere"}}},
	}
	xfrmproc := []msg.Message{
		&msg.SPI{Req: req, SPI: spi}, &msg.SPI{Req: req, Error: "no"}, &msg.SPI{Req: req}, &msg.Installed{Req: req}, &msg.Refused{Req: req, Reason: "no"},
		&msg.Counters{Req: req, SPIIn: spi, BytesIn: 1 << 60, LastIn: -1}, &msg.Counters{Req: req, SPIIn: spi, Missing: true},
		&msg.Acquire{Connection: "ab", Child: "net", TSLocal: ts, TSRemote: ts}, &msg.Acquire{Connection: "nowhere", Child: "net"}, &msg.Expire{SPIIn: spi, Hard: l.rng.IntN(2) == 0},
		&msg.Mapping{SPIIn: spi, Remote: at}, &msg.Inventory{Datapath: "userspace", Children: []msg.Carried{{Connection: "ab", Child: "net", SPIIn: spi, SPIOut: spi, Local: at, Remote: at}, {Connection: "nowhere"}}},
	}
	all := slices.Concat(authproc, xfrmproc)
	for {
		m := all[l.rng.IntN(len(all))]
		if _, ok := msg.Allowed(m.Kind(), l.link.(interface{ Self() msg.Process }).Self(), msg.IKEProc); ok {
			if s, ok := m.(*msg.SPI); ok && s.SPI != 0 {
				l.spis = append(l.spis, s.SPI)
			}
			return m
		}
	}
}
