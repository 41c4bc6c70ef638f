package mschapv2

import (
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

// script cuts fuzz input into packets: an octet that says how long the next is, and whether it gets a right EAP header (its highest bit).
func script(in []byte, code byte, say func(packet []byte) (identifier byte, goesOn bool), identifier byte) {
	for len(in) > 0 {
		n, framed := int(in[0]&0x7f), in[0]&0x80 != 0
		n = min(n, len(in)-1)
		packet := in[1 : 1+n]
		in = in[1+n:]
		if framed {
			packet = eap(code, identifier, packet)
		}
		goesOn := false
		if identifier, goesOn = say(packet); !goesOn {
			return
		}
	}
}

func piece(framed bool, data []byte) []byte {
	n := byte(len(data))
	if framed {
		n |= 0x80
	}
	return append([]byte{n}, data...)
}

// Nobody who does not know a password gets in, whatever he says.
func FuzzServer(f *testing.F) {
	answer := message{opResponse, 9, response{mschap.Challenge{1}, mschap.NTResponse{2}, "alice"}.marshal()}.marshal()
	f.Add(append(piece(true, answer), piece(true, []byte{3})...))
	f.Add(append(piece(true, answer), piece(true, []byte{4})...))
	f.Add(piece(true, []byte{7, 9, 0, 4}))
	f.Add(piece(false, []byte{2, 9, 0, 6, 3, 13}))
	f.Add(piece(false, []byte{2, 9, 255, 255, 26, 2, 9}))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := configured(t, map[string]string{"retries": "3"}, "users", house)
		s, step := begin(t, m, eapsdk.Begin{Role: eapsdk.Server, Identity: "alice", Identifier: 9})
		script(in, 2, func(packet []byte) (byte, bool) {
			step = next(t, s, packet)
			if step.Outcome == eapsdk.Success || step.MSK != nil {
				t.Fatalf("%x lets the peer in", packet)
			}
			if step.Outcome == eapsdk.Continue {
				return step.Packet[1], true
			}
			return 0, false
		}, step.Packet[1])
	})
}

// No server that does not know the password is believed.
func FuzzClient(f *testing.F) {
	ask := message{opChallenge, 7, challenge{mschap.Challenge{1}, "vpn"}.marshal()}.marshal()
	won := message{opSuccess, 7, []byte("S=407A5589115FD0D6209F510FE9C04566932CDA56 M=OK")}.marshal()
	lost := message{opFailure, 7, failure{691, true, mschap.Challenge{2}, "no"}.marshal()}.marshal()
	f.Add(append(piece(true, ask), append(piece(true, won), piece(false, []byte{3, 1, 0, 4})...)...))
	f.Add(append(piece(true, ask), append(piece(true, lost), piece(false, []byte{4, 1, 0, 4})...)...))
	f.Add(append(piece(true, ask), piece(false, []byte{1, 3, 0, 6, 2, 65})...))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := configured(t, nil, "password", "wonderland")
		var s eapsdk.Session
		id := byte(1)
		script(in, 1, func(packet []byte) (byte, bool) {
			var step eapsdk.Step
			if s == nil {
				s, step = begin(t, m, eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", Packet: packet})
			} else {
				step = next(t, s, packet)
			}
			if step.Outcome == eapsdk.Success || step.MSK != nil {
				t.Fatalf("%x makes the client believe", packet)
			}
			id++
			return id, step.Outcome == eapsdk.Continue
		}, id)
	})
}
