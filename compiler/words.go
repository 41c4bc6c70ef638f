package compiler

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

// maxSeconds bounds a duration: a year.
const maxSeconds = 366 * 86400

// seconds reads "30s", "20m", "4h", "1d" or "1h30m".
func seconds(s string) (int, error) {
	total, n, digits := 0, 0, false
	for _, r := range s {
		if r >= '0' && r <= '9' {
			if n, digits = n*10+int(r-'0'), true; n > maxSeconds {
				return 0, fmt.Errorf("%q is longer than a year", s)
			}
			continue
		}
		unit := map[rune]int{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[r]
		if unit == 0 || !digits {
			return 0, fmt.Errorf("%q is not a duration; want e.g. \"30s\", \"20m\", \"4h\" or \"1h30m\"", s)
		}
		if total, n, digits = total+n*unit, 0, false; total > maxSeconds {
			return 0, fmt.Errorf("%q is longer than a year", s)
		}
	}
	if digits || s == "" {
		return 0, fmt.Errorf("%q is not a duration; want e.g. \"30s\", \"20m\", \"4h\" or \"1h30m\"", s)
	}
	return total, nil
}

// duration writes seconds as the policy would.
func duration(n int) string {
	if n == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []struct {
		size int
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}} {
		if n >= u.size {
			fmt.Fprintf(&b, "%d%s", n/u.size, u.name)
			n %= u.size
		}
	}
	return b.String()
}

// identity reads an address, a DNS name, "user@host" or "keyid:" with hex digits (RFC 7296 section 3.5).
func identity(s string) (plan.Identity, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" || a.Is4In6() {
			return plan.Identity{}, fmt.Errorf("%q is not an address that can go on the wire", s)
		}
		if a.Is4() {
			return plan.Identity{Type: ikev2.ID_IPV4_ADDR, Data: a.String()}, nil
		}
		return plan.Identity{Type: ikev2.ID_IPV6_ADDR, Data: a.String()}, nil
	}
	if digits, ok := strings.CutPrefix(s, "keyid:"); ok {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) == 0 {
			return plan.Identity{}, fmt.Errorf("%q: an even number of hex digits follows \"keyid:\"", s)
		}
		return plan.Identity{Type: ikev2.ID_KEY_ID, Data: hex.EncodeToString(b)}, nil
	}
	if strings.Contains(s, "=") {
		return distinguishedName(s)
	}
	if s == "" || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return plan.Identity{}, fmt.Errorf("%q: an identity is 1 to 255 printable ASCII characters without blanks", s)
	}
	if user, host, at := strings.Cut(s, "@"); at {
		if user == "" || host == "" || strings.Contains(host, "@") {
			return plan.Identity{}, fmt.Errorf("%q is not user@host", s)
		}
		return plan.Identity{Type: ikev2.ID_RFC822_ADDR, Data: s}, nil
	}
	if strings.ContainsAny(s, "/:") {
		return plan.Identity{}, fmt.Errorf("%q is no address, DNS name, user@host or keyid:…", s)
	}
	return plan.Identity{Type: ikev2.ID_FQDN, Data: s}, nil
}

// attributeTypes are the types of a distinguished name that a policy may write (RFC 4514 section 3).
var attributeTypes = []string{"CN", "C", "O", "OU", "ST", "L", "SN", "GN", "T", "SERIALNUMBER", "STREET", "E", "EMAILADDRESS", "DC", "UID"}

// distinguishedName reads "C=DE, O=Acme, CN=gw1": first attribute first, a backslash before a comma or plus that belongs to a value.
func distinguishedName(s string) (plan.Identity, error) {
	plain := strings.NewReplacer(`\\,`, "_", `\\+`, "_", `\\\\`, "_").Replace(s)
	for _, part := range strings.FieldsFunc(plain, func(r rune) bool { return r == ',' || r == '+' }) {
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToUpper(strings.TrimSpace(name))
		if !ok || strings.TrimSpace(value) == "" || !slices.Contains(attributeTypes, name) {
			return plan.Identity{}, fmt.Errorf("%q is not a distinguished name: want e.g. \"C=DE, O=Acme, CN=gw1\", with the types %s", s, strings.Join(attributeTypes, ", "))
		}
	}
	if len(s) > 500 || strings.HasSuffix(strings.TrimSpace(plain), ",") || strings.Contains(plain, ",,") {
		return plan.Identity{}, fmt.Errorf("%q is not a distinguished name: an attribute is empty, or it is too long", s)
	}
	return plan.Identity{Type: ikev2.ID_DER_ASN1_DN, Data: s}, nil
}

// pattern tells whether an identity is one of several: "*.example.org", "*@example.org", or a distinguished name with "*" for a value.
func pattern(id plan.Identity) bool {
	if id.Type == ikev2.ID_DER_ASN1_DN {
		for _, part := range strings.FieldsFunc(id.Data, func(r rune) bool { return r == ',' || r == '+' }) {
			if _, value, _ := strings.Cut(part, "="); strings.TrimSpace(value) == "*" {
				return true
			}
		}
		return false
	}
	return strings.HasPrefix(id.Data, "*")
}

// protocols are the IP protocols that selectors name.
var protocols = map[string]uint8{"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58, "ospf": 89, "sctp": 132}

// ports reads a protocol and its ports.
func ports(protocol, port string) (proto uint8, first, last uint16, err error) {
	last = 65535
	if protocol != "" {
		n, known := protocols[protocol]
		if !known {
			v, err := strconv.ParseUint(protocol, 10, 8)
			if err != nil {
				return 0, 0, 0, fmt.Errorf("protocol %q is not known; want a number up to 255", protocol)
			}
			n = uint8(v)
		}
		proto = n
	}
	if port == "" {
		return proto, 0, last, nil
	}
	if proto == 0 {
		return 0, 0, 0, fmt.Errorf("port %s needs a protocol, \"tcp\" or \"udp\" for example", port)
	}
	from, to, ranged := strings.Cut(port, "-")
	if !ranged {
		to = from
	}
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	switch {
	case err1 != nil || err2 != nil:
		return 0, 0, 0, fmt.Errorf("port %q is not a port or a range up to 65535", port)
	case a > b:
		return 0, 0, 0, fmt.Errorf("port range %s ends before it begins", port)
	}
	return proto, uint16(a), uint16(b), nil
}
