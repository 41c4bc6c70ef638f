// Package eap is EAP as IKEv2 carries it (RFC 3748, 4137; RFC 7296 section 2.16): the authenticator's side and the peer's, as state machines without a clock, a goroutine or a
// plugin. What a method does is somebody else's: a machine says what to do, and is told what came of it.
//
//	s := eap.NewServer(eap.ServerConfig{…})
//	do := s.Start()            // or s.Packet(response), s.Step(step, err)
//	switch do.Kind {
//	case eap.Send:   …the peer gets do.Packet…
//	case eap.Choose: …who is do.Identity, and which methods may it use?  do = s.Chosen(methods)
//	case eap.Begin:  …the method do.Method begins with do.Packet; later s.Step(…)
//	case eap.Next:   …it is given do.Packet; later s.Step(…)
//	case eap.End:    …do.OK, do.Packet to send (EAP Success or Failure), do.Reason for the operator…
//	}
//
// IKE does the retransmitting, so a repeated or unexpected packet is the peer's mistake here, and ends the conversation.
package eap
