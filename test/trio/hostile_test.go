package trio

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/trike-ipsec/trike/ikeproc"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

// hostile is a gateway whose ikeproc was taken over: the test speaks on its pipes, to the real authproc and the real xfrmproc.
// Its peer b has an authproc of its own, which the test uses to make one true AUTH: the attacker holds one grant that is good, for "ab".
type hostile struct {
	*world
	auth, xfrm ikeproc.Link
	heard      *tape // all that came back over the two pipes
	req        uint64
	signed     *msg.Signed // the peer's true AUTH
	grant      msg.Grant   // what it earned
	before     []plan.Connection
}

// other is a connection of the plan that the attacker's peer has no key for.
const otherPSK = "a key that the attacker has not"

// attacked runs a test with a taken-over ikeproc. Whatever it did, at its end the survivors still serve triked, and no secret was heard.
func attacked(t *testing.T, play func(h *hostile)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, func(p *plan.Plan) {
			other := p.Connections[0]
			other.Name, other.Remote.Address, other.Remote.ID.Data = "other", netip.MustParseAddr("203.0.113.9"), "other.example"
			other.LocalAuth.Secret, other.RemoteAuth.Secret = "other", "other"
			other.Children = slices.Clone(other.Children)
			other.Children[0].Reqid++
			other.Children[0].Remote = []plan.Selector{{Prefix: netip.MustParsePrefix("10.9.0.0/16"), PortLast: 65535}}
			p.Connections = append(p.Connections, other)
			p.Secrets = append(p.Secrets, plan.Secret{Name: "other", File: "/etc/trike/secrets/other.psk"})
		})
		defer w.close()
		h := &hostile{world: w, heard: new(tape)}
		for _, g := range []*gateway{w.a, w.b} {
			g.hostile = true
			g.secrets["other"] = otherPSK
			g.boot()
		}
		h.before = w.a.plan.Connections
		h.connect()
		synctest.Wait()
		h.grant = h.earn()
		play(h)
		h.serves()
		story := w.a.story(100_000)
		for what, key := range secrets(w.a) {
			if h.heard.has([]byte(key)) || strings.Contains(story, key) || strings.Contains(story, hex.EncodeToString([]byte(key))) {
				t.Errorf("ikeproc or the log has heard %s", what)
			}
		}
	})
}

// secrets are what authproc and xfrmproc have and ikeproc must not: keys, and what AUTH is made with (RFC 7296 section 2.15).
func secrets(g *gateway) map[string]string {
	out := map[string]string{"the key of grants": string(g.key)}
	for name, key := range g.secrets {
		out["the key of "+name] = key
		for prf, h := range map[string]func() hash.Hash{"SHA-1": sha1.New, "SHA-256": sha256.New, "SHA-384": sha512.New384, "SHA-512": sha512.New} {
			m := hmac.New(h, []byte(key))
			m.Write([]byte("Key Pad for IKEv2"))
			out["what "+prf+" makes of the key of "+name] = string(m.Sum(nil))
		}
	}
	return out
}

// connect gives ikeproc new pipes, as after a restart.
func (h *hostile) connect() {
	h.auth, h.xfrm = h.pipe(msg.AuthProc), h.pipe(msg.XFRMProc)
	h.hear(h.auth) // TrustHints
	h.hear(h.xfrm) // Inventory
}

// pipe makes a link whose other end's words are kept.
func (h *hostile) pipe(with msg.Process) ikeproc.Link {
	link, _ := h.rawPipe(with)
	return link
}

func (h *hostile) rawPipe(with msg.Process) (ikeproc.Link, net.Conn) {
	x, y := net.Pipe()
	h.a.procs[with].links <- ipc.New(y, with, msg.IKEProc)
	h.a.say(with, &msg.Link{Process: string(msg.IKEProc)})
	return ipc.New(&taped{x, h.heard}, msg.IKEProc, with), x
}

func (h *hostile) hear(l ikeproc.Link) msg.Message {
	h.t.Helper()
	m, err := l.Receive()
	if err != nil {
		h.t.Fatalf("the link is gone: %v", err)
	}
	return m
}

// ask says m and waits for the answer; alarms and hints in between are passed over.
func (h *hostile) ask(l ikeproc.Link, m msg.Message) msg.Message {
	h.t.Helper()
	if err := l.Send(m); err != nil {
		h.t.Fatalf("say %s: %v", m.Kind(), err)
	}
	for {
		switch a := h.hear(l).(type) {
		case *msg.Acquire, *msg.Expire, *msg.Mapping, *msg.TrustHints, *msg.Inventory:
		default:
			return a
		}
	}
}

// octets are what a signer of this role signs.
func octets(initiator bool) msg.Octets {
	m := make([]byte, 28)
	m[0], m[8], m[17], m[18], m[19], m[27] = 1, 1, 0x20, 34, 0x20, 28
	if initiator {
		m[8], m[19] = 0, 8
	}
	return msg.Octets{PRF: ikev2.PRF_HMAC_SHA2_256, Message: m, Nonce: make([]byte, 32), SKp: secret.New(make([]byte, 32))}
}

// earn has b's authproc sign as the initiator, and a's check it: one true grant.
func (h *hostile) earn() msg.Grant {
	h.t.Helper()
	bAuth := h.b.link(msg.AuthProc)
	h.hear(bAuth)
	h.signed = h.ask(bAuth, &msg.Sign{Req: 1, Connection: "ab", Initiator: true, Octets: octets(true)}).(*msg.Signed)
	v := h.ask(h.auth, &msg.Verify{Req: 2, Connections: []string{"ab", "other"}, Initiator: true, PeerID: h.signed.ID, PeerAddr: addrB,
		Method: h.signed.Method, Data: h.signed.Data, Octets: octets(true)}).(*msg.Verified)
	if !v.OK || len(v.Grants) != 1 || v.Grants[0].Connection != "ab" {
		h.t.Fatalf("the peer's true AUTH: %+v", v)
	}
	return v.Grants[0]
}

func (h *hostile) spi() uint32 {
	h.t.Helper()
	h.req++
	a, ok := h.ask(h.xfrm, &msg.AllocSPI{Req: h.req, Connection: "ab", Child: "net", Local: addrA, Remote: addrB}).(*msg.SPI)
	if !ok || a.SPI == 0 {
		h.t.Fatalf("no SPI: %+v", a)
	}
	return a.SPI
}

// install is a request that is inside the plan.
func (h *hostile) install(spi uint32) *msg.InstallChild {
	h.req++
	key := func(b byte) secret.Bytes { return secret.New(bytes.Repeat([]byte{b}, 36)) }
	whole := func(first, last string) []msg.TS {
		return []msg.TS{{PortLast: 65535, First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}}
	}
	return &msg.InstallChild{Req: h.req, Grant: h.grant, Connection: "ab", Child: "net", Mode: plan.ModeTunnel,
		Local: netip.AddrPortFrom(addrA, 500), Remote: netip.AddrPortFrom(addrB, 500), SPIIn: spi, SPIOut: 0x1000,
		Transform: msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256, SN: ikev2.SN_ESN}, EncrIn: key(1), EncrOut: key(2),
		TSLocal: whole("10.1.0.0", "10.1.255.255"), TSRemote: whole("10.2.0.0", "10.2.255.255")}
}

// serves fails unless both survivors still answer triked, and ikeproc on new pipes.
func (h *hostile) serves() {
	h.t.Helper()
	var a status.Auth
	var x status.XFRM
	h.a.tell(msg.AuthProc, &a)
	h.a.tell(msg.XFRMProc, &x)
	h.connect()
	if s := h.ask(h.auth, &msg.Sign{Req: 1, Connection: "ab", Initiator: true, Octets: octets(true)}).(*msg.Signed); s.Error != "" {
		h.t.Errorf("authproc signs no more: %s", s.Error)
	}
	if h.spi() == 0 {
		h.t.Error("xfrmproc gives no SPI any more")
	}
}

// What is inside the plan and under a true grant is installed: the refusals of the other tests are not those of a gateway that refuses all.
func TestHostileInside(t *testing.T) {
	attacked(t, func(h *hostile) {
		if a := h.ask(h.xfrm, h.install(h.spi())); a.Kind() != msg.KindInstalled || h.a.carried() != 1 {
			t.Fatalf("%+v", a)
		}
	})
}

// beyond lists the ways in which an InstallChild can ask for more than the plan, and a true grant, allow.
func beyond() map[string]func(m *msg.InstallChild) {
	addr, ts := netip.MustParseAddr, func(first, last string) []msg.TS {
		return []msg.TS{{PortLast: 65535, First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}}
	}
	return map[string]func(m *msg.InstallChild){
		"no grant":                      func(m *msg.InstallChild) { m.Grant = msg.Grant{} },
		"a grant with another MAC":      func(m *msg.InstallChild) { m.Grant.MAC[31] ^= 1 },
		"a grant with another serial":   func(m *msg.InstallChild) { m.Grant.Serial++ },
		"a grant that lasts longer":     func(m *msg.InstallChild) { m.Grant.Expiry++ },
		"a grant for another peer":      func(m *msg.InstallChild) { m.Grant.PeerID.Data = []byte("other.example") },
		"a grant moved to another":      func(m *msg.InstallChild) { m.Grant.Connection, m.Connection = "other", "other" },
		"the grant of another":          func(m *msg.InstallChild) { m.Connection = "other" },
		"a MAC by an empty key":         func(m *msg.InstallChild) { m.Grant.MAC = msg.MACGrant(secret.Bytes{}, m.Grant) },
		"a MAC by a guessed key":        func(m *msg.InstallChild) { m.Grant.MAC = msg.MACGrant(secret.Copy(make([]byte, 32)), m.Grant) },
		"an unknown connection":         func(m *msg.InstallChild) { m.Connection = "nowhere" },
		"an unknown child":              func(m *msg.InstallChild) { m.Child = "everything" },
		"an SPI of nobody":              func(m *msg.InstallChild) { m.SPIIn ^= 1 << 31 },
		"SPI 0 outward":                 func(m *msg.InstallChild) { m.SPIOut = 0 },
		"another local address":         func(m *msg.InstallChild) { m.Local = netip.AddrPortFrom(addr("192.0.2.77"), 500) },
		"another remote address":        func(m *msg.InstallChild) { m.Remote = netip.AddrPortFrom(addr("203.0.113.66"), 500) },
		"no address":                    func(m *msg.InstallChild) { m.Remote = netip.AddrPort{} },
		"transport mode":                func(m *msg.InstallChild) { m.Mode = plan.ModeTransport },
		"a mode of nobody's":            func(m *msg.InstallChild) { m.Mode = "both" },
		"another cipher":                func(m *msg.InstallChild) { m.Transform.Encr = ikev2.ENCR_AES_CBC },
		"a cipher of nobody's":          func(m *msg.InstallChild) { m.Transform.Encr = 999 },
		"no cipher":                     func(m *msg.InstallChild) { m.Transform.Encr = 11 },
		"a shorter key":                 func(m *msg.InstallChild) { m.Transform.KeyBits = 128 },
		"integrity beside an AEAD":      func(m *msg.InstallChild) { m.Transform.Integ = ikev2.AUTH_HMAC_SHA2_256_128 },
		"no extended sequence numbers":  func(m *msg.InstallChild) { m.Transform.SN = 0 },
		"keys that are too short":       func(m *msg.InstallChild) { m.EncrOut = secret.New(make([]byte, 35)) },
		"one key for both directions":   func(m *msg.InstallChild) { m.EncrOut = secret.Copy(m.EncrIn.Reveal()) },
		"no keys":                       func(m *msg.InstallChild) { m.EncrIn, m.EncrOut = secret.Bytes{}, secret.Bytes{} },
		"selectors wider by an address": func(m *msg.InstallChild) { m.TSRemote = ts("10.2.0.0", "10.3.0.0") },
		"selectors of the whole world":  func(m *msg.InstallChild) { m.TSRemote = ts("0.0.0.0", "255.255.255.255") },
		"local selectors of another's":  func(m *msg.InstallChild) { m.TSLocal = ts("10.9.0.0", "10.9.0.255") },
		"selectors the wrong way round": func(m *msg.InstallChild) { m.TSLocal, m.TSRemote = m.TSRemote, m.TSLocal },
		"selectors that end before":     func(m *msg.InstallChild) { m.TSRemote = ts("10.2.0.9", "10.2.0.1") },
		"no selectors":                  func(m *msg.InstallChild) { m.TSLocal, m.TSRemote = nil, nil },
		"selectors of two families":     func(m *msg.InstallChild) { m.TSRemote[0].Last = addr("::1") },
		"one good selector and one bad": func(m *msg.InstallChild) { m.TSRemote = append(m.TSRemote, ts("10.9.0.1", "10.9.0.1")...) },
		"selectors that are many":       func(m *msg.InstallChild) { m.TSLocal = slices.Repeat(m.TSLocal, 300) },
	}
}

// Nothing beyond the plan, and nothing without a true grant, is installed.
func TestHostileInstall(t *testing.T) {
	for name, spoil := range beyond() {
		t.Run(name, func(t *testing.T) {
			attacked(t, func(h *hostile) {
				m := h.install(h.spi())
				spoil(m)
				a, refused := h.ask(h.xfrm, m).(*msg.Refused)
				if !refused || a.Req != m.Req || a.Reason == "" || h.a.carried() != 0 {
					t.Errorf("answered by %+v; the datapath carries %d pairs", a, h.a.carried())
				}
			})
		})
	}
}

// authproc signs our own IKE_SA_INIT for a connection of the plan, and nothing else; what it signed does not pass as the peer's.
func TestHostileSign(t *testing.T) {
	for name, spoil := range map[string]func(m *msg.Sign){
		"an unknown connection":         func(m *msg.Sign) { m.Connection = "nowhere" },
		"the peer's message":            func(m *msg.Sign) { m.Octets.Message = octets(false).Message },
		"the peer's role":               func(m *msg.Sign) { m.Initiator = false },
		"another exchange":              func(m *msg.Sign) { m.Octets.Message[18] = 35 },
		"no message":                    func(m *msg.Sign) { m.Octets.Message = nil },
		"a message with more behind it": func(m *msg.Sign) { m.Octets.Message = append(m.Octets.Message, "more"...) },
		"no nonce":                      func(m *msg.Sign) { m.Octets.Nonce = nil },
		"a nonce that is too long":      func(m *msg.Sign) { m.Octets.Nonce = make([]byte, 257) },
		"no SK_p":                       func(m *msg.Sign) { m.Octets.SKp = secret.Bytes{} },
		"a PRF of nobody's":             func(m *msg.Sign) { m.Octets.PRF = 999 },
		"half an IntAuth":               func(m *msg.Sign) { m.Octets.IntAuth = make([]byte, 17) },
	} {
		t.Run(name, func(t *testing.T) {
			attacked(t, func(h *hostile) {
				m := &msg.Sign{Req: 7, Connection: "ab", Initiator: true, Octets: octets(true)}
				spoil(m)
				if s := h.ask(h.auth, m).(*msg.Signed); s.Error == "" || len(s.Data) != 0 {
					t.Errorf("it was signed: %+v", s)
				}
			})
		})
	}
}

// No AUTH but the peer's own earns a grant, and no grant can be made or stretched.
func TestHostileVerify(t *testing.T) {
	attacked(t, func(h *hostile) {
		refused := func(what string, m *msg.Verify) {
			t.Helper()
			if v := h.ask(h.auth, m).(*msg.Verified); v.OK || len(v.Grants) != 0 || v.Error == "" {
				t.Errorf("%s: %+v", what, v)
			}
		}
		own := h.ask(h.auth, &msg.Sign{Req: 1, Connection: "ab", Initiator: true, Octets: octets(true)}).(*msg.Signed)
		peer := msg.ID{Type: ikev2.ID_FQDN, Data: []byte("gw-203-0-113-2.example")}
		base := func() *msg.Verify {
			return &msg.Verify{Req: 2, Connections: []string{"ab"}, Initiator: true, PeerID: peer, PeerAddr: addrB, Method: own.Method, Data: own.Data, Octets: octets(true)}
		}
		refused("our own AUTH as the peer's", base())
		m := base()
		m.PeerID = own.ID
		refused("our own AUTH under our own name", m)
		m = base()
		m.Data = make([]byte, 32)
		refused("AUTH of nothing", m)
		m = base()
		m.Data = nil
		refused("no AUTH", m)
		m = base()
		m.Method = 1
		refused("a method that the plan does not have", m)
		m = base()
		m.Connections = []string{"other", "nowhere", "other"}
		refused("another connection", m)
		m = base()
		m.Connections = slices.Repeat([]string{"ab"}, 5000)
		refused("a connection many times over", m)

		for what, spoil := range map[string]func(g *msg.Grant){
			"a connection": func(g *msg.Grant) { g.Connection = "other" }, "an expiry": func(g *msg.Grant) { g.Expiry += 1 << 20 },
			"an identity": func(g *msg.Grant) { g.PeerID.Data = []byte("other.example") }, "a MAC": func(g *msg.Grant) { g.MAC[0] ^= 1 },
			"a serial": func(g *msg.Grant) { g.Serial += 5 },
		} {
			g := h.grant
			spoil(&g)
			if r := h.ask(h.auth, &msg.Renew{Req: 3, Grant: g}).(*msg.Renewed); r.Error == "" || r.Grant.MAC != [32]byte{} {
				t.Errorf("a grant with %s of another's was renewed: %+v", what, r)
			}
		}
	})
}

// tape keeps what was heard.
type tape struct {
	mu sync.Mutex
	b  []byte
}

func (t *tape) has(b []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.b, b)
}

// taped is a pipe's end that keeps what comes in.
type taped struct {
	net.Conn
	tape *tape
}

func (t *taped) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.tape.mu.Lock()
	defer t.tape.mu.Unlock()
	t.tape.b = append(t.tape.b, b[:n]...)
	return n, err
}
