package authproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/authn"
	"github.com/trike-ipsec/trike/authproc/internal/pluginhost"
	"github.com/trike-ipsec/trike/authproc/internal/pool"
	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// process is all that authproc knows. One goroutine, Run's, owns it.
type process struct {
	cfg     Config
	control *ipc.Reader
	triked  *ipc.Writer
	ike     *ipc.Queued // nil while there is no link

	serial uint64 // of the plan in force, 0 before the first
	view   plan.AuthView
	state  *authn.State
	issuer authn.Issuer
	next   *prepared // between Prepare and Commit or Abort

	book          *pool.Book
	leaseFile     *os.File // nil: leases are forgotten with the process
	conversations map[uint64]*conversation
	sessions      map[uint64]*conversation // by the plugin's session
	lastSession   uint64
	accounts      map[uint64]*account // by the grant's session
	born          uint32              // Unix seconds, in the names of sessions
	ticker        *time.Ticker

	refused uint64 // what ikeproc asked and was not given, for bounding the log
	done    bool
}

// Run serves triked and ikeproc until triked says Shutdown, its link ends, or ctx does. After a Shutdown, and when ctx ends, the error is nil. Secrets are
// wiped when Run returns.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	p := &process{cfg: cfg, conversations: map[uint64]*conversation{}, sessions: map[uint64]*conversation{}, accounts: map[uint64]*account{}, born: uint32(cfg.Now().Unix())}
	p.book, _ = pool.Open(nil) // cannot fail without a file
	p.ticker = time.NewTicker(conversationLife / 6)
	defer p.close()
	p.control, p.triked = ipc.Read(0, cfg.Control.ReceiveFiles), ipc.Write(cfg.Control.Send, cfg.Control.Close)
	if p.cfg.Plugins == nil {
		p.cfg.Plugins = pluginhost.New(pluginhost.Config{Say: p.triked.Say, Log: func(level, text string) { p.log(level, "plugin", "", text) }, Now: cfg.Now})
	}
	if err := p.triked.Say(&msg.Hello{Process: string(msg.AuthProc), PID: cfg.PID, Version: cfg.Version}); err != nil {
		return fmt.Errorf("say hello to triked: %w", err)
	}
	for !p.done {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step waits for one thing to happen and deals with it. An error ends the process.
func (p *process) step(ctx context.Context) error {
	var fromIKE <-chan ipc.Received
	if p.ike != nil {
		fromIKE = p.ike.In
	}
	var sweep <-chan time.Time
	if len(p.conversations)+len(p.accounts) > 0 {
		sweep = p.ticker.C
	}
	select {
	case <-ctx.Done():
		p.done = true
	case <-sweep:
		p.sweep()
		p.sweepAccounts()
	case e := <-p.cfg.Plugins.Events():
		if err := p.pluginEvent(e); err != nil && p.ike != nil {
			p.dropIKE(err)
		}
	case w := <-p.cfg.Plugins.Wishes():
		p.wish(w)
	case r := <-p.control.In:
		if r.Err != nil {
			return fmt.Errorf("the link to triked: %w", r.Err)
		}
		return p.fromTriked(r)
	case r := <-fromIKE:
		err := r.Err
		if err == nil {
			err = p.fromIKEProc(r.Message)
		}
		if err != nil {
			p.dropIKE(err)
		}
	}
	return nil
}

func (p *process) close() {
	if p.ike != nil {
		p.ike.Cut()
	}
	p.forgetConversations("authproc ends")
	p.cfg.Plugins.Close() // before the link to triked, which it speaks to
	p.control.Ignore()
	p.triked.Drain()
	_ = p.cfg.Control.Close()
	p.forgetNext()
	p.ticker.Stop()
	if p.state != nil {
		p.state.Close()
	}
	p.issuer.Close()
	if p.leaseFile != nil {
		_ = p.leaseFile.Close()
	}
}

// dropIKE ends a link that is dead or on which something illegal was said. triked sees the process die, or brings a new link.
func (p *process) dropIKE(err error) {
	p.ike.Cut()
	p.ike = nil
	p.forgetConversations("ikeproc has gone")
	if errors.Is(err, io.EOF) {
		p.log("warn", "link-down", "", "ikeproc has gone")
		return
	}
	p.log("error", "link-down", "", "the link to ikeproc was ended: "+err.Error())
}

// log says one event to triked. It is lost where triked does not read.
func (p *process) log(level, event, connection, text string) {
	b, err := json.Marshal(status.Event{Time: p.cfg.Now().UTC(), Level: level, Process: string(msg.AuthProc), Event: event,
		Connection: connection, Text: text})
	if err == nil {
		p.triked.SayIfRoom(&msg.Log{JSON: b})
	}
}
