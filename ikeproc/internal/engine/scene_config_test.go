package engine_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// givesPool has the gateway give its peer addresses of 10.99.0.0/24.
func givesPool(c *plan.Connection) {
	c.Configure = plan.Configure{Pools: []string{"staff"}}
	c.Children[0].Remote = []plan.Selector{prefix("10.99.0.0/24")}
}

var anyAddress = &wire.CP{Type: ikev2.CFG_REQUEST, Attributes: []wire.ConfigAttribute{{Type: ikev2.INTERNAL_IP4_ADDRESS}, {Type: ikev2.INTERNAL_IP4_DNS}}}

// everything is what a road warrior offers: it does not know its address yet (RFC 7296 section 2.19).
func (p *puppet) roadWarrior(extra ...wire.Payload) []wire.Payload {
	p.accept(p.offer())
	return p.ask(ikev2.IKE_AUTH, append([]wire.Payload{&wire.ID{Type: p.id.Type, Data: p.id.Data}, p.auth("a shared secret"), espSA(p.spiIn),
		wholeTS(false, "0.0.0.0/0"), wholeTS(true, "0.0.0.0/0")}, extra...)...)
}

func (a *falseAuth) used(what msg.UsageKind) (n int) {
	for _, u := range a.usage {
		if u.What == what {
			n++
		}
	}
	return n
}

// CP-01: --> { …, CP(CFG_REQUEST) }  <-- { …, CP(CFG_REPLY), … }: the child is narrowed to the address that was given. A rekey of the IKE SA keeps the session; its end frees the address.
func TestAddressIsGiven(t *testing.T) {
	p := puppetTo(t, givesPool)
	p.n.auth.lease = netip.MustParseAddr("10.99.0.7")
	ps := p.roadWarrior(anyAddress)
	cp := wire.Find[*wire.CP](ps)
	if cp == nil || cp.Type != ikev2.CFG_REPLY || len(cp.Attributes) != 1 || netip.AddrFrom4([4]byte(cp.Attributes[0].Value)) != p.n.auth.lease {
		t.Fatalf("answer %s, CP %+v", wire.Summary(ps), cp)
	}
	ts := wire.FindTS(ps, false).Selectors
	if len(ts) != 1 || ts[0].Start != p.n.auth.lease || ts[0].End != p.n.auth.lease {
		t.Errorf("TSi is %v", ts)
	}
	for _, pair := range p.n.path.pairs {
		if len(pair.TSRemote) != 1 || pair.TSRemote[0].First != p.n.auth.lease {
			t.Errorf("installed %v", pair.TSRemote)
		}
	}
	if p.n.auth.used(msg.UsageStart) != 1 || p.n.auth.used(msg.UsageStop) != 0 {
		t.Errorf("authproc heard %+v", p.n.auth.usage)
	}
	p.ask(ikev2.INFORMATIONAL, &wire.Delete{Protocol: ikev2.ProtocolIKE})
	p.w.run(time.Second)
	if p.n.auth.used(msg.UsageStop) != 1 {
		t.Errorf("authproc heard %+v", p.n.auth.usage)
	}
}

// CP-05: no pool has an address: INTERNAL_ADDRESS_FAILURE and no child, and the IKE SA stands (RFC 7296 section 3.15.4). A peer that asks for none hears FAILED_CP_REQUIRED.
func TestNoAddress(t *testing.T) {
	for name, c := range map[string]struct {
		ask  []wire.Payload
		why  ikev2.NotifyType
		code string
	}{
		"the pool is empty": {[]wire.Payload{anyAddress}, ikev2.INTERNAL_ADDRESS_FAILURE, "no-address-left"},
		"it does not ask":   {nil, ikev2.FAILED_CP_REQUIRED, "no-address-asked"},
	} {
		t.Run(name, func(t *testing.T) {
			p := puppetTo(t, givesPool)
			p.n.auth.noLease = "no IPv4 address is left"
			ps := p.roadWarrior(c.ask...)
			p.wantNotify(ps, c.why)
			if wire.Find[*wire.AUTH](ps) == nil || wire.Find[*wire.SA](ps) != nil || p.sas() != 1 || len(p.n.path.pairs) != 0 {
				t.Errorf("answer %s, %d IKE SAs, %d pairs", wire.Summary(ps), p.sas(), len(p.n.path.pairs))
			}
			if s := p.n.status("ab"); s.Problem == nil || s.Problem.Code != c.code {
				t.Errorf("problem %+v", s.Problem)
			}
		})
	}
}

// RFC 4478: the peer hears how long it is authenticated for, and is gone after that.
func TestSessionTime(t *testing.T) {
	p := puppetTo(t, givesPool, func(c *plan.Connection) { c.DPD.Delay = 0 })
	p.n.auth.lease, p.n.auth.reauth = netip.MustParseAddr("10.99.0.7"), 600
	n := p.wantNotify(p.roadWarrior(anyAddress), ikev2.AUTH_LIFETIME)
	if s, ok := n.Uint32(); !ok || s != 600 {
		t.Fatalf("AUTH_LIFETIME %d", s)
	}
	p.up()
	p.w.run(595 * time.Second)
	if p.sas() != 1 {
		t.Fatal("the SA is gone before its time")
	}
	p.w.run(3 * time.Minute) // the puppet does not answer our Delete
	if p.n.auth.used(msg.UsageStop) != 1 || len(p.n.path.pairs) != 0 {
		t.Errorf("the session is not over: %+v", p.n.auth.usage)
	}
}

// Two gateways, one of them the other's client: it asks, offers any address of its own, and gets the child for the one that it was given. Rekeys from both sides keep it, and
// authproc ends it by name.
func TestClientAsks(t *testing.T) {
	given := netip.MustParseAddr("10.99.0.7")
	w, a, b := pair(t, func(end int, c *plan.Connection) {
		if end == 1 {
			givesPool(c)
			return
		}
		c.Request = plan.Request{IPv4: true, Accept: []netip.Prefix{netip.MustParsePrefix("10.99.0.0/24")}}
		c.Children[0].Local = []plan.Selector{{PortLast: 65535}}
	})
	b.auth.lease = given
	w.raise(a, b)
	owns := func(when string) {
		t.Helper()
		w.agree(a, b)
		for _, x := range a.path.pairs {
			if len(x.TSLocal) != 1 || x.TSLocal[0].First != given || x.TSLocal[0].Last != given {
				t.Errorf("%s: %v", when, x.TSLocal)
			}
		}
	}
	owns("at first")
	w.run(5 * time.Hour) // several rekeys of either SA, by whichever side is first
	owns("after rekeys")
	if b.auth.used(msg.UsageStart) != 1 || b.auth.used(msg.UsageStop) != 0 {
		t.Errorf("authproc heard of more than one session: %+v", b.auth.usage)
	}
	b.tell(engine.FromAuth{Msg: &msg.Terminate{Session: b.auth.usage[0].Grant.Session, Reason: "the operator wants it gone"}})
	w.run(5 * time.Second)
	if b.auth.used(msg.UsageStop) != 1 || len(b.path.pairs) != 0 {
		t.Errorf("after Terminate: %+v, %d pairs", b.auth.usage, len(b.path.pairs))
	}
}

// RFC 2866: what a session carried is counted over the rekeys of both its SAs, told in between, and told whole at its end.
func TestSessionIsCounted(t *testing.T) {
	w, a, b := pair(t, func(end int, c *plan.Connection) {
		if end == 1 {
			c.Accounting = plan.Accounting{Plugin: "radius", Interim: 60}
		}
	})
	w.raise(a, b)
	pings := uint64(0)
	for range 50 {
		w.run(10 * time.Minute)
		if a.ping(b, "ab", "net") {
			pings++
		}
	}
	a.control("down", "ab", "", true, true)
	w.run(time.Minute)
	if n := b.auth.used(msg.UsageStart); n != 1 || len(a.auth.usage) != 0 {
		t.Errorf("%d sessions began; the other side, which accounts nothing, said %+v", n, a.auth.usage)
	}
	if n := b.auth.used(msg.UsageInterim); n < 450 || n > 510 {
		t.Errorf("%d interim records in 500 minutes, one a minute", n)
	}
	last := b.auth.usage[len(b.auth.usage)-1]
	if last.What != msg.UsageStop || last.PacketsIn != pings || last.BytesIn != 100*pings || last.Cause != "user-request" || pings != 50 {
		t.Errorf("the end: %+v; %d pings came", last, pings)
	}
	most := uint64(0)
	for _, u := range b.auth.usage {
		if u.BytesIn < most {
			t.Fatalf("counters fell from %d to %d", most, u.BytesIn)
		}
		most = u.BytesIn
	}
}
