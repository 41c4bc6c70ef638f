package relay

import (
	"slices"
	"strings"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// leastInterim is the shortest time between counters that a server may ask for (RFC 2869 section 5.16).
const leastInterim = time.Minute

// maxGrants bounds how many Filter-Id and Class attributes count.
const maxGrants = 64

// grants are what an Access-Accept or a CoA-Request gives.
func grants(p *radius.Packet) eapsdk.Grants {
	g := eapsdk.Grants{Address4: packet.IPv4(p), Address6: packet.IPv6(p), SessionTimeout: packet.Seconds(p, packet.SessionTimeout)}
	if every := packet.Seconds(p, packet.AcctInterimInterval); every > 0 {
		g.InterimEvery = max(every, leastInterim)
	}
	for _, v := range packet.All(p, packet.FilterID) {
		if s := packet.Printable(v, packet.MaxValue); s != "" && len(g.Filter) < maxGrants {
			g.Filter = append(g.Filter, s)
		}
	}
	for _, v := range packet.All(p, packet.Class) {
		if len(g.Class) < maxGrants {
			g.Class = append(g.Class, slices.Clone(v))
		}
	}
	return g
}

// source is the attribute that groups come from. The zero value gives none.
type source struct {
	kind   radius.Type
	vendor uint32 // with kind Vendor-Specific
	sub    byte
}

// of are the peer's groups: the attribute's values, cut at commas and semicolons, without the "OU=" that some servers' Class begins with. Values that are no text
// name no group.
func (s source) of(p *radius.Packet) (groups []string) {
	var values [][]byte
	switch s.kind {
	case 0:
		return nil
	case packet.VendorSpecific:
		values = packet.Vendor(p, s.vendor, s.sub)
	default:
		values = packet.All(p, s.kind)
	}
	for _, v := range values {
		if packet.Printable(v, packet.MaxValue) != strings.TrimSpace(string(v)) {
			continue
		}
		for name := range strings.FieldsFuncSeq(string(v), func(r rune) bool { return r == ',' || r == ';' }) {
			name = strings.TrimPrefix(strings.TrimSpace(name), "OU=")
			if name != "" && len(groups) < eapsdk.MaxGroups && !slices.Contains(groups, name) {
				groups = append(groups, name)
			}
		}
	}
	return groups
}
