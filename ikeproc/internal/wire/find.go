package wire

import (
	"iter"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Find gives the first payload of type P, for example Find[*SA](ps), or nil.
func Find[P Payload](ps []Payload) P {
	for _, p := range ps {
		if q, ok := p.(P); ok {
			return q
		}
	}
	var none P
	return none
}

// All yields every payload of type P, for example All[*Delete](ps), in order.
func All[P Payload](ps []Payload) iter.Seq[P] {
	return func(yield func(P) bool) {
		for _, p := range ps {
			if q, ok := p.(P); ok && !yield(q) {
				return
			}
		}
	}
}

// FindID gives IDi, or IDr if responder is set, or nil.
func FindID(ps []Payload, responder bool) *ID {
	for p := range All[*ID](ps) {
		if p.Responder == responder {
			return p
		}
	}
	return nil
}

// FindTS gives TSi, or TSr if responder is set, or nil.
func FindTS(ps []Payload, responder bool) *TS {
	for p := range All[*TS](ps) {
		if p.Responder == responder {
			return p
		}
	}
	return nil
}

// FindNotify gives the first notify of the type, or nil.
func FindNotify(ps []Payload, t ikev2.NotifyType) *Notify {
	for p := range All[*Notify](ps) {
		if p.Type == t {
			return p
		}
	}
	return nil
}

// Notifies yields every notify of the type in order.
func Notifies(ps []Payload, t ikev2.NotifyType) iter.Seq[*Notify] {
	return func(yield func(*Notify) bool) {
		for p := range All[*Notify](ps) {
			if p.Type == t && !yield(p) {
				return
			}
		}
	}
}

// FindError gives the first notify of the error range, known or not, or nil (RFC 7296 section 3.10.1).
func FindError(ps []Payload) *Notify {
	for p := range All[*Notify](ps) {
		if p.Type.IsError() {
			return p
		}
	}
	return nil
}
