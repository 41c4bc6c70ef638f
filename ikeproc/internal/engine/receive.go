package engine

import (
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/status"
)

const (
	portIKE  = 500
	portNATT = 4500
)

// receive takes one datagram. What is not authentic changes nothing, except that an IKE_SA_INIT may begin an SA.
func (e *Engine) receive(d Datagram) {
	h, err := wire.ParseHeader(d.Data)
	if err != nil {
		e.badHeader(d, h, err)
		return
	}
	if h.Exchange == ikev2.IKE_SA_INIT {
		if h.Response {
			e.initResponse(d, h)
		} else {
			e.initRequest(d, h)
		}
		return
	}
	sa := e.lookup(h)
	if sa == nil {
		e.unknownSPI(d, h)
		return
	}
	if sa.in == nil {
		return // keys are still being made: the peer will repeat itself
	}
	if h.Response {
		e.receiveResponse(sa, d)
	} else {
		e.receiveRequest(sa, d, h)
	}
}

// lookup finds the SA by our own SPI, and lets it go unless the peer's SPI and the roles fit (HD-03, HD-10).
func (e *Engine) lookup(h wire.Header) *ikeSA {
	own, peer := h.SPIi, h.SPIr
	if h.Initiator {
		own, peer = peer, own
	}
	sa := e.sas[own]
	if sa == nil || sa.peerSPI() != peer || sa.initiator == h.Initiator {
		return nil
	}
	return sa
}

// badHeader answers a request of a later major version (RFC 7296 section 2.5); all else is dropped.
func (e *Engine) badHeader(d Datagram, h wire.Header, err error) {
	var fault *wire.Error
	if !errors.As(err, &fault) || fault.Notify != ikev2.INVALID_MAJOR_VERSION || h.Response || !e.strange.allow(e.now, 10, 20) {
		return
	}
	e.sendUnprotected(d, h.Answer(), fault.Reply())
}

// unknownSPI tells the sender of a request that we do not know its SA, now and then (RFC 7296 sections 2.21.4 and 1.5). The notify is not
// protected, so the peer will not act on it alone.
func (e *Engine) unknownSPI(d Datagram, h wire.Header) {
	if h.Response || !e.strange.allow(e.now, 10, 20) {
		return
	}
	e.sendUnprotected(d, h.Answer(), wire.NotifyStatus(ikev2.INVALID_IKE_SPI, nil))
}

func (e *Engine) sendUnprotected(d Datagram, h wire.Header, n *wire.Notify) {
	h.Major, h.Minor = 2, 0
	if b, err := wire.AppendMessage(nil, h, []wire.Payload{n}); err == nil {
		e.emit(Send{Local: d.Local, Remote: d.Remote, Data: b})
	}
}

// open checks a protected message's ICV and puts fragments together. ok is false when there is nothing to go on with; fault is
// what an authentic peer did wrong.
func (e *Engine) open(sa *ikeSA, d Datagram) (in wire.Inner, s wire.Sealed, fault *wire.Error, ok bool) {
	s, err := wire.ParseSealed(d.Data)
	if err != nil {
		return in, s, nil, false
	}
	if s.Fragment() {
		if !sa.fragments {
			return in, s, nil, false // FR-02: not negotiated
		}
		if sa.reassembler == nil {
			sa.reassembler = new(wire.Reassembler)
		}
		sa.reassembler.Expire(e.now.Unix() - 60)
		var done bool
		in, done, err = sa.reassembler.Add(s, sa.in, e.now.Unix())
		ok = done
	} else {
		in, err = s.Open(sa.in)
		ok = err == nil
	}
	if err != nil {
		// After a good ICV the fault is the peer's own; before it, the packet is anybody's.
		return in, s, asFault(err), asFault(err) != nil
	}
	return in, s, nil, ok
}

func asFault(err error) *wire.Error {
	var fault *wire.Error
	if errors.As(err, &fault) {
		return fault
	}
	return nil
}

// receiveResponse holds a response against the request that is out (MI-11). An error inside is the end of the exchange, never answered (HD-16).
func (e *Engine) receiveResponse(sa *ikeSA, d Datagram) {
	h, _ := wire.ParseHeader(d.Data)
	r := sa.request
	if r == nil || h.MessageID != r.id || h.Exchange != r.exchange {
		return
	}
	in, _, fault, ok := e.open(sa, d)
	if !ok {
		e.denied(sa, h, d)
		return
	}
	e.alive(sa)
	sa.doubted = false
	var ps []wire.Payload
	var shape wire.Shape
	var err error
	if fault != nil {
		err = fault
	} else if ps, err = in.Payloads(wire.DefaultLimits()); err == nil {
		shape, err = wire.Classify(h.Exchange, true, ps)
	}
	r.timer.stop()
	sa.request = nil
	if err != nil {
		e.log(status.Event{Level: "warn", Event: "bad-response", Connection: sa.name(), Peer: sa.remote.String(),
			Text: fmt.Sprintf("the peer's %s response makes no sense: %v", h.Exchange, err)})
		e.dead(sa, "the peer's response makes no sense")
		return
	}
	r.done(reply{shape, ps, in})
	e.next(sa)
}

// receiveRequest takes the peer's request if it is the next, repeats the response if it is the last, and drops it otherwise (RFC 7296 section 2.1).
func (e *Engine) receiveRequest(sa *ikeSA, d Datagram, h wire.Header) {
	switch {
	case h.MessageID == sa.nextIn && !sa.answering && !sa.gone:
	case h.MessageID+1 == sa.nextIn && sa.response != nil:
		e.repeatResponse(sa, d)
		return
	default:
		return
	}
	in, _, fault, ok := e.open(sa, d)
	if !ok {
		return
	}
	e.alive(sa)
	e.follow(sa, d)
	sa.answering = true
	if fault != nil {
		e.refuseSyntax(sa, h.Exchange, fault)
		return
	}
	ps, err := in.Payloads(wire.DefaultLimits())
	var shape wire.Shape
	if err == nil {
		shape, err = wire.Classify(h.Exchange, false, ps)
	}
	if fault := asFault(err); fault != nil {
		e.refuseSyntax(sa, h.Exchange, fault)
		return
	}
	e.dispatch(sa, shape, ps, in)
}

// dispatch is who answers what. Before the SA is established only what establishes it counts (IN-20).
func (e *Engine) dispatch(sa *ikeSA, shape wire.Shape, ps []wire.Payload, in wire.Inner) {
	if sa.state < stateUp {
		switch {
		case sa.initiator:
			sa.answering = false // a responder asks nothing before IKE_AUTH is through: dropped
		case shape == wire.Intermediate:
			e.intermediateRequest(sa, ps, in)
		case shape == wire.AuthFirst || shape == wire.AuthChildless:
			e.authRequest(sa, shape, ps)
		case shape == wire.AuthEAP:
			e.eapRequest(sa, ps)
		case shape == wire.AuthEAPFinal:
			e.eapFinal(sa, ps)
		case shape == wire.Info:
			// RFC 7296 section 2.21.2: the initiator may report that it gave up on us.
			e.infoBeforeUp(sa, ps)
		default:
			sa.answering = false
		}
		return
	}
	switch shape {
	case wire.ChildCreate:
		e.createRequest(sa, ps)
	case wire.IKERekey:
		e.rekeyIKERequest(sa, ps)
	case wire.FollowupKE:
		e.followupRequest(sa, ps)
	case wire.Info:
		e.infoRequest(sa, ps)
	default:
		e.answer(sa, in.Header.Exchange, wire.NotifyStatus(ikev2.INVALID_SYNTAX, nil))
	}
}

// refuseSyntax answers a request that an authentic peer got wrong. INVALID_SYNTAX ends the SA (RFC 7296 section 2.21.3).
func (e *Engine) refuseSyntax(sa *ikeSA, x ikev2.ExchangeType, fault *wire.Error) {
	e.log(status.Event{Level: "warn", Event: "bad-request", Connection: sa.name(), Peer: sa.remote.String(),
		Text: fmt.Sprintf("the peer's %s request is refused: %v", x, fault)})
	n := fault.Reply()
	if n == nil {
		sa.answering = false
		return
	}
	e.answer(sa, x, n)
	if fault.Notify == ikev2.INVALID_SYNTAX {
		e.dead(sa, "the peer sent a malformed request")
	}
}

// answer seals, sends and keeps the response to the request being worked on.
func (e *Engine) answer(sa *ikeSA, x ikev2.ExchangeType, ps ...wire.Payload) (sent bool) {
	b, err := sa.seal(sa.header(x, sa.nextIn, true), ps)
	if err != nil {
		e.log(status.Event{Level: "error", Event: "internal", Connection: sa.name(), Text: fmt.Sprintf("cannot seal a response: %v", err)})
		e.dead(sa, "a response could not be sealed")
		return false
	}
	sa.nextIn++
	sa.answering = false
	sa.response = b
	e.send(sa, b)
	return true
}

// repeatResponse sends the stored response again, octet for octet, to an authentic repetition (TR-11). Of a fragmented request only the
// first fragment counts (RFC 7383 section 2.6.1).
func (e *Engine) repeatResponse(sa *ikeSA, d Datagram) {
	s, err := wire.ParseSealed(d.Data)
	if err != nil || s.Fragment() && s.Number != 1 {
		return
	}
	if _, err := sa.in.OpenSK(s.Prefix, s.Body); err != nil {
		if sa.before == nil {
			return
		}
		if _, err := sa.before.OpenSK(s.Prefix, s.Body); err != nil {
			return
		}
	}
	e.send(sa, sa.response)
}

// alive notes that the peer has shown life.
func (e *Engine) alive(sa *ikeSA) { sa.lastIn = e.now }

// name is the connection's name for the log, empty while it is not known.
func (sa *ikeSA) name() string {
	switch {
	case sa.conn != nil:
		return sa.conn.cfg.Name
	case sa.setup != nil && len(sa.setup.candidates) == 1:
		return sa.setup.candidates[0].cfg.Name
	}
	return ""
}
