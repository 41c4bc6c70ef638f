package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/ledger"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// book is a server that acknowledges when it is up.
type book struct {
	mu   sync.Mutex
	down bool
	told []string
	most int
	now  int
	log  strings.Builder
}

func (b *book) send(ctx context.Context, r eapsdk.Record) error {
	b.mu.Lock()
	down := b.down
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		down = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now--
	if down {
		return errors.New("no answer")
	}
	b.told = append(b.told, fmt.Sprintf("%s %d", r.Session, r.Kind))
	return nil
}

func (b *book) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *book) ledger() *ledger.Ledger {
	return ledger.New(ledger.Config{Send: b.send, Log: slog.New(slog.NewTextHandler(&b.log, nil))})
}

func record(session string, kind eapsdk.RecordKind) eapsdk.Record {
	return eapsdk.Record{Session: session, Kind: kind, At: time.Now()}
}

func TestRecordStandsUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{down: true}
		l := b.ledger()
		defer l.Close(0)
		start := record("1", eapsdk.Start)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := l.Add(ctx, start); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		time.Sleep(time.Hour)
		b.set(false)
		// Asked again it is the same entry, and is sent once.
		if err := l.Add(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		if err := l.Add(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.told, []string{"1 1"}) || l.Waiting() != 0 {
			t.Errorf("told %q, waiting %d", b.told, l.Waiting())
		}
		// One warning in ten minutes, not one a try.
		if n := strings.Count(b.log.String(), "not acknowledged"); n < 5 || n > 8 {
			t.Errorf("%d warnings in an hour", n)
		}
	})
}

func TestRecordThatNobodyTakesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{down: true}
		l := b.ledger()
		defer l.Close(0)
		began := time.Now()
		if err := l.Add(t.Context(), record("1", eapsdk.Start)); err == nil || time.Since(began) < 24*time.Hour || l.Waiting() != 0 {
			t.Errorf("%v after %s, %d waiting", err, time.Since(began), l.Waiting())
		}
		if !strings.Contains(b.log.String(), "given up") {
			t.Error("nobody was told")
		}
	})
}

func TestRecordsOfASessionStayInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{down: true}
		l := b.ledger()
		var wg sync.WaitGroup
		for n := range 50 {
			for _, k := range []eapsdk.RecordKind{eapsdk.Start, eapsdk.Interim, eapsdk.Interim, eapsdk.Stop} {
				r := record(fmt.Sprint(n), k)
				r.At = r.At.Add(time.Duration(n))
				wg.Go(func() {
					if err := l.Add(t.Context(), r); err != nil {
						t.Error(err)
					}
				})
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(10 * time.Second)
		b.set(false)
		wg.Wait()
		last := map[string]string{}
		for _, s := range b.told {
			session, kind, _ := strings.Cut(s, " ")
			last[session] += kind
		}
		for session, kinds := range last {
			// Counters that waited were replaced by newer ones.
			if kinds != "123" {
				t.Errorf("session %s: %s", session, kinds)
			}
		}
		if len(last) != 50 || b.most > 16 || b.most < 8 {
			t.Errorf("%d sessions, %d at once", len(last), b.most)
		}
		if lost := l.Close(time.Second); lost != 0 {
			t.Errorf("%d lost", lost)
		}
	})
}

func TestFullLedgerPrefersStartsAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{down: true}
		l := b.ledger()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for n := range ledger.MaxEntries {
			kind := eapsdk.Start
			if n == 4000 {
				kind = eapsdk.Interim
			}
			if err := l.Add(over, record(fmt.Sprint(n), kind)); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		if err := l.Add(over, record("stop", eapsdk.Stop)); !errors.Is(err, context.Canceled) {
			t.Errorf("a stop beside counters: %v", err)
		}
		if err := l.Add(over, record("stop2", eapsdk.Stop)); !errors.Is(err, ledger.ErrFull) {
			t.Errorf("one too many: %v", err)
		}
		if lost := l.Close(time.Second); lost != ledger.MaxEntries {
			t.Errorf("%d lost", lost)
		}
		if err := l.Add(t.Context(), record("x", eapsdk.Start)); err == nil {
			t.Error("a closed ledger takes records")
		}
	})
}
