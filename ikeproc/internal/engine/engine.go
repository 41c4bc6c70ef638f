package engine

import (
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/status"
)

// Engine holds all IKE SAs of one gateway. It has one owner.
type Engine struct {
	cfg         Config
	now         time.Time
	out         []Effect
	conns       map[string]*conn
	order       []*conn            // by name
	sas         map[uint64]*ikeSA  // by our own SPI
	authorities []msg.Cert         // CERTREQs for whoever may come
	inits       map[initKey]*ikeSA // half-open, ours to answer: a repeated IKE_SA_INIT is known by it
	half        int                // how many those are
	buried      int                // how many of sas are gone and only repeat their last response
	timers      timerHeap
	crowded     int                 // how many timers, cancelled ones among them, are worth tidying up
	seq         uint64              // of timers and questions: unique and rising
	children    map[uint32]*childSA // by inbound SPI
	reloading   *reloading
	waits       map[uint64]wait
	cookies     cookieJar
	strange     rateLimit // of unprotected notifies and of log lines about strangers
	exiting     bool
}

// New makes an engine. What the plan wants up at all times begins with the first Step.
func New(cfg Config) *Engine {
	cfg.Limits = cfg.Limits.orDefault()
	e := &Engine{
		cfg: cfg, now: cfg.Now, conns: map[string]*conn{}, sas: map[uint64]*ikeSA{}, inits: map[initKey]*ikeSA{},
		waits: map[uint64]wait{}, children: map[uint32]*childSA{},
	}
	e.setConnections()
	for _, c := range e.order {
		e.startIfWanted(c, 0)
	}
	return e
}

// Step takes one event and returns what is to be done about it, in order.
func (e *Engine) Step(now time.Time, ev Event) []Effect {
	e.now, e.out = now, nil
	e.fire()
	switch ev := ev.(type) {
	case Datagram:
		e.receive(ev)
	case Computed:
		e.computed(ev.KEResult)
	case FromAuth:
		e.fromAuth(ev.Msg)
	case FromXFRM:
		e.fromXFRM(ev.Msg)
	case LinkReset:
		e.linkReset(msg.Process(ev.Process))
	case Control:
		e.control(ev.Control)
	case Reload:
		e.reload(ev.Serial, ev.View)
	case Shutdown:
		e.shutdown()
	case Tick:
	}
	e.checkReload()
	if e.exiting && len(e.sas) == e.buried {
		e.exiting = false
		e.emit(Exit{})
	}
	return e.out
}

func (e *Engine) emit(f Effect) { e.out = append(e.out, f) }

func (e *Engine) log(ev status.Event) {
	ev.Time, ev.Process = e.now, string(msg.IKEProc)
	e.emit(Log{ev})
}
