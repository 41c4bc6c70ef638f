package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
)

// pluginFolder is where `make install` puts plugins on a gateway.
const pluginFolder = "/usr/local/libexec/trike/plugins"

func pluginPinCommand() *cli.Command {
	return &cli.Command{
		Name: "pin", Usage: "write the line that pins a plugin's file in a policy: no other file is run", ArgsUsage: "FILE",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "entry", Usage: "write the whole entry for the policy, named after the file: with a package clause above it, it is a file of CUE"},
			&cli.StringFlag{Name: "installed", Usage: "`PATH` of the file on the gateway, for --entry (default: its name, in " + pluginFolder + ")"},
		},
		Action: func(c *cli.Context) error {
			file, err := oneArgument(c, "FILE")
			if err != nil {
				return err
			}
			sum, script, err := sumOf(file)
			if err != nil {
				return cli.Exit("trike: "+err.Error(), 2)
			}
			if script {
				fmt.Fprintf(c.App.ErrWriter, "trike: %s is a script: its interpreter, and what it imports from other files, are not pinned\n", file)
			}
			if !c.Bool("entry") {
				_, err = fmt.Fprintf(c.App.Writer, "sha256: %q\n", sum)
				return err
			}
			installed, base := c.String("installed"), filepath.Base(file)
			if installed == "" {
				installed = filepath.Join(pluginFolder, base)
			}
			if !filepath.IsAbs(installed) {
				return cli.Exit(fmt.Sprintf("trike: %s is no absolute path: the policy wants one", installed), 2)
			}
			name := strings.TrimPrefix(strings.TrimSuffix(base, filepath.Ext(base)), "eap-")
			_, err = fmt.Fprintf(c.App.Writer, "policy: plugins: %q: {\n\tfile:   %q\n\tsha256: %q\n}\n", name, installed, sum)
			return err
		},
	}
}

// sumOf is a file's SHA-256 in lower-case hex, and whether the file is a script.
func sumOf(name string) (sum string, script bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", false, err
	} else if !info.Mode().IsRegular() {
		return "", false, fmt.Errorf("%s is no regular file", name)
	}
	start := make([]byte, 2)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", false, err
	}
	h := sha256.New()
	h.Write(start[:n])
	if _, err := io.Copy(h, f); err != nil {
		return "", false, err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), bytes.Equal(start[:n], []byte("#!")), nil
}
