package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// ourReqid: given out by the compiler, or of the plan in force (a plan written by hand may use others).
func (b *Backend) ourReqid(reqid uint32) bool {
	return givenOut(reqid) || b.protect[reqid] != nil
}

// givenOut: by the compiler, or by us to a peer with an address of a pool.
func givenOut(reqid uint32) bool { return reqid >= plan.ReqidFirst && reqid <= leasedLast }

// adopt takes over what an earlier process left: policies that carry our mark, and whole pairs. It runs before any plan is known, so
// it looks at the reqid range only; SetPolicies and Dump learn the rest.
func (b *Backend) adopt() error {
	all, err := b.rq.dumpPolicies()
	if err != nil {
		return fmt.Errorf("list policies: %w", err)
	}
	b.nextIndex = indexMark
	for k, s := range all {
		if isOurs(s.index) {
			b.standing[k] = s
			b.nextIndex = max(b.nextIndex, s.index&^7)
		}
	}
	return b.adoptPairs()
}

// adoptPairs looks for pairs of ours that are not known yet, and takes away halves of one: their other half's keys are lost.
func (b *Backend) adoptPairs() error {
	sas, err := b.rq.dumpSAs()
	if err != nil {
		return fmt.Errorf("list SAs: %w", err)
	}
	type key struct{ spi, twin uint32 }
	byKey := map[key]kernelSA{}
	for _, s := range sas {
		if b.ourReqid(s.reqid) && s.keyed {
			byKey[key{s.spi, s.twin}] = s
		}
	}
	var halves []message
	for k, in := range byKey {
		out, ok := byKey[key{k.twin, k.spi}]
		if !ok || !b.isInbound(in, out) {
			if !ok && b.isHalf(in) {
				halves = append(halves, saKey(msgDelSA, in.dst.Addr(), in.spi))
			}
			continue
		}
		if b.pairs[in.spi] == nil {
			b.pairs[in.spi] = adopted(in, out)
			b.ofReqid[in.reqid]++
			b.byOut[outKey{out.dst.Addr(), out.spi}] = in.spi
		}
	}
	for _, err := range b.rq.do(halves...) {
		if err != nil && !errors.Is(err, errnoNotFound) {
			return fmt.Errorf("remove half a pair: %w", err)
		}
	}
	return nil
}

// isHalf: it is the compiler's reqid, and nobody here knows this SA as one of a pair.
func (b *Backend) isHalf(s kernelSA) bool {
	if !givenOut(s.reqid) || b.pairs[s.spi] != nil {
		return false
	}
	_, out := b.byOut[outKey{s.dst.Addr(), s.spi}]
	return !out
}

// isInbound tells the two halves apart: by the kernel's direction, or before 6.10 by the replay window, which only the inbound has.
func (b *Backend) isInbound(s, twin kernelSA) bool {
	if s.dir != 0 {
		return s.dir == saDirIn
	}
	if child := b.childOf(s.reqid); child != nil {
		return s.dst.Addr() == child.Local
	}
	return s.window > twin.window || s.window == twin.window && s.lastUsed == 0 && s.spi > twin.spi
}

func adopted(in, out kernelSA) *pair {
	mode := plan.ModeTransport
	if in.mode == modeTunnel {
		mode = plan.ModeTunnel
	}
	return &pair{spiIn: in.spi, spiOut: out.spi, reqid: in.reqid, local: in.dst, remote: in.src, encap: in.encap, mode: mode}
}

func (s *sock) dumpSAs() ([]kernelSA, error) {
	var sas []kernelSA
	err := s.dump(msgGetSA, func() { sas = nil }, func(typ uint16, data []byte) error {
		if sa, ok := parseSA(data); ok && typ == msgNewSA {
			sas = append(sas, sa)
		}
		return nil
	})
	return sas, err
}

// Dump asks the kernel what stands, forgets pairs that are gone and takes in what it did not know.
func (b *Backend) Dump() ([]backend.Carried, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, backend.ErrClosed
	}
	if err := b.adoptPairs(); err != nil {
		return nil, &backend.Error{Op: "dump", Err: err}
	}
	sas, err := b.rq.dumpSAs()
	if err != nil {
		return nil, &backend.Error{Op: "dump", Err: err}
	}
	type id struct {
		dst netip.Addr
		spi uint32
	}
	there := map[id]bool{}
	for _, s := range sas {
		there[id{s.dst.Addr(), s.spi}] = s.keyed
	}
	var out []backend.Carried
	for _, p := range b.pairs {
		whole := there[id{p.local.Addr(), p.spiIn}] && (p.later != nil || there[id{p.remote.Addr(), p.spiOut}])
		if !whole {
			if err := b.drop(p); err != nil {
				return nil, b.pairError("remove half a pair", p, err)
			}
			continue
		}
		c := backend.Carried{Reqid: p.reqid, SPIIn: p.spiIn, SPIOut: p.spiOut, Local: p.local, Remote: p.remote, Encap: p.encap}
		if p.later != nil {
			c.SPIOut = 0
		}
		if child := b.childOf(p.reqid); child != nil {
			c.Connection, c.Child, c.Reqid = child.Connection, child.Child, child.Reqid
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y backend.Carried) int { return int(int64(x.SPIIn) - int64(y.SPIIn)) })
	return out, nil
}
