package trio

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// A grant dies with its time, and one SPI is good for one pair.
func TestHostileReplay(t *testing.T) {
	attacked(t, func(h *hostile) {
		m := h.install(h.spi())
		if a := h.ask(h.xfrm, m); a.Kind() != msg.KindInstalled {
			t.Fatalf("%+v", a)
		}
		again := h.install(m.SPIIn)
		if a := h.ask(h.xfrm, again); a.Kind() != msg.KindRefused || h.a.carried() != 1 {
			t.Errorf("the same SPI a second time: %+v", a)
		}
		if a := h.ask(h.xfrm, &msg.UpdateChild{Req: 9, SPIIn: m.SPIIn, Local: m.Local, Remote: netip.MustParseAddrPort("203.0.113.66:500")}); a.Kind() != msg.KindRefused {
			t.Errorf("a move to an address that the plan does not have: %+v", a)
		}
		time.Sleep(25 * time.Hour)
		late := h.install(h.spi())
		if a := h.ask(h.xfrm, late); a.Kind() != msg.KindRefused {
			t.Errorf("under a grant of yesterday: %+v", a)
		}
	})
}

// refused fails unless xfrmproc refuses m.
func (h *hostile) refused(what string, m msg.Message) {
	h.t.Helper()
	if a := h.ask(h.xfrm, m); a.Kind() != msg.KindRefused {
		h.t.Errorf("%s: %+v", what, a)
	}
}

// An SPI serves the child that it was given for, and is no SA before one is installed.
func TestHostileSPIsOfOthers(t *testing.T) {
	attacked(t, func(h *hostile) {
		a := h.ask(h.xfrm, &msg.AllocSPI{Req: 1, Connection: "other", Child: "net", Local: addrA, Remote: netip.MustParseAddr("203.0.113.9")}).(*msg.SPI)
		if a.SPI == 0 {
			t.Fatalf("%+v", a)
		}
		h.refused("an SPI of another connection", h.install(a.SPI))
		h.refused("activate what is not installed", &msg.UpdateChild{Req: 2, SPIIn: a.SPI, Activate: true})
		h.refused("move what is not installed", &msg.UpdateChild{Req: 2, SPIIn: 77, Local: netip.AddrPortFrom(addrA, 500), Remote: netip.AddrPortFrom(addrB, 500)})
		if c := h.ask(h.xfrm, &msg.QueryChild{Req: 3, SPIIn: a.SPI}).(*msg.Counters); !c.Missing {
			t.Errorf("%+v", c)
		}
		if n := h.a.carried(); n != 0 {
			t.Errorf("%d pairs are carried", n)
		}
	})
}

// A grant is worth nothing once the plan has another peer for the connection or none, and none in the hands of another triked.
func TestHostileStaleGrant(t *testing.T) {
	for name, reload := range map[string]func(h *hostile, p *plan.Plan){
		"another peer":  func(h *hostile, p *plan.Plan) { p.Connections[0].Remote.ID.Data = "new.example" },
		"no connection": func(h *hostile, p *plan.Plan) { p.Connections = p.Connections[1:] },
		"another triked": func(h *hostile, _ *plan.Plan) {
			h.a.key = []byte(strings.Repeat("n", 32))
			for _, name := range trio[:2] {
				h.a.kill(name)
				h.a.start(name)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			attacked(t, func(h *hostile) {
				p := *h.a.plan
				p.Connections = slices.Clone(p.Connections)
				reload(h, &p)
				if why := h.a.apply(&p); why != "" {
					t.Fatal(why)
				}
				h.connect()
				a := h.ask(h.xfrm, &msg.AllocSPI{Req: 1, Connection: "ab", Child: "net", Local: addrA, Remote: addrB}).(*msg.SPI)
				h.refused("under a grant of before", h.install(a.SPI))
				if r := h.ask(h.auth, &msg.Renew{Req: 3, Grant: h.grant}).(*msg.Renewed); r.Error == "" {
					t.Errorf("a grant of before was renewed: %+v", r)
				}
				back := *h.a.plan // so that the test's end finds what it looks for
				back.Connections = h.before
				if why := h.a.apply(&back); why != "" {
					t.Fatal(why)
				}
				synctest.Wait()
			})
		})
	}
}
