package wire

import (
	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Shape is what a legal message is, told by which payloads stand in it.
type Shape uint8

const (
	_ Shape = iota
	// InitOffer is an IKE_SA_INIT request, with or without a cookie; InitChoice is its normal response.
	InitOffer
	InitChoice
	// InitNotify is an IKE_SA_INIT response without SA, KE and nonce: COOKIE, INVALID_KE_PAYLOAD or another error.
	InitNotify
	// AuthFirst is an IKE_AUTH request with IDi and a Child SA's SA and TS payloads; AuthChildless has none (RFC 6023).
	// Without AUTH either asks for EAP.
	AuthFirst
	AuthChildless
	// AuthDone is an IKE_AUTH response with IDr, AUTH and a Child SA; AuthDoneNoChild has none, by RFC 6023 or because
	// a notify says why it was refused.
	AuthDone
	AuthDoneNoChild
	// AuthEAPStart is the first IKE_AUTH response with EAP: IDr, perhaps AUTH (RFC 5998 leaves it out), and EAP.
	AuthEAPStart
	// AuthEAP is a round with an EAP payload in a request or a response.
	AuthEAP
	// AuthEAPFinal is the last request after EAP: AUTH alone. Its responses are AuthEAPDone with the Child SA and
	// AuthEAPDoneNoChild without.
	AuthEAPFinal
	AuthEAPDone
	AuthEAPDoneNoChild
	// ChildCreate is a CREATE_CHILD_SA request or response with SA, nonce and both TS payloads, for a new Child SA or,
	// with N(REKEY_SA), a rekeyed one. IKERekey has SA, nonce and KE only.
	ChildCreate
	IKERekey
	// Intermediate is an IKE_INTERMEDIATE message (RFC 9242), FollowupKE an IKE_FOLLOWUP_KE message (RFC 9370).
	Intermediate
	FollowupKE
	// Info is an INFORMATIONAL message; it may be empty.
	Info
	// Refusal is a response of notifies alone: the exchange failed.
	Refusal
)

var shapeNames = [...]string{
	InitOffer: "IKE_SA_INIT offer", InitChoice: "IKE_SA_INIT choice", InitNotify: "IKE_SA_INIT notify",
	AuthFirst: "IKE_AUTH with child", AuthChildless: "IKE_AUTH without child",
	AuthDone: "IKE_AUTH done", AuthDoneNoChild: "IKE_AUTH done without child",
	AuthEAPStart: "IKE_AUTH start of EAP", AuthEAP: "IKE_AUTH EAP round", AuthEAPFinal: "IKE_AUTH end of EAP",
	AuthEAPDone: "IKE_AUTH done after EAP", AuthEAPDoneNoChild: "IKE_AUTH done after EAP without child",
	ChildCreate: "CREATE_CHILD_SA for a child", IKERekey: "CREATE_CHILD_SA for the IKE SA",
	Intermediate: "IKE_INTERMEDIATE", FollowupKE: "IKE_FOLLOWUP_KE", Info: "INFORMATIONAL", Refusal: "refusal",
}

// String names the shape for logs.
func (s Shape) String() string {
	if int(s) < len(shapeNames) && shapeNames[s] != "" {
		return shapeNames[s]
	}
	return "no shape"
}

// count says how often a payload of a type stands in a message: min to max times.
type count struct {
	payload  ikev2.PayloadType
	min, max int
}

// many is "any number": ParseMessage's limits bound it.
const many = 1 << 16

// form is one legal composition. V payloads may stand anywhere in any message (RFC 7296 appendix C), unknown payloads
// that are not critical too; a known payload that no count names may not.
type form struct {
	exchange ikev2.ExchangeType
	response bool
	shape    Shape
	counts   []count
	notifies int // how many notifies must stand there at least
}

const (
	sa, ke, idi, idr    = ikev2.PayloadSA, ikev2.PayloadKE, ikev2.PayloadIDi, ikev2.PayloadIDr
	cert, certreq, auth = ikev2.PayloadCERT, ikev2.PayloadCERTREQ, ikev2.PayloadAUTH
	nonce, del          = ikev2.PayloadNonce, ikev2.PayloadDelete
	tsi, tsr, cp, eap   = ikev2.PayloadTSi, ikev2.PayloadTSr, ikev2.PayloadCP, ikev2.PayloadEAP
)

// legal is RFC 7296 sections 1.2 to 1.4, 2.16 and appendix C, RFC 5998, RFC 6023, RFC 9242 section 3.2 and RFC 9370
// section 2.2. Forms are tried in order; within an exchange and direction no message fits two.
var legal = [...]form{
	{ikev2.IKE_SA_INIT, false, InitOffer, []count{{sa, 1, 1}, {ke, 1, 1}, {nonce, 1, 1}}, 0},
	{ikev2.IKE_SA_INIT, true, InitChoice, []count{{sa, 1, 1}, {ke, 1, 1}, {nonce, 1, 1}, {certreq, 0, many}}, 0},
	{ikev2.IKE_SA_INIT, true, InitNotify, nil, 1},

	{ikev2.IKE_AUTH, false, AuthFirst, []count{{idi, 1, 1}, {cert, 0, many}, {certreq, 0, many}, {idr, 0, 1}, {auth, 0, 1}, {cp, 0, 1},
		{sa, 1, 1}, {tsi, 1, 1}, {tsr, 1, 1}}, 0},
	{ikev2.IKE_AUTH, false, AuthChildless, []count{{idi, 1, 1}, {cert, 0, many}, {certreq, 0, many}, {idr, 0, 1}, {auth, 0, 1}, {cp, 0, 1}}, 0},
	{ikev2.IKE_AUTH, false, AuthEAP, []count{{eap, 1, 1}}, 0},
	{ikev2.IKE_AUTH, false, AuthEAPFinal, []count{{auth, 1, 1}}, 0},
	{ikev2.IKE_AUTH, true, AuthDone, []count{{idr, 1, 1}, {cert, 0, many}, {auth, 1, 1}, {cp, 0, 1}, {sa, 1, 1}, {tsi, 1, 1}, {tsr, 1, 1}}, 0},
	{ikev2.IKE_AUTH, true, AuthDoneNoChild, []count{{idr, 1, 1}, {cert, 0, many}, {auth, 1, 1}, {cp, 0, 1}}, 0},
	{ikev2.IKE_AUTH, true, AuthEAPStart, []count{{idr, 1, 1}, {cert, 0, many}, {auth, 0, 1}, {eap, 1, 1}}, 0},
	{ikev2.IKE_AUTH, true, AuthEAP, []count{{eap, 1, 1}}, 0},
	{ikev2.IKE_AUTH, true, AuthEAPDone, []count{{auth, 1, 1}, {cp, 0, 1}, {sa, 1, 1}, {tsi, 1, 1}, {tsr, 1, 1}}, 0},
	{ikev2.IKE_AUTH, true, AuthEAPDoneNoChild, []count{{auth, 1, 1}, {cp, 0, 1}}, 0},
	{ikev2.IKE_AUTH, true, Refusal, nil, 1},

	{ikev2.CREATE_CHILD_SA, false, ChildCreate, []count{{cp, 0, 1}, {sa, 1, 1}, {nonce, 1, 1}, {ke, 0, 1}, {tsi, 1, 1}, {tsr, 1, 1}}, 0},
	{ikev2.CREATE_CHILD_SA, false, IKERekey, []count{{sa, 1, 1}, {nonce, 1, 1}, {ke, 1, 1}}, 0},
	{ikev2.CREATE_CHILD_SA, true, ChildCreate, []count{{cp, 0, 1}, {sa, 1, 1}, {nonce, 1, 1}, {ke, 0, 1}, {tsi, 1, 1}, {tsr, 1, 1}}, 0},
	{ikev2.CREATE_CHILD_SA, true, IKERekey, []count{{sa, 1, 1}, {nonce, 1, 1}, {ke, 1, 1}}, 0},
	{ikev2.CREATE_CHILD_SA, true, Refusal, nil, 1},

	{ikev2.IKE_INTERMEDIATE, false, Intermediate, []count{{ke, 0, 1}}, 0},
	{ikev2.IKE_INTERMEDIATE, true, Intermediate, []count{{ke, 0, 1}}, 0},

	{ikev2.IKE_FOLLOWUP_KE, false, FollowupKE, []count{{ke, 1, 1}}, 1}, // N(ADDITIONAL_KEY_EXCHANGE)
	{ikev2.IKE_FOLLOWUP_KE, true, FollowupKE, []count{{ke, 1, 1}}, 0},
	{ikev2.IKE_FOLLOWUP_KE, true, Refusal, nil, 1},

	{ikev2.INFORMATIONAL, false, Info, []count{{del, 0, many}, {cp, 0, 1}}, 0},
	{ikev2.INFORMATIONAL, true, Info, []count{{del, 0, many}, {cp, 0, 1}}, 0},
}

// tally counts the payloads of a message by type.
type tally [256]int

func (t *tally) fits(f *form) bool {
	named := 0
	for _, c := range f.counts {
		if n := t[c.payload]; n < c.min || n > c.max {
			return false
		}
		named += t[c.payload]
	}
	return t[ikev2.PayloadNotify] >= f.notifies && named == t.governed()
}

// governed is how many payloads stand there that a form must name: the known ones except N and V.
func (t *tally) governed() int {
	sum := 0
	for p := ikev2.PayloadSA; p <= ikev2.PayloadSKF; p++ {
		if known(p) && p != ikev2.PayloadNotify && p != ikev2.PayloadVendor {
			sum += t[p]
		}
	}
	return sum
}

// Classify tells what a message is, or gives an INVALID_SYNTAX error when no form of the exchange and direction allows
// the payloads together. Their order does not matter (RFC 7296 section 2.5), nor do unknown payloads and vendor IDs.
// A request of an unknown exchange type is INVALID_SYNTAX too; a response of one is dropped.
func Classify(x ikev2.ExchangeType, response bool, ps []Payload) (Shape, error) {
	var t tally
	for _, p := range ps {
		t[p.PayloadType()]++
	}
	seen := false
	for i := range legal {
		f := &legal[i]
		if f.exchange != x || f.response != response {
			continue
		}
		seen = true
		if t.fits(f) {
			return f.shape, nil
		}
	}
	if !seen {
		return 0, syntax(0, 0, "exchange type %s is not one this end knows", x)
	}
	return 0, syntax(0, 0, "%s %s may not hold the payloads %s", x, direction(response), Summary(ps))
}

// CheckLegal is Classify for a caller who needs no shape.
func CheckLegal(x ikev2.ExchangeType, response bool, ps []Payload) error {
	_, err := Classify(x, response, ps)
	return err
}

func direction(response bool) string {
	if response {
		return "response"
	}
	return "request"
}
