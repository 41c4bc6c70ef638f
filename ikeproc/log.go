package ikeproc

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/status"
)

// What strangers can make of the log is bounded: a burst, and then a steady trickle.
const (
	linesBurst     = 500
	linesPerSecond = 50
)

// lineLimit counts log lines.
type lineLimit struct {
	tokens float64
	last   time.Time
	lost   int
}

// allow tells whether one more line may be written. More of a trickle is kept for what matters.
func (l *lineLimit) allow(now time.Time, keep float64) bool {
	if l.last.IsZero() {
		l.tokens = linesBurst
	} else {
		l.tokens = min(linesBurst, l.tokens+now.Sub(l.last).Seconds()*linesPerSecond)
	}
	l.last = now
	if l.tokens < 1+keep {
		l.lost++
		return false
	}
	l.tokens--
	return true
}

// logEvent says one event to triked, if there is room.
func (p *process) logEvent(e status.Event) {
	keep := 0.0
	if e.Level == "debug" || e.Level == "warn" {
		keep = linesBurst / 10
	}
	if p.triked.Busy() || !p.lines.allow(p.cfg.Now(), keep) {
		return
	}
	if lost := p.lines.lost; lost > 0 {
		p.lines.lost = 0
		p.logLine(status.Event{Time: e.Time, Level: "warn", Process: string(msg.IKEProc), Event: "log-lost", Text: fmt.Sprintf("%d lines were left out: too many at once", lost)})
	}
	p.logLine(e)
}

func (p *process) logLine(e status.Event) {
	e.Time = e.Time.UTC()
	if b, err := json.Marshal(e); err == nil {
		_ = p.triked.Say(&msg.Log{JSON: b})
	}
}

// log says one event of this process's own.
func (p *process) log(level, event, text string) {
	p.logEvent(status.Event{Time: p.cfg.Now(), Level: level, Process: string(msg.IKEProc), Event: event, Text: text})
}
