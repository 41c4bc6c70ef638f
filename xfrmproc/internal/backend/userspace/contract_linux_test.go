package userspace

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/backendtest"
)

func TestContract(t *testing.T) {
	backendtest.Run(t, backendtest.Harness{Open: func(t *testing.T, h *backendtest.Host) backend.Backend { return openHost(t, h) }})
}

// routed is a backend together with the routing that triked does for it: rules by destination, never by source, which a packet of the host's own does
// not have yet when its route is looked up.
type routed struct {
	*Backend
	t     *testing.T
	nl    *netlink.Handle
	rules []*netlink.Rule
}

const (
	devName    = "trike0"
	tableTrike = 77
	prioESP    = 1000
	prioBypass = 1100
	prioTrike  = 1200
)

func openHost(t *testing.T, h *backendtest.Host) *routed {
	t.Helper()
	r := &routed{t: t}
	var names []msg.File
	var files []*os.File
	var errs []error
	add := func(kind, name string, f *os.File, err error) {
		names, files, errs = append(names, msg.File{Kind: kind, Name: name}), append(files, f), append(errs, err)
	}
	h.In(func() {
		f, err := openTUN(devName)
		add("tun", devName, f, err)
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			f, err := openBound(family, unix.SOCK_RAW, unix.IPPROTO_ESP, 0)
			add("esp", "", f, err)
			f, err = openBound(family, unix.SOCK_DGRAM, 0, 4500)
			add("espudp", "", f, err)
		}
		r.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		errs = append(errs, err)
		for _, f := range []string{"all", devName} {
			errs = append(errs, os.WriteFile("/proc/sys/net/ipv4/conf/"+f+"/rp_filter", []byte("0"), 0))
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Skipf("no TUN device, raw socket or namespace to be had here: %v", err)
	}
	t.Cleanup(r.nl.Close)
	var err error
	if r.Backend, err = Open(names, files); err != nil {
		t.Fatal(err)
	}
	h.Up(t, devName)
	link, err := r.nl.LinkByName(devName)
	if err != nil {
		t.Fatal(err)
	}
	for i, any := range []string{"0.0.0.0/0", "::/0"} {
		p := netip.MustParsePrefix(any)
		dst := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(0, p.Addr().BitLen())}
		if err := r.nl.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Table: tableTrike, Src: h.Inner[i].AsSlice()}); err != nil {
			t.Fatal(err)
		}
		r.rule(&netlink.Rule{Family: []int{unix.AF_INET, unix.AF_INET6}[i], Priority: prioESP, IPProto: unix.IPPROTO_ESP, Table: unix.RT_TABLE_MAIN})
		r.rule(&netlink.Rule{Family: []int{unix.AF_INET, unix.AF_INET6}[i], Priority: prioESP, IPProto: unix.IPPROTO_UDP,
			Sport: netlink.NewRulePortRange(4500, 4500), Table: unix.RT_TABLE_MAIN})
	}
	return r
}

// rule adds a rule whose unset fields mean any.
func (r *routed) rule(x *netlink.Rule) {
	r.t.Helper()
	n := netlink.NewRule()
	n.Family, n.Priority, n.IPProto, n.Sport, n.Dport, n.Table, n.Dst = x.Family, x.Priority, x.IPProto, x.Sport, x.Dport, x.Table, x.Dst
	if err := r.nl.RuleAdd(n); err != nil {
		r.t.Fatal(err)
	}
	r.rules = append(r.rules, n)
}

// SetPolicies moves the rules with the policies.
func (r *routed) SetPolicies(p backend.Policies, addOnly bool) error {
	if err := r.Backend.SetPolicies(p, addOnly); err != nil {
		return err
	}
	var keep []*netlink.Rule
	old := r.rules
	r.rules = nil
	for _, x := range old {
		if x.Priority == prioESP || addOnly {
			keep = append(keep, x)
			continue
		}
		defer func() {
			if err := r.nl.RuleDel(x); err != nil {
				r.t.Error(err)
			}
		}()
	}
	// A second rule that equals a standing one is refused, so each call has a priority of its own.
	n := len(keep)
	for _, x := range old {
		n = max(n, x.Priority%100+1)
	}
	for _, c := range p.Protect {
		for _, s := range c.RemoteTS {
			r.rule(ruleFor(plan.Selector{PortLast: 65535}, s, prioTrike+n, tableTrike))
		}
	}
	for _, y := range p.Bypass {
		for _, l := range y.LocalTS {
			for _, s := range y.RemoteTS {
				r.rule(ruleFor(l, s, prioBypass+n, unix.RT_TABLE_MAIN))
			}
		}
	}
	r.rules = append(keep, r.rules...)
	return nil
}

func ruleFor(local, remote plan.Selector, priority, table int) *netlink.Rule {
	a := remote.Prefix.Addr()
	x := &netlink.Rule{Family: unix.AF_INET, Priority: priority, Table: table, IPProto: int(max(local.Protocol, remote.Protocol)),
		Dst: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(remote.Prefix.Bits(), a.BitLen())}}
	if a.Is6() {
		x.Family = unix.AF_INET6
	}
	if local.PortFirst != 0 || local.PortLast != 65535 {
		x.Sport = netlink.NewRulePortRange(local.PortFirst, local.PortLast)
	}
	if remote.PortFirst != 0 || remote.PortLast != 65535 {
		x.Dport = netlink.NewRulePortRange(remote.PortFirst, remote.PortLast)
	}
	return x
}

// openTUN makes a TUN device in the thread's namespace.
func openTUN(name string) (*os.File, error) {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var inner error
	err = conn.Control(func(fd uintptr) { inner = unix.IoctlIfreq(int(fd), unix.TUNSETIFF, req) })
	return f, errors.Join(err, inner)
}

// openBound opens a socket for every local address in the thread's namespace.
func openBound(family, kind, protocol, port int) (*os.File, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, err
	}
	var at unix.Sockaddr = &unix.SockaddrInet4{Port: port}
	if family == unix.AF_INET6 {
		at = &unix.SockaddrInet6{Port: port}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil && kind == unix.SOCK_DGRAM {
			return nil, err
		}
	}
	return os.NewFile(uintptr(fd), "socket"), unix.Bind(fd, at)
}
