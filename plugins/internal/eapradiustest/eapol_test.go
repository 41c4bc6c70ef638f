package eapradiustest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/plugins/eap-gtc/gtc"
	"github.com/trike-ipsec/trike/plugins/eap-md5/md5"
	"github.com/trike-ipsec/trike/plugins/eap-mschapv2/mschapv2"
	"github.com/trike-ipsec/trike/plugins/eap-peap/peap"
	"github.com/trike-ipsec/trike/plugins/eap-tls/tlsmethod"
	"github.com/trike-ipsec/trike/plugins/eap-ttls/ttls"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

// program is wpa_supplicant's peer, of Debian's package eapoltest.
const program = "/usr/bin/eapol_test"

// peer runs eapol_test against the method with the lines of a network block. keys: it must have got the keys that it made itself.
func peer(t *testing.T, m eapsdk.Method, c eapsdk.Config, network []string, keys bool) (out string, ok bool, last eapsdk.Step) {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		t.Skip("no independent peer here: `test/setup peers` installs Debian's eapoltest")
	}
	if err := m.Configure(context.Background(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	secret := "not much of a secret"
	server, err := Start(m, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "peer.conf")
	text := "network={\n  key_mgmt=IEEE8021X\n  eapol_flags=0\n  " + strings.Join(network, "\n  ") + "\n}\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-c", conf, "-a", "127.0.0.1", "-p", strconv.Itoa(server.Port()), "-s", secret, "-t", "20"}
	if !keys {
		args = append(args, "-n")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if fault := server.Close(); fault != nil {
		t.Errorf("the RADIUS server: %v", fault)
	}
	out = string(b)
	if keys && err == nil && !strings.Contains(out, "MPPE keys OK: 1  mismatch: 0") {
		t.Errorf("the peer's keys are others")
	}
	return out, err == nil, server.Last()
}

// files writes what the peer reads as files, and gives the lines that name them.
func files(t *testing.T, contents map[string][]byte) []string {
	t.Helper()
	dir := t.TempDir()
	var lines []string
	for name, b := range contents {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s=%q", name, path))
	}
	return lines
}

func admitted(t *testing.T, out string, ok bool, last eapsdk.Step) {
	t.Helper()
	if !ok || last.Outcome != eapsdk.Success {
		t.Fatalf("the peer was not let in: server %v, %s\n%s", last.Outcome, last.Reason, tail(out))
	}
}

func refused(t *testing.T, out string, ok bool, last eapsdk.Step, why string) {
	t.Helper()
	if ok || last.Outcome != eapsdk.Failure || !strings.Contains(last.Reason, why) {
		t.Fatalf("peer %v, server %v, %q; want %q\n%s", ok, last.Outcome, last.Reason, why, tail(out))
	}
}

func tail(out string) string {
	lines := strings.Split(out, "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// versions are phase1 parameters that hold the peer to one version of TLS.
func versions() map[string]string {
	return map[string]string{"1.2": "tls_disable_tlsv1_3=1", "1.3": "tls_disable_tlsv1_3=0"}
}

func TestEAPTLS(t *testing.T) {
	for _, kind := range []string{pkitest.ECDSA, pkitest.RSA} {
		ca := pkitest.New("root", kind)
		low := ca.Sub("middle").Sub("low")
		server := low.Issue(pkitest.Leaf{CN: "gw", DNS: "gw.example", Server: true, Kind: kind, Bulk: 3000})
		client := low.Issue(pkitest.Leaf{CN: "alice", Email: "alice@example.org", Kind: kind, Bulk: 3000})
		other := pkitest.New("other", kind).Issue(pkitest.Leaf{CN: "alice", Kind: kind})
		config := eapsdk.Config{Values: map[string]string{"fragment-size": "700"},
			Secrets: map[string][]byte{"certificate": server.Chain, "key": server.Key, "ca": ca.PEM()}}
		for version, phase1 := range versions() {
			network := func(pair pkitest.Pair, more ...string) []string {
				return append(append(files(t, map[string][]byte{"ca_cert": ca.PEM(), "client_cert": pair.Chain, "private_key": pair.Key}), "eap=TLS",
					`phase1="`+phase1+`"`, "fragment_size=500"), more...)
			}
			t.Run(kind+" "+version, func(t *testing.T) {
				out, ok, last := peer(t, &tlsmethod.Method{}, config, network(client, `identity="alice@example.org"`, `domain_match="gw.example"`), true)
				admitted(t, out, ok, last)
				if !strings.Contains(out, "SSL: Using TLS version TLSv"+version) {
					t.Errorf("TLS was not of version %s", version)
				}
			})
			t.Run(kind+" "+version+" of another authority", func(t *testing.T) {
				out, ok, last := peer(t, &tlsmethod.Method{}, config, network(other, `identity="alice"`), true)
				refused(t, out, ok, last, "unknown authority")
			})
			t.Run(kind+" "+version+" with another name", func(t *testing.T) {
				out, ok, last := peer(t, &tlsmethod.Method{}, config, network(client, `identity="bob"`), true)
				refused(t, out, ok, last, `calls itself "bob"`)
			})
			t.Run(kind+" "+version+" wants another server", func(t *testing.T) {
				out, ok, last := peer(t, &tlsmethod.Method{}, config, network(client, `identity="alice"`, `domain_match="vpn.example"`), true)
				refused(t, out, ok, last, "the other side says: ")
			})
		}
	}
}

// The peer puts no keys of EAP-MSCHAPv2 by itself to use; the trike client does, and its tests compare them.
func TestPasswordMethods(t *testing.T) {
	config := eapsdk.Config{Secrets: map[string][]byte{"users": []byte("alice: wonderland\n")}}
	for _, c := range []struct {
		name   string
		method func() eapsdk.Method
	}{
		{"MSCHAPV2", func() eapsdk.Method { return &mschapv2.Method{} }},
		{"MD5", func() eapsdk.Method { return &md5.Method{} }},
		{"GTC", func() eapsdk.Method { return &gtc.Method{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, ok, last := peer(t, c.method(), config, []string{"eap=" + c.name, `identity="alice"`, `password="wonderland"`}, false)
			admitted(t, out, ok, last)
			out, ok, last = peer(t, c.method(), config, []string{"eap=" + c.name, `identity="alice"`, `password="looking glass"`}, false)
			refused(t, out, ok, last, "password")
		})
	}
}

// tunnel is what a server of TTLS or PEAP is given, and the lines by which the peer knows it.
func tunnel(t *testing.T) (eapsdk.Config, []string) {
	t.Helper()
	ca := pkitest.New("root", pkitest.ECDSA)
	server := ca.Sub("middle").Sub("low").Issue(pkitest.Leaf{CN: "gw", DNS: "gw.example", Server: true, Bulk: 2000})
	return eapsdk.Config{Values: map[string]string{"fragment-size": "700"},
			Secrets: map[string][]byte{"certificate": server.Chain, "key": server.Key, "users": []byte("alice: wonderland\n")}},
		append(files(t, map[string][]byte{"ca_cert": ca.PEM()}), `domain_match="gw.example"`, `anonymous_identity="somebody"`)
}

// tunnelled runs one inner method with the right and with a wrong password.
func tunnelled(t *testing.T, method func() eapsdk.Method, config eapsdk.Config, lines []string, version, phase1 string) {
	t.Helper()
	network := append(lines, `phase1="`+versions()[version]+phase1+`"`, `identity="alice"`)
	out, ok, last := peer(t, method(), config, append(network, `password="wonderland"`), true)
	admitted(t, out, ok, last)
	if last.Identity != "alice" || !strings.Contains(out, "SSL: Using TLS version TLSv"+version) {
		t.Errorf("%q was let in by another TLS than %s", last.Identity, version)
	}
	out, ok, last = peer(t, method(), config, append(network, `password="looking glass"`), true)
	if strings.Contains(phase1, "crypto_binding=2") && !ok && last.Outcome == eapsdk.Continue {
		return // It goes away at a result without a binding, even when that says failure.
	}
	refused(t, out, ok, last, "password")
}

func TestEAPTTLS(t *testing.T) {
	config, lines := tunnel(t)
	config.Values["inner"] = "pap mschapv2 eap-mschapv2 eap-gtc eap-md5"
	for version := range versions() {
		for _, phase2 := range []string{"auth=PAP", "auth=MSCHAPV2", "autheap=MSCHAPV2", "autheap=GTC", "autheap=MD5"} {
			t.Run(version+" "+phase2, func(t *testing.T) {
				tunnelled(t, func() eapsdk.Method { return &ttls.Method{} }, config, append(lines, "eap=TTLS", `phase2="`+phase2+`"`), version, "")
			})
		}
	}
}

// The peer binds when it is told to, and both sides' keys come of that.
func TestPEAP(t *testing.T) {
	config, lines := tunnel(t)
	config.Values["inner"] = "mschapv2 gtc"
	for version := range versions() {
		for _, phase2 := range []string{"auth=MSCHAPV2", "auth=GTC"} {
			for _, binding := range []struct{ peer, server string }{{"0", "no"}, {"0", "optional"}, {"1", "optional"}, {"2", "required"}} {
				t.Run(version+" "+phase2+" binding "+binding.peer+" "+binding.server, func(t *testing.T) {
					config.Values["crypto-binding"] = binding.server
					tunnelled(t, func() eapsdk.Method { return &peap.Method{} }, config, append(lines, "eap=PEAP", `phase2="`+phase2+`"`), version,
						" peapver=0 crypto_binding="+binding.peer)
				})
			}
		}
	}
}
