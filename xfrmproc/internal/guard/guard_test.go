package guard

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

var (
	testNow  = time.Unix(1_800_000_000, 0)
	testKey  = secret.New([]byte("0123456789abcdef0123456789abcdef"))
	berlin   = netip.MustParseAddr("198.51.100.1")
	paris    = netip.MustParseAddr("203.0.113.1")
	stranger = netip.MustParseAddr("192.0.2.66")
)

func selector(prefix string, proto uint8, first, last uint16) plan.Selector {
	s := plan.Selector{Protocol: proto, PortFirst: first, PortLast: last}
	if prefix != "" {
		s.Prefix = netip.MustParsePrefix(prefix)
	}
	return s
}

// testView has a connection to Paris with a network and a web child, one to any road warrior, and one with legacy suites.
func testView() *plan.XFRMView {
	gcm := plan.ESPProposal{Encr: []plan.Encr{{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 256}}, SN: []ikev2.SNID{ikev2.SN_ESN, ikev2.SN_32}}
	cbc := plan.ESPProposal{Encr: []plan.Encr{{ID: ikev2.ENCR_AES_CBC, KeyBits: 128}}, Integ: []ikev2.IntegID{ikev2.AUTH_HMAC_SHA2_256_128}, SN: []ikev2.SNID{ikev2.SN_32}}
	return &plan.XFRMView{
		Gateway: "berlin", Listen: []netip.Addr{berlin}, Sources: []string{"office.cue"},
		Connections: []plan.XFRMConnection{
			{Name: "paris", Local: plan.Endpoint{Address: berlin}, Remote: plan.Endpoint{Address: paris, ID: plan.Identity{Type: ikev2.ID_FQDN, Data: "paris.example"}},
				Pos: plan.Pos{Line: 5, Column: 1}, Children: []plan.Child{
					{Name: "net", Mode: plan.ModeTunnel, Reqid: plan.ReqidFirst, Proposals: []plan.ESPProposal{gcm, cbc}, Pos: plan.Pos{Line: 7, Column: 3},
						Local: []plan.Selector{selector("10.1.0.0/16", 0, 0, 65535)}, Remote: []plan.Selector{selector("10.2.0.0/16", 0, 0, 65535), selector("10.3.0.0/16", 6, 80, 443)}},
					{Name: "web", Mode: plan.ModeTransport, Reqid: plan.ReqidFirst + 1, Proposals: []plan.ESPProposal{gcm}, Pos: plan.Pos{Line: 9, Column: 3},
						Local: []plan.Selector{selector("", 6, 0, 65535)}, Remote: []plan.Selector{selector("", 6, 443, 443)}},
				}},
			{Name: "warrior", Local: plan.Endpoint{Address: berlin}, Remote: plan.Endpoint{ID: plan.Identity{Type: ikev2.ID_KEY_ID, Data: "c0ffee"}},
				ForceEncap: true, Pos: plan.Pos{Line: 20, Column: 1}, Children: []plan.Child{
					{Name: "net", Mode: plan.ModeTunnel, Reqid: plan.ReqidFirst + 2, Proposals: []plan.ESPProposal{gcm}, Pos: plan.Pos{Line: 22, Column: 3},
						Local: []plan.Selector{selector("10.1.0.0/16", 0, 0, 65535)}, Remote: []plan.Selector{selector("", 0, 0, 65535)}},
				}},
		}}
}

func grantFor(connection string) msg.Grant {
	g := msg.Grant{Serial: 1, Connection: connection, PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("paris.example")}, Expiry: testNow.Unix() + 3600}
	if connection == "warrior" {
		g.PeerID = msg.ID{Type: ikev2.ID_KEY_ID, Data: []byte{0xc0, 0xff, 0xee}}
	}
	g.MAC = msg.MACGrant(testKey, g)
	return g
}

func ts(first, last string, proto uint8, from, to uint16) msg.TS {
	return msg.TS{Protocol: proto, PortFirst: from, PortLast: to, First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

func keyOf(b byte, n int) secret.Bytes {
	k := make([]byte, n)
	for i := range k {
		k[i] = b + byte(i)
	}
	return secret.New(k)
}

const testSPI = 0x1234_5678

// goodInstall is allowed once testSPI was allocated for paris/net.
func goodInstall() *msg.InstallChild {
	return &msg.InstallChild{Grant: grantFor("paris"), Connection: "paris", Child: "net", Mode: plan.ModeTunnel,
		Local: netip.AddrPortFrom(berlin, 500), Remote: netip.AddrPortFrom(paris, 500), SPIIn: testSPI, SPIOut: 0xabcdef01,
		Transform: msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256, SN: ikev2.SN_ESN},
		EncrIn:    keyOf(1, 36), EncrOut: keyOf(2, 36),
		TSLocal: []msg.TS{ts("10.1.0.0", "10.1.255.255", 0, 0, 65535)}, TSRemote: []msg.TS{ts("10.2.3.0", "10.2.3.255", 17, 53, 53)}}
}

func allocated(connection, child string, remote netip.Addr) *State {
	s := NewState()
	s.Allocated(testSPI, &msg.AllocSPI{Connection: connection, Child: child, Local: berlin, Remote: remote})
	return s
}

func TestInstallAllowed(t *testing.T) {
	v := testView()
	if err := CheckView(v); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*msg.InstallChild){
		"as it stands": func(m *msg.InstallChild) {},
		"in UDP": func(m *msg.InstallChild) {
			m.Encap, m.Local, m.Remote = true, netip.AddrPortFrom(berlin, 4500), netip.AddrPortFrom(paris, 31337)
		},
		"a case-blind name": func(m *msg.InstallChild) {
			m.Grant.PeerID.Data = []byte("Paris.EXAMPLE")
			m.Grant.MAC = msg.MACGrant(testKey, m.Grant)
		},
		"32-bit numbers":       func(m *msg.InstallChild) { m.Transform.SN = ikev2.SN_32 },
		"the second proposal":  legacySuite,
		"the second selector":  func(m *msg.InstallChild) { m.TSRemote = append(m.TSRemote, ts("10.3.0.9", "10.3.1.0", 6, 80, 80)) },
		"replaces a lost SA":   func(m *msg.InstallChild) { m.Replaces = 0x9999 },
		"outbound comes later": func(m *msg.InstallChild) { m.OutboundLater = true },
	} {
		m := goodInstall()
		change(m)
		if err := Allow(v, testKey, testNow, allocated("paris", "net", paris), m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	transport := goodInstall()
	transport.Child, transport.Mode = "web", plan.ModeTransport
	transport.TSLocal, transport.TSRemote = []msg.TS{ts("198.51.100.1", "198.51.100.1", 6, 0, 65535)}, []msg.TS{ts("203.0.113.1", "203.0.113.1", 6, 443, 443)}
	if err := Allow(v, testKey, testNow, allocated("paris", "web", paris), transport); err != nil {
		t.Errorf("transport: %v", err)
	}
	if err := Allow(v, testKey, testNow, allocated("warrior", "net", stranger), warriorInstall()); err != nil {
		t.Errorf("any peer: %v", err)
	}
}

func legacySuite(m *msg.InstallChild) {
	m.Transform = msg.Transform{Encr: ikev2.ENCR_AES_CBC, KeyBits: 128, Integ: ikev2.AUTH_HMAC_SHA2_256_128}
	m.EncrIn, m.EncrOut, m.IntegIn, m.IntegOut = keyOf(1, 16), keyOf(2, 16), keyOf(3, 32), keyOf(4, 32)
}

func warriorInstall() *msg.InstallChild {
	m := goodInstall()
	m.Grant, m.Connection = grantFor("warrior"), "warrior"
	m.Encap, m.Local, m.Remote = true, netip.AddrPortFrom(berlin, 4500), netip.AddrPortFrom(stranger, 50000)
	m.TSRemote = []msg.TS{ts("192.0.2.66", "192.0.2.66", 0, 0, 65535)}
	return m
}

func TestInstallRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*msg.InstallChild)
		want   string
	}{
		{"unknown connection", func(m *msg.InstallChild) { m.Connection = "london" }, "no such connection"},
		{"unknown child", func(m *msg.InstallChild) { m.Child = "lan" }, "no such child"},
		{"another child's SPI", func(m *msg.InstallChild) { m.Child = "web" }, "mode"},
		{"forged grant", func(m *msg.InstallChild) { m.Grant.MAC[7] ^= 1 }, "not made by authproc"},
		{"grant by another key", func(m *msg.InstallChild) { m.Grant.MAC = msg.MACGrant(keyOf(9, 32), m.Grant) }, "not made by authproc"},
		{"stretched grant", func(m *msg.InstallChild) { m.Grant.Expiry += 60 }, "not made by authproc"},
		{"grant of another connection", func(m *msg.InstallChild) { m.Grant = grantFor("warrior") }, "grant is for connection"},
		{"stale grant", func(m *msg.InstallChild) {
			m.Grant.Expiry = testNow.Unix()
			m.Grant.MAC = msg.MACGrant(testKey, m.Grant)
		}, "ran out"},
		{"grant for another peer", func(m *msg.InstallChild) {
			m.Grant.PeerID.Data = []byte("evil.example")
			m.Grant.MAC = msg.MACGrant(testKey, m.Grant)
		}, "another peer"},
		{"grant for another identity type", func(m *msg.InstallChild) {
			m.Grant.PeerID.Type = ikev2.ID_KEY_ID
			m.Grant.MAC = msg.MACGrant(testKey, m.Grant)
		}, "another peer"},
		{"transport for tunnel", func(m *msg.InstallChild) { m.Mode = plan.ModeTransport }, "tunnel mode"},
		{"another local address", func(m *msg.InstallChild) { m.Local = netip.AddrPortFrom(stranger, 500) }, "local address"},
		{"another remote address", func(m *msg.InstallChild) { m.Remote = netip.AddrPortFrom(stranger, 500) }, "remote address"},
		{"in UDP from another port", func(m *msg.InstallChild) { m.Encap, m.Local = true, netip.AddrPortFrom(berlin, 53) }, "port 53"},
		{"in UDP to no port", func(m *msg.InstallChild) {
			m.Encap, m.Local, m.Remote = true, netip.AddrPortFrom(berlin, 4500), netip.AddrPortFrom(paris, 0)
		}, "port 0"},
		{"an SPI of its own making", func(m *msg.InstallChild) { m.SPIIn = 0x2000 }, "not allocated here"},
		{"reserved outbound SPI", func(m *msg.InstallChild) { m.SPIOut = 255 }, "reserved"},
		{"a shorter key", func(m *msg.InstallChild) { m.Transform.KeyBits = 128; m.EncrIn, m.EncrOut = keyOf(1, 20), keyOf(2, 20) }, "no ESP proposal"},
		{"a mix of two proposals", func(m *msg.InstallChild) {
			legacySuite(m)
			m.Transform.SN = ikev2.SN_ESN
		}, "no ESP proposal"},
		{"no encryption", func(m *msg.InstallChild) {
			m.Transform = msg.Transform{Encr: ikev2.ENCR_NULL, Integ: ikev2.AUTH_HMAC_SHA2_256_128}
		}, "no ESP proposal"},
		{"integrity with an AEAD", func(m *msg.InstallChild) { m.Transform.Integ = ikev2.AUTH_HMAC_SHA2_256_128 }, "no ESP proposal"},
		{"key without salt", func(m *msg.InstallChild) { m.EncrIn = keyOf(1, 32) }, "wrong length"},
		{"integrity key where there is none", func(m *msg.InstallChild) { m.IntegIn = keyOf(1, 32) }, "wrong length"},
		{"no key", func(m *msg.InstallChild) { m.EncrOut = secret.Bytes{} }, "wrong length"},
		{"one key both ways", func(m *msg.InstallChild) { m.EncrOut = m.EncrIn }, "both directions"},
		{"wider local selector", func(m *msg.InstallChild) { m.TSLocal[0].First = netip.MustParseAddr("10.0.255.255") }, "local traffic selector"},
		{"everything", func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("0.0.0.0", "255.255.255.255", 0, 0, 65535)} }, "remote traffic selector"},
		{"one good, one bad", func(m *msg.InstallChild) { m.TSRemote = append(m.TSRemote, ts("10.4.0.0", "10.4.0.0", 0, 0, 65535)) }, "remote traffic selector"},
		{"spanning two selectors", func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("10.2.0.0", "10.3.255.255", 6, 80, 443)} }, "remote traffic selector"},
		{"any protocol where one is meant", func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("10.3.0.0", "10.3.0.1", 0, 80, 443)} }, "remote traffic selector"},
		{"more ports", func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("10.3.0.0", "10.3.0.1", 6, 79, 443)} }, "remote traffic selector"},
		{"opaque ports", func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("10.2.0.0", "10.2.0.1", 6, 65535, 0)} }, "remote traffic selector"},
		{"backwards", func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("10.2.0.9", "10.2.0.1", 0, 0, 65535)} }, "remote traffic selector"},
		{"another family", func(m *msg.InstallChild) {
			m.TSRemote = []msg.TS{ts("::ffff:10.2.0.1", "::ffff:10.2.0.2", 0, 0, 65535)}
		}, "remote traffic selector"},
		{"two families in one", func(m *msg.InstallChild) { m.TSRemote[0].Last = netip.MustParseAddr("fd00::1") }, "remote traffic selector"},
		{"no addresses", func(m *msg.InstallChild) { m.TSRemote = []msg.TS{{}} }, "remote traffic selector"},
		{"no selectors", func(m *msg.InstallChild) { m.TSLocal = nil }, "traffic selectors"},
		{"too many selectors", func(m *msg.InstallChild) { m.TSLocal = make([]msg.TS, plan.MaxSelectors+1) }, "traffic selectors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := goodInstall()
			c.change(m)
			err := Allow(testView(), testKey, testNow, allocated("paris", "net", paris), m)
			var r *Refusal
			if !errors.As(err, &r) || !strings.Contains(r.Reason, c.want) {
				t.Fatalf("got %v, want a refusal with %q", err, c.want)
			}
			if r.Connection == "paris" && r.Child == "net" && !strings.Contains(err.Error(), "office.cue:7:3") {
				t.Fatalf("%v names no line of policy", err)
			}
		})
	}
}

func TestInstallRefusedAnyPeer(t *testing.T) {
	v := testView()
	for name, change := range map[string]func(*msg.InstallChild){
		"plain ESP where UDP is forced": func(m *msg.InstallChild) { m.Encap = false },
		"another host's address":        func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("192.0.2.67", "192.0.2.67", 0, 0, 65535)} },
		"a multicast peer":              func(m *msg.InstallChild) { m.Remote = netip.MustParseAddrPort("224.0.0.1:4500") },
		"a loopback peer":               func(m *msg.InstallChild) { m.Remote = netip.MustParseAddrPort("127.0.0.1:4500") },
		"a peer of another family":      func(m *msg.InstallChild) { m.Remote = netip.MustParseAddrPort("[2001:db8::1]:4500") },
		"a broadcast peer":              func(m *msg.InstallChild) { m.Remote = netip.MustParseAddrPort("255.255.255.255:4500") },
	} {
		m := warriorInstall()
		change(m)
		if err := Allow(v, testKey, testNow, allocated("warrior", "net", stranger), m); err == nil {
			t.Errorf("%s was allowed", name)
		}
	}
	if err := Allow(v, secret.Bytes{}, testNow, allocated("warrior", "net", stranger), warriorInstall()); err == nil {
		t.Error("without a grant key something was allowed")
	}
}

func TestAllocSPI(t *testing.T) {
	v := testView()
	good := msg.AllocSPI{Connection: "paris", Child: "net", Local: berlin, Remote: paris}
	s := NewState()
	for i := range maxPendingFixed {
		if err := Allow(v, testKey, testNow, s, &good); err != nil {
			t.Fatal(err)
		}
		s.Allocated(uint32(1000+i), &good)
	}
	if err := Allow(v, testKey, testNow, s, &good); err == nil {
		t.Fatal("SPIs without bound")
	}
	s.Removed(1000)
	if err := Allow(v, testKey, testNow, s, &good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []msg.AllocSPI{
		{Connection: "london", Child: "net", Local: berlin, Remote: paris},
		{Connection: "paris", Child: "nix", Local: berlin, Remote: paris},
		{Connection: "paris", Child: "net", Local: paris, Remote: paris},
		{Connection: "paris", Child: "net", Local: berlin, Remote: stranger},
		{Connection: "paris", Child: "net"},
	} {
		if err := Allow(v, testKey, testNow, NewState(), &bad); err == nil {
			t.Errorf("%+v was allowed", bad)
		}
	}
}

func TestBoundOnSAs(t *testing.T) {
	v, s := testView(), NewState()
	for i := range maxSAsFixed {
		m := goodInstall()
		m.SPIIn = uint32(5000 + i)
		s.Allocated(m.SPIIn, &msg.AllocSPI{Connection: "paris", Child: "net", Local: berlin, Remote: paris})
		if err := Allow(v, testKey, testNow, s, m); err != nil {
			t.Fatal(err)
		}
		s.Installed(m)
	}
	s.Allocated(testSPI, &msg.AllocSPI{Connection: "paris", Child: "net", Local: berlin, Remote: paris})
	if err := Allow(v, testKey, testNow, s, goodInstall()); err == nil {
		t.Fatal("SAs without bound")
	}
	again := goodInstall()
	again.SPIIn = 5000
	if err := Allow(v, testKey, testNow, s, again); err == nil {
		t.Fatal("an SPI in use was allowed again")
	}
}

func TestUpdateAndRemove(t *testing.T) {
	v, s := testView(), allocated("paris", "net", paris)
	m := goodInstall()
	s.Installed(m)
	w := warriorInstall()
	w.SPIIn = 7777
	s.Installed(w)
	local, remote := netip.AddrPortFrom(berlin, 4500), netip.MustParseAddrPort("192.0.2.99:1024")
	for _, c := range []struct {
		name string
		m    msg.Message
		ok   bool
	}{
		{"activate", &msg.UpdateChild{SPIIn: testSPI, Activate: true}, true},
		{"activate nothing", &msg.UpdateChild{SPIIn: 4711, Activate: true}, false},
		{"no change", &msg.UpdateChild{SPIIn: testSPI}, false},
		{"move a fixed peer", &msg.UpdateChild{SPIIn: testSPI, Local: local, Remote: remote}, false},
		{"move half", &msg.UpdateChild{SPIIn: 7777, Remote: remote}, false},
		{"move a road warrior", &msg.UpdateChild{SPIIn: 7777, Local: local, Remote: remote}, true},
		{"move us", &msg.UpdateChild{SPIIn: 7777, Local: remote, Remote: remote}, false},
		{"remove", &msg.RemoveChild{SPIIn: 7777}, true},
		{"remove nothing", &msg.RemoveChild{SPIIn: 4711}, false},
		{"what is no request", &msg.Installed{}, false},
	} {
		if err := Allow(v, testKey, testNow, s, c.m); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// The next plan has no such child: nothing of it can be changed any more, only removed.
	v.Connections = v.Connections[1:]
	if err := Allow(v, testKey, testNow, s, &msg.UpdateChild{SPIIn: testSPI, Activate: true}); err == nil {
		t.Error("an SA that the plan dropped was activated")
	}
	if err := Allow(v, testKey, testNow, s, &msg.RemoveChild{SPIIn: testSPI}); err != nil {
		t.Error(err)
	}
}

func TestStands(t *testing.T) {
	s := allocated("paris", "net", paris)
	s.Installed(goodInstall())
	s.Adopted(backend.Carried{Connection: "paris", Child: "net", SPIIn: 9, Local: netip.AddrPortFrom(berlin, 0), Remote: netip.AddrPortFrom(paris, 0)})
	for _, c := range []struct {
		name           string
		change         func(*plan.XFRMView)
		asked, adopted bool
	}{
		{"nothing", func(v *plan.XFRMView) {}, true, true},
		{"child gone", func(v *plan.XFRMView) { v.Connections[0].Children = v.Connections[0].Children[1:] }, false, false},
		{"peer elsewhere", func(v *plan.XFRMView) { v.Connections[0].Remote.Address = stranger }, false, false},
		{"smaller network", func(v *plan.XFRMView) {
			v.Connections[0].Children[0].Local[0].Prefix = netip.MustParsePrefix("10.1.0.0/24")
		}, false, true},
		{"other suite", func(v *plan.XFRMView) {
			v.Connections[0].Children[0].Proposals = v.Connections[0].Children[0].Proposals[1:]
		}, false, true},
		{"UDP forced", func(v *plan.XFRMView) { v.Connections[0].ForceEncap = true }, false, false},
	} {
		v := testView()
		c.change(v)
		if err := Stands(v, s.SA(testSPI)); (err == nil) != c.asked {
			t.Errorf("%s: installed: %v", c.name, err)
		}
		if err := Stands(v, s.SA(9)); (err == nil) != c.adopted {
			t.Errorf("%s: adopted: %v", c.name, err)
		}
	}
}

func TestOrphans(t *testing.T) {
	s := NewState()
	adopt := func(spi uint32, connection string, remote netip.Addr) {
		s.Adopted(backend.Carried{Connection: connection, Child: "net", SPIIn: spi, Remote: netip.AddrPortFrom(remote, 0)})
	}
	adopt(1, "paris", paris)
	adopt(2, "paris", paris)
	adopt(3, "warrior", stranger)
	adopt(4, "warrior", paris)
	s.Named(2)
	s.Installed(goodInstall())
	if got := s.Orphans(testSPI, false); len(got) != 1 || got[0] != 1 {
		t.Errorf("orphans of paris: %v", got)
	}
	w := warriorInstall()
	w.SPIIn = 5
	s.Installed(w)
	if got := s.Orphans(5, true); len(got) != 1 || got[0] != 3 {
		t.Errorf("orphans of the road warrior: %v", got)
	}
	s.Forgotten()
	if got := s.Orphans(5, false); len(got) != 3 {
		t.Errorf("after a new link: %v", got)
	}
}

func TestCheckView(t *testing.T) {
	for name, change := range map[string]func(*plan.XFRMView){
		"unsorted":          func(v *plan.XFRMView) { v.Connections[0], v.Connections[1] = v.Connections[1], v.Connections[0] },
		"two of a name":     func(v *plan.XFRMView) { v.Connections[0].Children[1].Name = "net" },
		"two of a reqid":    func(v *plan.XFRMView) { v.Connections[1].Children[0].Reqid = plan.ReqidFirst },
		"no reqid":          func(v *plan.XFRMView) { v.Connections[1].Children[0].Reqid = 0 },
		"no local address":  func(v *plan.XFRMView) { v.Connections[1].Local.Address = netip.Addr{} },
		"two families":      func(v *plan.XFRMView) { v.Connections[0].Remote.Address = netip.MustParseAddr("::1") },
		"no selectors":      func(v *plan.XFRMView) { v.Connections[0].Children[0].Local = nil },
		"a window too wide": func(v *plan.XFRMView) { v.Connections[0].Children[0].ReplayWindow = 4097 },
		"no mode":           func(v *plan.XFRMView) { v.Connections[0].Children[0].Mode = "" },
		"ports backwards": func(v *plan.XFRMView) {
			v.Bypass = []plan.Bypass{{Local: []plan.Selector{{PortFirst: 2, PortLast: 1}}}}
		},
	} {
		v := testView()
		change(v)
		if CheckView(v) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
