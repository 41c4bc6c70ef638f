package plan

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// sample is a plan with a bit of everything.
func sample() *Plan {
	any := func(prefix string) []Selector {
		return []Selector{{Prefix: netip.MustParsePrefix(prefix), PortLast: 65535}}
	}
	return &Plan{
		Format: Format, Gateway: "berlin", Datapath: DatapathAuto, Listen: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
		Bypass:  []Bypass{{Name: "dns", Local: any("10.1.0.0/16"), Remote: any("10.2.0.53/32"), Priority: 100, Pos: Pos{0, 20, 2}}},
		Secrets: []Secret{{Name: "berlin-paris", File: "/etc/trike/secrets/berlin-paris.psk", Pos: Pos{0, 9, 2}}},
		Sources: []string{"policy.cue"},
		Connections: []Connection{{
			Name: "berlin-paris", Pos: Pos{0, 8, 2},
			Local:     Endpoint{netip.MustParseAddr("198.51.100.1"), Identity{ikev2.ID_IPV4_ADDR, "198.51.100.1"}},
			Remote:    Endpoint{netip.MustParseAddr("203.0.113.1"), Identity{ikev2.ID_FQDN, "paris.example.com"}},
			LocalAuth: Auth{Method: AuthPSK, Secret: "berlin-paris"}, RemoteAuth: Auth{Method: AuthPSK, Secret: "berlin-paris"},
			Proposals: []IKEProposal{{Encr: []Encr{{ikev2.ENCR_AES_GCM_16, 256}}, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_384},
				KE: []ikev2.KEID{ikev2.KE_CURVE25519}, AddKE: []AddKE{{1, []ikev2.KEID{ikev2.KE_MLKEM768}}}}},
			Initiate: InitiateStart, Unique: UniqueReplace, DPD: DPD{30, true}, Lifetime: Lifetime{Rekey: 14400, Hard: 18000, Jitter: 1200},
			Retransmit: Retransmit{1000, 18, 5}, FragmentSize: 1280, Keepalive: 20,
			Children: []Child{{Name: "net", Mode: ModeTunnel, Local: any("10.1.0.0/16"), Remote: any("10.2.0.0/16"),
				Proposals: []ESPProposal{{Encr: []Encr{{ikev2.ENCR_AES_GCM_16, 256}}, KE: []ikev2.KEID{ikev2.KE_CURVE25519},
					AddKE: []AddKE{{1, []ikev2.KEID{ikev2.KE_MLKEM768}}}, SN: []ikev2.SNID{ikev2.SN_ESN, ikev2.SN_32}}},
				Initiate: InitiateStart, Lifetime: Lifetime{Rekey: 3600, Hard: 4800, Jitter: 360}, ReplayWindow: 1024,
				Reqid: ReqidFirst + 7, Priority: 2000, Pos: Pos{0, 8, 2}}},
		}},
	}
}

func TestGoldenPlan(t *testing.T) {
	const file = "testdata/berlin.plan.json"
	got := Encode(sample())
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the format changed (go test -update rewrites the golden):\n%s", got)
	}
	p, err := Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if h := p.Hash(); h != sample().Hash() {
		t.Error("the hash changes by a round trip")
	}
}

func TestHashIgnoresPositionsAndNothingElse(t *testing.T) {
	h := sample().Hash()
	moved := sample()
	moved.Sources = []string{"other.cue", "policy.cue"}
	moved.Connections[0].Pos, moved.Connections[0].Children[0].Pos = Pos{1, 80, 1}, Pos{1, 81, 1}
	moved.Secrets[0].Pos, moved.Bypass[0].Pos = Pos{1, 82, 1}, Pos{1, 83, 1}
	if moved.Hash() != h {
		t.Error("moving lines made another plan")
	}
	for name, change := range map[string]func(*Plan){
		"secret file": func(p *Plan) { p.Secrets[0].File = "/etc/other" },
		"reqid":       func(p *Plan) { p.Connections[0].Children[0].Reqid++ },
		"selector":    func(p *Plan) { p.Connections[0].Children[0].Remote[0].PortLast = 80 },
		"identity":    func(p *Plan) { p.Connections[0].Remote.ID.Data = "rome.example.com" },
	} {
		p := sample()
		change(p)
		if p.Hash() == h {
			t.Errorf("another %s did not change the hash", name)
		}
	}
}

func TestPlanThatWasEditedIsRefused(t *testing.T) {
	good := string(Encode(sample()))
	for name, edited := range map[string]string{
		"white space":       strings.Replace(good, `"gateway": `, `"gateway":  `, 1),
		"trailing text":     good + "{}",
		"unknown field":     strings.Replace(good, `"gateway"`, `"gatewya"`, 1),
		"null list":         strings.Replace(good, `"integ": []`, `"integ": null`, 1),
		"field twice":       strings.Replace(good, `"gateway": "berlin",`, `"gateway": "berlin", "gateway": "berlin",`, 1),
		"other format":      strings.Replace(good, `"format": 1`, `"format": 2`, 1),
		"another network":   strings.Replace(good, "10.1.0.0/16", "10.7.0.0/16", -1),
		"another sum":       strings.Replace(good, `"sum": "`, `"sum": "00`, 1),
		"another source":    strings.Replace(good, `"sources": [`, `"sources": ["x.cue",`, 1),
		"cut":               good[:len(good)/2],
		"nothing":           "",
		"unknown algorithm": strings.Replace(good, "ENCR_AES_GCM_16", "ENCR_ROT13", 1),
	} {
		if edited == good {
			t.Fatalf("%s: the edit changed nothing", name)
		}
		if _, err := Decode([]byte(edited)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Decode([]byte(strings.Replace(good, `"gateway": `, `"gateway":  `, 1))); !errors.Is(err, ErrNotCanonical) {
		t.Error(err)
	}
}

func TestRulesOfAPlan(t *testing.T) {
	for name, breakIt := range map[string]func(*Plan){
		"unknown secret":             func(p *Plan) { p.Connections[0].LocalAuth.Secret = "none" },
		"families that cannot meet":  func(p *Plan) { p.Connections[0].Remote.Address = netip.MustParseAddr("2001:db8::1") },
		"address that is not served": func(p *Plan) { p.Connections[0].Local.Address = netip.MustParseAddr("192.0.2.9") },
		"relative secret":            func(p *Plan) { p.Secrets[0].File = "secrets/x" },
		"climbing secret":            func(p *Plan) { p.Secrets[0].File = "/etc/trike/../shadow" },
		"connection twice":           func(p *Plan) { p.Connections = append(p.Connections, p.Connections[0]) },
		"reqid twice": func(p *Plan) {
			c := &p.Connections[0]
			c.Children = append(c.Children, c.Children[0])
			c.Children[1].Name = "other"
		},
		"reqid of somebody else": func(p *Plan) { p.Connections[0].Children[0].Reqid = 1 },
		"host bits":              func(p *Plan) { p.Connections[0].Children[0].Local[0].Prefix = netip.MustParsePrefix("10.1.0.1/16") },
		"AEAD with integrity":    func(p *Plan) { p.Connections[0].Proposals[0].Integ = []ikev2.IntegID{ikev2.AUTH_HMAC_SHA1_96} },
		"CBC without integrity":  func(p *Plan) { p.Connections[0].Children[0].Proposals[0].Encr = []Encr{{ikev2.ENCR_AES_CBC, 128}} },
		"no key exchange":        func(p *Plan) { p.Connections[0].Proposals[0].KE = nil },
		"rekey after the end":    func(p *Plan) { p.Connections[0].Lifetime.Rekey = 18000 },
		"ports without protocol": func(p *Plan) { p.Connections[0].Children[0].Local[0].PortLast = 80 },
		"no children":            func(p *Plan) { p.Connections[0].Children = nil },
		"a window of no use":     func(p *Plan) { p.Connections[0].Children[0].ReplayWindow = 8 },
		"name with a slash":      func(p *Plan) { p.Connections[0].Name = "a/b" },
		"identity that is none":  func(p *Plan) { p.Connections[0].Local.ID = Identity{ikev2.ID_IPV4_ADDR, "fw.example.com"} },
	} {
		p := sample()
		breakIt(p)
		if err := p.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDiffNamesWhatChanged(t *testing.T) {
	if d := Diff(sample(), sample()); len(d) != 0 {
		t.Errorf("a plan differs from itself: %v", d)
	}
	b := sample()
	b.Connections[0].Children[0].ReplayWindow = 64
	b.Bypass = nil
	second := sample().Connections[0]
	second.Name = "berlin-rome"
	b.Connections = append(b.Connections, second)
	b.Connections[0].Remote.Address = netip.MustParseAddr("203.0.113.2")
	want := []Change{
		{Kind: Removed, Object: "bypass", Name: "dns"},
		{Kind: Changed, Object: "child", Connection: "berlin-paris", Name: "net"},
		{Kind: Changed, Object: "connection", Name: "berlin-paris", Anew: true},
		{Kind: Added, Object: "connection", Name: "berlin-rome"},
	}
	got := Diff(sample(), b)
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestViewsHoldNoMoreThanTheirs(t *testing.T) {
	p := sample()
	if v := string(EncodeView(p.IKE())); strings.Contains(v, "/etc/trike") {
		t.Error("ikeproc learns where secrets are")
	}
	if v := string(EncodeView(p.Auth())); strings.Contains(v, "10.2.0.0") || strings.Contains(v, "AES") {
		t.Error("authproc learns selectors or algorithms")
	}
	if v := string(EncodeView(p.XFRM())); strings.Contains(v, "/etc/trike") {
		t.Error("xfrmproc learns where secrets are")
	}
	for _, err := range []error{
		second(DecodeIKEView(EncodeView(p.IKE()))), second(DecodeAuthView(EncodeView(p.Auth()))), second(DecodeXFRMView(EncodeView(p.XFRM()))),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := DecodeIKEView([]byte(`{"gateway":"x","secrets":[]}`)); err == nil {
		t.Error("an unknown field in a view was taken")
	}
}

func second[V any](_ V, err error) error { return err }

// Whatever decodes encodes to the same octets and passes its own rules.
func FuzzDecode(f *testing.F) {
	f.Add(Encode(sample()))
	f.Add([]byte(`{"format": 1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(Encode(p), b) {
			t.Fatal("decodes and encodes to something else")
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		_ = Diff(sample(), p)
	})
}
