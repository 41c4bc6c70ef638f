// Package kernel carries ESP in the Linux kernel: SAs and policies of XFRM over netlink, IPv4 and IPv6, in messages that it writes
// and reads itself.
//
// What is ours is known by two marks that outlive any process: SAs by a reqid of the plan, or in the range that the compiler gives
// out (plan.ReqidFirst), and policies by an index whose top four bits are 0111. Everything else on the host is left alone, and where a policy of
// somebody else's stands in the way, that is an error and not a fight. The two SAs of a pair name each other's SPI in the kernel's seq
// field, so New finds pairs again that an earlier process installed.
//
// A protect policy needs no SA to hold traffic back: the kernel drops what fits it until there is one. Policies for incoming traffic
// name the child's reqid and no addresses, so a peer may move under them.
package kernel

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

var (
	errShort       = errors.New("the kernel's message is cut short")
	errInterrupted = errors.New("the kernel's list changed while it was read")
)

// Backend is the kernel's XFRM in one network namespace.
type Backend struct {
	// mu, because the reader of the kernel's events looks up, beside the driving goroutine, which child an SA belongs to.
	mu          sync.Mutex
	rq          *sock
	stats       *os.File // /proc/net/xfrm_stat; nil where there is none
	closed      bool
	noDir       bool // the kernel wants outbound ESN SAs in the form from before 6.10
	pairs       map[uint32]*pair
	byOut       map[outKey]uint32 // inbound SPI of the pair
	reserved    map[uint32]reservation
	protect     map[uint32]*backend.Protect // by reqid
	peers       map[uint32]netip.Addr       // by reqid: where the newest pair of a child without a fixed peer sends to
	own         map[uint32][]ownAddress     // by reqid
	leases      map[uint32]*lease           // by reqid: peers with addresses of a pool
	leaseBy     map[leaseKey]uint32         // the reqid of each
	nextLease   uint32
	ofReqid     map[uint32]int         // pairs by reqid
	standing    map[policyKey]standing // our policies in the kernel
	nextIndex   uint32
	thresholds  map[uint16]prefixBits
	eventSocket *eventSock
	events      chan backend.Event
	stop        chan struct{}
	reading     sync.WaitGroup
}

type outKey struct {
	dst netip.Addr
	spi uint32
}

type reservation struct{ local, remote netip.Addr }

// pair is two SAs that stand. later is set while the outbound one waits for Activate.
type pair struct {
	spiIn, spiOut uint32
	reqid         uint32
	local, remote netip.AddrPort
	encap         bool
	mode          plan.Mode
	later         *saSpec
}

// ownAddress is the policies of one peer at an address of its own.
type ownAddress struct {
	remote plan.Selector
	peer   netip.Addr
}

var _ backend.Backend = (*Backend)(nil)

// New opens XFRM in the network namespace of the calling thread, and takes over what an earlier process of ours left.
func New() (*Backend, error) {
	rq, err := dial()
	if err != nil {
		return nil, &backend.Error{Op: "kernel datapath", Err: err}
	}
	b := &Backend{rq: rq, pairs: map[uint32]*pair{}, byOut: map[outKey]uint32{}, reserved: map[uint32]reservation{},
		protect: map[uint32]*backend.Protect{}, peers: map[uint32]netip.Addr{}, own: map[uint32][]ownAddress{},
		leases: map[uint32]*lease{}, leaseBy: map[leaseKey]uint32{}, ofReqid: map[uint32]int{}, standing: map[policyKey]standing{}, thresholds: map[uint16]prefixBits{},
		events: make(chan backend.Event, 256), stop: make(chan struct{})}
	if err := b.open(); err != nil {
		_ = rq.close()
		return nil, &backend.Error{Op: "kernel datapath", Err: err}
	}
	b.stats = openStats()
	b.reading.Go(b.readEvents)
	return b, nil
}

func (b *Backend) open() error {
	noDir, err := try(b.rq)
	if err != nil {
		return err
	}
	b.noDir = noDir
	if b.eventSocket, err = dialEvents(); err != nil {
		return err
	}
	if err := b.adopt(); err != nil {
		_ = b.eventSocket.close()
		return err
	}
	return nil
}

// Name is plan.DatapathKernel.
func (b *Backend) Name() plan.Datapath { return plan.DatapathKernel }

// Events is what the kernel has to say.
func (b *Backend) Events() <-chan backend.Event { return b.events }

// Close leaves SAs and policies to the next process.
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	for _, p := range b.pairs {
		p.forgetKeys()
	}
	b.mu.Unlock()
	close(b.stop)
	err := b.eventSocket.close()
	b.reading.Wait()
	if b.stats != nil {
		_ = b.stats.Close()
	}
	return errors.Join(err, b.rq.close())
}

// expand writes the policies of p, with those that pairs brought.
func (b *Backend) expand(p backend.Policies) (*policySet, error) {
	b.learnPeers()
	set := newPolicySet()
	var failed error
	for i := range p.Protect {
		pr := &p.Protect[i]
		failed = errors.Join(failed, set.protect(pr, b.peers[pr.Reqid]))
		for _, o := range b.own[pr.Reqid] {
			failed = errors.Join(failed, set.ownAddress(pr, o))
		}
	}
	children := make(map[uint32]*backend.Protect, len(p.Protect))
	for i := range p.Protect {
		children[p.Protect[i].Reqid] = &p.Protect[i]
	}
	for reqid, l := range b.leases {
		failed = errors.Join(failed, leasePolicies(set, children[l.child], reqid, l))
	}
	for i := range p.Bypass {
		failed = errors.Join(failed, set.bypass(&p.Bypass[i]))
	}
	if len(set.keys) > maxPolicies {
		failed = errors.Join(failed, fmt.Errorf("the plan makes %d kernel policies: at most %d", len(set.keys), maxPolicies))
	}
	return set, failed
}

// learnPeers finds, for children without a fixed peer, where to send to: to the newest pair's peer, which is noted already, or after
// a restart to that of one that was adopted.
func (b *Backend) learnPeers() {
	type peer struct {
		reqid uint32
		addr  netip.Addr
	}
	alive := map[peer]bool{}
	for _, p := range b.pairs {
		k := peer{p.reqid, p.remote.Addr()}
		alive[k] = alive[k] || p.later == nil
	}
	for reqid, addr := range b.peers {
		if !alive[peer{reqid, addr}] {
			delete(b.peers, reqid)
		}
	}
	for _, spi := range slices.Sorted(maps.Keys(b.pairs)) {
		p := b.pairs[spi]
		if _, ok := b.peers[p.reqid]; !ok && p.later == nil {
			b.peers[p.reqid] = p.remote.Addr()
		}
	}
}

// Check also looks for policies that others put in the way.
func (b *Backend) Check(p backend.Policies) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return backend.ErrClosed
	}
	want, err := b.expand(p)
	if err != nil {
		return err
	}
	all, err := b.rq.dumpPolicies()
	if err != nil {
		return &backend.Error{Op: "list policies", Err: err}
	}
	for k, s := range all {
		if _, ok := want.values[k]; ok && !isOurs(s.index) {
			return policyError("add", k, errnoExists)
		}
	}
	return nil
}

// SetPolicies is backend.Backend's.
func (b *Backend) SetPolicies(p backend.Policies, addOnly bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return backend.ErrClosed
	}
	b.adoptLeases(p.Protect)
	want, err := b.expand(p)
	if err != nil {
		return err
	}
	children := map[uint32]*backend.Protect{}
	if addOnly {
		children = b.protect
	}
	p.Protect = slices.Clone(p.Protect)
	for i := range p.Protect {
		children[p.Protect[i].Reqid] = &p.Protect[i]
	}
	b.protect = children
	err = b.apply(want, addOnly, b.keep)
	if err == nil && !addOnly {
		for reqid := range b.own {
			if children[reqid] == nil {
				delete(b.own, reqid)
			}
		}
	}
	return err
}

// keep: the policies of peers at addresses of their own stay as long as their child is in the plan, those from before this process, too.
func (b *Backend) keep(k policyKey, s standing) bool {
	pr := b.protect[s.reqid]
	remote := k.sel.dst
	if k.dir != dirOut {
		remote = k.sel.src
	}
	return pr != nil && len(pr.OwnAddress) > 0 && remote.IsSingleIP()
}

// reapply brings the policies of one child in line after its pairs changed. Nothing is removed.
func (b *Backend) reapply(pr *backend.Protect) error {
	set := newPolicySet()
	if err := set.protect(pr, b.peers[pr.Reqid]); err != nil {
		return err
	}
	for _, o := range b.own[pr.Reqid] {
		if err := set.ownAddress(pr, o); err != nil {
			return err
		}
	}
	return b.apply(set, true, nil)
}

// Stats counts what is ours. Dropped is the host's count of packets that had no SA or came against policy.
func (b *Backend) Stats() (backend.Stats, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := backend.Stats{Policies: len(b.standing)}
	for _, p := range b.pairs {
		st.SAs += 2
		if p.later != nil {
			st.SAs--
		}
	}
	if b.stats == nil || b.closed {
		return st, nil
	}
	buf := make([]byte, 4096)
	n, err := b.stats.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return st, nil // the count is a courtesy
	}
	for line := range strings.Lines(string(buf[:n])) {
		var name string
		var v uint64
		if _, err := fmt.Sscan(line, &name, &v); err != nil {
			continue
		}
		switch name {
		case "XfrmOutNoStates", "XfrmOutPolBlock", "XfrmInNoPols", "XfrmInTmplMismatch", "XfrmInPolBlock", "XfrmAcquireError":
			st.Dropped += v
		}
	}
	return st, nil
}

// forgetKeys wipes what waits for Activate.
func (p *pair) forgetKeys() {
	if p.later != nil {
		clear(p.later.encr)
		clear(p.later.integ)
		p.later = nil
	}
}
