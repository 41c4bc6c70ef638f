package ikeproc

import (
	"errors"
	"fmt"
	"io"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
)

// inLength is how many messages a link's reader may be ahead of the loop.
const inLength = 256

// neighbour is authproc or xfrmproc as seen from here: a link, or what waits for one.
type neighbour struct {
	name        msg.Process
	*ipc.Queued // nil while there is no link
	// held is what the engine said while there was no link. A new process gets it; none of it was asked of the old one.
	held []msg.Message
}

// up tells whether there is a link.
func (n *neighbour) up() bool { return n.Queued != nil }

// incoming is the link's messages; nil, which never has any, while there is no link.
func (n *neighbour) incoming() <-chan ipc.Received {
	if !n.up() {
		return nil
	}
	return n.In
}

// pressed tells whether more is said than is heard.
func (n *neighbour) pressed() bool {
	return len(n.held) >= ipc.QueueSpare || n.up() && n.Busy()
}

// connect takes a new link and says what was held.
func (n *neighbour) connect(l Link) error {
	n.Queued = ipc.Queue(inLength, l)
	held := n.held
	n.held = nil
	for _, m := range held {
		if err := n.Say(m); err != nil {
			return err
		}
	}
	return nil
}

// disconnect ends the link at once.
func (n *neighbour) disconnect() {
	n.Cut()
	n.Queued = nil
}

// tell says m to a neighbour, now or when it is there.
func (p *process) tell(n *neighbour, m msg.Message) {
	if !n.up() {
		if len(n.held) >= ipc.QueueLength {
			p.log("error", "link-down", fmt.Sprintf("%d messages wait for %s: the oldest is given up", ipc.QueueLength, n.name))
			n.held = n.held[1:]
		}
		n.held = append(n.held, m)
		return
	}
	if err := n.Say(m); err != nil {
		p.lost(n, err)
	}
}

// lost ends a link that is dead or on which something illegal was said. The engine asks again what the neighbour will not answer; triked sees it die, and
// brings a new link.
func (p *process) lost(n *neighbour, err error) {
	if !n.up() {
		return
	}
	n.disconnect()
	if errors.Is(err, io.EOF) {
		p.log("warn", "link-down", fmt.Sprintf("%s has gone; IKE SAs stay, and wait for its next start", n.name))
	} else {
		p.log("error", "link-down", fmt.Sprintf("the link to %s was ended: %v", n.name, err))
	}
	p.resets = append(p.resets, engine.LinkReset{Process: string(n.name)})
}
