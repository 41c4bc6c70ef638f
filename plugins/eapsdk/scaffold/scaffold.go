// Package scaffold writes a project for an EAP method in Go: a small method that works, its tests, and what builds it. An author begins by changing it.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

// Project says what is written.
type Project struct {
	// Name is the method's: 1 to 63 of a-z, 0-9 and '-', as eapsdk.Description has it.
	Name string
	// Dir is where the project goes, default eap-NAME in the current folder. It must not be there, or be empty.
	Dir string
	// Module is the project's module path, default eap-NAME.
	Module string
	// Type is the EAP method type, 1 to 255, default 255: for experiments (RFC 3748 section 5).
	Type int
	// Version of trike that the project needs, "v1.2.3" for example. Source is a folder with trike's source in place of it: then nothing is fetched that trike's own build has not.
	Version, Source string
}

// What a project may not be.
var (
	ErrName    = errors.New("a method's name is 1 to 63 of a-z, 0-9 and '-', and begins with a letter")
	ErrType    = errors.New("an EAP method type is 4 to 253, or 255 for experiments (RFC 3748 section 5)")
	ErrVersion = errors.New("trike's version is wanted, such as v1.2.3, or a folder with its source")
	ErrDir     = errors.New("there is something in that folder already")
	ErrSource  = errors.New("that folder does not hold trike's source")
)

//go:embed all:project
var files embed.FS

var (
	isName    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	isVersion = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*$`)
	isModule  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~/-]*$`)
	isCUEWord = regexp.MustCompile(`^[a-z][a-z0-9]*$`)
)

// module is trike's own.
const module = "github.com/trike-ipsec/trike"

// text is what the templates are filled with.
type text struct {
	Project
	Program, CUEName string
	Go               string
	Requires         []string
}

// Write writes the project, and returns its folder. It changes no file that is there.
func Write(p Project) (dir string, err error) {
	t, sums, err := p.fill()
	if err != nil {
		return "", err
	}
	if err := makeEmpty(t.Dir); err != nil {
		return "", err
	}
	err = fs.WalkDir(files, "project", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, "project/"), ".tmpl")
		filled, err := t.apply(name, b)
		if err != nil {
			return err
		}
		return write(filepath.Join(t.Dir, filepath.FromSlash(name)), filled)
	})
	if err == nil && sums != nil {
		err = write(filepath.Join(t.Dir, "go.sum"), sums)
	}
	return t.Dir, err
}

// fill looks at what is wanted and completes it. sums are trike's checksums, where its source is at hand.
func (p Project) fill() (t text, sums []byte, err error) {
	if !isName.MatchString(p.Name) {
		return t, nil, fmt.Errorf("%q: %w", p.Name, ErrName)
	}
	t = text{Project: p, Program: "eap-" + p.Name, CUEName: p.Name, Go: "1.26.0"}
	if !isCUEWord.MatchString(p.Name) {
		t.CUEName = `"` + p.Name + `"`
	}
	if t.Dir == "" {
		t.Dir = t.Program
	}
	if t.Module == "" {
		t.Module = t.Program
	}
	if t.Type == 0 {
		t.Type = 255
	}
	switch {
	case !isModule.MatchString(t.Module):
		return t, nil, fmt.Errorf("%q is no module path", t.Module)
	case t.Type < 4 || t.Type > 255 || t.Type == 254: // below are Identity, Notification and Nak; 254 has a longer header
		return t, nil, fmt.Errorf("%d: %w", t.Type, ErrType)
	}
	if p.Source != "" {
		return t.from(p.Source)
	}
	if !isVersion.MatchString(p.Version) {
		return t, nil, fmt.Errorf("%q: %w", p.Version, ErrVersion)
	}
	return t, nil, nil
}

// from takes the version of Go, and all that trike needs, from its source.
func (t text) from(source string) (text, []byte, error) {
	abs, err := filepath.Abs(source)
	if err != nil {
		return t, nil, err
	}
	mod, err := os.ReadFile(filepath.Join(abs, "go.mod"))
	if err != nil {
		return t, nil, errors.Join(fmt.Errorf("%s: %w", source, ErrSource), err)
	}
	lines := strings.Split(string(mod), "\n")
	if strings.TrimSpace(lines[0]) != "module "+module {
		return t, nil, fmt.Errorf("%s: %w: its go.mod begins with %.80q", source, ErrSource, lines[0])
	}
	inside := false
	for _, line := range lines {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " //")
		switch {
		case line == "require (":
			inside = true
		case line == ")":
			inside = false
		case inside && line != "":
			t.Requires = append(t.Requires, line)
		case strings.HasPrefix(line, "require "):
			t.Requires = append(t.Requires, strings.TrimPrefix(line, "require "))
		case strings.HasPrefix(line, "go "):
			t.Go = strings.TrimPrefix(line, "go ")
		}
	}
	sums, err := os.ReadFile(filepath.Join(abs, "go.sum"))
	if err != nil {
		return t, nil, err
	}
	if t.Source = abs; strings.ContainsAny(abs, " \t\"'") {
		t.Source = fmt.Sprintf("%q", abs)
	}
	if t.Version == "" {
		t.Version = "v0.0.0"
	}
	return t, sums, nil
}

func (t text) apply(name string, b []byte) ([]byte, error) {
	x, err := template.New(name).Delims("@{", "}").Option("missingkey=error").Parse(string(b))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := x.Execute(&out, t); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// makeEmpty makes the folder, or finds it empty.
func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(there) > 0 {
		return fmt.Errorf("%s: %w: %s", dir, ErrDir, there[0].Name())
	}
	return nil
}

func write(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
