package xfrmproc

import (
	"errors"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/guard"
)

// applyPolicies brings the datapath's policies to the plan's. What it refuses is said and tried again: Check has found it possible a moment
// before, so somebody else is at work on the host.
func (p *process) applyPolicies(addOnly bool) {
	p.retry = nil
	if err := p.datapath.SetPolicies(p.policies, addOnly); err != nil {
		p.log("error", "policies", "", "", fmt.Sprintf("not all policies of the plan stand, trying again in %v: %v", retryPolicies, err))
		p.retry = time.After(retryPolicies)
	}
}

// reconcile compares what the datapath carries with what is known. Pairs of a child of the plan are adopted; pairs that are ours and of no
// child are removed when all is set to, which is the case for the first plan of a process: what an earlier one left. Pairs that are gone are
// forgotten, and the engine is told.
func (p *process) reconcile(all bool) error {
	carried, err := p.datapath.Dump()
	if err != nil {
		return fmt.Errorf("list what the datapath carries: %w", err)
	}
	there := map[uint32]bool{}
	for _, c := range carried {
		there[c.SPIIn] = true
		switch {
		case p.state.SA(c.SPIIn) != nil:
		case c.Connection != "":
			p.state.Adopted(c)
		case all:
			p.remove(c.SPIIn)
		}
	}
	for _, spi := range p.state.SAs() {
		if !there[spi] {
			p.state.Removed(spi)
			p.tellIKE(&msg.Expire{SPIIn: spi, Hard: true})
		}
	}
	if all {
		p.removeUnfit()
	}
	return nil
}

// finishReload removes what the plan before had and this one has not: the engine is done with it.
func (p *process) finishReload() {
	if !p.stale {
		return
	}
	p.stale = false
	p.removeUnfit()
	p.applyPolicies(false)
	if err := p.reconcile(true); err != nil {
		p.log("error", "reconcile", "", "", err.Error())
	}
}

// removeUnfit removes pairs that the plan in force would not allow, and tells the engine.
func (p *process) removeUnfit() {
	for _, spi := range p.state.SAs() {
		sa := p.state.SA(spi)
		err := guard.Stands(&p.view, sa)
		if err == nil {
			continue
		}
		p.log("info", "removed", sa.Connection, sa.Child, fmt.Sprintf("the SA with SPI %08x is not the plan's any more: %v", spi, err))
		p.remove(spi)
		p.tellIKE(&msg.Expire{SPIIn: spi, Hard: true})
	}
}

// orphanLife is how long an orphan still receives when its successor stands: until the peer, too, has the new pair and sends on it.
const orphanLife = 5 * time.Second

// removeOrphans sees to it that the pairs go that an earlier engine left of a child that has just got a new one: until now they carried the traffic.
func (p *process) removeOrphans(spi uint32) {
	sa := p.state.SA(spi)
	conn, _ := guard.Find(&p.view, sa.Connection, sa.Child)
	// A peer may come back from another address. Only with unique "never" may there be two of one identity.
	shared := conn != nil && !conn.Remote.Address.IsValid() && conn.Unique == plan.UniqueNever
	for _, orphan := range p.state.Orphans(spi, shared) {
		if _, ok := p.orphans[orphan]; ok {
			continue
		}
		p.log("info", "replaced", sa.Connection, sa.Child, fmt.Sprintf("the SA with SPI %08x, left by an earlier ikeproc, is replaced by %08x, and goes in %v", orphan, spi, orphanLife))
		p.orphans[orphan] = time.Now().Add(orphanLife)
	}
	p.endOrphans()
}

// endOrphans removes the orphans whose time has come, and sets the alarm for the next.
func (p *process) endOrphans() {
	p.orphanAlarm = nil
	next := orphanLife
	for spi, until := range p.orphans {
		sa := p.state.SA(spi)
		if left := time.Until(until); sa != nil && left > 0 {
			next = min(next, left)
			continue
		}
		delete(p.orphans, spi)
		if sa != nil && !sa.Known { // nobody has asked for it meanwhile
			p.remove(spi)
		}
	}
	if len(p.orphans) > 0 {
		p.orphanAlarm = time.After(next)
	}
}

// remove takes a pair away; a failure is for the log.
func (p *process) remove(spi uint32) {
	p.state.Removed(spi)
	if err := p.datapath.Remove(spi); err != nil && !errors.Is(err, backend.ErrNoSuchSA) {
		p.log("error", "datapath", "", "", err.Error())
	}
}

// releasePending gives back SPIs that an engine asked for that is no more.
func (p *process) releasePending() {
	for _, spi := range p.state.Pending() {
		p.remove(spi)
	}
}

// inventory tells the engine what carries traffic now.
func (p *process) inventory() {
	if p.ike == nil || p.datapath == nil || p.serial == 0 {
		return
	}
	inv := &msg.Inventory{Datapath: string(p.datapath.Name()), Why: p.why}
	carried, err := p.datapath.Dump()
	if err != nil {
		p.log("error", "reconcile", "", "", err.Error())
		return
	}
	for _, c := range carried {
		if c.Connection == "" {
			continue
		}
		inv.Children = append(inv.Children, msg.Carried{Connection: c.Connection, Child: c.Child, SPIIn: c.SPIIn, SPIOut: c.SPIOut, Local: c.Local, Remote: c.Remote})
	}
	p.tellIKE(inv)
}
