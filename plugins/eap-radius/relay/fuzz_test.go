package relay

import (
	"testing"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/servers"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// FuzzStep: whatever attributes a server's answer has, the step keeps to what the SDK promises.
func FuzzStep(f *testing.F) {
	secret := []byte("a secret for tests")
	request, err := packet.Seal(&radius.Packet{Code: radius.CodeAccessRequest}, secret)
	if err != nil {
		f.Fatal(err)
	}
	accept := &radius.Packet{}
	packet.AddEAP(accept, []byte{packet.EAPSuccess, 1, 0, 4})
	accept.Add(packet.Class, []byte("OU=a;b"))
	accept.Add(packet.UserName, []byte("alice"))
	if err := packet.AddMSK(accept, make([]byte, 64), request, secret); err != nil {
		f.Fatal(err)
	}
	b, err := accept.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(radius.CodeAccessAccept), b[20:])
	f.Add(uint8(radius.CodeAccessChallenge), []byte{79, 7, 1, 1, 0, 5, 4, 24, 3, 's'})
	f.Add(uint8(radius.CodeAccessReject), []byte{18, 5, 'n', 'o', '\n', 79, 6, 4, 1, 0, 4})
	f.Fuzz(func(t *testing.T, code uint8, attributes []byte) {
		list, err := radius.ParseAttributes(attributes)
		if err != nil {
			return
		}
		for _, s := range []settings{{groups: source{kind: packet.Class}}, {keyless: true, groups: source{kind: packet.VendorSpecific, vendor: 9, sub: 1}}} {
			c := &conversation{relay: &Relay{settings: s}, begin: eapsdk.Begin{Session: "1"}}
			p := &radius.Packet{Code: radius.Code(code), Attributes: list}
			step := c.step(servers.Answer{Packet: p, Request: request, Secret: secret, From: new(servers.Server)})
			switch step.Outcome {
			case eapsdk.Continue:
				if len(step.Packet) < 5 || step.Packet[0] != packet.EAPRequest || step.MSK != nil {
					t.Errorf("continue with %x", step.Packet)
				}
			case eapsdk.Success:
				if p.Code != radius.CodeAccessAccept || len(step.Packet) != 0 && len(step.Packet) != 4 || len(step.MSK) != eapsdk.MaxMSK && (step.MSK != nil || !s.keyless) {
					t.Errorf("success with %x, MSK of %d octets", step.Packet, len(step.MSK))
				}
				if len(step.Groups) > eapsdk.MaxGroups || len(step.Identity) > eapsdk.MaxIdentity {
					t.Errorf("%d groups, identity of %d octets", len(step.Groups), len(step.Identity))
				}
			case eapsdk.Failure:
				if step.MSK != nil || step.Reason == "" || len(step.Reason) > eapsdk.MaxText {
					t.Errorf("failure with reason %q", step.Reason)
				}
			default:
				t.Errorf("%v", step.Outcome)
			}
		}
	})
}
