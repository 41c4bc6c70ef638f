package kernel

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/backendtest"
)

// ip runs iproute2 on the host.
func ip(t *testing.T, h *backendtest.Host, args ...string) string {
	t.Helper()
	var out []byte
	var err error
	h.In(func() { out, err = exec.Command("ip", args...).CombinedOutput() })
	if err != nil {
		if _, missing := exec.LookPath("ip"); missing != nil {
			t.Skip("no iproute2 here")
		}
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func someChild(n int, remote string) backend.Protect {
	return backend.Protect{Connection: fmt.Sprintf("c%d", n), Child: "net", Reqid: plan.ReqidFirst + uint32(n), Priority: 1000, Mode: plan.ModeTunnel,
		Local: netip.MustParseAddr("198.51.100.1"), Remote: netip.MustParseAddr("198.51.100.2"),
		LocalTS: []plan.Selector{prefixSel("10.1.0.0/16", 0, 0, 65535)}, RemoteTS: []plan.Selector{prefixSel(remote, 0, 0, 65535)}}
}

// What others have in the kernel stays, and what stands in our way is said to, not thrown out.
func TestOthersAreLeftAlone(t *testing.T) {
	left, _ := backendtest.Hosts(t)
	b := open(t, left).(*Backend)
	defer b.Close()
	ip(t, left, "xfrm", "state", "add", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x4711", "reqid", "7", "mode", "tunnel",
		"aead", "rfc4106(gcm(aes))", "0x000102030405060708090a0b0c0d0e0f10111213", "128")
	ip(t, left, "xfrm", "policy", "add", "src", "10.1.0.0/16", "dst", "10.55.0.0/16", "dir", "out", "priority", "5")
	ip(t, left, "xfrm", "policy", "add", "src", "10.1.0.0/16", "dst", "10.66.0.0/16", "dir", "out", "priority", "5",
		"tmpl", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "reqid", "7", "mode", "tunnel")

	ours := backend.Policies{Protect: []backend.Protect{someChild(1, "10.2.0.0/16")}}
	if err := b.Check(ours); err != nil {
		t.Fatal(err)
	}
	if err := b.SetPolicies(ours, false); err != nil {
		t.Fatal(err)
	}
	conflict := backend.Policies{Protect: []backend.Protect{someChild(1, "10.2.0.0/16"), someChild(2, "10.55.0.0/16")}}
	if err := b.Check(conflict); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Fatalf("a policy in the way: %v", err)
	}
	if err := b.SetPolicies(conflict, false); err == nil {
		t.Fatal("somebody else's policy was overwritten")
	}
	if err := b.SetPolicies(backend.Policies{}, false); err != nil {
		t.Fatal(err)
	}
	if c, err := b.Dump(); err != nil || len(c) != 0 {
		t.Fatalf("%v %v", c, err)
	}
	pol, sa := ip(t, left, "xfrm", "policy"), ip(t, left, "xfrm", "state")
	if !strings.Contains(pol, "10.55.0.0/16") || !strings.Contains(pol, "10.66.0.0/16") || strings.Contains(pol, "10.2.0.0/16") {
		t.Fatalf("policies of others:\n%s", pol)
	}
	if !strings.Contains(sa, "0x00004711") {
		t.Fatalf("SAs of others:\n%s", sa)
	}
}

// Port ranges, ICMP and many policies at once are taken by a real kernel, read back as they were written, and go again.
func TestPoliciesReadBack(t *testing.T) {
	left, _ := backendtest.Hosts(t)
	b := open(t, left).(*Backend)
	defer b.Close()
	var p backend.Policies
	for i := range 2000 {
		p.Protect = append(p.Protect, someChild(i, fmt.Sprintf("10.%d.%d.0/24", 100+i/256, i%256)))
	}
	p.Protect[0].LocalTS = []plan.Selector{prefixSel("10.1.0.0/16", 6, 1000, 2000), prefixSel("10.1.0.0/16", 1, 0x0800, 0x08ff), prefixSel("fd00::/16", 58, 0x8000, 0x81ff)}
	p.Protect[0].RemoteTS = append(p.Protect[0].RemoteTS, prefixSel("fd01::/16", 0, 0, 65535))
	p.Bypass = []backend.Bypass{{Name: "ssh", Priority: 1, LocalTS: []plan.Selector{prefixSel("0.0.0.0/0", 6, 22, 22)}, RemoteTS: []plan.Selector{prefixSel("0.0.0.0/0", 6, 0, 65535)}}}
	began := time.Now()
	if err := b.SetPolicies(p, false); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d policies in %v", len(b.standing), time.Since(began))
	found, err := b.rq.dumpPolicies()
	if err != nil {
		t.Fatal(err)
	}
	want, err := b.expand(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != len(want.values) {
		t.Fatalf("%d policies stand of %d", len(found), len(want.values))
	}
	for k, v := range want.values {
		if f := found[k]; f.policyValue != v || f.index != b.standing[k].index || !isOurs(f.index) {
			t.Fatalf("%+v: wrote %+v, found %+v", k, v, f)
		}
	}
	// The next process finds them and, with the plan empty, removes them.
	next := open(t, left).(*Backend)
	defer next.Close()
	began = time.Now()
	if err := next.SetPolicies(backend.Policies{}, false); err != nil {
		t.Fatal(err)
	}
	t.Logf("and away in %v", time.Since(began))
	if found, err = b.rq.dumpPolicies(); err != nil || len(found) != 0 {
		t.Fatalf("%d policies are left, %v", len(found), err)
	}
}

func TestTooManyPolicies(t *testing.T) {
	b := &Backend{}
	p := someChild(1, "10.2.0.0/16")
	for i := range 20 {
		p.LocalTS = append(p.LocalTS, prefixSel(fmt.Sprintf("10.3.%d.0/24", i), 6, 1, 65534))
	}
	p.RemoteTS[0] = prefixSel("10.2.0.0/16", 6, 1, 65534)
	if _, err := b.expand(backend.Policies{Protect: []backend.Protect{p}}); err == nil {
		t.Fatal("no bound")
	}
}
