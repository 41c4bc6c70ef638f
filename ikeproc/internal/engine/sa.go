package engine

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// saState is how far an IKE SA has come.
type saState uint8

const (
	stateInit     saState = iota // IKE_SA_INIT and IKE_INTERMEDIATE
	stateAuth                    // IKE_AUTH
	stateUp                      // established
	stateRekeyed                 // replaced: its children have moved, its Delete is due
	stateDeleting                // our Delete is out, or about to be
)

var saStateNames = [...]string{"connecting", "authenticating", "established", "rekeyed", "deleting"}

func (s saState) String() string { return saStateNames[s] }

// ikeSA is one IKE SA.
type ikeSA struct {
	initiator      bool // we are its original initiator
	closed         bool
	state          saState
	spiI, spiR     uint64
	local, remote  netip.AddrPort
	conn           *conn // nil on the responder until the peer has authenticated
	suite          suite.Chosen
	keys           suite.IKEKeys
	out, in        *suite.Protector
	before         *suite.Protector // inbound, of the generation before, for a repeated IKE_INTERMEDIATE
	fragments      bool             // the peer takes RFC 7383 fragments
	natLocal       bool
	natRemote      bool
	encap          bool // ESP goes in UDP
	peerID         msg.ID
	grant          msg.Grant
	reassembler    *wire.Reassembler
	request        *request // ours that is out: the window is 1
	queue          []task   // ours that wait
	nextOut        uint32   // message ID of our next request
	nextIn         uint32   // message ID of the peer's next request
	answering      bool     // the request nextIn is being worked on
	response       [][]byte // to nextIn-1, for repeats
	children       []*childSA
	setup          *setup        // while it is being made
	rekey          *rekeying     // ours
	peerRekey      *peerRekeying // the peer's
	undecided      bool          // a successor of the peer's, while our own rekey of the same SA is out
	established    time.Time
	rekeyAt        time.Time
	cause          string    // of its end, as accounting has it (eapsdk.Record.Cause); "": lost
	tally          *tally    // of the session; nil where nobody is told of it
	reauthAt       time.Time // by when the peer must have authenticated again; zero: never
	lastIn         time.Time // of the last authentic packet
	lastOut        time.Time
	timers         saTimers
	followups      map[string]*followup // exchanges of ours to answer that wait for IKE_FOLLOWUP_KE
	why            string               // of its end, for the log
	making         *childNegotiation    // ours
	answeringChild *childNegotiation    // the peer's
	lost           []string             // children that went with it and are wanted back
	refusals       int                  // TEMPORARY_FAILURE in a row
	doomed         bool                 // it ends when the peer has been told: nobody waits for it
	gone           bool                 // kept only to repeat its last response
	half           bool                 // counted in Engine.half
	doubted        bool                 // the peer may have forgotten it
	key            initKey
}

type saTimers struct{ half, rekey, hard, dpd, keepalive, renew, reauth *timer }

func (t *saTimers) stop() {
	for _, one := range []*timer{t.half, t.rekey, t.hard, t.dpd, t.keepalive, t.renew, t.reauth} {
		one.stop()
	}
}

// setup is what only an IKE SA in the making needs.
type setup struct {
	proposals   []wire.Proposal
	nonceI      []byte
	nonceR      []byte
	initI       []byte // IKE_SA_INIT request as it was finally answered, and the response
	initR       []byte
	intAuthI    []byte
	intAuthR    []byte
	usedInter   bool // an IKE_INTERMEDIATE took place: AUTH covers it
	rounds      int  // additional key exchanges done
	idle        int  // IKE_INTERMEDIATEs without one
	inter       bool // both sides speak IKE_INTERMEDIATE
	candidates  []*conn
	child       *childNegotiation
	tried       map[ikev2.KEID]bool
	cookie      []byte
	kePublic    []byte
	keMethod    ikev2.KEID
	kePrivate   suite.KEResult
	retries     int // COOKIE and INVALID_KE_PAYLOAD so far
	refused     *wire.Notify
	natPayloads []wire.Payload

	conversation uint64     // by which authproc knows it; 0 before it was asked
	authID       uint32     // message ID of the first IKE_AUTH
	hashes       []uint16   // that the peer takes in signatures (RFC 7427)
	requests     []msg.Cert // its CERTREQs
	eap          *eapServing
	eapRounds    int // as the initiator
	peer         msg.ID
	peerReserved [3]byte
}

// speaksEAP tells whether authproc keeps something for the conversation.
func (s *setup) speaksEAP() bool { return s.eap != nil || s.eapRounds > 0 }

// ownSPI is the SPI by which the peer's packets find the SA.
func (sa *ikeSA) ownSPI() uint64 {
	if sa.initiator {
		return sa.spiI
	}
	return sa.spiR
}

func (sa *ikeSA) peerSPI() uint64 {
	if sa.initiator {
		return sa.spiR
	}
	return sa.spiI
}

// setKeys puts a generation of keys in force. The generation before is wiped.
func (sa *ikeSA) setKeys(e *Engine, keys suite.IKEKeys) error {
	out, in, err := keys.Protectors(sa.suite, sa.initiator, e.cfg.Entropy)
	if err != nil {
		keys.Close()
		return err
	}
	sa.keys.Close()
	sa.closeProtectors()
	sa.keys, sa.out, sa.in = keys, out, in
	return nil
}

func (sa *ikeSA) closeProtectors() {
	for _, p := range []*suite.Protector{sa.out, sa.in} {
		if p != nil {
			p.Close()
		}
	}
}

// close forgets an IKE SA, with its keys. Its children must have gone before, or have moved.
func (e *Engine) close(sa *ikeSA) {
	if sa.closed {
		return
	}
	sa.closed = true
	if e.sas[sa.ownSPI()] == sa {
		delete(e.sas, sa.ownSPI())
	}
	if e.inits[sa.key] == sa {
		delete(e.inits, sa.key)
	}
	e.notHalfOpen(sa)
	sa.timers.stop()
	if sa.request != nil {
		sa.request.timer.stop()
		sa.request = nil
	}
	for _, f := range sa.followups {
		f.drop(e)
	}
	if sa.setup != nil {
		e.releaseChild(sa.setup.child)
	}
	e.releaseChild(sa.making)
	e.releaseChild(sa.answeringChild)
	e.releaseChild(sa.making)
	e.releaseChild(sa.answeringChild)
	sa.dropRekey()
	if sa.setup != nil {
		closeResult(sa.setup.kePrivate)
		if sa.setup.conversation != 0 && sa.setup.speaksEAP() {
			e.emit(ToAuth{&msg.Forget{Conversation: sa.setup.conversation, Reason: "the IKE SA is gone"}})
		}
	}
	sa.keys.Close()
	sa.closeProtectors()
	if sa.before != nil {
		sa.before.Close()
	}
	if c := sa.conn; c != nil {
		e.usage(sa, msg.UsageStop, cmp.Or(sa.cause, "lost"))
		c.forget(sa)
	}
	sa.queue, sa.reassembler, sa.response, sa.setup, sa.followups = nil, nil, nil, nil, nil
}

func (e *Engine) notHalfOpen(sa *ikeSA) {
	if sa.half {
		sa.half = false
		e.half--
	}
	sa.timers.half.stop()
}

// header is the header of a message of ours.
func (sa *ikeSA) header(x ikev2.ExchangeType, id uint32, response bool) wire.Header {
	return wire.Header{SPIi: sa.spiI, SPIr: sa.spiR, Major: 2, Exchange: x, Initiator: sa.initiator, Response: response, MessageID: id}
}

// seal makes the datagrams of a protected message: one, or fragments where the peer takes them (RFC 7383).
func (sa *ikeSA) seal(h wire.Header, ps []wire.Payload) ([][]byte, error) {
	if size := sa.fragmentSize(); sa.fragments && size > 0 {
		return wire.SealFragments(h, ps, sa.out, wire.MaxMessage(size, sa.remote.Addr().Is6() && !sa.remote.Addr().Is4In6(), sa.remote.Port() == portNATT || sa.local.Port() == portNATT))
	}
	b, err := wire.Seal(nil, h, ps, sa.out)
	return [][]byte{b}, err
}

// fragmentSize is the connection's; while the responder does not know the connection yet, that of the best candidate.
func (sa *ikeSA) fragmentSize() int {
	switch {
	case sa.conn != nil:
		return sa.conn.cfg.FragmentSize
	case sa.setup != nil && len(sa.setup.candidates) > 0:
		return sa.setup.candidates[0].cfg.FragmentSize
	}
	return 0
}

// send puts datagrams on the way along the SA's path.
func (e *Engine) send(sa *ikeSA, datagrams [][]byte) {
	for _, b := range datagrams {
		e.emit(Send{Local: sa.local, Remote: sa.remote, Data: b})
	}
	sa.lastOut = e.now
}
