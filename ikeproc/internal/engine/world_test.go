package engine_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/simnet"
	"github.com/trike-ipsec/trike/internal/status"
)

// epoch is when every world begins.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is some gateways, a network between them, and a clock that only run moves.
type world struct {
	t     testing.TB
	seed  uint64
	now   time.Time
	net   *simnet.Net
	nodes []*node
	seen  []packet // every datagram that was sent, oldest first
	quiet bool     // keep no record of datagrams
	// gate, when set, decides about each datagram as it arrives: false loses it.
	gate func(p packet) bool
	// after, when set, runs after each step of an engine.
	after func()
	steps int
	// puppets are peers that the test moves by hand; what arrives for one waits in its mail.
	puppets map[netip.Addr]*puppet
}

// node is one gateway: an engine, a false authproc and a false datapath.
type node struct {
	w      *world
	name   string
	addr   netip.Addr
	view   plan.IKEView
	limits engine.Limits
	eng    *engine.Engine
	auth   *falseAuth
	path   *falsePath
	inbox  []engine.Event
	log    []status.Event
	done   map[uint64]string // answers to Control, by request
	exited bool
	lives  uint64
	mute   bool // the engine is down: it hears nothing
}

// packet is one datagram, its header read.
type packet struct {
	at       time.Time
	from, to netip.AddrPort
	h        wire.Header
	data     []byte
	alive    bool // a keepalive
}

func (p packet) String() string {
	if p.alive {
		return fmt.Sprintf("%s → %s keepalive", p.from, p.to)
	}
	way := "request"
	if p.h.Response {
		way = "response"
	}
	if p.h.NextPayload == ikev2.PayloadSKF {
		way += " fragment"
	}
	return fmt.Sprintf("%s → %s %s %s %d, %d octets", p.from, p.to, p.h.Exchange, way, p.h.MessageID, len(p.data))
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, seed: seed, now: epoch, net: simnet.New(seed)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return w
}

// detEntropy is a deterministic stream.
func detEntropy(seed, stream uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i], key[8+i] = byte(seed>>(8*i)), byte(stream>>(8*i))
	}
	return rand.NewChaCha8(key)
}

// add starts a gateway.
func (w *world) add(name string, view plan.IKEView) *node {
	n := &node{w: w, name: name, view: view, done: map[uint64]string{}}
	n.addr = view.Listen[0]
	w.nodes = append(w.nodes, n)
	n.auth = newFalseAuth(n)
	n.path = newFalsePath(n)
	n.boot()
	return n
}

// boot gives the gateway a new engine that knows nothing; datapath and authproc stay.
func (n *node) boot() {
	n.lives++
	n.inbox, n.exited, n.mute = nil, false, false
	n.eng = engine.New(engine.Config{View: n.view, Entropy: detEntropy(n.w.seed, uint64(len(n.w.nodes))<<32|uint64(n.addr.As16()[15])<<8|n.lives), Now: n.w.now, Limits: n.limits})
}

// reboot loses everything: engine and SAs.
func (n *node) reboot() {
	n.path.clear()
	n.boot()
	n.tell(engine.FromXFRM{Msg: &msg.Inventory{Datapath: "false"}})
}

// tell queues an event for the gateway's engine.
func (n *node) tell(ev engine.Event) { n.inbox = append(n.inbox, ev) }

// step gives the engine one event and does what it says.
func (n *node) step(ev engine.Event) {
	if n.exited || n.mute {
		return
	}
	n.w.steps++
	for _, eff := range n.eng.Step(n.w.now, ev) {
		switch eff := eff.(type) {
		case engine.Send:
			n.w.post(eff)
		case engine.ToAuth:
			n.auth.hear(eff.Msg)
		case engine.ToXFRM:
			n.path.hear(eff.Msg)
		case engine.Compute:
			n.tell(engine.Computed{KEResult: eff.Job.Run()})
		case engine.Log:
			n.log = append(n.log, eff.Event)
			if len(n.log) > 4096 {
				n.log = n.log[2048:]
			}
		case engine.ControlDone:
			n.done[eff.Req] = "ok"
			if eff.Error != "" {
				n.done[eff.Req] = eff.Error
			}
		case engine.Exit:
			n.exited = true
		default:
			n.w.t.Fatalf("%s: effect %T", n.name, eff)
		}
	}
	if n.w.after != nil {
		n.w.after()
	}
}

func (w *world) post(s engine.Send) {
	p := packet{at: w.now, from: s.Local, to: s.Remote, data: append([]byte(nil), s.Data...)}
	if len(s.Data) == 1 && s.Data[0] == 0xff {
		p.alive = true
	} else if h, err := wire.ParseHeader(s.Data); err != nil {
		w.t.Errorf("%s sends what is no IKE message: %v", s.Local, err)
	} else {
		p.h = h
	}
	if !w.quiet {
		w.seen = append(w.seen, p)
	}
	if !p.alive { // the datapath's socket eats keepalives
		w.net.Send(w.now, s.Local, s.Remote, s.Data)
	}
}

func (w *world) at(a netip.Addr) *node {
	for _, n := range w.nodes {
		if n.addr == a {
			return n
		}
	}
	return nil
}

// settle gives every engine the answers of its neighbours until there are none, and what arrives now.
func (w *world) settle() {
	for n := 0; ; n++ {
		busy := false
		for _, n := range w.nodes {
			for len(n.inbox) > 0 {
				ev := n.inbox[0]
				n.inbox = n.inbox[1:]
				n.step(ev)
				busy = true
			}
		}
		for _, d := range w.net.Deliver(w.now) {
			busy = true
			n := w.at(d.To.Addr())
			if n == nil {
				if p := w.puppets[d.To.Addr()]; p != nil {
					p.mail = append(p.mail, d)
				}
				continue
			}
			h, _ := wire.ParseHeader(d.Data)
			if w.gate != nil && !w.gate(packet{at: w.now, from: d.From, to: d.To, h: h, data: d.Data}) {
				continue
			}
			n.step(engine.Datagram{Local: d.To, Remote: d.From, Data: d.Data})
			for i := range d.Data { // the engine must have kept no reference
				d.Data[i] = 0xee
			}
		}
		if !busy {
			return
		}
		if n > 100_000 {
			w.t.Fatalf("the gateways never come to rest at %v:\n%s", w.now, w.history(20))
		}
	}
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for n := 0; ; n++ {
		w.settle()
		next, due := end, (*node)(nil)
		if at, ok := w.net.NextDelivery(); ok && at.Before(next) {
			next = at
		}
		for _, n := range w.nodes {
			if n.exited || n.mute {
				continue
			}
			if at, ok := n.eng.Deadline(); ok && at.Before(next) {
				next, due = at, n
			}
		}
		if next.Before(w.now) {
			next = w.now
		}
		if !next.Before(end) {
			w.now = end
			w.settle()
			return
		}
		if next.Equal(w.now) && n > 1_000_000 {
			w.t.Fatalf("time stands still at %v: a deadline comes again at once", w.now)
		}
		if next.After(w.now) {
			w.now = next
			n = 0
		}
		if due != nil {
			due.step(engine.Tick{})
		}
	}
}

// until runs up to d, until cond holds.
func (w *world) until(d time.Duration, what string, cond func() bool) {
	w.t.Helper()
	end := w.now.Add(d)
	w.settle()
	for !cond() {
		if !w.now.Before(end) {
			w.t.Fatalf("after %v still not: %s\n%s", d, what, w.history(30))
		}
		w.run(min(100*time.Millisecond, end.Sub(w.now)))
	}
}

// history writes the last datagrams and log lines.
func (w *world) history(most int) string {
	var b strings.Builder
	from := max(0, len(w.seen)-most)
	for _, p := range w.seen[from:] {
		fmt.Fprintf(&b, "%8.3fs %s\n", p.at.Sub(epoch).Seconds(), p)
	}
	for _, n := range w.nodes {
		for _, ev := range n.log[max(0, len(n.log)-most):] {
			fmt.Fprintf(&b, "%s %8.3fs %s %s %s: %s\n", n.name, ev.Time.Sub(epoch).Seconds(), ev.Event, ev.Connection, ev.Child, ev.Text)
		}
	}
	return b.String()
}

// mark returns a function that gives the datagrams sent since.
func (w *world) mark() func() []packet {
	from := len(w.seen)
	return func() []packet { return w.seen[from:] }
}

// sent counts the datagrams of an exchange from a gateway: requests or responses.
func sent(ps []packet, from *node, x ikev2.ExchangeType, response bool) (out []packet) {
	for _, p := range ps {
		if !p.alive && p.from.Addr() == from.addr && p.h.Exchange == x && p.h.Response == response {
			out = append(out, p)
		}
	}
	return out
}

// control gives the operator's command and returns its request ID.
func (n *node) control(verb, connection, child string, ike, wait bool) uint64 {
	req := uint64(len(n.done) + 1000*len(n.inbox) + 1)
	for n.done[req] != "" {
		req++
	}
	n.tell(engine.Control{Control: msg.Control{Req: req, Verb: verb, Connection: connection, Child: child, IKE: ike, Wait: wait}})
	n.w.settle()
	return req
}

// status is the connection's.
func (n *node) status(name string) status.Connection {
	for _, c := range n.eng.Status(n.w.now).Connections {
		if c.Name == name {
			return c
		}
	}
	n.w.t.Fatalf("%s: status knows no connection %q", n.name, name)
	return status.Connection{}
}

// up reports whether the connection has an IKE SA, and this child an SA, on this gateway.
func (n *node) up(connection, child string) bool {
	c := n.status(connection)
	ike := false
	for _, sa := range c.SAs {
		ike = ike || sa.State == "established"
	}
	for _, ch := range c.Children {
		if ch.Name == child {
			return ike && len(ch.SAs) > 0 && len(n.path.of(connection, child)) > 0
		}
	}
	return false
}

// logged reports whether the log has an event of this name.
func (n *node) logged(event string) bool {
	for _, ev := range n.log {
		if ev.Event == event {
			return true
		}
	}
	return false
}

// The suites that the scenes use.
var (
	gcm256  = plan.Encr{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 256}
	cbc128  = plan.Encr{ID: ikev2.ENCR_AES_CBC, KeyBits: 128}
	chacha  = plan.Encr{ID: ikev2.ENCR_CHACHA20_POLY1305}
	classic = plan.IKEProposal{Encr: []plan.Encr{gcm256}, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_256}, KE: []ikev2.KEID{ikev2.KE_CURVE25519}}
	hybrid  = plan.IKEProposal{Encr: []plan.Encr{gcm256}, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_512}, KE: []ikev2.KEID{ikev2.KE_CURVE25519},
		AddKE: []plan.AddKE{{Slot: 1, KE: []ikev2.KEID{ikev2.KE_MLKEM768}}}}
	espClassic = plan.ESPProposal{Encr: []plan.Encr{gcm256}, SN: []ikev2.SNID{ikev2.SN_ESN, ikev2.SN_32}}
	espPFS     = plan.ESPProposal{Encr: []plan.Encr{gcm256}, KE: []ikev2.KEID{ikev2.KE_CURVE25519}, SN: []ikev2.SNID{ikev2.SN_ESN, ikev2.SN_32}}
	espHybrid  = plan.ESPProposal{Encr: []plan.Encr{gcm256}, KE: []ikev2.KEID{ikev2.KE_CURVE25519}, SN: []ikev2.SNID{ikev2.SN_ESN, ikev2.SN_32},
		AddKE: []plan.AddKE{{Slot: 1, KE: []ikev2.KEID{ikev2.KE_MLKEM768}}}}
)
