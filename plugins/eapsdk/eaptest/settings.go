package eaptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Bounds on what a settings file leads to, in octets.
const (
	maxSettingsFile = 1 << 20
	maxSecretFile   = 1 << 20
)

// settingsFile is what an author writes for `trike plugin test --settings`, in JSON.
type settingsFile struct {
	Identity   string    `json:"identity"`
	ServerName string    `json:"server_name"`
	Server     sideFile  `json:"server"`
	Client     sideFile  `json:"client"`
	Wrong      *sideFile `json:"wrong"`
}

type sideFile struct {
	File     string            `json:"file"`
	Settings map[string]string `json:"settings"`
	Secrets  map[string]string `json:"secrets"`
}

// ReadSettings reads what plugins are tried with from a file of JSON:
//
//	{
//	  "identity": "alice",
//	  "server": {"settings": {"fold-case": "yes"}, "secrets": {"users": "users"}},
//	  "client": {"secrets": {"password": "password"}},
//	  "wrong":  {"secrets": {"password": "another-password"}}
//	}
//
// server, client and wrong are Config's. Secrets are files, as in a policy; a side may have a "file", the program that plays it in place of the one under test. Relative names are
// looked up beside the settings file. "server_name" is Config.ServerName. All of it may be left out.
func ReadSettings(name string) (Config, error) {
	text, err := readBounded(name, maxSettingsFile)
	if err != nil {
		return Config{}, err
	}
	c, err := parseSettings(text, filepath.Dir(name))
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// parseSettings reads the text of a settings file that lies in dir.
func parseSettings(text []byte, dir string) (c Config, err error) {
	var f settingsFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Config{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("something stands behind the settings")
	}
	c.Identity, c.ServerName = f.Identity, f.ServerName
	if len(c.Identity) > eapsdk.MaxIdentity {
		return Config{}, fmt.Errorf("the identity has %d octets, and %d are possible", len(c.Identity), eapsdk.MaxIdentity)
	}
	if c.Server, err = f.Server.read(dir); err != nil {
		return Config{}, fmt.Errorf("server: %w", err)
	}
	if c.Client, err = f.Client.read(dir); err != nil {
		return Config{}, fmt.Errorf("client: %w", err)
	}
	if f.Wrong != nil {
		wrong, err := f.Wrong.read(dir)
		if err != nil {
			return Config{}, fmt.Errorf("wrong: %w", err)
		}
		c.Wrong = &wrong
	}
	return c, nil
}

func (f sideFile) read(dir string) (Side, error) {
	s := Side{Settings: eapsdk.Config{Values: f.Settings, Secrets: map[string][]byte{}}}
	beside := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	for setting, name := range f.Secrets {
		b, err := readBounded(beside(name), maxSecretFile)
		if err != nil {
			return s, fmt.Errorf("secret %q: %w", setting, err)
		}
		s.Settings.Secrets[setting] = b
	}
	if f.File != "" {
		file, err := filepath.Abs(beside(f.File))
		if err != nil {
			return s, err
		}
		s.Start = Program(file)
	}
	return s, nil
}

func readBounded(name string, most int64) ([]byte, error) {
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() { // a pipe might never come to its end
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d octets", name, most)
	}
	return b, err
}
