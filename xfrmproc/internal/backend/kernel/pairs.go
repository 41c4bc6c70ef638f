package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// AllocSPI is backend.Backend's. The kernel holds the SPI for 30 s (net.core.xfrm_acq_expires) and forgets it then; Install works after
// that as well, since nobody picks the same of four thousand million meanwhile.
func (b *Backend) AllocSPI(local, remote netip.Addr) (uint32, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, backend.ErrClosed
	}
	for range 8 { // another address of ours may have the same SPI: ours are unique over all
		var spi uint32
		err := b.rq.ask(allocSPI(remote, local, plan.ReqidFirst), func(typ uint16, data []byte) error {
			if s, ok := parseSA(data); ok && typ == msgNewSA {
				spi = s.spi
			}
			return nil
		})
		if err == nil && spi < 0x100 {
			err = fmt.Errorf("the kernel gave SPI %d", spi)
		}
		if err != nil {
			return 0, &backend.Error{Op: "allocate SPI", Err: err}
		}
		if b.pairs[spi] == nil && b.reserved[spi] == (reservation{}) {
			b.reserved[spi] = reservation{local, remote}
			return spi, nil
		}
		_ = b.rq.one(saKey(msgDelSA, local, spi))
	}
	return 0, &backend.Error{Op: "allocate SPI", Err: fmt.Errorf("no free SPI found")}
}

// Install is backend.Backend's.
func (b *Backend) Install(p backend.Pair) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.install(p); err != nil {
		return &backend.Error{Op: "install", Connection: p.Connection, Child: p.Child, SPI: p.SPIIn, Err: err}
	}
	return nil
}

func (b *Backend) install(p backend.Pair) error {
	if b.closed {
		return backend.ErrClosed
	}
	if b.pairs[p.SPIIn] != nil {
		return backend.ErrExists
	}
	if err := checkTransform(p.Transform); err != nil {
		return err
	}
	if err := b.leaseOf(&p); err != nil {
		return err
	}
	in, out := b.specs(&p)
	if err := b.installIn(in, p.Local.Addr()); err != nil {
		return err
	}
	pr := &pair{spiIn: p.SPIIn, spiOut: p.SPIOut, reqid: p.Reqid, local: p.Local, remote: p.Remote, encap: p.Encap, mode: p.Mode}
	if p.OutboundLater {
		out.encr, out.integ = slices.Clone(out.encr), slices.Clone(out.integ)
		pr.later = out
	} else if err := b.addOut(out); err != nil {
		return errors.Join(err, b.deleteIn(pr))
	}
	b.pairs[p.SPIIn] = pr
	b.ofReqid[p.Reqid]++
	b.byOut[outKey{p.Remote.Addr(), p.SPIOut}] = p.SPIIn
	delete(b.reserved, p.SPIIn)
	if err := b.follow(pr, &p); err != nil {
		return errors.Join(err, b.drop(pr))
	}
	return nil
}

// specs writes both directions. The keys are p's own: what must outlive p is copied.
func (b *Backend) specs(p *backend.Pair) (in, out *saSpec) {
	sel := b.narrowed(p)
	in = &saSpec{dir: saDirIn, spi: p.SPIIn, twin: p.SPIOut, src: p.Remote, dst: p.Local, encap: p.Encap, reqid: p.Reqid, mode: p.Mode,
		window: p.ReplayWindow, lifetime: p.Lifetime, transform: p.Transform, encr: p.EncrIn.Reveal(), integ: p.IntegIn.Reveal()}
	out = &saSpec{dir: saDirOut, spi: p.SPIOut, twin: p.SPIIn, src: p.Local, dst: p.Remote, encap: p.Encap, reqid: p.Reqid, mode: p.Mode,
		lifetime: p.Lifetime, transform: p.Transform, encr: p.EncrOut.Reveal(), integ: p.IntegOut.Reveal()}
	if sel != nil {
		back := sel.reversed()
		in.sel, out.sel = &back, sel
	}
	return in, out
}

// narrowed is the selector that the SA itself must carry because what was negotiated is less than what the policies say, so that the
// rest asks for an SA of its own. An SA has room for one selector only; where the peers agreed on several the policies alone hold.
func (b *Backend) narrowed(p *backend.Pair) *selector {
	if len(p.TSLocal) != 1 || len(p.TSRemote) != 1 || p.Encap && p.Mode == plan.ModeTransport {
		return nil
	}
	l, r := asSelectors(p.TSLocal[0], 1), asSelectors(p.TSRemote[0], 1)
	if len(l) != 1 || len(r) != 1 {
		return nil
	}
	sels := between(l[0], r[0])
	if len(sels) != 1 {
		return nil
	}
	if pr := b.childOf(p.Reqid); pr != nil && slices.Equal(pr.LocalTS, l) && slices.Equal(pr.RemoteTS, r) {
		return nil
	}
	return &sels[0]
}

// installIn redeems a reserved SPI. Where the kernel has forgotten the reservation the SA is simply new.
func (b *Backend) installIn(s *saSpec, local netip.Addr) error {
	if r, ok := b.reserved[s.spi]; ok {
		if r.local != local {
			_ = b.rq.one(saKey(msgDelSA, r.local, s.spi))
			delete(b.reserved, s.spi)
		} else if err := b.rq.one(s.message(msgUpdSA, b.noDir)); !errors.Is(err, errnoNotFound) {
			if err != nil {
				_ = b.rq.one(saKey(msgDelSA, r.local, s.spi))
				delete(b.reserved, s.spi)
			}
			return kernelSays(s, err)
		}
	}
	return kernelSays(s, b.rq.one(s.message(msgNewSA, b.noDir)))
}

func (b *Backend) addOut(s *saSpec) error {
	return kernelSays(s, b.rq.one(s.message(msgNewSA, b.noDir)))
}

// kernelSays puts the kernel's answer in the operator's words.
func kernelSays(s *saSpec, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errnoExists):
		return fmt.Errorf("SPI %08x to %v: %w", s.spi, s.dst.Addr(), backend.ErrExists)
	case errors.Is(err, errnoNoAlg), errors.Is(err, errnoNoEntry):
		return fmt.Errorf("this kernel lacks %v-%d with %v: choose another ESP proposal or the userspace datapath (%w: %w)",
			s.transform.Encr, s.transform.KeyBits, s.transform.Integ, backend.ErrUnsupported, err)
	}
	return err
}

// follow brings the policies in line with a new pair, or a moved one, of a child whose peer's address the plan leaves open.
func (b *Backend) follow(pr *pair, p *backend.Pair) error {
	if l := b.leases[pr.reqid]; l != nil {
		return b.followLease(pr, l)
	}
	child := b.protect[pr.reqid]
	if child == nil || child.Remote.IsValid() || pr.later != nil {
		return nil
	}
	b.peers[pr.reqid] = pr.remote.Addr()
	if p != nil {
		b.noteOwn(child, p)
	}
	for i, o := range b.own[pr.reqid] {
		// The peer's policies send to where it is now.
		if o.remote.Prefix.Addr() == pr.remote.Addr() {
			b.own[pr.reqid][i].peer = pr.remote.Addr()
		}
	}
	return b.reapply(child)
}

// noteOwn adds the policies of a peer at an address of its own. The oldest go when there are too many.
func (b *Backend) noteOwn(child *backend.Protect, p *backend.Pair) {
	if len(child.OwnAddress) == 0 {
		return
	}
	list := b.own[child.Reqid]
	for _, ts := range p.TSRemote {
		for _, sel := range asSelectors(ts, 4) {
			if slices.ContainsFunc(child.RemoteTS, func(s plan.Selector) bool { return s.Prefix.Overlaps(sel.Prefix) }) {
				continue
			}
			i := slices.IndexFunc(list, func(o ownAddress) bool { return o.remote == sel })
			if i < 0 {
				list = append(list, ownAddress{remote: sel})
				i = len(list) - 1
			}
			list[i].peer = p.Remote.Addr()
		}
	}
	if len(list) > maxOwnAddresses {
		list = slices.Delete(list, 0, len(list)-maxOwnAddresses)
	}
	b.own[child.Reqid] = list
}

// ownAddress adds the policies of a peer at an address of its own.
func (s *policySet) ownAddress(pr *backend.Protect, o ownAddress) error {
	one := *pr
	one.RemoteTS = []plan.Selector{o.remote}
	return s.protect(&one, o.peer)
}

// Activate is backend.Backend's.
func (b *Backend) Activate(spiIn uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pairs[spiIn]
	switch {
	case b.closed:
		return backend.ErrClosed
	case p == nil:
		return &backend.Error{Op: "activate", SPI: spiIn, Err: backend.ErrNoSuchSA}
	case p.later == nil:
		return nil
	}
	if err := b.addOut(p.later); err != nil {
		return b.pairError("activate", p, err)
	}
	p.forgetKeys()
	if err := b.follow(p, nil); err != nil {
		return b.pairError("activate", p, err)
	}
	return nil
}

// Remove is backend.Backend's.
func (b *Backend) Remove(spiIn uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return backend.ErrClosed
	}
	if r, ok := b.reserved[spiIn]; ok {
		delete(b.reserved, spiIn)
		if err := b.rq.one(saKey(msgDelSA, r.local, spiIn)); err != nil && !errors.Is(err, errnoNotFound) {
			return &backend.Error{Op: "give back SPI", SPI: spiIn, Err: err}
		}
		return nil
	}
	p := b.pairs[spiIn]
	if p == nil {
		return &backend.Error{Op: "remove", SPI: spiIn, Err: backend.ErrNoSuchSA}
	}
	if err := b.drop(p); err != nil {
		return b.pairError("remove", p, err)
	}
	return nil
}

// drop removes a pair, outbound first, and has policies follow.
func (b *Backend) drop(p *pair) error {
	p.forgetKeys()
	if b.pairs[p.spiIn] == p {
		delete(b.pairs, p.spiIn)
		if b.ofReqid[p.reqid]--; b.ofReqid[p.reqid] <= 0 {
			delete(b.ofReqid, p.reqid)
		}
	}
	delete(b.byOut, outKey{p.remote.Addr(), p.spiOut})
	err := b.lastPeer(p)
	if e := b.rq.one(saKey(msgDelSA, p.remote.Addr(), p.spiOut)); e != nil && !errors.Is(e, errnoNotFound) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, b.deleteIn(p))
}

func (b *Backend) deleteIn(p *pair) error {
	if err := b.rq.one(saKey(msgDelSA, p.local.Addr(), p.spiIn)); err != nil && !errors.Is(err, errnoNotFound) {
		return err
	}
	return nil
}

// lastPeer points the policies of a child without a fixed peer at a pair that is left, or holds its traffic back.
func (b *Backend) lastPeer(gone *pair) error {
	if l := b.leases[gone.reqid]; l != nil {
		if b.ofReqid[gone.reqid] > 0 {
			return nil
		}
		return b.endLease(gone.reqid, l)
	}
	child := b.protect[gone.reqid]
	if child == nil || child.Remote.IsValid() || b.peers[gone.reqid] != gone.remote.Addr() {
		return nil
	}
	delete(b.peers, gone.reqid)
	b.learnPeers()
	return b.reapply(child)
}

func (b *Backend) pairError(op string, p *pair, err error) error {
	e := &backend.Error{Op: op, SPI: p.spiIn, Err: err}
	if c := b.childOf(p.reqid); c != nil {
		e.Connection, e.Child = c.Connection, c.Child
	}
	return e
}

// Query is backend.Backend's.
func (b *Backend) Query(spiIn uint32) (backend.Counters, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return backend.Counters{}, backend.ErrClosed
	}
	p := b.pairs[spiIn]
	if p == nil {
		return backend.Counters{}, &backend.Error{Op: "query", SPI: spiIn, Err: backend.ErrNoSuchSA}
	}
	in, err := b.rq.getSA(p.local.Addr(), p.spiIn)
	if errors.Is(err, errnoNotFound) {
		err = backend.ErrNoSuchSA
	}
	if err != nil {
		return backend.Counters{}, b.pairError("query", p, err)
	}
	c := backend.Counters{BytesIn: in.bytes, PacketsIn: in.packets, LastIn: in.lastUsed, Errors: in.errors}
	if p.later != nil {
		return c, nil
	}
	out, err := b.rq.getSA(p.remote.Addr(), p.spiOut)
	if err != nil && !errors.Is(err, errnoNotFound) {
		return c, b.pairError("query", p, err)
	}
	c.BytesOut, c.PacketsOut = out.bytes, out.packets
	return c, nil
}

// getSA reads one SA.
func (s *sock) getSA(dst netip.Addr, spi uint32) (kernelSA, error) {
	var sa kernelSA
	err := s.ask(saKey(msgGetSA, dst, spi), func(typ uint16, data []byte) error {
		if typ != msgNewSA {
			return nil
		}
		var ok bool
		if sa, ok = parseSA(data); !ok {
			return errShort
		}
		return nil
	})
	return sa, err
}
