package eapradiustest

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/plugins/eap-gtc/gtc"
	"github.com/trike-ipsec/trike/plugins/eap-md5/md5"
	"github.com/trike-ipsec/trike/plugins/eap-mschapv2/mschapv2"
	"github.com/trike-ipsec/trike/plugins/eap-radius/relay"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// hostapd is the server of the same family as eapol_test: here it stands against the clients.
const hostapd = "/usr/sbin/hostapd"

// inside is set where the test runs in a network of its own: hostapd listens on every address it finds.
const inside = "TRIKE_TEST_OWN_NETWORK"

// radiusPort is where hostapd listens in that network.
const radiusPort = "1812"

// ownNetwork runs the calling test again in a network that has but a loopback, and reports whether this is that run.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	if _, err := os.Stat(hostapd); err != nil {
		t.Skip("no independent server here: `test/setup peers` installs Debian's hostapd")
	}
	if out, err := exec.Command("unshare", "-rn", "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("no network namespace here: %v %s", err, out)
	}
	again := exec.Command("unshare", "-rn", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), inside+"=1")
	out, err := again.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// startHostapd starts it as a RADIUS server for this machine alone, with more lines of its configuration.
func startHostapd(t *testing.T, users string, lines ...string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "hostapd.conf")
	for name, text := range map[string]string{
		"users":        users,
		"clients":      "127.0.0.1 shared\n",
		"hostapd.conf": "driver=none\neap_server=1\neap_user_file=" + dir + "/users\nradius_server_clients=" + dir + "/clients\nradius_server_auth_port=" + radiusPort + "\n" + strings.Join(lines, "\n") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, hostapd, conf)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("hostapd: %s", said.String())
		}
	})
	// It listens when its port is taken.
	for {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:"+radiusPort)
		if err != nil {
			return
		}
		_ = conn.Close()
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("hostapd ended: %v\n%s", err, said.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func configured(t *testing.T, m eapsdk.Method, values map[string]string, secret, text string) eapsdk.Method {
	t.Helper()
	c := eapsdk.Config{Values: values, Secrets: map[string][]byte{secret: []byte(text)}}
	if err := m.Configure(t.Context(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return m
}

// login lets the client speak to hostapd through the relay.
func login(t *testing.T, relay, client eapsdk.Method, name string) (served, came eapsdk.Step) {
	t.Helper()
	s, served, err := relay.Begin(t.Context(), eapsdk.Begin{Role: eapsdk.Server, Session: "1", Connection: "test", Identity: name, Identifier: 1})
	if err != nil {
		t.Fatal(err)
	}
	var c eapsdk.Session
	for served.Outcome == eapsdk.Continue {
		if c == nil {
			c, came, err = client.Begin(t.Context(), eapsdk.Begin{Role: eapsdk.Client, Identity: name, ServerName: "gw", Packet: served.Packet})
		} else {
			came, err = c.Next(t.Context(), served.Packet)
		}
		if err != nil {
			t.Fatal(err)
		}
		if came.Outcome != eapsdk.Continue {
			return served, came
		}
		if served, err = s.Next(t.Context(), came.Packet); err != nil {
			t.Fatal(err)
		}
	}
	if c == nil {
		return served, came // it refused the name
	}
	end := served.Packet
	if len(end) == 0 && served.Outcome == eapsdk.Success {
		end = []byte{3, 0, 0, 4}
	} else if len(end) == 0 {
		end = []byte{4, 0, 0, 4}
	}
	if came, err = c.Next(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	return served, came
}

// Each client stands against a server that others wrote, and its key is that server's.
func TestClientsAgainstHostapd(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	startHostapd(t, `"alice" MSCHAPV2 "wonderland"
"bob" MSCHAPV2 hash:44ebba8d5312b8d611474411f56989ae
"carol" MD5 "wonderland"
"dave" GTC "wonderland"
`)
	r := relay.New()
	defer r.Close()
	configured(t, r, map[string]string{"servers": "127.0.0.1:" + radiusPort, "acct-servers": "none", "keyless": "allow"}, "secret", "shared")
	for _, c := range []struct {
		name, password string
		method         func() eapsdk.Method
		keys           bool
		refusal        string
	}{
		{"alice", "wonderland", func() eapsdk.Method { return new(mschapv2.Method) }, true, "E=691"},
		{"bob", "clientPass", func() eapsdk.Method { return new(mschapv2.Method) }, true, "E=691"},
		{"carol", "wonderland", func() eapsdk.Method { return new(md5.Method) }, false, "refuses"},
		{"dave", "wonderland", func() eapsdk.Method { return new(gtc.Method) }, false, "refuses"},
	} {
		t.Run(c.name, func(t *testing.T) {
			served, came := login(t, r, configured(t, c.method(), nil, "password", c.password), c.name)
			if served.Outcome != eapsdk.Success || came.Outcome != eapsdk.Success {
				t.Fatalf("server: %v %s\nclient: %v %s", served.Outcome, served.Reason, came.Outcome, came.Reason)
			}
			if c.keys && (len(came.MSK) != eapsdk.MaxMSK || !bytes.Equal(came.MSK, served.MSK)) {
				t.Error("hostapd's key is another")
			}
			served, came = login(t, r, configured(t, c.method(), nil, "password", "guess"), c.name)
			if served.Outcome == eapsdk.Success || came.Outcome != eapsdk.Failure || !strings.Contains(came.Reason, c.refusal) {
				t.Errorf("server: %v\nclient: %v %s", served.Outcome, came.Outcome, came.Reason)
			}
		})
	}
}
