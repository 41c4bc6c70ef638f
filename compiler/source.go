package compiler

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Bounds on a policy's files. What is beyond them is refused before CUE sees it.
const (
	MaxFileSize  = 16 << 20 // octets of one file
	MaxTreeSize  = 64 << 20 // octets of all files
	MaxFiles     = 4096     // policy files
	maxEntries   = 1 << 17  // files and directories of any kind
	maxTreeDepth = 32
)

// tree is the policy's directory and the module round it, if it has one.
type tree struct {
	dir    string // absolute: where the policy's package is
	root   string // absolute: the module's root, dir or above
	module bool   // the root has a cue.mod/module.cue
	lines  map[string][][]byte
}

// scan finds the module's root and looks at every file that CUE could read: none may be too large, no symbolic link may lead out of the tree.
func scan(dir string) (*tree, []Diagnostic) {
	fail := func(code Code, hint, format string, a ...any) (*tree, []Diagnostic) {
		return nil, []Diagnostic{{Severity: Error, Code: code, Message: fmt.Sprintf(format, a...), Hint: hint}}
	}
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return fail(CodeUnreadable, "name the directory that holds the policy's .cue files", "%v", reason(dir, err))
	}
	if st, err := os.Stat(abs); err != nil {
		return fail(CodeUnreadable, "", "%v", reason(dir, err))
	} else if !st.IsDir() {
		return fail(CodeUnreadable, "name the directory that holds it: a policy is all files of a directory", "%s is not a directory", dir)
	}
	t := &tree{dir: abs, root: abs, lines: map[string][][]byte{}}
	for at := abs; ; at = filepath.Dir(at) {
		if st, err := os.Stat(filepath.Join(at, moduleFile)); err == nil {
			if !st.Mode().IsRegular() {
				return fail(CodeModule, "remove it: a policy needs no module file", "%s is not a regular file", moduleFile)
			}
			t.root, t.module = at, true
			break
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	ds := t.walk()
	if Failed(ds) {
		return nil, ds
	}
	return t, ds
}

func (t *tree) walk() []Diagnostic {
	var ds []Diagnostic
	add := func(code Code, p, hint, format string, a ...any) {
		ds = append(ds, Diagnostic{Severity: Error, Code: code, File: t.rel(p), Message: fmt.Sprintf(format, a...), Hint: hint})
	}
	entries, files, size, found := 0, 0, int64(0), false
	err := filepath.WalkDir(t.root, func(p string, d fs.DirEntry, err error) error {
		if entries++; entries > maxEntries {
			add(CodeTooLarge, "", "put the policy into a directory of its own", "more than %d files below %s", maxEntries, t.root)
			return fs.SkipAll
		}
		inside := p == t.dir || strings.HasPrefix(p, t.dir+string(filepath.Separator))
		switch {
		case err != nil && inside:
			add(CodeUnreadable, p, "", "%v", reason(t.rel(p), err))
			return fs.SkipDir
		case err != nil:
			return fs.SkipDir
		case d.IsDir() && p != t.root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir():
			if strings.Count(strings.TrimPrefix(p, t.root), string(filepath.Separator)) > maxTreeDepth {
				add(CodeTooLarge, p, "", "directories nest deeper than %d", maxTreeDepth)
				return fs.SkipDir
			}
			return nil
		case d.Type()&fs.ModeSymlink == 0 && !policyFile(d.Name()):
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := filepath.EvalSymlinks(p)
			if st, e := os.Stat(p); !policyFile(d.Name()) && (e != nil || !st.IsDir()) {
				return nil // a link to no directory, by a name that CUE does not read
			}
			if err != nil {
				add(CodeUnreadable, p, "", "%v", reason(t.rel(p), err))
				return nil
			}
			if to != t.root && !strings.HasPrefix(to, t.root+string(filepath.Separator)) {
				add(CodeSymlink, p, "copy the file into the policy's directory", "a symbolic link leads out of the policy's directory")
				return nil
			}
			if !policyFile(d.Name()) {
				return nil
			}
		}
		st, err := os.Stat(p)
		switch {
		case err != nil:
			add(CodeUnreadable, p, "", "%v", reason(t.rel(p), err))
		case !st.Mode().IsRegular():
			if !st.IsDir() {
				add(CodeUnreadable, p, "remove it, or give it another ending", "not a regular file")
			}
		case st.Size() > MaxFileSize:
			add(CodeTooLarge, p, "split the file", "%d octets, at most %d are allowed", st.Size(), MaxFileSize)
		default:
			found = found || filepath.Dir(p) == t.dir && strings.HasSuffix(p, ".cue")
			if files, size = files+1, size+st.Size(); files > MaxFiles || size > MaxTreeSize {
				return fs.SkipAll
			}
			if d := t.checkDepth(p); d != nil {
				ds = append(ds, *d)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		add(CodeUnreadable, "", "", "%v", err)
	case files > MaxFiles:
		add(CodeTooLarge, "", "put the policy into a directory of its own", "more than %d policy files", MaxFiles)
	case size > MaxTreeSize:
		add(CodeTooLarge, "", "put the policy into a directory of its own", "more than %d octets of policy files", MaxTreeSize)
	case !found && len(ds) == 0:
		add(CodeUnreadable, "", "begin with a file policy.cue; see examples/", "no .cue file in this directory")
	}
	return ds
}

// policyFile tells whether CUE would read a file of this name, alone or by @embed.
func policyFile(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".cue", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".txt":
		return true
	}
	return false
}

// rel is the name of a file as findings and plans give it: from the policy's directory, with slashes; empty for files that are not the policy's.
func (t *tree) rel(file string) string {
	if file == "" || strings.HasPrefix(file, builtinRoot) {
		return ""
	}
	if !filepath.IsAbs(file) { // what @embed read, from the policy's directory
		if file = filepath.Clean(file); !filepath.IsLocal(file) {
			return ""
		}
		if _, err := os.Lstat(filepath.Join(t.dir, file)); err != nil {
			return ""
		}
		return filepath.ToSlash(file)
	}
	r, err := filepath.Rel(t.dir, file)
	if err != nil {
		return ""
	}
	if strings.HasPrefix(r, "..") {
		if in, err := filepath.Rel(t.root, file); err != nil || strings.HasPrefix(in, "..") {
			return ""
		}
	}
	return filepath.ToSlash(r)
}

// line is one line of a file that rel named.
func (t *tree) line(rel string, n int) string {
	if rel == "" || n < 1 {
		return ""
	}
	lines, known := t.lines[rel]
	if !known {
		p := filepath.Join(t.dir, filepath.FromSlash(rel))
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Size() <= MaxFileSize {
			if b, err := os.ReadFile(p); err == nil {
				lines = bytes.Split(b, []byte("\n"))
			}
		}
		t.lines[rel] = lines
	}
	if n > len(lines) {
		return ""
	}
	return strings.TrimSuffix(string(lines[n-1]), "\r")
}

// reason says why a file could not be read, by the name that the operator gave.
func reason(name string, err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Sprintf("%s: %v", name, pe.Err)
	}
	return fmt.Sprintf("%s: %v", name, err)
}
