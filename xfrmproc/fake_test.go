package xfrmproc

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// fakeDatapath carries pairs in a map and says what it was asked.
type fakeDatapath struct {
	pairs    map[uint32]backend.Carried
	reserved map[uint32]bool
	policies backend.Policies // that stand
	nextSPI  uint32
	events   chan backend.Event
	fail     error // of the next SetPolicies
	check    error
	calls    []string
	keys     []secret.Bytes // as Install got them
	closed   sync.Once
}

func newFake() *fakeDatapath {
	return &fakeDatapath{pairs: map[uint32]backend.Carried{}, reserved: map[uint32]bool{}, nextSPI: 0x1000, events: make(chan backend.Event, 16)}
}

func (f *fakeDatapath) Name() plan.Datapath          { return plan.DatapathKernel }
func (f *fakeDatapath) Check(backend.Policies) error { return f.check }
func (f *fakeDatapath) Events() <-chan backend.Event { return f.events }
func (f *fakeDatapath) Stats() (backend.Stats, error) {
	return backend.Stats{SAs: 2 * len(f.pairs), Policies: len(f.policies.Protect)}, nil
}
func (f *fakeDatapath) Close() error { f.closed.Do(func() { close(f.events) }); return nil }
func (f *fakeDatapath) Move(spi uint32, l, r netip.AddrPort) error {
	c := f.pairs[spi]
	c.Local, c.Remote = l, r
	f.pairs[spi] = c
	return nil
}

func (f *fakeDatapath) SetPolicies(p backend.Policies, addOnly bool) error {
	if err := f.fail; err != nil {
		f.fail = nil
		return err
	}
	if !addOnly {
		f.policies = p
		return nil
	}
	have := f.policies
	for _, x := range p.Protect {
		if !slices.ContainsFunc(have.Protect, func(y backend.Protect) bool { return y.Reqid == x.Reqid }) {
			have.Protect = append(slices.Clone(have.Protect), x)
		}
	}
	f.policies = have
	return nil
}

func (f *fakeDatapath) AllocSPI(_, _ netip.Addr) (uint32, error) {
	f.nextSPI++
	f.reserved[f.nextSPI] = true
	return f.nextSPI, nil
}

func (f *fakeDatapath) Install(p backend.Pair) error {
	f.keys = append(f.keys, p.EncrIn, p.EncrOut)
	delete(f.reserved, p.SPIIn)
	f.pairs[p.SPIIn] = backend.Carried{Reqid: p.Reqid, SPIIn: p.SPIIn, SPIOut: p.SPIOut, Local: p.Local, Remote: p.Remote, Encap: p.Encap}
	return nil
}

func (f *fakeDatapath) Activate(spi uint32) error { f.calls = append(f.calls, "activate"); return nil }

func (f *fakeDatapath) Remove(spi uint32) error {
	_, ok := f.pairs[spi]
	if !ok && !f.reserved[spi] {
		return backend.ErrNoSuchSA
	}
	delete(f.pairs, spi)
	delete(f.reserved, spi)
	return nil
}

func (f *fakeDatapath) Query(spi uint32) (backend.Counters, error) {
	if _, ok := f.pairs[spi]; !ok {
		return backend.Counters{}, backend.ErrNoSuchSA
	}
	return backend.Counters{BytesIn: 1, PacketsIn: 2}, nil
}

func (f *fakeDatapath) Dump() ([]backend.Carried, error) {
	var out []backend.Carried
	for _, c := range f.pairs {
		for _, p := range f.policies.Protect {
			if p.Reqid == c.Reqid {
				c.Connection, c.Child = p.Connection, p.Child
			}
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b backend.Carried) int { return cmp.Compare(a.SPIIn, b.SPIIn) })
	return out, nil
}

// memLink is one end of a link in memory.
type memLink struct {
	in, out chan msg.Message
	gone    chan struct{}
	once    *sync.Once
}

func newLink() (a, b *memLink) {
	x, y, gone, once := make(chan msg.Message, 64), make(chan msg.Message, 64), make(chan struct{}), new(sync.Once)
	return &memLink{x, y, gone, once}, &memLink{y, x, gone, once}
}

func (l *memLink) Send(m msg.Message) error {
	select {
	case <-l.gone: // whatever room there still is
		return io.ErrClosedPipe
	default:
	}
	select {
	case l.out <- m:
		return nil
	case <-l.gone:
		return io.ErrClosedPipe
	}
}

func (l *memLink) Receive() (msg.Message, error) {
	select {
	case m := <-l.in:
		return m, nil
	case <-l.gone:
		return nil, io.EOF
	}
}

func (l *memLink) ReceiveFiles() (msg.Message, []*os.File, error) {
	m, err := l.Receive()
	return m, nil, err
}

func (l *memLink) Close() error { l.once.Do(func() { close(l.gone) }); return nil }

// opener hands out one fake datapath, again and again, as the kernel's outlives a process.
type opener struct{ f *fakeDatapath }

func (o opener) Open(plan.Datapath, Descriptors) (Datapath, string, error) { return o.f, "a test", nil }
func (o opener) Adopt(Datapath, Descriptors) error                         { return nil }

// gateway is xfrmproc under test with triked and ikeproc played by the test.
type gateway struct {
	t      *testing.T
	f      *fakeDatapath
	triked *memLink
	ike    *memLink
	links  chan *memLink
	ended  chan error
	serial uint64
	req    uint64
	logs   []status.Event
}

var (
	gatewayKey = []byte("0123456789abcdef0123456789abcdef")
	berlin     = netip.MustParseAddr("198.51.100.1")
	paris      = netip.MustParseAddr("203.0.113.1")
)

func officeView() plan.XFRMView {
	child := func(name string, reqid uint32, local string) plan.Child {
		return plan.Child{Name: name, Mode: plan.ModeTunnel, Reqid: reqid, ReplayWindow: 64, Pos: plan.Pos{Line: 4, Column: 2},
			Local:     []plan.Selector{{Prefix: netip.MustParsePrefix(local), PortLast: 65535}},
			Remote:    []plan.Selector{{Prefix: netip.MustParsePrefix("10.2.0.0/16"), PortLast: 65535}},
			Proposals: []plan.ESPProposal{{Encr: []plan.Encr{{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 256}}, SN: []ikev2.SNID{ikev2.SN_ESN}}}}
	}
	return plan.XFRMView{Gateway: "berlin", Datapath: plan.DatapathKernel, Listen: []netip.Addr{berlin}, Sources: []string{"office.cue"},
		Connections: []plan.XFRMConnection{{Name: "paris", Local: plan.Endpoint{Address: berlin, ID: plan.Identity{Type: ikev2.ID_FQDN, Data: "berlin.example"}},
			Remote:   plan.Endpoint{Address: paris, ID: plan.Identity{Type: ikev2.ID_FQDN, Data: "paris.example"}},
			Children: []plan.Child{child("lab", plan.ReqidFirst+1, "10.9.0.0/16"), child("net", plan.ReqidFirst, "10.1.0.0/16")}}}}
}

// start runs xfrmproc over the datapath. It must be called inside a synctest bubble.
func start(t *testing.T, f *fakeDatapath) *gateway {
	g := &gateway{t: t, f: f, links: make(chan *memLink, 1), ended: make(chan error, 1)}
	var control *memLink
	control, g.triked = newLink()
	go func() {
		g.ended <- Run(t.Context(), Config{Control: control, Datapaths: opener{f}, Version: "test", PID: 1,
			Connect: func(msg.Process, []*os.File) (Link, error) { return <-g.links, nil }})
	}()
	if h, ok := g.hear().(*msg.Hello); !ok || h.Process != "xfrmproc" || h.Version != "test" {
		t.Fatalf("first words: %+v", h)
	}
	return g
}

// hear is the next message to triked that is no log line.
func (g *gateway) hear() msg.Message {
	g.t.Helper()
	for {
		m, err := g.triked.Receive()
		if err != nil {
			g.t.Fatalf("triked hears nothing more: %v", err)
		}
		l, ok := m.(*msg.Log)
		if !ok {
			return m
		}
		var e status.Event
		if err := json.Unmarshal(l.JSON, &e); err != nil {
			g.t.Fatal(err)
		}
		g.logs = append(g.logs, e)
	}
}

func (g *gateway) say(m msg.Message) {
	g.t.Helper()
	if err := g.triked.Send(m); err != nil {
		g.t.Fatal(err)
	}
}

// link gives xfrmproc a new ikeproc and returns the inventory if there is a plan.
func (g *gateway) link() *msg.Inventory {
	g.t.Helper()
	mine, its := newLink()
	g.ike = mine
	g.links <- its
	g.say(&msg.Link{Process: "ikeproc"})
	if g.serial == 0 {
		return nil
	}
	return g.inventory()
}

func (g *gateway) inventory() *msg.Inventory {
	g.t.Helper()
	inv, ok := g.fromXFRM().(*msg.Inventory)
	if !ok {
		g.t.Fatal("no inventory")
	}
	return inv
}

func (g *gateway) fromXFRM() msg.Message {
	g.t.Helper()
	m, err := g.ike.Receive()
	if err != nil {
		g.t.Fatalf("ikeproc hears nothing more: %v", err)
	}
	return m
}

// apply prepares and commits a view.
func (g *gateway) apply(v plan.XFRMView) {
	g.t.Helper()
	if m := g.prepare(v); m != "" {
		g.t.Fatalf("not prepared: %s", m)
	}
	g.say(&msg.Commit{Serial: g.serial})
	if m, ok := g.hear().(*msg.Committed); !ok || m.Serial != g.serial {
		g.t.Fatalf("not committed: %+v", m)
	}
}

// prepare returns why the view was refused, or "".
func (g *gateway) prepare(v plan.XFRMView) string {
	g.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		g.t.Fatal(err)
	}
	g.serial++
	g.say(&msg.Prepare{Serial: g.serial, View: b, GrantKey: secret.Copy(gatewayKey)})
	switch m := g.hear().(type) {
	case *msg.NotPrepared:
		return m.Reason
	case *msg.Prepared:
		return ""
	default:
		g.t.Fatalf("prepare was answered by %T", m)
		return ""
	}
}

// ask sends a request from ikeproc and returns the answer.
func (g *gateway) ask(m msg.Message) msg.Message {
	g.t.Helper()
	if err := g.ike.Send(m); err != nil {
		g.t.Fatal(err)
	}
	return g.fromXFRM()
}

// install allocates an SPI and installs a pair; change may spoil the request.
func (g *gateway) install(child string, change func(*msg.InstallChild)) (*msg.InstallChild, msg.Message) {
	g.t.Helper()
	g.req++
	spi, ok := g.ask(&msg.AllocSPI{Req: g.req, Connection: "paris", Child: child, Local: berlin, Remote: paris}).(*msg.SPI)
	if !ok || spi.SPI == 0 || spi.Req != g.req {
		g.t.Fatalf("no SPI: %+v", spi)
	}
	local := "10.1"
	if child == "lab" {
		local = "10.9"
	}
	key := func(b byte) secret.Bytes { return secret.New(slices.Repeat([]byte{b}, 36)) }
	gr := msg.Grant{Serial: 1, Connection: "paris", PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("paris.example")}, Expiry: time.Now().Add(time.Hour).Unix()}
	gr.MAC = msg.MACGrant(secret.New(gatewayKey), gr)
	g.req++
	m := &msg.InstallChild{Req: g.req, Grant: gr, Connection: "paris", Child: child, Mode: plan.ModeTunnel, Local: netip.AddrPortFrom(berlin, 500),
		Remote: netip.AddrPortFrom(paris, 500), SPIIn: spi.SPI, SPIOut: 0x77770000 + spi.SPI, Transform: msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256, SN: ikev2.SN_ESN},
		EncrIn: key(1), EncrOut: key(2),
		TSLocal:  []msg.TS{{PortLast: 65535, First: netip.MustParseAddr(local + ".0.0"), Last: netip.MustParseAddr(local + ".255.255")}},
		TSRemote: []msg.TS{{PortLast: 65535, First: netip.MustParseAddr("10.2.0.0"), Last: netip.MustParseAddr("10.2.255.255")}}}
	if change != nil {
		change(m)
	}
	return m, g.ask(m)
}

func (g *gateway) mustInstall(child string) uint32 {
	g.t.Helper()
	m, answer := g.install(child, nil)
	if i, ok := answer.(*msg.Installed); !ok || i.Req != m.Req {
		g.t.Fatalf("not installed: %+v", answer)
	}
	return m.SPIIn
}

// stop ends xfrmproc and returns what Run did.
func (g *gateway) stop() error {
	g.t.Helper()
	_ = g.triked.Close()
	err := <-g.ended
	if g.ike != nil {
		_ = g.ike.Close()
	}
	synctest.Wait()
	return err
}

var errTest = errors.New("the test says no")
