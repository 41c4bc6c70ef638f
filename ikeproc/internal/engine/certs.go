package engine

import (
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Bounds on what of a peer's certificates goes to authproc.
const (
	maxCerts    = 32
	maxRequests = 16
	maxHashes   = 32
)

// signatures tells whether a connection may need SIGNATURE_HASH_ALGORITHMS: one side at least does not prove itself by a shared key alone.
func signatures(c *plan.Connection) bool {
	return c.LocalAuth.Method != plan.AuthPSK || c.RemoteAuth.Method != plan.AuthPSK
}

// certified tells whether a peer of this connection shows a certificate: then the authorities are named to it.
func certified(c *plan.Connection) bool { return c.RemoteAuth.Method == plan.AuthCertificate }

// ourHashes are the hashes by which a peer may sign (RFC 7427 section 4).
func ourHashes() wire.Payload {
	return wire.NotifyHashes(ikev2.HashSHA2_256, ikev2.HashSHA2_384, ikev2.HashSHA2_512, ikev2.HashIdentity)
}

// learnSignatures keeps what the peer said in IKE_SA_INIT of signatures and authorities.
func (s *setup) learnSignatures(ps []wire.Payload) {
	if n := wire.FindNotify(ps, ikev2.SIGNATURE_HASH_ALGORITHMS); n != nil {
		for _, h := range n.Hashes() {
			if len(s.hashes) < maxHashes {
				s.hashes = append(s.hashes, uint16(h))
			}
		}
	}
	s.learnRequests(ps)
}

// learnRequests keeps the authorities that the peer names in CERTREQs, from whichever message.
func (s *setup) learnRequests(ps []wire.Payload) {
	for p := range wire.All[*wire.CERTREQ](ps) {
		if len(s.requests) < maxRequests {
			s.requests = append(s.requests, msg.Cert{Encoding: p.Encoding, Data: append([]byte(nil), p.Authorities...)})
		}
	}
}

// certsOf copies the peer's certificates, in order: the first is the one that it signs with (RFC 7296 section 3.6).
func certsOf(ps []wire.Payload) (out []msg.Cert) {
	for p := range wire.All[*wire.CERT](ps) {
		if len(out) < maxCerts {
			out = append(out, msg.Cert{Encoding: p.Encoding, Data: append([]byte(nil), p.Data...)})
		}
	}
	return out
}

func certPayloads(cs []msg.Cert) (out []wire.Payload) {
	for _, c := range cs {
		out = append(out, &wire.CERT{Encoding: c.Encoding, Data: c.Data})
	}
	return out
}

func requestPayloads(cs []msg.Cert) (out []wire.Payload) {
	for _, c := range cs {
		out = append(out, &wire.CERTREQ{Encoding: c.Encoding, Authorities: c.Data})
	}
	return out
}

// askSign has authproc make our AUTH.
func (e *Engine) askSign(sa *ikeSA, connection string, then func(*msg.Signed)) {
	s := sa.setup
	m := &msg.Sign{Conversation: e.conversation(sa), Connection: connection, Initiator: sa.initiator, Hashes: s.hashes, Requests: s.requests}
	m.Octets = sa.octets(sa.initiator, s.authID, [3]byte{})
	e.askAuth(sa, m, &m.Req, func(answer msg.Message) {
		signed, _ := answer.(*msg.Signed)
		then(signed)
	})
}

// conversation is the number by which authproc knows an IKE SA in the making.
func (e *Engine) conversation(sa *ikeSA) uint64 {
	if sa.setup.conversation == 0 {
		e.seq++
		sa.setup.conversation = e.seq
	}
	return sa.setup.conversation
}

// advice is what the operator can do when the peer cannot prove itself, or does not believe us.
func advice(c *plan.Connection) string {
	switch {
	case c.RemoteAuth.Method == plan.AuthEAP || c.LocalAuth.Method == plan.AuthEAP:
		return "see the EAP plugin's words in the log, and compare the identity and the method on both sides"
	case signatures(c):
		return "compare the identities, the authorities and the signature schemes on both sides"
	}
	return "compare the identities and the pre-shared key on both sides"
}
