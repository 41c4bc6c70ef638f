package compiler

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/trike-ipsec/trike/internal/plan"
)

// giveReqids numbers a plan's children by a hash of their names, so that a child keeps its number while its name stays and the kernel's SAs stay
// with it over reloads. Where two hashes meet, the one that sorts later takes the next free number.
func giveReqids(p *plan.Plan) {
	const space = plan.ReqidLast - plan.ReqidFirst + 1
	taken := map[uint32]bool{}
	for i := range p.Connections {
		cn := &p.Connections[i]
		for j := range cn.Children {
			h := sha256.Sum256([]byte(cn.Name + "/" + cn.Children[j].Name))
			n := binary.BigEndian.Uint32(h[:4]) % space
			for taken[n] {
				n = (n + 1) % space
			}
			taken[n] = true
			cn.Children[j].Reqid = plan.ReqidFirst + n
		}
	}
}
