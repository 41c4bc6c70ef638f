package ikeproc

import (
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/msg"
)

// fromXFRMProc hands one message of xfrmproc's to the engine. An error ends the link.
func (p *process) fromXFRMProc(m msg.Message) error {
	switch m.(type) {
	case *msg.SPI, *msg.Installed, *msg.Refused, *msg.Counters, *msg.Acquire, *msg.Expire, *msg.Mapping, *msg.Inventory:
		p.step(engine.FromXFRM{Msg: m})
		return nil
	}
	return fmt.Errorf("xfrmproc said %T, which has no place here", m)
}
