package xfrmproc

import (
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// event passes on what the datapath says by itself.
func (p *process) event(e backend.Event) {
	switch e := e.(type) {
	case backend.Acquire:
		if p.ike != nil { // the next packet asks again
			p.ike.SayIfRoom(&msg.Acquire{Connection: e.Connection, Child: e.Child, TSLocal: e.TSLocal, TSRemote: e.TSRemote})
		}
	case backend.Expire:
		if e.Hard {
			p.state.Removed(e.SPIIn)
		}
		p.tellIKE(&msg.Expire{SPIIn: e.SPIIn, Hard: e.Hard})
	case backend.Mapping:
		p.tellIKE(&msg.Mapping{SPIIn: e.SPIIn, Remote: e.Remote})
	case backend.Lost:
		p.log("warn", "datapath", "", "", "the datapath had more to say than could be read; comparing what stands")
		if err := p.reconcile(false); err != nil {
			p.log("error", "reconcile", "", "", err.Error())
		}
		p.inventory()
	}
}
