package userspace

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/esp"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/spd"
)

// maxReserved bounds SPIs that were given out and not redeemed; those older than reserveAge make room.
const (
	maxReserved = 100_000
	reserveAge  = 5 * time.Minute
)

// Backend is the userspace datapath.
type Backend struct {
	device Device
	sa     sad
	table  atomic.Pointer[spd.Table[*child]]
	// generation rises with each change of policies or pairs: what a packet goroutine remembers of an older one is void.
	generation atomic.Uint64
	events     *queue
	drops      drops
	workers    sync.WaitGroup

	// mu serialises control: the one goroutine that drives the backend, a timer or a packet goroutine that ends a pair at its hard limit.
	mu       sync.Mutex
	closed   bool
	serial   uint64
	sockets  []Socket
	reserved map[uint32]time.Time
	groups   map[uint32]*group    // by reqid, while a policy or a pair uses it
	learned  map[uint32][]learned // by reqid: policies that pairs brought for peers of any address
	mtus     map[netip.Addr]*pathMTU
	standing backend.Policies
	wanted   map[uint32]*backend.Protect // of standing, by reqid
	pairs    int
}

var _ backend.Backend = (*Backend)(nil)

// New begins to carry packets between device and the sockets that AddSocket brings. It owns both from here on.
func New(device Device) *Backend {
	b := &Backend{device: device, events: newQueue(), reserved: map[uint32]time.Time{}, groups: map[uint32]*group{}, learned: map[uint32][]learned{},
		mtus: map[netip.Addr]*pathMTU{}}
	b.table.Store(new(spd.Table[*child]))
	b.workers.Go(b.events.run)
	b.workers.Go(newSender(b).run)
	return b
}

// AddSocket begins to receive on s. A socket for the same address and kind that is there already stays, and s is closed.
func (b *Backend) AddSocket(s Socket) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.Join(backend.ErrClosed, s.Close())
	}
	if slices.ContainsFunc(b.sockets, func(o Socket) bool { return o.Local() == s.Local() && o.Encap() == s.Encap() }) {
		return s.Close()
	}
	s.OnPathMTU(b.learnMTU)
	b.sockets = append(b.sockets, s)
	b.workers.Go(newReceiver(b, s).run)
	return nil
}

// Name is the datapath that this is.
func (b *Backend) Name() plan.Datapath { return plan.DatapathUserspace }

// Events is what the datapath has to say.
func (b *Backend) Events() <-chan backend.Event { return b.events.out }

// AllocSPI reserves an SPI that no pair and no other reservation of this backend has.
func (b *Backend) AllocSPI(local, remote netip.Addr) (uint32, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, &backend.Error{Op: "allocate SPI", Err: backend.ErrClosed}
	}
	if len(b.reserved) >= maxReserved {
		for spi, at := range b.reserved {
			if time.Since(at) > reserveAge {
				delete(b.reserved, spi)
			}
		}
		if len(b.reserved) >= maxReserved {
			return 0, &backend.Error{Op: "allocate SPI", Err: fmt.Errorf("%d SPIs are reserved and none redeemed: the negotiations that asked for them must end first", maxReserved)}
		}
	}
	for {
		var r [4]byte
		rand.Read(r[:])
		spi := binary.BigEndian.Uint32(r[:])
		if _, taken := b.reserved[spi]; spi >= 256 && !taken && b.sa.get(spi) == nil { // RFC 4303 section 2.1
			b.reserved[spi] = time.Now()
			return spi, nil
		}
	}
}

// Install sets up a pair.
func (b *Backend) Install(bp backend.Pair) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.newPair(bp)
	if err != nil {
		if !errors.Is(err, backend.ErrExists) {
			delete(b.reserved, bp.SPIIn)
		}
		return &backend.Error{Op: "install", Connection: bp.Connection, Child: bp.Child, SPI: bp.SPIIn, Err: err}
	}
	delete(b.reserved, p.SPIIn)
	b.serial++
	p.serial = b.serial
	p.group.pairs++
	b.pairs++
	b.sa.put(p.SPIIn, p)
	b.learnPolicies(p)
	if !p.OutboundLater {
		b.startSending(p)
	}
	if p.Lifetime.Hard > 0 {
		p.net = time.AfterFunc(time.Duration(p.Lifetime.Hard)*time.Second, func() { b.expire(p) })
	}
	return nil
}

// newPair checks and keys a pair, and changes nothing.
func (b *Backend) newPair(bp backend.Pair) (*pair, error) {
	if b.closed {
		return nil, backend.ErrClosed
	}
	if b.sa.get(bp.SPIIn) != nil {
		return nil, backend.ErrExists
	}
	if bp.Mode != plan.ModeTunnel && bp.Mode != plan.ModeTransport {
		return nil, fmt.Errorf("mode %q: %w", bp.Mode, backend.ErrUnsupported)
	}
	if _, _, ok := backend.KeyLengths(bp.Transform); !ok {
		return nil, fmt.Errorf("%v of %d bits with %v: %w", bp.Transform.Encr, bp.Transform.KeyBits, bp.Transform.Integ, backend.ErrUnsupported)
	}
	if len(bp.TSLocal) == 0 || len(bp.TSRemote) == 0 {
		return nil, errors.New("no traffic selectors")
	}
	p := &pair{Pair: bp}
	p.EncrIn, p.IntegIn, p.EncrOut, p.IntegOut = secret.Bytes{}, secret.Bytes{}, secret.Bytes{}, secret.Bytes{}
	suite := esp.Suite{Encr: bp.Transform.Encr, KeyBits: bp.Transform.KeyBits, Integ: bp.Transform.Integ, ESN: bp.Transform.SN == ikev2.SN_ESN}
	var err error
	if p.in, err = esp.NewInbound(bp.SPIIn, suite, bp.EncrIn.Reveal(), bp.IntegIn.Reveal(), bp.ReplayWindow); err != nil {
		return nil, err
	}
	if p.out, err = esp.NewOutbound(bp.SPIOut, suite, bp.EncrOut.Reveal(), bp.IntegOut.Reveal()); err != nil {
		return nil, err
	}
	where, err := b.newPath(bp.Local, bp.Remote, bp.Encap)
	if err != nil {
		return nil, err
	}
	p.path.Store(where)
	p.group = b.groupOf(bp.Reqid)
	return p, nil
}

func (b *Backend) newPath(local, remote netip.AddrPort, encap bool) (*path, error) {
	if !local.Addr().IsValid() || !remote.Addr().IsValid() || local.Addr().BitLen() != remote.Addr().BitLen() {
		return nil, fmt.Errorf("outer addresses %v and %v are no pair", local.Addr(), remote.Addr())
	}
	var found Socket
	for _, s := range b.sockets {
		at := s.Local()
		if s.Encap() != encap || encap && at.Port() != local.Port() || at.Addr().BitLen() != local.Addr().BitLen() {
			continue
		}
		if at.Addr() == local.Addr() || at.Addr().IsUnspecified() && found == nil {
			found = s
		}
	}
	if found == nil {
		kind := "IP protocol 50"
		if encap {
			kind = "UDP"
		}
		return nil, fmt.Errorf("no %s socket for %v: is the address in the plan's listen list?", kind, local)
	}
	if !encap {
		local, remote = netip.AddrPortFrom(local.Addr(), 0), netip.AddrPortFrom(remote.Addr(), 0)
	}
	m := b.mtus[remote.Addr()]
	if m == nil {
		m = &pathMTU{}
		b.mtus[remote.Addr()] = m
	}
	m.users++
	return &path{local: local, remote: remote, socket: found, overhead: outerOverhead(remote.Addr(), encap), mtu: m}, nil
}

func (b *Backend) dropPath(p *path) {
	if p.mtu.users--; p.mtu.users == 0 {
		delete(b.mtus, p.remote.Addr())
	}
}

// learnMTU is told by sockets.
func (b *Backend) learnMTU(peer netip.Addr, mtu int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.mtus[peer]; m != nil {
		m.learn(mtu, peer.Is6(), time.Now().Unix())
	}
}

func (b *Backend) groupOf(reqid uint32) *group {
	g := b.groups[reqid]
	if g == nil {
		g = &group{}
		g.sending.Store(&[]*pair{})
		b.groups[reqid] = g
	}
	return g
}

// startSending puts p in front of its group.
func (b *Backend) startSending(p *pair) {
	if p.sends.Swap(true) {
		return
	}
	next := append([]*pair{p}, *p.group.sending.Load()...)
	p.group.sending.Store(&next)
	b.generation.Add(1)
}

// Activate begins to send on a pair that was installed with OutboundLater.
func (b *Backend) Activate(spiIn uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.pairOf("activate", spiIn)
	if err != nil {
		return err
	}
	b.startSending(p)
	return nil
}

// Move sends a pair's packets elsewhere from now on. Packets to it are taken wherever they come from, if they are authentic.
func (b *Backend) Move(spiIn uint32, local, remote netip.AddrPort) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.pairOf("move", spiIn)
	if err != nil {
		return err
	}
	next, err := b.newPath(local, remote, p.Encap)
	if err != nil {
		return &backend.Error{Op: "move", Connection: p.Connection, Child: p.Child, SPI: spiIn, Err: err}
	}
	b.dropPath(p.path.Swap(next))
	p.mappingSaid.Store(nil)
	b.generation.Add(1)
	return nil
}

// Remove takes a pair or a reservation away.
func (b *Backend) Remove(spiIn uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.reserved[spiIn]; ok {
		delete(b.reserved, spiIn)
		return nil
	}
	p, err := b.pairOf("remove", spiIn)
	if err != nil {
		return err
	}
	b.remove(p)
	return nil
}

// pairOf finds a pair for an operation, or says why not.
func (b *Backend) pairOf(op string, spiIn uint32) (*pair, error) {
	if b.closed {
		return nil, &backend.Error{Op: op, SPI: spiIn, Err: backend.ErrClosed}
	}
	if p := b.sa.get(spiIn); p != nil {
		return p, nil
	}
	return nil, &backend.Error{Op: op, SPI: spiIn, Err: backend.ErrNoSuchSA}
}

func (b *Backend) remove(p *pair) {
	if p.gone.Swap(true) {
		return
	}
	if p.net != nil {
		p.net.Stop()
	}
	b.sa.put(p.SPIIn, nil)
	next := slices.DeleteFunc(slices.Clone(*p.group.sending.Load()), func(o *pair) bool { return o == p })
	p.group.sending.Store(&next)
	p.sends.Store(false)
	b.dropPath(p.path.Load())
	b.pairs--
	p.group.pairs--
	b.sweepGroups(p.Reqid)
	b.generation.Add(1)
}

// expire ends a pair at its hard limit and says so.
func (b *Backend) expire(p *pair) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || p.gone.Load() {
		return
	}
	b.remove(p)
	b.events.add(backend.Expire{SPIIn: p.SPIIn, Hard: true})
}

// Query tells a pair's counters.
func (b *Backend) Query(spiIn uint32) (backend.Counters, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.pairOf("query", spiIn)
	if err != nil {
		return backend.Counters{}, err
	}
	c := &p.counters
	return backend.Counters{BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), PacketsIn: c.packetsIn.Load(), PacketsOut: c.packetsOut.Load(),
		LastIn: c.lastIn.Load(), Errors: c.errors.Load()}, nil
}

// Dump lists the pairs, by inbound SPI. None outlives the process.
func (b *Backend) Dump() ([]backend.Carried, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, &backend.Error{Op: "dump", Err: backend.ErrClosed}
	}
	var out []backend.Carried
	b.sa.each(func(p *pair) {
		where := p.path.Load()
		c := backend.Carried{Reqid: p.Reqid, SPIIn: p.SPIIn, Local: where.local, Remote: where.remote, Encap: p.Encap}
		if p.sends.Load() {
			c.SPIOut = p.SPIOut
		}
		if n := b.wanted[p.Reqid]; n != nil {
			c.Connection, c.Child = n.Connection, n.Child
		}
		out = append(out, c)
	})
	slices.SortFunc(out, func(a, b backend.Carried) int {
		if a.SPIIn < b.SPIIn {
			return -1
		}
		return 1
	})
	return out, nil
}

// Stats counts SAs, policies and packets held back.
func (b *Backend) Stats() (backend.Stats, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return backend.Stats{SAs: 2 * b.pairs, Policies: b.table.Load().Len(), Dropped: b.drops.noSA.Load()}, nil
}

// Drops counts packets that went nowhere, by cause.
func (b *Backend) Drops() Drops { return b.drops.read() }

// Close ends every pair and waits for the goroutines. Policies need no undoing: nothing reads the device any more.
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	clear(b.reserved)
	b.sa.each(b.remove)
	sockets := b.sockets
	b.mu.Unlock()
	// Closing waits for calls in progress, and those may want the mutex.
	errs := []error{b.device.Close()}
	for _, s := range sockets {
		errs = append(errs, s.Close())
	}
	b.events.close()
	b.workers.Wait()
	return errors.Join(errs...)
}
