package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/sandbox"
)

// TestMain lets the test's binary be what triked is when it starts a plugin, and a plugin.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "run-plugin":
		fmt.Fprintln(os.Stderr, sandbox.RunPlugin(os.Args[2]))
		os.Exit(1)
	case len(os.Args) == 1 && os.Getenv("PLUGIN_TEST") != "":
		l, err := net.Listen("unix", filepath.Join(os.TempDir(), "plugin"))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_ = os.MkdirAll(filepath.Join(os.TempDir(), "deep", "er"), 0o000)
		_ = os.Symlink("/etc/passwd", filepath.Join(os.TempDir(), "passwd"))
		_ = os.Symlink(os.Getenv("TRIKE_FOREIGN"), filepath.Join(os.TempDir(), "foreign"))
		_ = os.WriteFile(filepath.Join(os.TempDir(), "file"), nil, 0o000)
		fmt.Println("ready")
		for {
			c, err := l.Accept()
			if err != nil {
				os.Exit(1)
			}
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}
	os.Exit(m.Run())
}

func pluginHost(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: plugins become other users")
	}
	state, err := os.MkdirTemp("/tmp", "trike-plugins-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(state) })
	if err := os.Chmod(state, 0o755); err != nil {
		t.Fatal(err)
	}
	return &machine{cfg: Config{State: state}}
}

func sumOf(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (m *machine) left(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(m.cfg.State, "plugins"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A real plugin: started, reached by its own socket and by no other, killed, and nothing is left of it.
func TestRealPlugin(t *testing.T) {
	m := pluginHost(t)
	foreign := filepath.Join(m.cfg.State, "foreign.sock")
	l, err := net.Listen("unix", foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := m.StartPlugin(plan.Plugin{Name: "test", File: os.Args[0], SHA256: sumOf(t, os.Args[0])}, firstPluginUser, []string{"PLUGIN_TEST=1", "TRIKE_FOREIGN=" + foreign})
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := c.Output()
	defer stdout.Close()
	defer stderr.Close()
	overdue := time.AfterFunc(30*time.Second, c.Kill)
	defer overdue.Stop()
	line := make([]byte, 6)
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "ready\n" {
		words, _ := io.ReadAll(stderr)
		t.Fatalf("it said %q, %v, %q", line, err, words)
	}
	f, err := c.Dial(filepath.Join(c.Dir(), "plugin"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); string(b) != "hello" {
		t.Errorf("the socket said %q, %v", b, err)
	}
	f.Close()
	for _, socket := range []string{foreign, filepath.Join(c.Dir(), "foreign"), filepath.Join(c.Dir(), "passwd"), filepath.Join(c.Dir(), "file"), filepath.Join(c.Dir(), "..", "..", "foreign.sock"),
		filepath.Join(c.Dir(), "nothing"), c.Dir(), "", "plugin"} {
		if f, err := c.Dial(socket); err == nil {
			f.Close()
			t.Errorf("connected to %q", socket)
		}
	}
	c.Kill()
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("it ended: %v", err)
	}
	if left := m.left(t); len(left) > 0 {
		t.Errorf("folders are left: %q", left)
	}
	if _, err := c.Dial(filepath.Join(c.Dir(), "plugin")); err == nil {
		t.Error("connected to a plugin that has ended")
	}
}

// Files that no plugin is started from.
func TestPluginFilesThatAreRefused(t *testing.T) {
	m := pluginHost(t)
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(m.cfg.State, name)
		if err := errors.Join(os.WriteFile(path, []byte("#!/bin/sh\nexit 0\n"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", 0o755)
	theirs := write("theirs", 0o755)
	if err := os.Chown(theirs, 1000, 0); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ file, sum, want string }{
		{filepath.Join(m.cfg.State, "none"), "", "no such file"},
		{m.cfg.State, "", "no regular file"},
		{good, strings.Repeat("0", 64), "not the file that the plan pins"},
		{write("writable", 0o775), sumOf(t, good), "can be changed by others"},
		{write("hidden", 0o700), sumOf(t, good), "may not be read and run by others"},
		{theirs, sumOf(t, good), "can be changed by others"},
	} {
		if _, err := m.StartPlugin(plan.Plugin{Name: "x", File: tc.file, SHA256: tc.sum}, firstPluginUser, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.file, err, tc.want)
		}
	}
	if left := m.left(t); len(left) > 0 {
		t.Errorf("folders are left: %q", left)
	}
}
