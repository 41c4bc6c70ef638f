package ikeproc

import (
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/msg"
)

// fromXFRMProc hands one message of xfrmproc's to the engine. An error ends the link.
func (p *process) fromXFRMProc(m msg.Message) error {
	switch m := m.(type) {
	case *msg.Inventory:
		if p.engine == nil {
			p.carried = m
			return nil
		}
	case *msg.SPI, *msg.Installed, *msg.Refused, *msg.Counters, *msg.Acquire, *msg.Expire, *msg.Mapping:
	default:
		return fmt.Errorf("xfrmproc said %T, which has no place here", m)
	}
	p.step(engine.FromXFRM{Msg: m})
	return nil
}
