package eaptest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettingsFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("password", "open")
	c, err := ReadSettings(write("good.json", `{"identity": "bob", "server_name": "gw", "server": {"settings": {"a": "b"}, "file": "other"}, "client": {"secrets": {"word": "password"}}, "wrong": {}}`))
	if err != nil || c.Identity != "bob" || c.ServerName != "gw" || c.Server.Settings.Values["a"] != "b" || string(c.Client.Settings.Secrets["word"]) != "open" || c.Wrong == nil || c.Server.Start == nil || c.Client.Start != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		`{"identity": 1}`: "identity",
		`{"secret": {}}`:  "unknown field",
		`{} {}`:           "something stands behind",
		`{"identity": "` + strings.Repeat("a", 2000) + `"}`: "2000 octets",
		`{"client": {"secrets": {"word": "nosuch"}}}`:       `client: secret "word"`,
		`{"wrong": {"secrets": {"word": "nosuch"}}}`:        `wrong: secret "word"`,
		strings.Repeat(" ", maxSettingsFile+1):              "more than",
		"":                                                  "EOF",
	} {
		if _, err := ReadSettings(write("bad.json", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadSettings(filepath.Join(dir, "nosuch.json")); err == nil {
		t.Error("a file that there is not was read")
	}
}
