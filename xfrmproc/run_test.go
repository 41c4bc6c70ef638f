package xfrmproc

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

func run(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestRun(t *testing.T) {
	run(t, "a child is installed, updated, counted and removed", func(t *testing.T) {
		g := start(t, newFake())
		g.apply(officeView())
		if inv := g.link(); inv.Datapath != "kernel" || inv.Why != "a test" || len(inv.Children) != 0 {
			t.Fatalf("inventory %+v", inv)
		}
		spi := g.mustInstall("net")
		synctest.Wait() // they are wiped after the answer
		for _, k := range g.f.keys {
			for _, b := range k.Reveal() {
				if b != 0 {
					t.Fatal("the request's keys were not wiped")
				}
			}
		}
		if c, ok := g.ask(&msg.QueryChild{Req: 90, SPIIn: spi}).(*msg.Counters); !ok || c.Missing || c.PacketsIn != 2 || c.Req != 90 {
			t.Fatalf("counters %+v", c)
		}
		if _, ok := g.ask(&msg.UpdateChild{Req: 91, SPIIn: spi, Activate: true}).(*msg.Installed); !ok || len(g.f.calls) != 1 {
			t.Fatal("not activated")
		}
		if _, ok := g.ask(&msg.RemoveChild{Req: 92, SPIIn: spi}).(*msg.Installed); !ok || len(g.f.pairs) != 0 {
			t.Fatal("not removed")
		}
		if _, ok := g.ask(&msg.RemoveChild{Req: 93, SPIIn: spi}).(*msg.Installed); !ok {
			t.Fatal("removing what is gone is no error")
		}
		if c, ok := g.ask(&msg.QueryChild{Req: 94, SPIIn: spi}).(*msg.Counters); !ok || !c.Missing {
			t.Fatalf("counters %+v", c)
		}
		g.say(&msg.StatusRequest{Req: 7})
		var x status.XFRM
		if r, ok := g.hear().(*msg.StatusReply); !ok || r.Req != 7 || json.Unmarshal(r.JSON, &x) != nil || x.Policies != 2 || x.Datapath != "kernel" {
			t.Fatalf("status %+v", x)
		}
		g.say(&msg.Shutdown{})
		if err := <-g.ended; err != nil {
			t.Fatal(err)
		}
		if len(g.f.policies.Protect) != 2 {
			t.Fatal("policies went with the process")
		}
		g.ike.Close()
	})

	run(t, "what the guard refuses is not installed, and the policy line is told", func(t *testing.T) {
		g := start(t, newFake())
		g.apply(officeView())
		g.link()
		_, answer := g.install("net", func(m *msg.InstallChild) { m.TSLocal[0].First = netip.MustParseAddr("10.0.0.0") })
		r, ok := answer.(*msg.Refused)
		if !ok || r.Pos.Line != 4 || !strings.Contains(r.Reason, "office.cue:4:2") || len(g.f.pairs) != 0 {
			t.Fatalf("%+v", answer)
		}
		g.say(&msg.StatusRequest{})
		if r, ok := g.hear().(*msg.StatusReply); !ok || !strings.Contains(string(r.JSON), `"refused":1`) {
			t.Fatalf("%s", r.JSON)
		}
		if len(g.logs) == 0 || g.logs[len(g.logs)-1].Event != "refused" {
			t.Fatalf("logs %+v", g.logs)
		}
		g.stop()
	})

	run(t, "before there is a plan nothing is done", func(t *testing.T) {
		g := start(t, newFake())
		g.link()
		if s, ok := g.ask(&msg.AllocSPI{Req: 1, Connection: "paris", Child: "net", Local: berlin, Remote: paris}).(*msg.SPI); !ok || s.SPI != 0 || s.Error == "" {
			t.Fatalf("%+v", s)
		}
		if r, ok := g.ask(&msg.InstallChild{Req: 2}).(*msg.Refused); !ok {
			t.Fatalf("%+v", r)
		}
		g.apply(officeView())
		g.inventory()
		g.mustInstall("net")
		g.stop()
	})

	run(t, "a bad view changes nothing", func(t *testing.T) {
		g := start(t, newFake())
		g.apply(officeView())
		g.link()
		v := officeView()
		v.Connections[0].Children[0].Reqid = v.Connections[0].Children[1].Reqid
		if why := g.prepare(v); !strings.Contains(why, "reqid") {
			t.Fatalf("prepared: %q", why)
		}
		g.f.check = errTest
		if why := g.prepare(officeView()); !strings.Contains(why, errTest.Error()) {
			t.Fatalf("prepared: %q", why)
		}
		g.f.check = nil
		v = officeView()
		v.Datapath = plan.DatapathUserspace
		if why := g.prepare(v); !strings.Contains(why, "restart") {
			t.Fatalf("prepared: %q", why)
		}
		if why := g.prepare(officeView()); why != "" {
			t.Fatal(why)
		}
		g.say(&msg.Abort{Serial: g.serial})
		g.mustInstall("net")
		g.say(&msg.Commit{Serial: g.serial})
		if err := <-g.ended; err == nil || !strings.Contains(err.Error(), "not prepared") {
			t.Fatalf("a commit after an abort: %v", err)
		}
		g.stop2()
	})

	run(t, "what a commit drops stays until ReloadDone", func(t *testing.T) {
		g := start(t, newFake())
		g.apply(officeView())
		g.link()
		net, lab := g.mustInstall("net"), g.mustInstall("lab")
		v := officeView()
		v.Connections[0].Children = v.Connections[0].Children[1:] // net only
		g.apply(v)
		if inv := g.inventory(); len(inv.Children) != 2 || len(g.f.policies.Protect) != 2 {
			t.Fatalf("inventory %+v, policies %d", inv, len(g.f.policies.Protect))
		}
		g.ike.Send(&msg.ReloadDone{Serial: g.serial - 1}) // of an older reload: not yet
		if c, ok := g.ask(&msg.QueryChild{SPIIn: lab}).(*msg.Counters); !ok || c.Missing {
			t.Fatal("gone too early")
		}
		g.ike.Send(&msg.ReloadDone{Serial: g.serial})
		if e, ok := g.fromXFRM().(*msg.Expire); !ok || e.SPIIn != lab || !e.Hard {
			t.Fatalf("%+v", e)
		}
		synctest.Wait()
		if _, ok := g.f.pairs[net]; !ok || len(g.f.pairs) != 1 || len(g.f.policies.Protect) != 1 {
			t.Fatalf("pairs %v, policies %d", g.f.pairs, len(g.f.policies.Protect))
		}
		g.stop()
	})

	run(t, "a new ikeproc learns what is carried, and its new child ends the orphan", func(t *testing.T) {
		g := start(t, newFake())
		g.apply(officeView())
		g.link()
		orphan, other := g.mustInstall("net"), g.mustInstall("lab")
		reserved, ok := g.ask(&msg.AllocSPI{Req: 50, Connection: "paris", Child: "net", Local: berlin, Remote: paris}).(*msg.SPI)
		if !ok {
			t.Fatal("no SPI")
		}
		g.ike.Close()
		inv := g.link()
		if len(inv.Children) != 2 || inv.Children[0].SPIIn != orphan || inv.Children[0].Connection != "paris" {
			t.Fatalf("inventory %+v", inv)
		}
		if g.f.reserved[reserved.SPI] {
			t.Fatal("an SPI of the dead ikeproc is still reserved")
		}
		fresh := g.mustInstall("net")
		synctest.Wait()
		if _, ok := g.f.pairs[orphan]; !ok {
			t.Fatal("the orphan does not receive any more, and the peer may not know its successor yet")
		}
		time.Sleep(2 * orphanLife)
		synctest.Wait()
		if _, ok := g.f.pairs[orphan]; ok || len(g.f.pairs) != 2 {
			t.Fatalf("pairs %v", g.f.pairs)
		}
		// A rekey of a pair that this ikeproc knows leaves the old one to its Delete.
		m, answer := g.install("net", func(m *msg.InstallChild) { m.Replaces, m.OutboundLater = fresh, true })
		if _, ok := answer.(*msg.Installed); !ok {
			t.Fatalf("%+v", answer)
		}
		if _, ok := g.ask(&msg.UpdateChild{SPIIn: m.SPIIn, Activate: true}).(*msg.Installed); !ok {
			t.Fatal("not activated")
		}
		synctest.Wait()
		if len(g.f.pairs) != 3 {
			t.Fatalf("pairs %v", g.f.pairs)
		}
		if _, ok := g.f.pairs[other]; !ok {
			t.Fatal("another child's pair was removed")
		}
		g.stop()
	})

	run(t, "a new xfrmproc adopts what is the plan's and removes what is stale", func(t *testing.T) {
		f := newFake()
		f.pairs[1] = backend.Carried{Reqid: plan.ReqidFirst, SPIIn: 1, SPIOut: 2, Local: netip.AddrPortFrom(berlin, 0), Remote: netip.AddrPortFrom(paris, 0)}
		f.pairs[3] = backend.Carried{Reqid: plan.ReqidLast, SPIIn: 3, SPIOut: 4, Local: netip.AddrPortFrom(berlin, 0), Remote: netip.AddrPortFrom(paris, 0)}
		f.pairs[5] = backend.Carried{Reqid: plan.ReqidFirst, SPIIn: 5, SPIOut: 6, Local: netip.AddrPortFrom(berlin, 0), Remote: netip.MustParseAddrPort("192.0.2.1:0")}
		g := start(t, f)
		g.apply(officeView())
		inv := g.link()
		if len(inv.Children) != 1 || inv.Children[0].SPIIn != 1 || inv.Children[0].Child != "net" {
			t.Fatalf("inventory %+v", inv)
		}
		if len(f.pairs) != 1 {
			t.Fatalf("stale pairs stand: %v", f.pairs)
		}
		if _, ok := g.ask(&msg.RemoveChild{SPIIn: 1}).(*msg.Installed); !ok || len(f.pairs) != 0 {
			t.Fatal("an adopted pair cannot be removed")
		}
		g.stop()
	})

	run(t, "events reach ikeproc", func(t *testing.T) {
		g := start(t, newFake())
		g.apply(officeView())
		g.link()
		spi := g.mustInstall("net")
		g.f.events <- backend.Acquire{Connection: "paris", Child: "lab"}
		if a, ok := g.fromXFRM().(*msg.Acquire); !ok || a.Child != "lab" {
			t.Fatalf("%+v", a)
		}
		g.f.events <- backend.Mapping{SPIIn: spi, Remote: netip.MustParseAddrPort("203.0.113.1:999")}
		if m, ok := g.fromXFRM().(*msg.Mapping); !ok || m.Remote.Port() != 999 {
			t.Fatalf("%+v", m)
		}
		g.f.events <- backend.Expire{SPIIn: spi}
		if e, ok := g.fromXFRM().(*msg.Expire); !ok || e.Hard {
			t.Fatalf("%+v", e)
		}
		// The datapath lost events, and the pair with them.
		delete(g.f.pairs, spi)
		g.f.events <- backend.Lost{}
		if e, ok := g.fromXFRM().(*msg.Expire); !ok || !e.Hard || e.SPIIn != spi {
			t.Fatalf("%+v", e)
		}
		if inv := g.inventory(); len(inv.Children) != 0 {
			t.Fatalf("%+v", inv)
		}
		g.stop()
	})

	run(t, "policies that the datapath did not take are tried again", func(t *testing.T) {
		g := start(t, newFake())
		g.f.fail = errTest
		g.apply(officeView())
		if len(g.f.policies.Protect) != 0 {
			t.Fatal("the test is wrong")
		}
		time.Sleep(retryPolicies + time.Second)
		synctest.Wait()
		if len(g.f.policies.Protect) != 2 {
			t.Fatal("not tried again")
		}
		if len(g.logs) == 0 || !strings.Contains(g.logs[len(g.logs)-1].Text, errTest.Error()) {
			t.Fatalf("logs %+v", g.logs)
		}
		g.stop()
	})

	run(t, "what has no place on a link ends it", func(t *testing.T) {
		g := start(t, newFake())
		g.apply(officeView())
		g.link()
		spi := g.mustInstall("net")
		g.ike.Send(&msg.Commit{Serial: g.serial})
		if m, err := g.ike.Receive(); !errors.Is(err, io.EOF) {
			t.Fatalf("%+v %v", m, err)
		}
		if len(g.link().Children) != 1 {
			t.Fatalf("SPI %08x went with the link", spi)
		}
		g.say(&msg.Installed{})
		if err := <-g.ended; err == nil || !strings.Contains(err.Error(), "no place") {
			t.Fatal(err)
		}
		g.stop2()
	})

	run(t, "an ikeproc that does not read is cut off, and triked is still heard", func(t *testing.T) {
		g := start(t, newFake())
		g.apply(officeView())
		g.link()
		for range ipc.QueueLength + 200 {
			if g.ike.Send(&msg.QueryChild{SPIIn: 1}) != nil {
				break
			}
		}
		synctest.Wait()
		g.say(&msg.StatusRequest{Req: 1})
		if _, ok := g.hear().(*msg.StatusReply); !ok {
			t.Fatal("no status")
		}
		if err := g.ike.Send(&msg.QueryChild{}); err == nil {
			t.Fatal("the link still stands")
		}
		g.stop()
	})
}

// stop2 tidies up after Run has ended.
func (g *gateway) stop2() {
	_ = g.triked.Close()
	if g.ike != nil {
		_ = g.ike.Close()
	}
	synctest.Wait()
}
