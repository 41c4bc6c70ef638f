package ikeproc

import (
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/msg"
)

// fromAuthProc hands one message of authproc's to the engine. An error ends the link.
func (p *process) fromAuthProc(m msg.Message) error {
	switch m := m.(type) {
	case *msg.TrustHints:
		p.hints = m // also for an engine that does not exist yet, or does not have the plan yet
	case *msg.Signed, *msg.Verified, *msg.Renewed, *msg.EAPReply, *msg.Terminate:
	default:
		return fmt.Errorf("authproc said %T, which has no place here", m)
	}
	p.step(engine.FromAuth{Msg: m})
	return nil
}
