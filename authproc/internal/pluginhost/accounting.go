package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Bounds on accounting. A plugin is to keep records itself when its back end is away; these are for a plugin that is away.
const (
	maxRecords = 8192             // that wait for one plugin
	recordLife = 3 * time.Minute  // how long one is offered
	recordWait = 2 * time.Second  // between two offers
	wishWait   = 10 * time.Second // for authproc's word on a wish
)

var errNoAccounts = errors.New("it keeps no accounts; name a plugin that does in the connection's `accounting`")

// Wish is what a plugin's back end wants done with sessions (RFC 5176).
type Wish struct {
	Plugin  string
	Command eapsdk.Command
	known   chan bool
}

// NewWish is a wish, and where its answer comes.
func NewWish(plugin string, c eapsdk.Command) (Wish, <-chan bool) {
	known := make(chan bool, 1)
	return Wish{plugin, c, known}, known
}

// Known answers a wish: whether there was such a session. It is called once.
func (w Wish) Known(known bool) { w.known <- known }

// Wishes is what back ends want.
func (h *Host) Wishes() <-chan Wish { return h.wishes }

// Account tells a plugin of a session. Records of one plugin arrive in order; one that the plugin does not take is offered for some minutes, and then lost, which is logged.
func (h *Host) Account(plugin string, rec eapsdk.Record) {
	h.mu.Lock()
	r := h.runners[plugin]
	h.mu.Unlock()
	if r == nil {
		return
	}
	select {
	case r.records <- rec:
	default:
		h.log("error", fmt.Sprintf("plugin %q: an accounting record of session %s is lost: %d wait already", plugin, rec.Session, maxRecords))
	}
}

// account offers records, one after the other.
func (r *runner) account() {
	for {
		select {
		case rec := <-r.records:
			if err := r.deliver(rec); err != nil && r.ctx.Err() == nil {
				r.h.log("error", fmt.Sprintf("plugin %q: an accounting record of session %s is lost: %v", r.plugin.Name, rec.Session, err))
			}
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *runner) deliver(rec eapsdk.Record) error {
	for began := time.Now(); ; {
		err := r.offer(rec)
		if err == nil || errors.Is(err, errNoAccounts) || time.Since(began) > recordLife {
			return err
		}
		select {
		case <-time.After(recordWait):
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
}

func (r *runner) offer(rec eapsdk.Record) error {
	r.mu.Lock()
	m, takes := r.remote, r.about.Accounting
	r.mu.Unlock()
	switch {
	case m == nil:
		return errors.New("it does not run")
	case !takes:
		return errNoAccounts
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.h.cfg.Call)
	defer cancel()
	return m.Account(ctx, rec)
}

// commands hands on what the plugin's back end wants, for as long as the plugin runs.
func (r *runner) commands(m *eapsdk.Remote, about eapsdk.Description) {
	if !about.Accounting {
		return
	}
	err := m.Commands(r.ctx, func(c eapsdk.Command) bool {
		w, answer := NewWish(r.plugin.Name, c)
		limit := time.After(wishWait)
		select {
		case r.h.wishes <- w:
		case <-limit:
			return false
		case <-r.ctx.Done():
			return false
		case <-r.h.done:
			return false
		}
		select {
		case known := <-answer:
			return known
		case <-limit:
		case <-r.ctx.Done():
		case <-r.h.done:
		}
		return false
	})
	if err != nil && r.ctx.Err() == nil && r.remoteNow() == m {
		r.h.log("warn", fmt.Sprintf("plugin %q: what its back end wants is heard no more until it is started again: %v", r.plugin.Name, err))
	}
}
