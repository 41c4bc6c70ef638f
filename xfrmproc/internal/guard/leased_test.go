package guard

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// leasedView is testView with a pool for the road warriors.
func leasedView() *plan.XFRMView {
	v := testView()
	c := &v.Connections[1]
	c.Leased = true
	c.Children[0].Remote = []plan.Selector{selector("10.99.0.0/24", 0, 0, 65535)}
	return v
}

func leasedInstall(session, serial uint64, addr string) *msg.InstallChild {
	m := warriorInstall()
	m.Grant = msg.Grant{Serial: serial, Session: session, Connection: "warrior", PeerID: msg.ID{Type: ikev2.ID_KEY_ID, Data: []byte{0xc0, 0xff, 0xee}},
		Peer: []netip.Addr{netip.MustParseAddr("10.99.0.7")}, Expiry: testNow.Unix() + 3600}
	m.Grant.MAC = msg.MACGrant(testKey, m.Grant)
	m.TSRemote = []msg.TS{ts(addr, addr, 0, 0, 65535)}
	return m
}

// A peer with an address of a pool has no other: neither another's, nor a range that holds its own.
func TestLeasedSelectors(t *testing.T) {
	v := leasedView()
	if err := Allow(v, testKey, testNow, allocated("warrior", "net", stranger), leasedInstall(1, 1, "10.99.0.7")); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*msg.InstallChild){
		"another's address":      func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("10.99.0.8", "10.99.0.8", 0, 0, 65535)} },
		"a range around its own": func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("10.99.0.6", "10.99.0.7", 0, 0, 65535)} },
		"its own, and another's": func(m *msg.InstallChild) { m.TSRemote = append(m.TSRemote, ts("10.99.0.9", "10.99.0.9", 0, 0, 65535)) },
		"its address on the wire": func(m *msg.InstallChild) {
			m.TSRemote = []msg.TS{ts(stranger.String(), stranger.String(), 0, 0, 65535)}
		},
		"an address outside the pool": func(m *msg.InstallChild) { m.TSRemote = []msg.TS{ts("10.98.0.7", "10.98.0.7", 0, 0, 65535)} },
		"an address put into the grant": func(m *msg.InstallChild) {
			m.Grant.Peer = []netip.Addr{netip.MustParseAddr("10.99.0.8")}
			m.TSRemote = []msg.TS{ts("10.99.0.8", "10.99.0.8", 0, 0, 65535)}
		},
	} {
		m := leasedInstall(1, 1, "10.99.0.7")
		change(m)
		if err := Allow(v, testKey, testNow, allocated("warrior", "net", stranger), m); err == nil {
			t.Errorf("%s was allowed", name)
		}
	}
}

// An address that was given to a later session is not its earlier holder's any more, as long as the later one stands. Renewals of a session are the same session.
func TestLeaseOfALaterSession(t *testing.T) {
	v, state := leasedView(), allocated("warrior", "net", stranger)
	later := leasedInstall(2, 20, "10.99.0.7")
	if err := Allow(v, testKey, testNow, state, later); err != nil {
		t.Fatal(err)
	}
	state.Installed(later)
	again := func(session, serial uint64) error {
		m := leasedInstall(session, serial, "10.99.0.7")
		m.SPIIn++
		state.Allocated(m.SPIIn, &msg.AllocSPI{Connection: "warrior", Child: "net", Local: berlin, Remote: stranger})
		return Allow(v, testKey, testNow, state, m)
	}
	if err := again(1, 10); err == nil || !strings.Contains(err.Error(), "another session since") {
		t.Errorf("the earlier holder: %v", err)
	}
	if err := again(2, 15); err != nil {
		t.Errorf("the same session by an earlier grant: %v", err)
	}
	if err := again(3, 30); err != nil {
		t.Errorf("a later session: %v", err)
	}
	state.Removed(later.SPIIn)
	if len(state.leases) != 0 {
		t.Errorf("leases of pairs that are gone: %v", state.leases)
	}
}

// A reload that takes the pool away takes what stands by it.
func TestStandsLeased(t *testing.T) {
	v, state := leasedView(), allocated("warrior", "net", stranger)
	m := leasedInstall(1, 1, "10.99.0.7")
	state.Installed(m)
	if err := Stands(v, state.SA(m.SPIIn)); err != nil {
		t.Error(err)
	}
	v.Connections[1].Children[0].Remote = []plan.Selector{selector("10.98.0.0/24", 0, 0, 65535)}
	if err := Stands(v, state.SA(m.SPIIn)); err == nil {
		t.Error("a pair of an address that no pool has any more stands")
	}
}

// After a restart of ikeproc, one laptop's new pair takes its own orphan's place and nobody else's.
func TestOrphansOfLeases(t *testing.T) {
	state := NewState()
	install := func(spi uint32, addr string, session uint64) {
		m := leasedInstall(session, session, addr)
		m.SPIIn, m.Grant.Peer = spi, []netip.Addr{netip.MustParseAddr(addr)}
		state.Installed(m)
	}
	install(1000, "10.99.0.7", 1)
	install(1001, "10.99.0.8", 2)
	state.Forgotten()
	install(1002, "10.99.0.8", 3)
	if got := state.Orphans(1002, false); len(got) != 1 || got[0] != 1001 {
		t.Errorf("orphans %v", got)
	}
}
