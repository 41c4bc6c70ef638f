package pluginhost

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// book is a plugin that keeps accounts. Its back end wants every session gone that has begun; whether there was one is logged. It refuses the first record of each
// session named "twice".
type book struct {
	script
	ended chan string
	seen  bool
}

func (b *book) Account(_ context.Context, r eapsdk.Record) error {
	if r.Session == "twice" && !b.seen {
		b.seen = true
		return errors.New("the disk is full")
	}
	b.ended <- r.Session
	return nil
}

func (b *book) Commands(ctx context.Context, deliver func(eapsdk.Command) bool) error {
	for {
		select {
		case s := <-b.ended:
			deliver(eapsdk.Command{Kind: eapsdk.Disconnect, Session: s})
		case <-ctx.Done():
			return nil
		}
	}
}

func (g *gateway) wish() Wish {
	g.t.Helper()
	select {
	case w := <-g.h.Wishes():
		return w
	case <-time.After(time.Minute):
		g.t.Fatalf("no wish\n%s", g.said())
		return Wish{}
	}
}

// Records reach the plugin in order, what it refuses is offered again, and its back end's wishes come back.
func TestAccountsAndWishes(t *testing.T) {
	g := begin(t, Config{})
	g.h.Use([]plan.Plugin{pluginNamed("keeper")}, theSecret)
	g.h.Account("keeper", eapsdk.Record{Kind: eapsdk.Start, Session: "twice", At: time.Now()}) // it does not run yet, and then refuses
	g.h.Account("keeper", eapsdk.Record{Kind: eapsdk.Start, Session: "second", At: time.Now()})
	for _, want := range []string{"twice", "second"} {
		w := g.wish()
		if w.Plugin != "keeper" || w.Command.Kind != eapsdk.Disconnect || w.Command.Session != want {
			t.Errorf("%+v, want %s", w, want)
		}
		w.Known(true)
	}
	g.h.Account("nobody", eapsdk.Record{Kind: eapsdk.Start, Session: "x", At: time.Now()})
}

// A plugin that keeps no accounts is said to, once a record.
func TestPluginWithoutAccounts(t *testing.T) {
	g := begin(t, Config{})
	g.h.Use([]plan.Plugin{pluginNamed("script")}, theSecret)
	g.until("running", running)
	g.h.Account("script", eapsdk.Record{Kind: eapsdk.Start, Session: "x", At: time.Now()})
	for range 2000 {
		if strings.Contains(g.said(), "session x is lost: it keeps no accounts") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error(g.said())
}
