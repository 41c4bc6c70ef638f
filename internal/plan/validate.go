package plan

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Validate holds a plan against the rules that the runtime relies on, so that no process has to ask again. The compiler finds the same mistakes
// earlier and says them better; this is for plans that another hand made.
func (p *Plan) Validate() error {
	if !name(p.Gateway) {
		return fmt.Errorf("gateway %q: not a name", p.Gateway)
	}
	switch p.Datapath {
	case DatapathAuto, DatapathKernel, DatapathUserspace:
	default:
		return fmt.Errorf("datapath %q is not auto, kernel or userspace", p.Datapath)
	}
	if len(p.Connections) > MaxConnections || len(p.Secrets) > MaxConnections || len(p.Bypass) > MaxConnections || len(p.Listen) > 1024 || len(p.Sources) > 1<<16 {
		return fmt.Errorf("more objects than a plan may have (%d connections at most)", MaxConnections)
	}
	for i, a := range p.Listen {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || i > 0 && p.Listen[i-1].Compare(a) >= 0 {
			return fmt.Errorf("listen addresses must be valid, sorted and without duplicates (%v)", a)
		}
	}
	secrets := map[string]bool{}
	if err := sorted("secret", p.Secrets, func(s Secret) string { return s.Name }); err != nil {
		return err
	}
	for _, s := range p.Secrets {
		if !(s.Credential == "" && cleanPath(s.File) || s.File == "" && name(s.Credential)) {
			return fmt.Errorf("secret %s: %q is not a clean absolute path, nor is %q a credential's name", s.Name, s.File, s.Credential)
		}
		secrets[s.Name] = true
	}
	known, err := p.checkCredentials(secrets)
	if err != nil {
		return err
	}
	if err := sorted("bypass", p.Bypass, func(b Bypass) string { return b.Name }); err != nil {
		return err
	}
	for _, b := range p.Bypass {
		if err := checkSelectors(b.Local, b.Remote); err != nil {
			return fmt.Errorf("bypass %s: %w", b.Name, err)
		}
	}
	if err := sorted("connection", p.Connections, func(c Connection) string { return c.Name }); err != nil {
		return err
	}
	reqids := map[uint32]string{}
	for i := range p.Connections {
		c := &p.Connections[i]
		if err := p.checkConnection(c, known, reqids); err != nil {
			return fmt.Errorf("connection %s: %w", c.Name, err)
		}
	}
	return nil
}

func (p *Plan) checkConnection(c *Connection, known credentials, reqids map[uint32]string) error {
	listens := false
	for _, a := range p.Listen {
		listens = listens || a == c.Local.Address
	}
	if !listens {
		return fmt.Errorf("local address %v is not among the plan's listen addresses", c.Local.Address)
	}
	if r := c.Remote.Address; r.IsValid() && (r.Is4() != c.Local.Address.Is4() || r.Is4In6() || r.Zone() != "") {
		return fmt.Errorf("remote address %v and local address %v cannot meet", r, c.Local.Address)
	}
	if err := known.checkAuth(c); err != nil {
		return err
	}
	switch {
	case len(c.Proposals) == 0 || len(c.Proposals) > MaxProposals:
		return fmt.Errorf("%d IKE proposals, want 1 to %d", len(c.Proposals), MaxProposals)
	case c.Initiate != InitiateStart && c.Initiate != InitiateTraffic && c.Initiate != InitiateNever:
		return fmt.Errorf("initiate %q", c.Initiate)
	case c.Unique != UniqueReplace && c.Unique != UniqueKeep && c.Unique != UniqueNever:
		return fmt.Errorf("unique %q", c.Unique)
	case c.DPD.Delay < 0 || c.DPD.Delay > 86400 || c.Keepalive < 0 || c.Keepalive > 3600:
		return fmt.Errorf("dead-peer detection every %d s, keepalive every %d s", c.DPD.Delay, c.Keepalive)
	case c.Retransmit.InitialMS < 100 || c.Retransmit.InitialMS > 60_000 || c.Retransmit.BaseX10 < 10 || c.Retransmit.BaseX10 > 100 || c.Retransmit.Tries < 0 || c.Retransmit.Tries > 30:
		return fmt.Errorf("retransmission schedule %+v", c.Retransmit)
	case c.FragmentSize != 0 && (c.FragmentSize < 256 || c.FragmentSize > 65535):
		return fmt.Errorf("fragment size %d, want 0 or 256 to 65535", c.FragmentSize)
	}
	if err := c.Lifetime.check(); err != nil {
		return err
	}
	for _, pr := range c.Proposals {
		if err := pr.check(); err != nil {
			return fmt.Errorf("IKE proposal: %w", err)
		}
	}
	if len(c.Children) == 0 || len(c.Children) > MaxChildren {
		return fmt.Errorf("%d children, want 1 to %d", len(c.Children), MaxChildren)
	}
	if err := sorted("child", c.Children, func(c Child) string { return c.Name }); err != nil {
		return err
	}
	for i := range c.Children {
		ch := &c.Children[i]
		if other, taken := reqids[ch.Reqid]; taken {
			return fmt.Errorf("child %s has the reqid of %s", ch.Name, other)
		}
		reqids[ch.Reqid] = c.Name + "/" + ch.Name
		if err := ch.check(); err != nil {
			return fmt.Errorf("child %s: %w", ch.Name, err)
		}
	}
	return nil
}

func (ch *Child) check() error {
	switch {
	case ch.Mode != ModeTunnel && ch.Mode != ModeTransport:
		return fmt.Errorf("mode %q", ch.Mode)
	case ch.Initiate != InitiateStart && ch.Initiate != InitiateTraffic && ch.Initiate != InitiateNever:
		return fmt.Errorf("initiate %q", ch.Initiate)
	case ch.Reqid < ReqidFirst || ch.Reqid > ReqidLast:
		return fmt.Errorf("reqid %#x is outside trike's range", ch.Reqid)
	case ch.ReplayWindow < 32 || ch.ReplayWindow > 4096:
		return fmt.Errorf("replay window of %d packets, want 32 to 4096", ch.ReplayWindow)
	case len(ch.Proposals) == 0 || len(ch.Proposals) > MaxProposals:
		return fmt.Errorf("%d ESP proposals, want 1 to %d", len(ch.Proposals), MaxProposals)
	}
	for _, pr := range ch.Proposals {
		if err := pr.check(); err != nil {
			return fmt.Errorf("ESP proposal: %w", err)
		}
	}
	if err := ch.Lifetime.check(); err != nil {
		return err
	}
	return checkSelectors(ch.Local, ch.Remote)
}

func checkSelectors(sides ...[]Selector) error {
	for _, side := range sides {
		if len(side) == 0 || len(side) > MaxSelectors {
			return fmt.Errorf("%d selectors on a side, want 1 to %d", len(side), MaxSelectors)
		}
		for _, s := range side {
			switch {
			case s.Prefix.IsValid() && (s.Prefix != s.Prefix.Masked() || s.Prefix.Addr().Is4In6()):
				return fmt.Errorf("selector %v has host bits set", s.Prefix)
			case !s.Prefix.IsValid() && s.Prefix != netip.Prefix{}:
				return fmt.Errorf("selector %v is not valid", s.Prefix)
			case s.PortFirst > s.PortLast:
				return fmt.Errorf("ports %d to %d", s.PortFirst, s.PortLast)
			case s.Protocol == 0 && (s.PortFirst != 0 || s.PortLast != 65535):
				return fmt.Errorf("ports %d to %d without a protocol", s.PortFirst, s.PortLast)
			}
		}
	}
	return nil
}

func (l Lifetime) check() error {
	switch {
	case l.Rekey < 0 || l.Hard < 0 || l.Jitter < 0 || l.Hard > 1<<30 || l.Rekey > 1<<30:
		return fmt.Errorf("lifetime %+v", l)
	case l.Rekey > 0 && l.Jitter >= l.Rekey:
		return fmt.Errorf("jitter of %d s leaves nothing of a rekey after %d s", l.Jitter, l.Rekey)
	case l.Rekey > 0 && l.Hard > 0 && l.Rekey >= l.Hard:
		return fmt.Errorf("rekey after %d s, gone after %d s", l.Rekey, l.Hard)
	case l.RekeyBytes > 0 && l.HardBytes > 0 && l.RekeyBytes >= l.HardBytes, l.RekeyPackets > 0 && l.HardPackets > 0 && l.RekeyPackets >= l.HardPackets:
		return fmt.Errorf("a rekey limit in octets or packets is not below its hard limit")
	}
	return nil
}

func (p *IKEProposal) check() error {
	if len(p.PRF) == 0 || len(p.KE) == 0 || contains(p.KE, ikev2.KE_NONE) {
		return fmt.Errorf("a PRF and a key exchange are needed")
	}
	if err := checkCipher(p.Encr, p.Integ); err != nil {
		return err
	}
	return checkAddKE(p.AddKE)
}

func (p *ESPProposal) check() error {
	if len(p.SN) == 0 {
		return fmt.Errorf("no sequence number format")
	}
	if len(p.KE) == 0 && len(p.AddKE) > 0 {
		return fmt.Errorf("additional key exchanges without a first one")
	}
	if err := checkCipher(p.Encr, p.Integ); err != nil {
		return err
	}
	return checkAddKE(p.AddKE)
}

// checkCipher: an AEAD and a plain cipher do not share a proposal (RFC 7296 section 3.3), and a plain cipher is nothing without integrity.
func checkCipher(encr []Encr, integ []ikev2.IntegID) error {
	if len(encr) == 0 {
		return fmt.Errorf("no cipher")
	}
	for _, e := range encr {
		if e.ID.IsAEAD() != encr[0].ID.IsAEAD() {
			return fmt.Errorf("%v and %v cannot share a proposal: one is an AEAD", e.ID, encr[0].ID)
		}
		if !cipherKey(e) {
			return fmt.Errorf("%v with a key of %d bits", e.ID, e.KeyBits)
		}
	}
	switch aead := encr[0].ID.IsAEAD(); {
	case aead && len(integ) > 0:
		return fmt.Errorf("%v takes no integrity algorithm", encr[0].ID)
	case !aead && (len(integ) == 0 || contains(integ, ikev2.AUTH_NONE)):
		return fmt.Errorf("%v needs an integrity algorithm", encr[0].ID)
	}
	return nil
}

func cipherKey(e Encr) bool {
	switch e.ID {
	case ikev2.ENCR_AES_GCM_16, ikev2.ENCR_AES_CBC:
		return e.KeyBits == 128 || e.KeyBits == 192 || e.KeyBits == 256
	case ikev2.ENCR_CHACHA20_POLY1305, ikev2.ENCR_3DES:
		return e.KeyBits == 0
	}
	return false
}

func checkAddKE(list []AddKE) error {
	for i, a := range list {
		if a.Slot < 1 || a.Slot > 7 || i > 0 && list[i-1].Slot >= a.Slot || len(a.KE) == 0 {
			return fmt.Errorf("additional key exchange slots must be 1 to 7, rising, and not empty")
		}
	}
	return nil
}

func (id Identity) check() error {
	ok := false
	switch id.Type {
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		a, err := netip.ParseAddr(id.Data)
		ok = err == nil && a.String() == id.Data && a.Is4() == (id.Type == ikev2.ID_IPV4_ADDR) && a.Zone() == ""
	case ikev2.ID_KEY_ID:
		b, err := hex.DecodeString(id.Data)
		ok = err == nil && len(b) > 0 && hex.EncodeToString(b) == id.Data
	case ikev2.ID_FQDN, ikev2.ID_RFC822_ADDR:
		ok = id.Data != "" && len(id.Data) <= 255 && !strings.ContainsFunc(id.Data, func(r rune) bool { return r <= ' ' || r > '~' })
	}
	if id.Type == ikev2.ID_DER_ASN1_DN {
		ok = strings.Contains(id.Data, "=") && len(id.Data) <= 512 && !strings.ContainsFunc(id.Data, func(r rune) bool { return r < ' ' || r > '~' })
	}
	if !ok {
		return fmt.Errorf("identity %v %q", id.Type, id.Data)
	}
	return nil
}

func contains[T comparable](list []T, v T) bool {
	for _, w := range list {
		if w == v {
			return true
		}
	}
	return false
}

// name tells whether s is a name of the policy language: 1 to 63 of a-z, A-Z, 0-9, '-', '_' and '.', no '.' or '-' first.
func name(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[0] == '.' {
		return false
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.') {
			return false
		}
	}
	return true
}

func sorted[T any](what string, list []T, nameOf func(T) string) error {
	for i, v := range list {
		n := nameOf(v)
		if !name(n) {
			return fmt.Errorf("%s %q: not a name", what, n)
		}
		if i > 0 && nameOf(list[i-1]) >= n {
			return fmt.Errorf("%s %s is not in order, or there twice", what, n)
		}
	}
	return nil
}
