package guard

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// A hostile ikeproc has one true grant and SPIs that it allocated, and says anything. What comes past the guard must lie inside the plan, as
// this test, which shares no code with the guard, understands it.
func TestHostile(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	allowed := 0
	for range 200_000 {
		s := NewState()
		spi := 256 + r.Uint32N(1<<20)
		conn := pick(r, "paris", "warrior")
		child := pick(r, "net", "web")
		s.Allocated(spi, &msg.AllocSPI{Connection: conn, Child: child, Local: berlin, Remote: paris})
		m := randomInstall(r, conn, child, spi)
		if Allow(testView(), testKey, testNow, s, m) == nil {
			allowed++
			checkInside(t, m, spi, conn, child)
		}
	}
	if allowed == 0 {
		t.Fatal("nothing at all came past the guard: the test tests nothing")
	}
	t.Logf("%d of 200000 requests were inside the plan", allowed)
}

func FuzzHostile(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := NewState()
		for range 50 {
			conn, child, spi := pick(r, "paris", "warrior", "x"), pick(r, "net", "web", ""), r.Uint32()
			switch r.IntN(4) {
			case 0:
				m := &msg.AllocSPI{Connection: conn, Child: child, Local: randomAddr(r), Remote: randomAddr(r)}
				if Allow(testView(), testKey, testNow, s, m) == nil {
					s.Allocated(spi, m)
				}
			case 1:
				if p := s.Pending(); len(p) > 0 {
					spi = p[r.IntN(len(p))]
				}
				m := randomInstall(r, conn, child, spi)
				if Allow(testView(), testKey, testNow, s, m) == nil {
					checkInside(t, m, spi, conn, child)
					s.Installed(m)
				}
			case 2:
				m := &msg.UpdateChild{SPIIn: spi, Activate: r.IntN(2) == 0, Local: netip.AddrPortFrom(randomAddr(r), 4500), Remote: netip.AddrPortFrom(randomAddr(r), uint16(r.Uint32()))}
				if all := s.SAs(); len(all) > 0 {
					m.SPIIn = all[r.IntN(len(all))]
				}
				if Allow(testView(), testKey, testNow, s, m) == nil {
					if m.Local.Addr() != berlin || s.SA(m.SPIIn).Connection == "paris" && m.Remote.Addr() != paris {
						t.Fatalf("moved to %v → %v", m.Local, m.Remote)
					}
					s.Updated(m)
				}
			case 3:
				if Allow(testView(), testKey, testNow, s, &msg.RemoveChild{SPIIn: spi}) == nil {
					s.Removed(spi)
				}
			}
		}
	})
}

// checkInside knows the plan of testView by heart.
func checkInside(t *testing.T, m *msg.InstallChild, spi uint32, conn, child string) {
	t.Helper()
	bad := func(what string) { t.Fatalf("%s: %+v", what, m) }
	if m.SPIIn != spi || m.SPIOut < 256 || m.Connection != conn || m.Child != child {
		bad("SPI or child")
	}
	if m.Grant.Connection != conn || m.Grant.MAC != grantFor(conn).MAC {
		bad("grant")
	}
	if m.Local.Addr() != berlin || conn == "paris" && m.Remote.Addr() != paris || m.Encap && (m.Local.Port() != 4500 || m.Remote.Port() == 0) || conn == "warrior" && !m.Encap {
		bad("end points")
	}
	if (child == "net") != (m.Mode == plan.ModeTunnel) {
		bad("mode")
	}
	switch x := m.Transform; {
	case x.Encr == ikev2.ENCR_AES_GCM_16 && x.KeyBits == 256 && x.Integ == 0 && x.SN <= 1 && m.EncrIn.Len() == 36 && m.EncrOut.Len() == 36 && m.IntegIn.Len() == 0:
	case conn == "paris" && child == "net" && x.Encr == ikev2.ENCR_AES_CBC && x.KeyBits == 128 && x.Integ == ikev2.AUTH_HMAC_SHA2_256_128 && x.SN == 0 &&
		m.EncrIn.Len() == 16 && m.EncrOut.Len() == 16 && m.IntegIn.Len() == 32 && m.IntegOut.Len() == 32:
	default:
		bad("suite")
	}
	in := func(x msg.TS, p string, proto uint8, lo, hi uint16) bool {
		px := netip.MustParsePrefix(p)
		return px.Contains(x.First) && px.Contains(x.Last) && !x.Last.Less(x.First) && (proto == 0 || proto == x.Protocol) && x.PortFirst <= x.PortLast && x.PortFirst >= lo && x.PortLast <= hi
	}
	for _, x := range m.TSLocal {
		if child == "net" && !in(x, "10.1.0.0/16", 0, 0, 65535) || child == "web" && !in(x, "198.51.100.1/32", 6, 0, 65535) {
			bad("local selectors")
		}
	}
	for _, x := range m.TSRemote {
		ok := in(x, "10.2.0.0/16", 0, 0, 65535) || in(x, "10.3.0.0/16", 6, 80, 443)
		if child == "web" {
			ok = in(x, "203.0.113.1/32", 6, 443, 443)
		}
		if conn == "warrior" {
			ok = x.First == m.Remote.Addr() && x.Last == m.Remote.Addr()
		}
		if !ok {
			bad("remote selectors")
		}
	}
	if len(m.TSLocal) == 0 || len(m.TSRemote) == 0 {
		bad("no selectors")
	}
}

func pick[T any](r *rand.Rand, v ...T) T { return v[r.IntN(len(v))] }

func randomAddr(r *rand.Rand) netip.Addr {
	return pick(r, berlin, paris, stranger, netip.Addr{}, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.2.0.0"), netip.MustParseAddr("10.2.255.255"),
		netip.MustParseAddr("10.3.0.7"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:10.2.0.1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("0.0.0.0"))
}

func randomTS(r *rand.Rand) []msg.TS {
	var out []msg.TS
	for range r.IntN(3) {
		first := randomAddr(r)
		out = append(out, msg.TS{Protocol: pick[uint8](r, 0, 6, 17, 255), PortFirst: pick[uint16](r, 0, 80, 443, 65535), PortLast: pick[uint16](r, 0, 80, 443, 65535),
			First: first, Last: pick(r, first, first, randomAddr(r))})
	}
	return out
}

// randomInstall starts from what is allowed and changes some of it, so that both sides of each check are met.
func randomInstall(r *rand.Rand, conn, child string, spi uint32) *msg.InstallChild {
	m := goodInstall()
	if conn == "warrior" {
		m = warriorInstall()
	}
	if child == "web" {
		m.Mode = plan.ModeTransport
		m.TSLocal, m.TSRemote = []msg.TS{ts("198.51.100.1", "198.51.100.1", 6, 0, 65535)}, []msg.TS{ts("203.0.113.1", "203.0.113.1", 6, 443, 443)}
	}
	m.Connection, m.Child, m.SPIIn = conn, child, spi
	changes := []func(){
		func() { m.Connection = pick(r, "paris", "warrior", "", "x") },
		func() { m.Child = pick(r, "net", "web", "", "x") },
		func() { m.Mode = pick(r, plan.ModeTunnel, plan.ModeTransport, "beet") },
		func() { m.Grant = grantFor(pick(r, "paris", "warrior")) },
		func() { m.Grant.MAC[r.IntN(32)] ^= 1 << r.IntN(8) },
		func() { m.Grant.Expiry += int64(r.IntN(3)) },
		func() { m.Grant.Serial += uint64(r.IntN(3)) },
		func() { m.Local = netip.AddrPortFrom(randomAddr(r), pick[uint16](r, 0, 500, 4500)) },
		func() { m.Remote = netip.AddrPortFrom(randomAddr(r), pick[uint16](r, 0, 500, 4500)) },
		func() { m.Encap = !m.Encap },
		func() { m.SPIIn += uint32(r.IntN(2)) },
		func() { m.SPIOut = r.Uint32N(600) },
		func() {
			m.Transform.Encr = pick(r, ikev2.ENCR_AES_CBC, ikev2.ENCR_NULL, ikev2.ENCR_3DES, ikev2.ENCR_AES_GCM_16)
		},
		func() { m.Transform.KeyBits = pick(r, 0, 128, 192, 256, -8) },
		func() {
			m.Transform.Integ = pick(r, ikev2.AUTH_NONE, ikev2.AUTH_HMAC_SHA2_256_128, ikev2.AUTH_HMAC_MD5_96)
		},
		func() { m.Transform.SN = pick[ikev2.SNID](r, 0, 1, 2) },
		func() { legacySuite(m) },
		func() { m.EncrIn = keyOf(1, pick(r, 0, 16, 20, 32, 36)) },
		func() { m.EncrOut = keyOf(byte(r.IntN(3)), pick(r, 16, 36)) },
		func() { m.IntegIn, m.IntegOut = secret.Bytes{}, keyOf(1, pick(r, 0, 32)) },
		func() { m.TSLocal = randomTS(r) },
		func() { m.TSRemote = randomTS(r) },
		func() { m.TSRemote = append(slices.Clone(m.TSRemote), randomTS(r)...) },
		func() { m.Replaces = r.Uint32() },
	}
	for range r.IntN(4) {
		changes[r.IntN(len(changes))]()
	}
	return m
}
