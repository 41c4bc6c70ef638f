package eapsdk

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every plugin that trike ships starts as trike starts it, and says what it is; started by hand it says that, too.
func TestShippedPlugins(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/trike-ipsec/trike/plugins/eap-...").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	programs, err := filepath.Glob(filepath.Join(bin, "eap-*"))
	if err != nil || len(programs) < 8 {
		t.Fatalf("%q, %v", programs, err)
	}
	for _, file := range programs {
		name := strings.TrimPrefix(filepath.Base(file), "eap-")
		t.Run(name, func(t *testing.T) {
			if out, err := exec.Command(file).CombinedOutput(); err == nil || !strings.Contains(string(out), name+", an EAP method for trike") {
				t.Errorf("by hand it says %q, %v", out, err)
			}
			r := startProgram(t, file)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			d, err := r.Describe(ctx)
			if err != nil || d.Name != name || !slices.Contains(d.Roles, Server) {
				t.Errorf("%+v, %v", d, err)
			}
			if err := r.Configure(ctx, Config{Values: map[string]string{"no-such-setting": "x"}}); err == nil {
				t.Error("it takes a setting that it does not know")
			}
		})
	}
}

// startProgram starts a plugin as triked does, as far as go-plugin's handshake goes.
func startProgram(t *testing.T, file string) *Remote {
	t.Helper()
	dir, err := os.MkdirTemp("", "eap") // short: a socket's path has 108 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.Command(file)
	cmd.Env = []string{"TMPDIR=" + dir, Cookie + "=" + Protocol, "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + dir}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	overdue := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { overdue.Stop() })
	line, err := bufio.NewReader(io.LimitReader(out, 4096)).ReadString('\n')
	fields := strings.Split(strings.TrimSpace(line), "|")
	if err != nil || len(fields) < 5 || fields[0] != "1" || fields[1] != "1" || fields[2] != "unix" || fields[4] != "grpc" {
		t.Fatalf("it said %q, %v", line, err)
	}
	c, err := net.Dial("unix", fields[3])
	if err != nil {
		t.Fatal(err)
	}
	r, err := Connect(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}
