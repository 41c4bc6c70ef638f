package compiler

import (
	"context"
	"fmt"
	"io/fs"
	"path"

	"cuelang.org/go/cue/load"
	"cuelang.org/go/mod/modfile"
	"cuelang.org/go/mod/module"

	"github.com/trike-ipsec/trike/schema"
)

// builtin serves the schema from the program, and nothing else: compiling a policy touches no network.
type builtin struct{}

const (
	moduleFile      = "cue.mod/module.cue"
	localModuleFile = "cue.mod/local-module.cue"
)

func (builtin) ModFile(_ context.Context, v module.Version) (*modfile.File, error) {
	if v.Path() != schema.Module {
		return nil, fmt.Errorf("%v is not part of trike, and trike asks no registry: vendor it below cue.mod/", v)
	}
	b, err := schema.Files.ReadFile(moduleFile)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(b, "module.cue")
}

func (b builtin) Fetch(ctx context.Context, v module.Version) (module.SourceLoc, error) {
	if _, err := b.ModFile(ctx, v); err != nil {
		return module.SourceLoc{}, err
	}
	return module.SourceLoc{FS: builtinFS{schema.Files}, Dir: "."}, nil
}

func (builtin) ModuleVersions(_ context.Context, m string) ([]string, error) {
	if m == schema.Module || m == schema.ImportPath {
		return []string{schema.Version}, nil
	}
	return nil, nil
}

// builtinRoot stands for the schema in CUE's paths. The loader wants a directory for a fetched module, so the files are also laid over one that
// does not exist.
const builtinRoot = "/trike-builtin-schema"

type builtinFS struct{ fs.FS }

// OSRoot is what CUE's loader asks a module's file system for.
func (builtinFS) OSRoot() string { return builtinRoot }

func builtinOverlay() (map[string]load.Source, error) {
	m := map[string]load.Source{}
	err := fs.WalkDir(schema.Files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(schema.Files, p)
		m[path.Join(builtinRoot, p)] = load.FromBytes(b)
		return err
	})
	return m, err
}
