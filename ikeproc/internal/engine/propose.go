package engine

import (
	"fmt"
	"strings"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

// offer is a proposal, ours or the peer's, in one form: lists in order of preference. nil addke[n]: the slot is not proposed.
type offer struct {
	encr  []plan.Encr
	prf   []ikev2.PRFID
	integ []ikev2.IntegID
	ke    []ikev2.KEID
	addke [7][]ikev2.KEID
	sn    []ikev2.SNID
}

// pick is what two offers have in common: one transform of each type.
type pick struct {
	number   uint8 // of the peer's proposal
	encr     plan.Encr
	prf      ikev2.PRFID
	integ    ikev2.IntegID
	hasInteg bool
	ke       ikev2.KEID
	hasKE    bool
	addke    [7]ikev2.KEID // KE_NONE where no exchange takes place
	slots    [7]bool       // the peer proposed this slot, so the answer names its choice
	sn       ikev2.SNID
	ike      bool
}

func ikeOffers(ps []plan.IKEProposal) []offer {
	out := make([]offer, len(ps))
	for i, p := range ps {
		out[i] = offer{encr: p.Encr, prf: p.PRF, integ: p.Integ, ke: p.KE, addke: slots(p.AddKE)}
	}
	return out
}

// espOffers are a child's proposals. In IKE_AUTH there is no key exchange of the child's own (RFC 7296 section 1.2), so pfs is false there.
func espOffers(ps []plan.ESPProposal, pfs bool) []offer {
	out := make([]offer, len(ps))
	for i, p := range ps {
		out[i] = offer{encr: p.Encr, integ: p.Integ, sn: p.SN}
		if pfs {
			out[i].ke, out[i].addke = p.KE, slots(p.AddKE)
		}
	}
	return out
}

func slots(addke []plan.AddKE) (s [7][]ikev2.KEID) {
	for _, a := range addke {
		if a.Slot >= 1 && a.Slot <= 7 {
			s[a.Slot-1] = a.KE
		}
	}
	return s
}

// proposal writes an offer as the n-th proposal of an SA payload.
func (o offer) proposal(n int, protocol ikev2.ProtocolID, spi []byte) wire.Proposal {
	p := wire.Proposal{Number: uint8(n), Protocol: protocol, SPI: spi}
	add := func(t ikev2.TransformType, id uint16, bits int) {
		p.Transforms = append(p.Transforms, wire.Transform{Type: t, ID: id, KeyBits: bits})
	}
	for _, e := range o.encr {
		add(ikev2.TransformENCR, uint16(e.ID), e.KeyBits)
	}
	for _, v := range o.prf {
		add(ikev2.TransformPRF, uint16(v), 0)
	}
	for _, v := range o.integ {
		add(ikev2.TransformINTEG, uint16(v), 0)
	}
	for _, v := range o.ke {
		add(ikev2.TransformKE, uint16(v), 0)
	}
	for i, list := range o.addke {
		for _, v := range list {
			add(ikev2.TransformADDKE1+ikev2.TransformType(i), uint16(v), 0)
		}
	}
	for _, v := range o.sn {
		add(ikev2.TransformSN, uint16(v), 0)
	}
	return p
}

// proposals writes offers as an SA payload's proposals, numbered from 1 (RFC 7296 section 3.3.1).
func proposals(offers []offer, protocol ikev2.ProtocolID, spi []byte) []wire.Proposal {
	out := make([]wire.Proposal, len(offers))
	for i, o := range offers {
		out[i] = o.proposal(i+1, protocol, spi)
	}
	return out
}

// read turns a peer's proposal into an offer. ok is false when it is unacceptable as a whole: a transform type that we do not know
// or must not ignore (IN-12). A transform that we cannot do is left out.
func read(p wire.Proposal, ike, additional bool) (o offer, ok bool) {
	for _, t := range p.Transforms {
		bad := len(t.Unknown) > 0
		switch {
		case t.Type == ikev2.TransformENCR:
			if c, known := suite.CipherOf(ikev2.EncrID(t.ID)); known && !bad {
				if _, err := c.KeyBits(t.KeyBits); err == nil { // IN-13
					o.encr = append(o.encr, plan.Encr{ID: ikev2.EncrID(t.ID), KeyBits: t.KeyBits})
				}
			}
		case t.Type == ikev2.TransformPRF && ike:
			if !bad && t.KeyBits == 0 {
				o.prf = append(o.prf, ikev2.PRFID(t.ID))
			}
		case t.Type == ikev2.TransformINTEG:
			if !bad && t.KeyBits == 0 {
				o.integ = append(o.integ, ikev2.IntegID(t.ID))
			}
		case t.Type == ikev2.TransformKE:
			if !bad && t.KeyBits == 0 {
				o.ke = append(o.ke, ikev2.KEID(t.ID))
			}
		case t.Type >= ikev2.TransformADDKE1 && t.Type <= ikev2.TransformADDKE7 && additional:
			i := t.Type - ikev2.TransformADDKE1
			if o.addke[i] == nil {
				o.addke[i] = []ikev2.KEID{}
			}
			if !bad && t.KeyBits == 0 {
				o.addke[i] = append(o.addke[i], ikev2.KEID(t.ID))
			}
		case t.Type == ikev2.TransformSN && !ike:
			if !bad {
				o.sn = append(o.sn, ikev2.SNID(t.ID))
			}
		default:
			return o, false
		}
	}
	return o, true
}

// match finds the combination of two offers, by our preference. Every type that one side proposes must come out (RFC 7296 section 3.3.6).
func match(ours, theirs offer, ike bool) (p pick, ok bool) {
	p.ike = ike
	if p.encr, ok = first(ours.encr, theirs.encr); !ok {
		return p, false
	}
	if ike {
		if p.prf, ok = first(ours.prf, theirs.prf); !ok {
			return p, false
		}
	}
	if p.encr.ID.IsAEAD() {
		// IN-14: an AEAD takes no INTEG, or NONE alone.
		if len(theirs.integ) > 0 && !contains(theirs.integ, ikev2.AUTH_NONE) || len(ours.integ) > 0 && !contains(ours.integ, ikev2.AUTH_NONE) {
			return p, false
		}
		p.hasInteg = len(theirs.integ) > 0
	} else {
		if p.integ, ok = first(ours.integ, theirs.integ); !ok || p.integ == ikev2.AUTH_NONE { // IN-15
			return p, false
		}
		p.hasInteg = true
	}
	if !ike {
		if p.sn, ok = first(ours.sn, theirs.sn); !ok {
			return p, false
		}
	}
	used := map[ikev2.KEID]bool{}
	switch {
	case len(ours.ke) > 0:
		if p.ke, ok = first(ours.ke, theirs.ke); !ok {
			return p, false
		}
		p.hasKE = true
	case len(theirs.ke) > 0:
		if ike || !contains(theirs.ke, ikev2.KE_NONE) {
			return p, false
		}
		p.hasKE = true // KE-06: the choice is NONE
	case ike:
		return p, false
	}
	used[p.ke] = true
	for i := range p.addke {
		a, b := ours.addke[i], theirs.addke[i]
		p.slots[i] = b != nil
		switch {
		case a == nil && b == nil:
		case a == nil:
			if !contains(b, ikev2.KE_NONE) {
				return p, false
			}
		case b == nil:
			if !contains(a, ikev2.KE_NONE) {
				return p, false
			}
		default:
			found := false
			for _, v := range a {
				if contains(b, v) && (v == ikev2.KE_NONE || !used[v]) { // RFC 9370 section 2.2.1: no method twice
					p.addke[i], found = v, true
					break
				}
			}
			if !found {
				return p, false
			}
			used[p.addke[i]] = true
		}
	}
	return p, true
}

func first[T comparable](ours, theirs []T) (T, bool) {
	for _, v := range ours {
		if contains(theirs, v) {
			return v, true
		}
	}
	var none T
	return none, false
}

func contains[T comparable](list []T, v T) bool {
	for _, w := range list {
		if v == w {
			return true
		}
	}
	return false
}

// choose is the responder's choice: our first offer that some proposal of the peer meets (IN-10). additional says that both sides
// speak the exchanges that additional key exchanges need.
func choose(ours []offer, theirs []wire.Proposal, protocol ikev2.ProtocolID, spiLen int, additional bool) (pick, wire.Proposal, bool) {
	ike := protocol == ikev2.ProtocolIKE
	for _, o := range ours {
		for _, t := range theirs {
			if t.Protocol != protocol || len(t.SPI) != spiLen {
				continue
			}
			offered, ok := read(t, ike, additional)
			if !ok {
				continue
			}
			if p, ok := match(o, offered, ike); ok {
				p.number = t.Number
				return p, t, true
			}
		}
	}
	return pick{}, wire.Proposal{}, false
}

// accept checks the responder's choice against what we offered: one proposal, one transform of each type, all of them ours (IN-11).
func accept(ours []offer, theirs []wire.Proposal, protocol ikev2.ProtocolID, spiLen int) (pick, error) {
	if len(theirs) != 1 {
		return pick{}, fmt.Errorf("%d proposals in the answer, want one", len(theirs))
	}
	t := theirs[0]
	if t.Number < 1 || int(t.Number) > len(ours) || t.Protocol != protocol || len(t.SPI) != spiLen {
		return pick{}, fmt.Errorf("proposal %d of protocol %v with an SPI of %d octets was not offered", t.Number, t.Protocol, len(t.SPI))
	}
	seen := map[ikev2.TransformType]bool{}
	for _, tr := range t.Transforms {
		if seen[tr.Type] {
			return pick{}, fmt.Errorf("two transforms of type %v in the answer", tr.Type)
		}
		seen[tr.Type] = true
	}
	ike := protocol == ikev2.ProtocolIKE
	chosen, ok := read(t, ike, true)
	if !ok {
		return pick{}, fmt.Errorf("the answer has a transform that was not offered")
	}
	p, ok := match(ours[t.Number-1], chosen, ike)
	if !ok {
		return pick{}, fmt.Errorf("the answer %s was not offered", chosen)
	}
	p.number = t.Number
	return p, nil
}

// proposal writes the choice as the responder's SA payload holds it.
func (p pick) proposal(protocol ikev2.ProtocolID, spi []byte) wire.Proposal {
	o := offer{encr: []plan.Encr{p.encr}}
	if p.ike {
		o.prf = []ikev2.PRFID{p.prf}
	} else {
		o.sn = []ikev2.SNID{p.sn}
	}
	if p.hasInteg {
		o.integ = []ikev2.IntegID{p.integ}
	}
	if p.hasKE {
		o.ke = []ikev2.KEID{p.ke}
	}
	for i, proposed := range p.slots {
		if proposed {
			o.addke[i] = []ikev2.KEID{p.addke[i]}
		}
	}
	return o.proposal(int(p.number), protocol, spi)
}

// rounds are the additional key exchanges in the order in which they take place.
func (p pick) rounds() (out []ikev2.KEID) {
	for _, m := range p.addke {
		if m != ikev2.KE_NONE {
			out = append(out, m)
		}
	}
	return out
}

func (p pick) suite() suite.Chosen {
	return suite.Chosen{Encr: p.encr.ID, KeyBits: p.encr.KeyBits, PRF: p.prf, Integ: p.integ, KE: p.ke, AddKE: p.rounds()}
}

// String writes an offer for the operator: types apart by "/", alternatives by "|".
func (o offer) String() string {
	var parts []string
	var alts []string
	flush := func() {
		if len(alts) > 0 {
			parts = append(parts, strings.Join(alts, "|"))
		}
		alts = nil
	}
	for _, e := range o.encr {
		if e.KeyBits > 0 {
			alts = append(alts, fmt.Sprintf("%v-%d", e.ID, e.KeyBits))
		} else {
			alts = append(alts, e.ID.String())
		}
	}
	flush()
	for _, v := range o.integ {
		alts = append(alts, v.String())
	}
	flush()
	for _, v := range o.prf {
		alts = append(alts, v.String())
	}
	flush()
	for _, v := range o.ke {
		alts = append(alts, v.String())
	}
	flush()
	for i, list := range o.addke {
		for _, v := range list {
			alts = append(alts, fmt.Sprintf("ADDKE%d=%v", i+1, v))
		}
		flush()
	}
	for _, v := range o.sn {
		alts = append(alts, v.String())
	}
	flush()
	return strings.Join(parts, "/")
}

func describeOffers(offers []offer) (out []string) {
	for _, o := range offers {
		out = append(out, o.String())
	}
	return out
}

// describeProposals writes the peer's proposals, at most 16, for the operator.
func describeProposals(ps []wire.Proposal) (out []string) {
	for i, p := range ps {
		if i == 16 {
			return append(out, fmt.Sprintf("and %d more", len(ps)-i))
		}
		o, ok := read(p, p.Protocol == ikev2.ProtocolIKE, true)
		text := o.String()
		if !ok {
			text += " (and a transform type that is not known)"
		}
		out = append(out, text)
	}
	return out
}
