package relay

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/servers"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Ports of RADIUS (RFC 2865 section 3) and of RADIUS over TLS (RFC 6614 section 2.1).
const (
	portAuth   = "1812"
	portAcct   = "1813"
	portRadSec = "2083"
)

// known are the settings that the policy may use.
func known() []eapsdk.Setting {
	return []eapsdk.Setting{
		{Name: "servers", Required: true, Help: "where the RADIUS servers are, best first: \"host:1812, host:1812\", or \"radsec://host:2083\" for RADIUS over TLS"},
		{Name: "acct-servers", Help: "where the accounting servers are; none: nothing is accounted for; default the same hosts, UDP one port higher"},
		{Name: "acct-on-off", Help: "no: servers are not told when this relay starts and ends (Accounting-On and Off); default yes"},
		{Name: "secret", Secret: true, Help: "what this gateway and the servers of UDP share"},
		{Name: "timeout", Help: "how long to wait before a request is repeated, twice as long each time; default 1s"},
		{Name: "tries", Help: "how often a request is sent to a server before the next one is asked, 1 to 10; default 3"},
		{Name: "dead-time", Help: "how long a server that did not answer is passed over; default 60s"},
		{Name: "nas-identifier", Help: "what this gateway calls itself; default trike"},
		{Name: "nas-address", Help: "the address of this gateway that servers are told; default the one that the peer spoke to"},
		{Name: "groups-from", Help: "where a peer's groups stand: class, filter-id (the default), none, an attribute's number, or VENDOR:NUMBER"},
		{Name: "keyless", Help: "allow: peers may use EAP methods that make no keys, such as MD5; default refuse"},
		{Name: "coa-listen", Help: "where servers may send Disconnect and CoA requests, ADDRESS:PORT, the port usually 3799; default nowhere"},
		{Name: "coa-clients", Help: "who may send them, addresses or prefixes"},
		{Name: "coa-window", Help: "how far a server's clock may be from ours, 1s to 1h; default 5m"},
		{Name: "tls-certificate", Secret: true, Help: "this gateway's certificate for RADIUS over TLS, PEM, with its chain"},
		{Name: "tls-key", Secret: true, Help: "that certificate's key, PEM"},
		{Name: "tls-server-name", Help: "the name in the certificates of the servers of TLS; default the host as it is in servers"},
		{Name: "tls-ca", Secret: true, Help: "the authorities that the servers' certificates must come from, PEM"},
	}
}

// settings is what the policy said.
type settings struct {
	auth, acct []servers.Endpoint
	silent     bool // no Accounting-On and Off
	secret     []byte
	timeout    time.Duration
	tries      int
	dead       time.Duration
	identifier string
	address    netip.Addr
	groups     source
	keyless    bool
	tls        *tls.Config

	coaListen  netip.AddrPort // not valid: nowhere
	coaClients []netip.Prefix
	coaWindow  time.Duration
}

// reader takes settings out of a Config and keeps all that is wrong with them.
type reader struct {
	config eapsdk.Config
	errs   []error
}

func (r *reader) wrong(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

// read takes the settings; the error has every problem, none with a secret in it.
func read(c eapsdk.Config) (settings, error) {
	r := &reader{config: c}
	s := settings{
		auth: r.endpoints("servers", portAuth), secret: bytes.TrimRight(c.Secrets["secret"], "\r\n"), timeout: r.duration("timeout", defaultTimeout, 10*time.Millisecond, time.Minute),
		tries: r.number("tries", defaultTries, 1, 10), dead: r.duration("dead-time", defaultDead, time.Second, 24*time.Hour),
		acct: r.accounting("acct-servers"), silent: r.choice("acct-on-off", "yes", "no"),
		identifier: r.text("nas-identifier", "trike"), groups: r.source("groups-from"), keyless: r.choice("keyless", "refuse", "allow"),
	}
	if v := c.Values["nas-address"]; v != "" {
		var err error
		if s.address, err = netip.ParseAddr(v); err != nil || s.address.IsUnspecified() || s.address.Zone() != "" {
			r.wrong("nas-address: %q is no address", v)
		}
	}
	if len(s.auth) == 0 && len(r.errs) == 0 {
		r.wrong("servers: names no server; say where one is, such as \"radius.example.com:1812\"")
	}
	r.coa(&s)
	r.credentials(&s)
	return s, errors.Join(r.errs...)
}

// coa reads where Disconnect and CoA requests come from.
func (r *reader) coa(s *settings) {
	s.coaWindow = r.duration("coa-window", defaultWindow, time.Second, time.Hour)
	for _, v := range list(r.config.Values["coa-clients"]) {
		p, err := netip.ParsePrefix(v)
		if a, failed := netip.ParseAddr(v); failed == nil {
			p, err = netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
		}
		if err != nil {
			r.wrong("coa-clients: %q is neither an address nor a prefix", v)
		}
		s.coaClients = append(s.coaClients, p.Masked())
	}
	v := r.config.Values["coa-listen"]
	if v == "" {
		return
	}
	var err error
	if s.coaListen, err = netip.ParseAddrPort(v); err != nil {
		r.wrong("coa-listen: %q is no ADDRESS:PORT, such as \"192.0.2.1:3799\"", v)
	}
	if len(s.coaClients) == 0 {
		r.wrong("coa-clients: say which addresses may send to coa-listen")
	}
	if len(s.secret) == 0 {
		r.wrong("secret: Disconnect and CoA requests are signed with it; give the plugin the secret \"secret\"")
	}
}

// credentials sees to it that every server has what it needs.
func (r *reader) credentials(s *settings) {
	var udp, overTLS bool
	for _, e := range slices.Concat(s.auth, s.acct) {
		udp, overTLS = udp || !e.TLS, overTLS || e.TLS
	}
	if udp && len(s.secret) == 0 {
		r.wrong("secret: the servers of UDP need one; give the plugin the secret \"secret\"")
	}
	if !overTLS {
		return
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(r.config.Secrets["tls-ca"]) {
		r.wrong("tls-ca: RADIUS over TLS needs the authorities of the servers' certificates, as PEM")
	}
	pair, err := tls.X509KeyPair(r.config.Secrets["tls-certificate"], r.config.Secrets["tls-key"])
	if err != nil {
		// RFC 6614 section 2.3 wants both sides to have a certificate. The library's errors name no octet of a key.
		r.wrong("tls-certificate, tls-key: RADIUS over TLS needs both, as PEM: %w", err)
	}
	s.tls = &tls.Config{ServerName: r.text("tls-server-name", ""), RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func (r *reader) text(name, otherwise string) string {
	v := r.config.Values[name]
	if v == "" {
		return otherwise
	}
	if len(v) > packet.MaxValue {
		r.wrong("%s: longer than %d octets", name, packet.MaxValue)
	}
	return v
}

func (r *reader) duration(name string, otherwise, least, most time.Duration) time.Duration {
	v := r.config.Values[name]
	if v == "" {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < least || d > most {
		r.wrong("%s: %q is no time from %s to %s, such as \"2s\"", name, v, least, most)
	}
	return d
}

func (r *reader) number(name string, otherwise, least, most int) int {
	v := r.config.Values[name]
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		r.wrong("%s: %q is no number from %d to %d", name, v, least, most)
	}
	return n
}

// choice is whether a setting says yes rather than no, which is the default.
func (r *reader) choice(name, no, yes string) bool {
	switch v := r.config.Values[name]; v {
	case "", no:
		return false
	case yes:
		return true
	default:
		r.wrong("%s: %q is neither %q nor %q", name, v, no, yes)
		return false
	}
}

func (r *reader) endpoints(name, port string) (out []servers.Endpoint) {
	for _, v := range list(r.config.Values[name]) {
		e := servers.Endpoint{Port: port}
		host, ok := strings.CutPrefix(v, "radsec://")
		if e.TLS = ok; ok {
			e.Port = portRadSec
		}
		e.Host = host
		if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
			e.Host = strings.TrimSuffix(inner, "]")
		} else if _, err := netip.ParseAddr(host); err != nil && strings.Contains(host, ":") {
			if e.Host, e.Port, err = net.SplitHostPort(host); err != nil {
				r.wrong("%s: %q is no HOST:PORT", name, v)
				continue
			}
		}
		if n, err := strconv.ParseUint(e.Port, 10, 16); err != nil || n == 0 || e.Host == "" || strings.ContainsAny(e.Host, "/@[]") {
			r.wrong("%s: %q is no HOST:PORT", name, v)
			continue
		}
		out = append(out, e)
	}
	if len(out) > servers.MaxServers {
		r.wrong("%s: more than %d", name, servers.MaxServers)
	}
	return out
}

// accounting are the servers of accounting: those that the setting names, or those of authentication at the next port (RFC 2866 section 3).
func (r *reader) accounting(name string) (out []servers.Endpoint) {
	switch r.config.Values[name] {
	case "none":
		return nil
	case "":
	default:
		return r.endpoints(name, portAcct)
	}
	for _, e := range (&reader{config: r.config}).endpoints("servers", portAuth) {
		if n, err := strconv.Atoi(e.Port); err == nil && n < 65535 && !e.TLS {
			e.Port = strconv.Itoa(n + 1)
		}
		out = append(out, e)
	}
	return out
}

// list cuts a value at commas and spaces.
func list(v string) []string {
	return strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' })
}

func (r *reader) source(name string) source {
	v := r.config.Values[name]
	switch v {
	case "none":
		return source{}
	case "", "filter-id":
		return source{kind: packet.FilterID}
	case "class":
		return source{kind: packet.Class}
	}
	vendor, number, isVendor := strings.Cut(v, ":")
	if !isVendor {
		number = v
	}
	n, err := strconv.ParseUint(number, 10, 8)
	if err == nil && n > 0 && !isVendor && n != uint64(packet.VendorSpecific) && n != uint64(packet.EAPMessage) && n != uint64(packet.MessageAuthenticator) {
		return source{kind: radius.Type(n)}
	}
	if id, failed := strconv.ParseUint(vendor, 10, 24); err == nil && failed == nil && isVendor && n > 0 && id != 0 && !secretAttribute(id, n) {
		return source{kind: packet.VendorSpecific, vendor: uint32(id), sub: byte(n)}
	}
	r.wrong("%s: %q is neither class, filter-id, none, an attribute's number nor VENDOR:NUMBER", name, v)
	return source{}
}

// secretAttribute tells of vendors' attributes that hold keys (RFC 2548 section 2.4).
func secretAttribute(vendor, n uint64) bool { return vendor == 311 && (n == 12 || n == 16 || n == 17) }
