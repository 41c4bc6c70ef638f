package wire

import (
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// some makes payloads of the types, empty: legality looks at types only.
func some(types ...ikev2.PayloadType) []Payload {
	var ps []Payload
	for _, t := range types {
		ps = append(ps, rawBody{kind: t})
	}
	return ps
}

const (
	n = ikev2.PayloadNotify
	v = ikev2.PayloadVendor
)

func TestClassify(t *testing.T) {
	const req, res = false, true
	for _, tt := range []struct {
		id       string
		exchange ikev2.ExchangeType
		response bool
		ps       []Payload
		want     Shape // 0: INVALID_SYNTAX
	}{
		{"IN-01 request", ikev2.IKE_SA_INIT, req, some(sa, ke, nonce, n, n, v), InitOffer},
		{"IN-01 request with COOKIE first", ikev2.IKE_SA_INIT, req, some(n, sa, ke, nonce), InitOffer},
		{"HD-18 request shuffled", ikev2.IKE_SA_INIT, req, some(v, nonce, n, ke, sa), InitOffer},
		{"IN-01 request without SA", ikev2.IKE_SA_INIT, req, some(ke, nonce), 0},
		{"IN-01 request without KE", ikev2.IKE_SA_INIT, req, some(sa, nonce), 0},
		{"IN-01 request without nonce", ikev2.IKE_SA_INIT, req, some(sa, ke), 0},
		{"IN-01 request with two nonces", ikev2.IKE_SA_INIT, req, some(sa, ke, nonce, nonce), 0},
		{"IN-01 request with IDi", ikev2.IKE_SA_INIT, req, some(sa, ke, nonce, idi), 0},
		{"IN-01 request with SK", ikev2.IKE_SA_INIT, req, some(sa, ke, nonce, ikev2.PayloadSK), 0},
		{"FR-02 request in a fragment", ikev2.IKE_SA_INIT, req, some(ikev2.PayloadSKF), 0},
		{"IN-01 request of notifies", ikev2.IKE_SA_INIT, req, some(n), 0},
		{"IN-01 empty request", ikev2.IKE_SA_INIT, req, nil, 0},
		{"IN-19 response with CERTREQ", ikev2.IKE_SA_INIT, res, some(sa, ke, nonce, n, certreq, certreq, v), InitChoice},
		{"CT-08 request with CERTREQ", ikev2.IKE_SA_INIT, req, some(sa, ke, nonce, certreq), 0},
		{"CK-01 response with COOKIE", ikev2.IKE_SA_INIT, res, some(n, v), InitNotify},
		{"IN-01 response without KE", ikev2.IKE_SA_INIT, res, some(sa, nonce), 0},
		{"IN-01 empty response", ikev2.IKE_SA_INIT, res, nil, 0},
		{"HD-14 unknown payloads", ikev2.IKE_SA_INIT, req, []Payload{&Unknown{Kind: 49}, rawBody{kind: sa}, rawBody{kind: ke}, &Unknown{Kind: 254}, rawBody{kind: nonce}}, InitOffer},

		{"CF-01 IKE_AUTH request", ikev2.IKE_AUTH, req, some(idi, cert, cert, n, certreq, idr, auth, cp, n, sa, tsi, tsr), AuthFirst},
		{"EA-01 IKE_AUTH request without AUTH", ikev2.IKE_AUTH, req, some(idi, sa, tsi, tsr), AuthFirst},
		{"CL-01 IKE_AUTH request without child", ikev2.IKE_AUTH, req, some(idi, auth), AuthChildless},
		{"CL-01 IKE_AUTH request with half a child", ikev2.IKE_AUTH, req, some(idi, auth, sa, tsi), 0},
		{"IKE_AUTH request without IDi", ikev2.IKE_AUTH, req, some(auth, sa, tsi, tsr), 0},
		{"IKE_AUTH request with two IDr", ikev2.IKE_AUTH, req, some(idi, idr, idr, auth, sa, tsi, tsr), 0},
		{"IKE_AUTH request with KE", ikev2.IKE_AUTH, req, some(idi, auth, ke, sa, tsi, tsr), 0},
		{"EA-01 EAP round", ikev2.IKE_AUTH, req, some(eap), AuthEAP},
		{"EA-01 EAP round answered", ikev2.IKE_AUTH, res, some(eap, n), AuthEAP},
		{"EA-01 last request", ikev2.IKE_AUTH, req, some(auth), AuthEAPFinal},
		{"EA-01 first response", ikev2.IKE_AUTH, res, some(idr, cert, auth, eap), AuthEAPStart},
		{"EO-01 first response without AUTH", ikev2.IKE_AUTH, res, some(idr, eap), AuthEAPStart},
		{"EA-01 last response", ikev2.IKE_AUTH, res, some(auth, cp, sa, tsi, tsr), AuthEAPDone},
		{"EA-01 last response, child refused", ikev2.IKE_AUTH, res, some(auth, n), AuthEAPDoneNoChild},
		{"CF-01 IKE_AUTH response", ikev2.IKE_AUTH, res, some(idr, cert, auth, cp, n, sa, tsi, tsr, n), AuthDone},
		{"AU-13 child refused", ikev2.IKE_AUTH, res, some(idr, auth, n), AuthDoneNoChild},
		{"CL-01 childless", ikev2.IKE_AUTH, res, some(idr, auth), AuthDoneNoChild},
		{"AU-09 refused", ikev2.IKE_AUTH, res, some(n), Refusal},
		{"IKE_AUTH response with IDi", ikev2.IKE_AUTH, res, some(idi, idr, auth), 0},
		{"IKE_AUTH response without AUTH", ikev2.IKE_AUTH, res, some(idr, sa, tsi, tsr), 0},
		{"IKE_AUTH response, empty", ikev2.IKE_AUTH, res, nil, 0},

		{"CC-01 child", ikev2.CREATE_CHILD_SA, req, some(n, sa, nonce, ke, tsi, tsr), ChildCreate},
		{"CC-01 child without PFS", ikev2.CREATE_CHILD_SA, req, some(sa, nonce, tsi, tsr), ChildCreate},
		{"CC-01 child without nonce", ikev2.CREATE_CHILD_SA, req, some(sa, tsi, tsr), 0},
		{"CC-01 child without TSr", ikev2.CREATE_CHILD_SA, req, some(sa, nonce, tsi), 0},
		{"RK-11 IKE rekey", ikev2.CREATE_CHILD_SA, req, some(sa, nonce, ke), IKERekey},
		{"RK-11 IKE rekey without KE", ikev2.CREATE_CHILD_SA, req, some(sa, nonce), 0},
		{"CC-01 child answered", ikev2.CREATE_CHILD_SA, res, some(sa, nonce, ke, tsi, tsr, n), ChildCreate},
		{"RK-11 IKE rekey answered", ikev2.CREATE_CHILD_SA, res, some(sa, nonce, ke), IKERekey},
		{"CC-06 refused", ikev2.CREATE_CHILD_SA, res, some(n), Refusal},
		{"CC-06 empty response", ikev2.CREATE_CHILD_SA, res, nil, 0},

		{"IM-02 request with KE", ikev2.IKE_INTERMEDIATE, req, some(ke, n), Intermediate},
		{"IM-02 response with KE", ikev2.IKE_INTERMEDIATE, res, some(ke), Intermediate},
		{"IM-02 without KE", ikev2.IKE_INTERMEDIATE, req, some(n), Intermediate},
		{"MK-04 two KE", ikev2.IKE_INTERMEDIATE, req, some(ke, ke), 0},
		{"IM-02 with AUTH", ikev2.IKE_INTERMEDIATE, req, some(ke, auth), 0},
		{"MK-06 request", ikev2.IKE_FOLLOWUP_KE, req, some(ke, n), FollowupKE},
		{"MK-06 request without link", ikev2.IKE_FOLLOWUP_KE, req, some(ke), 0},
		{"MK-06 last response", ikev2.IKE_FOLLOWUP_KE, res, some(ke), FollowupKE},
		{"MK-07 STATE_NOT_FOUND", ikev2.IKE_FOLLOWUP_KE, res, some(n), Refusal},

		{"CF-03 empty INFORMATIONAL", ikev2.INFORMATIONAL, req, nil, Info},
		{"DL-01 deletes", ikev2.INFORMATIONAL, req, some(del, del, n, cp), Info},
		{"CF-03 empty answer", ikev2.INFORMATIONAL, res, nil, Info},
		{"ER-16 unknown contents", ikev2.INFORMATIONAL, req, []Payload{&Unknown{Kind: 99}}, Info},
		{"ER-14 SA in INFORMATIONAL", ikev2.INFORMATIONAL, req, some(sa), 0},
		{"ER-14 two CP", ikev2.INFORMATIONAL, req, some(cp, cp), 0},

		{"unknown exchange", 99, req, some(n), 0},
	} {
		t.Run(tt.id, func(t *testing.T) {
			got, err := Classify(tt.exchange, tt.response, tt.ps)
			if tt.want == 0 {
				wantError(t, err, ikev2.INVALID_SYNTAX)
				if CheckLegal(tt.exchange, tt.response, tt.ps) == nil {
					t.Error("CheckLegal differs")
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %s %v, want %s", got, err, tt.want)
			}
		})
	}
}

// No message fits two forms of one exchange and direction, so the table's order means nothing.
func TestFormsAreDisjoint(t *testing.T) {
	smallest := func(f *form, extra ikev2.PayloadType, more int) []Payload {
		var ps []Payload
		for _, c := range f.counts {
			for range c.min {
				ps = append(ps, some(c.payload)...)
			}
		}
		for range max(f.notifies, 1) {
			ps = append(ps, some(n)...)
		}
		for range more {
			ps = append(ps, some(extra)...)
		}
		return ps
	}
	for i := range legal {
		f := &legal[i]
		for extra := sa; extra <= eap; extra++ {
			for more := range 2 {
				var tl tally
				for _, p := range smallest(f, extra, more) {
					tl[p.PayloadType()]++
				}
				var fit []Shape
				for j := range legal {
					if legal[j].exchange == f.exchange && legal[j].response == f.response && tl.fits(&legal[j]) {
						fit = append(fit, legal[j].shape)
					}
				}
				if len(fit) > 1 {
					t.Errorf("%s with %d more %s fits %v", f.shape, more, extra, fit)
				}
			}
		}
		if f.shape.String() == "no shape" {
			t.Errorf("shape %d has no name", f.shape)
		}
	}
	if Shape(0).String() != "no shape" || Shape(250).String() != "no shape" {
		t.Error("what is no shape has a name")
	}
}

func TestIllegalCompositionIsNamed(t *testing.T) {
	_, err := Classify(ikev2.CREATE_CHILD_SA, false, some(sa, nonce))
	if got, want := err.Error(), "ike message: at octet 0: CREATE_CHILD_SA request may not hold the payloads {SA, Nonce}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSummary(t *testing.T) {
	for _, tt := range []struct {
		ps   []Payload
		want string
	}{
		{nil, "{}"},
		{[]Payload{&SA{}, &Nonce{}, NotifyStatus(ikev2.COOKIE, nil), &ID{Responder: true}, &Unknown{Kind: 99}}, "{SA, Nonce, N(COOKIE), IDr, PAYLOAD_99}"},
		{some(sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa, sa),
			"{" + strings.Repeat("SA, ", 24) + "…}"},
	} {
		if got := Summary(tt.ps); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestFinders(t *testing.T) {
	ps := samples()
	if Find[*SA](ps) == nil || Find[*SK](ps) != nil {
		t.Error("Find")
	}
	if FindID(ps, false).Type != ikev2.ID_FQDN || FindID(ps, true).Type != ikev2.ID_IPV4_ADDR || FindID(nil, true) != nil {
		t.Error("FindID")
	}
	if FindTS(ps, false).Responder || !FindTS(ps, true).Responder || FindTS(nil, false) != nil {
		t.Error("FindTS")
	}
	if FindNotify(ps, ikev2.REKEY_SA) == nil || FindNotify(ps, ikev2.INITIAL_CONTACT) != nil {
		t.Error("FindNotify")
	}
	if FindError(ps) != nil || FindError(append(ps, &Notify{Type: 9999})).Type != 9999 {
		t.Error("ER-12: FindError")
	}
	count := 0
	for range All[*Delete](ps) {
		count++
	}
	for range Notifies(ps, ikev2.COOKIE) {
		count += 10
		break
	}
	for range All[*Notify](ps) {
		count += 100
		break
	}
	if count != 113 {
		t.Errorf("All and Notifies yield %d", count)
	}
}

func TestSelectorWords(t *testing.T) {
	any, opaque := Selector{EndPort: 65535}, Selector{StartPort: 65535}
	if !any.AnyPort() || any.Opaque() || opaque.AnyPort() || !opaque.Opaque() || any.Known() {
		t.Error("TS-02: ANY and OPAQUE are mixed up")
	}
}
