//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/test/bed"
)

const (
	defaultIKE = "aes256gcm16-prfsha384-x25519-ke1_mlkem768"
	defaultESP = "aes256gcm16-x25519-ke1_mlkem768-esn"
)

// suites are the negotiations of the interop matrix.
var suites = []suite{
	{name: "default suite, ML-KEM-768", ike: defaultIKE, esp: defaultESP, shown: "KE1_ML_KEM_768"},
	{name: "AES-CBC with SHA-2",
		trike: `		ike: proposals: ["aes256-sha256-prfsha256-ecp256"]
		esp: proposals: ["aes128-sha256-ecp256"]`,
		ike: "aes256-sha256-prfsha256-ecp256", esp: "aes128-sha256-ecp256", shown: "AES_CBC-256/HMAC_SHA2_256_128"},
	{name: "ChaCha20-Poly1305",
		trike: `		ike: proposals: ["chacha20poly1305-prfsha256-x25519"]
		esp: proposals: ["chacha20poly1305-x25519"]`,
		ike: "chacha20poly1305-prfsha256-x25519", esp: "chacha20poly1305-x25519", shown: "CHACHA20_POLY1305"},
	{name: "ESN",
		trike: `		ike: proposals: ["aes128gcm16-prfsha256-ecp384"]
		esp: proposals: ["aes128gcm16-esn"]`,
		ike: "aes128gcm16-prfsha256-ecp384", esp: "aes128gcm16-esn", shown: "ESN", userspaceCannot: "kernel-libipsec has no ESN"},
	{name: "VPN-B", // RFC 4308 section 2.2
		trike: `		ike: suite: "vpn-b"
		esp: suite: "vpn-b"
		legacy: true`,
		ike: "aes128-aesxcbc-prfaesxcbc-modp2048", esp: "aes128-aesxcbc", shown: "AES_XCBC_96", userspaceCannot: ""},
	{name: "MODP-3072 with SHA-384",
		trike: `		ike: proposals: ["aes256-sha384-prfsha384-modp3072"]
		esp: proposals: ["aes256-sha384"]`,
		ike: "aes256-sha384-prfsha384-modp3072", esp: "aes256-sha384", shown: "MODP_3072"},
}

// esp is a proposal as the datapath of this run can have it: kernel-libipsec has no ESN.
func espHere(esp string) string {
	if inKernel() {
		return esp
	}
	return strings.TrimSuffix(esp, "-esn") + "-noesn"
}

// TestSuites brings a tunnel up with each suite, from either side, over IPv4 and IPv6, and sends traffic through it.
func TestSuites(t *testing.T) {
	for _, family := range families {
		for _, s := range suites {
			for _, initiator := range []string{"trike", "strongSwan"} {
				t.Run(family.name+"/"+s.name+"/"+initiator+" initiates", func(t *testing.T) {
					if s.userspaceCannot != "" && !inKernel() {
						t.Skip(s.userspaceCannot)
					}
					lab := newLab(t, family.name == "IPv6")
					peer := lab.strongSwan(s.ike, espHere(s.esp), "", "")
					us := lab.trike(s.trike)
					lab.watched(func() {
						if initiator == "trike" {
							us.must("up", "peer")
						} else {
							peer.up("net")
						}
						us.settled(1, 1)
						lab.ping(20, 20*time.Millisecond)
					})
					if got := peer.sas(); !strings.Contains(got, s.shown) {
						t.Errorf("strongSwan's SAs do not show %s:\n%s", s.shown, got)
					}
				})
			}
		}
	}
}

// TestRekey rekeys the child and the IKE SA from either side under a running ping, without one loss.
func TestRekey(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) { rekeys(t, newLab(t, family.name == "IPv6")) })
	}
}

func rekeys(t *testing.T, lab *lab) {
	peer := lab.strongSwan(defaultIKE, espHere(defaultESP), "", "")
	us := lab.trike("")
	us.must("up", "peer")
	for _, step := range []struct {
		name       string
		changesIKE bool
		do         func()
	}{
		{"trike rekeys the child", false, func() { us.must("rekey", "peer") }},
		{"strongSwan rekeys the child", false, func() { swan(t, peer, "--rekey", "--child", "net") }},
		{"trike rekeys the IKE SA", true, func() { us.must("rekey", "--ike", "peer") }},
		{"strongSwan rekeys the IKE SA", true, func() { swan(t, peer, "--rekey", "--ike", "peer") }},
		{"trike rekeys the child of the rekeyed IKE SA", false, func() { us.must("rekey", "peer") }},
	} {
		t.Run(step.name, func(t *testing.T) {
			ike, child := bed.SPIs(us.settled(1, 1))
			lab.t = t
			lab.pingDuring(3, func() {
				step.do()
				if err := bed.Until(15*time.Second, "new SPIs", func() bool {
					ike2, child2 := bed.SPIs(us.connection())
					return step.changesIKE && ike2 != ike || !step.changesIKE && child2 != child
				}); err != nil {
					t.Error(err, us.must("status"))
				}
			})
			us.settled(1, 1)
		})
	}
}

func swan(t testing.TB, s *strongSwan, args ...string) {
	t.Helper()
	if out, err := s.swanctl(args...); err != nil {
		t.Fatalf("swanctl %v: %v\n%s", args, err, out)
	}
}

// TestDelete takes the tunnel down from either side; what policy protects stays away from the wire afterwards.
func TestDelete(t *testing.T) {
	for _, family := range families {
		for _, from := range []string{"trike", "strongSwan"} {
			t.Run(family.name+"/"+from, func(t *testing.T) { deletes(t, newLab(t, family.name == "IPv6"), from) })
		}
	}
}

func deletes(t *testing.T, lab *lab, from string) {
	peer := lab.strongSwan(defaultIKE, espHere(defaultESP), "", "")
	us := lab.trike(`		initiate: "never"`)
	peer.up("net")
	us.settled(1, 1)
	lab.ping(5, 20*time.Millisecond)
	if from == "trike" {
		us.must("down", "peer")
	} else {
		swan(t, peer, "--terminate", "--ike", "peer")
	}
	us.settled(0, 0)
	if got := peer.sas(); strings.Contains(got, "ESTABLISHED") {
		t.Errorf("strongSwan still has\n%s", got)
	}
	c, err := lab.right.Capture(lab.wire, "host "+lab.inL)
	if err != nil {
		t.Fatal(err)
	}
	lab.left.Ping(lab.inR, lab.inL, 5, 50*time.Millisecond)
	c.Stop()
	if n, err := c.Count(""); n != 0 || err != nil {
		t.Errorf("%d packets left in clear after the delete (%v)", n, err)
	}
}

// TestWrongKey: a peer with another key gets AUTHENTICATION_FAILED, nothing is installed, and the operator learns of it.
func TestWrongKey(t *testing.T) {
	for _, initiator := range []string{"trike", "strongSwan"} {
		t.Run(initiator+" initiates", func(t *testing.T) {
			lab := newLab(t, false)
			peer := startStrongSwan(t, lab.right, !inKernel(), "", lab.swanctl(defaultIKE, espHere(defaultESP), "", "", "another key"))
			us := lab.trike(`		initiate: "never"`)
			if initiator == "trike" {
				out, err := us.Ask("up", "peer")
				if err == nil {
					t.Fatalf("up succeeded with the wrong key: %s", out)
				}
				wants(t, out, "AUTHENTICATION_FAILED", "policy.cue:")
			} else if out, err := peer.swanctl("--initiate", "--child", "net", "--timeout", "10"); err == nil {
				t.Fatalf("strongSwan came up with the wrong key: %s", out)
			}
			us.settled(0, 0)
			wants(t, us.must("status"), "AUTHENTICATION_FAILED")
			if strings.Contains(us.Proc.Output(), psk) {
				t.Error("the log holds the key")
			}
		})
	}
}

// TestNoCommonProposal: both lists, the reason and the policy line reach the operator.
func TestNoCommonProposal(t *testing.T) {
	lab := newLab(t, false)
	peer := lab.strongSwan("aes128-sha256-modp2048", "aes128-sha256", "", "")
	us := lab.trike(`		initiate: "never"`)
	if out, err := peer.swanctl("--initiate", "--child", "net", "--timeout", "10"); err == nil {
		t.Fatalf("strongSwan came up: %s", out)
	}
	// Theirs and ours, in the registry's names.
	wants(t, us.must("status"), "NO_PROPOSAL_CHOSEN", "ENCR_AES_CBC", "MODP2048", "ENCR_AES_GCM_16", "ML_KEM_768", "policy.cue:")
	out, err := us.Ask("up", "peer")
	if err == nil {
		t.Fatalf("up succeeded: %s", out)
	}
	wants(t, out, "NO_PROPOSAL_CHOSEN", "ML_KEM_768", "policy.cue:")
}

// TestNoCommonSelectors: both sides' selectors stand in the status and in the error, with the policy line to change; the IKE SA stays.
func TestNoCommonSelectors(t *testing.T) {
	lab := newLab(t, false)
	const theirs = "10.99.0.0/16"
	conf := strings.Replace(lab.swanctl(defaultIKE, espHere(defaultESP), "", "", psk), "local_ts = "+lab.netR, "local_ts = "+theirs, 1)
	peer := startStrongSwan(t, lab.right, !inKernel(), "", conf)
	us := lab.trike(`		initiate: "never"`)
	if out, err := peer.swanctl("--initiate", "--child", "net", "--timeout", "10"); err == nil {
		t.Fatalf("strongSwan came up: %s", out)
	}
	wants(t, us.must("status"), "TS_UNACCEPTABLE", theirs, lab.netR, "policy.cue:")
	us.settled(1, 0)
	out, err := us.Ask("up", "peer")
	if err == nil {
		t.Fatalf("up succeeded: %s", out)
	}
	wants(t, out, "TS_UNACCEPTABLE", lab.netR, "policy.cue:")
}

// TestFragmentation forces IKE fragmentation (RFC 7383): ML-KEM-1024 does not fit into small datagrams.
func TestFragmentation(t *testing.T) {
	for _, initiator := range []string{"trike", "strongSwan"} {
		t.Run(initiator+" initiates", func(t *testing.T) {
			lab := newLab(t, false)
			peer := startStrongSwan(t, lab.right, !inKernel(), "fragment_size = 600",
				lab.swanctl("aes256gcm16-prfsha384-x25519-ke1_mlkem1024", "aes256gcm16-x25519-ke1_mlkem1024", "fragmentation = yes", "", psk))
			lab.routeInside()
			us := lab.trike(`		ike: proposals: ["aes256gcm16-prfsha384-x25519-mlkem1024"]
		esp: proposals: ["aes256gcm16-x25519-mlkem1024"]
		fragmentation: size: 600`)
			if initiator == "trike" {
				us.must("up", "peer")
			} else {
				peer.up("net")
			}
			us.settled(1, 1)
			us.must("rekey", "peer")
			lab.ping(5, 20*time.Millisecond)
			wants(t, peer.log(), "EF(1/", "KE1_ML_KEM_1024")
		})
	}
}

// TestNAT puts a NAT between: trike behind it, then strongSwan behind it. IKE moves to 4500 and ESP goes in UDP.
func TestNAT(t *testing.T) {
	lab := newLabWithNAT(t)
	peer := lab.strongSwan(defaultIKE, espHere(defaultESP), "remote_addrs = %any", "")
	us := lab.trike(`		keepalive: "5s"`)
	us.must("up", "peer")
	c := us.settled(1, 1)
	// With userspace ESP strongSwan forces encapsulation, and so claims to be behind a NAT itself.
	if want := map[bool]string{true: "local", false: "both"}[inKernel()]; c.SAs[0].NAT != want || !c.Children[0].SAs[0].Encap {
		t.Errorf("NAT %q, encapsulated %v; trike itself is behind the NAT", c.SAs[0].NAT, c.Children[0].SAs[0].Encap)
	}
	lab.pingDuring(2, func() { us.must("rekey", "peer") })
	lab.pingDuring(2, func() { us.must("rekey", "--ike", "peer") })
	swan(t, peer, "--rekey", "--child", "net")
	us.settled(1, 1)
	lab.ping(5, 20*time.Millisecond)
}

// newLabWithNAT is a lab whose left gateway is behind a NAT: strongSwan sees it as 192.0.2.254.
func newLabWithNAT(t *testing.T) *lab {
	t.Helper()
	labs++
	b := bed.NewFor(fmt.Sprintf("i%d", labs))
	t.Cleanup(b.Close)
	f := families[0]
	lab := &lab{t: t, bed: b, l: "172.16.0.1", r: f.r, inL: f.inL, inR: f.inR, netL: f.netL, netR: f.netR}
	lab.left, lab.right = b.Host("left"), b.Host("right")
	nat := b.Host("nat")
	b.Wire(lab.left, "172.16.0.1/24", nat, "172.16.0.254/24")
	out, wire := b.Wire(nat, "192.0.2.254/24", lab.right, "192.0.2.2/24")
	lab.wire = wire
	lab.left.Route("192.0.2.0/24", "172.16.0.254")
	nat.Must("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oifname "+out+" masquerade")
	lab.left.Must("ip", "addr", "add", lab.inL+"/32", "dev", "lo")
	lab.right.Must("ip", "addr", "add", lab.inR+"/32", "dev", "lo")
	lab.left.Route(lab.netR, "172.16.0.254")
	lab.right.Route(lab.netL, "192.0.2.254")
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	return lab
}

func wants(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("%q is missing in:\n%s", text, out)
		}
	}
}
