package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/status"
)

// Bounds on what the journal keeps and takes.
const (
	keepEvents = 4096
	maxText    = 16 << 10 // octets of an event's text
	ahead      = 512      // events that a follower may be behind
	perSecond  = 200      // events that a process may log in the long run
	burst      = 2000     // and at once
)

// journal writes events to triked's log and keeps the last for `trike log`. It has a lock because what processes write to standard error and operators who
// follow come from other goroutines than the loop.
type journal struct {
	out    io.Writer
	json   bool
	mu     sync.Mutex
	ring   []status.Event
	next   int // where the next goes, once the ring is full
	follow map[chan status.Event]*int
}

func newJournal(out io.Writer, asJSON bool) *journal {
	return &journal{out: out, json: asJSON, follow: map[chan status.Event]*int{}}
}

// add writes, keeps and hands on one event.
func (j *journal) add(e status.Event) {
	e.Text, e.Event, e.Connection, e.Child, e.Peer = clean(e.Text), clean(e.Event), clean(e.Connection), clean(e.Child), clean(e.Peer)
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ring) < keepEvents {
		j.ring = append(j.ring, e)
	} else {
		j.ring[j.next] = e
		j.next = (j.next + 1) % keepEvents
	}
	for c, lost := range j.follow {
		select {
		case c <- e:
		default:
			*lost++
		}
	}
	_, _ = io.WriteString(j.out, j.format(e))
}

// format is one line of the log.
func (j *journal) format(e status.Event) string {
	if j.json {
		b, err := json.Marshal(e)
		if err != nil {
			return ""
		}
		return string(b) + "\n"
	}
	name := e.Connection
	if e.Child != "" {
		name += "/" + e.Child
	}
	line := fmt.Sprintf("%s %-5s %-8s %s", e.Time.UTC().Format(time.RFC3339), e.Level, e.Process, e.Event)
	for _, part := range []string{name, e.Peer} {
		if part != "" {
			line += " " + part
		}
	}
	text := e.Text
	if e.Problem != nil {
		text = clean(e.Problem.Story())
	}
	return line + ": " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
}

// clean takes out what would do something to a terminal, and bounds the text: some of it was written by a peer.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + " …"
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '�'
	}, s)
}

// line takes what a process wrote to standard error: a word at its start, or a panic.
func (j *journal) line(name msg.Process, text string) {
	e := status.Event{Time: time.Now().UTC(), Level: "warn", Process: string(name), Event: "stderr", Text: text}
	if rest, ok := strings.CutPrefix(text, "sandbox: "); ok {
		e.Level, e.Event, e.Text = "info", "sandbox", rest
	}
	j.add(e)
}

// from takes an event that a process logs. Who said it is what triked knows, not what it says; one that logs too much is cut short.
func (j *journal) from(i *instance, raw []byte) {
	now := time.Now()
	if ok, lost := i.limit.allow(now); !ok {
		return
	} else if lost > 0 {
		j.add(status.Event{Time: now.UTC(), Level: "warn", Process: string(i.slot.name), Event: "log-cut",
			Text: fmt.Sprintf("it logged more than %d events a second: %d were left out", perSecond, lost)})
	}
	var e status.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		e = status.Event{Level: "warn", Event: "log", Text: "it logs what is no event: " + err.Error()}
	}
	e.Process = string(i.slot.name)
	if e.Time.IsZero() || e.Time.After(now.Add(time.Minute)) {
		e.Time = now
	}
	e.Time = e.Time.UTC()
	switch e.Level {
	case "debug", "info", "warn", "error":
	default:
		e.Level = "warn"
	}
	j.add(e)
}

// send hands on what is kept, oldest first, and with follow what comes until ctx ends or each fails.
func (j *journal) send(ctx context.Context, follow bool, each func(status.Event) error) error {
	j.mu.Lock()
	kept := append(append([]status.Event(nil), j.ring[j.next:]...), j.ring[:j.next]...)
	c, lost := make(chan status.Event, ahead), new(int)
	if follow {
		j.follow[c] = lost
	}
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		delete(j.follow, c)
		j.mu.Unlock()
	}()
	for _, e := range kept {
		if err := each(e); err != nil {
			return err
		}
	}
	for follow {
		select {
		case <-ctx.Done():
			return nil
		case e := <-c:
			if err := each(e); err != nil {
				return err
			}
			if len(c) > 0 {
				continue
			}
			j.mu.Lock()
			n := *lost
			*lost = 0
			j.mu.Unlock()
			if n > 0 {
				if err := each(status.Event{Time: time.Now().UTC(), Level: "warn", Process: string(msg.Triked), Event: "log-cut",
					Text: fmt.Sprintf("%d events came faster than they were read here and were left out", n)}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// limiter is a bucket of events.
type limiter struct {
	tokens float64
	last   time.Time
	lost   int
}

// allow takes an event from the bucket. lost is how many found it empty since the last that did not.
func (l *limiter) allow(now time.Time) (ok bool, lost int) {
	if l.last.IsZero() {
		l.tokens = burst
	} else {
		l.tokens = min(burst, l.tokens+perSecond*now.Sub(l.last).Seconds())
	}
	l.last = now
	if l.tokens < 1 {
		l.lost++
		return false, 0
	}
	l.tokens--
	lost, l.lost = l.lost, 0
	return true, lost
}
