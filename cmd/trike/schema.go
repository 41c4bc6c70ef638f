package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/trike-ipsec/trike/schema"
	"github.com/urfave/cli/v2"
)

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name: "schema", Usage: "the policy language, as CUE",
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return cli.Exit(fmt.Sprintf("trike: schema has no command %q; it has print and vendor", c.Args().First()), 2)
			}
			return cli.ShowSubcommandHelp(c)
		},
		Subcommands: []*cli.Command{
			{Name: "print", Usage: "write it to the standard output", Action: printSchema},
			{Name: "vendor", Usage: "put it beside a policy, so that plain cue vet and editors understand the policy without trike and without a network",
				ArgsUsage: "[DIR]", Action: vendorSchema},
		},
	}
}

func printSchema(c *cli.Context) error {
	if c.NArg() != 0 {
		return cli.Exit("trike: schema print takes no argument", 2)
	}
	return eachSchemaFile(func(name string, b []byte) error {
		if filepath.Dir(name) != "." {
			return nil
		}
		_, err := fmt.Fprintf(c.App.Writer, "// %s\n%s\n", name, b)
		return err
	})
}

// The files that vendorSchema writes, below the policy's directory.
const (
	vendorDir   = ".trike/schema"
	moduleFile  = "cue.mod/module.cue"
	replaceFile = "cue.mod/local-module.cue"
)

func vendorSchema(c *cli.Context) error {
	dir, err := policyDir(c)
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err != nil { // a misspelt name makes no directory
		return cli.Exit("trike: "+err.Error(), 2)
	} else if !info.IsDir() {
		return cli.Exit(fmt.Sprintf("trike: %s is not a directory", dir), 2)
	}
	if err := vendorInto(dir); err != nil {
		return cli.Exit("trike: "+err.Error(), 2)
	}
	fmt.Fprintf(c.App.Writer, "%s is the schema %s, and %s points to it\n", filepath.Join(dir, vendorDir), schema.Version, filepath.Join(dir, replaceFile))
	return nil
}

func vendorInto(dir string) error {
	write := func(name string, b []byte) error {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		return writeWhole(file, b)
	}
	if err := eachSchemaFile(func(name string, b []byte) error { return write(filepath.Join(vendorDir, name), b) }); err != nil {
		return err
	}
	// A policy that is a CUE module already keeps its module file; only the dependency has to stand in it.
	if _, err := os.Stat(filepath.Join(dir, moduleFile)); errors.Is(err, fs.ErrNotExist) {
		module := fmt.Sprintf("module: \"policy.invalid/%s@v0\"\nlanguage: version: \"v0.17.0\"\ndeps: %q: v: %q\n", moduleName(dir), schema.Module, schema.Version)
		if err := write(moduleFile, []byte(module)); err != nil {
			return err
		}
	}
	return write(replaceFile, []byte(fmt.Sprintf("deps: %q: replaceWith: \"./%s\"\n", schema.Module, vendorDir)))
}

// moduleName makes a path element of the directory's name.
func moduleName(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "policy"
	}
	name := []byte(filepath.Base(abs))
	for i, b := range name {
		switch {
		case b >= 'a' && b <= 'z', b >= '0' && b <= '9':
		case b >= 'A' && b <= 'Z':
			name[i] = b + 'a' - 'A'
		default:
			name[i] = 'x'
		}
	}
	return string(name)
}

func eachSchemaFile(f func(name string, b []byte) error) error {
	return fs.WalkDir(schema.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := schema.Files.ReadFile(name)
		if err != nil {
			return err
		}
		return f(name, b)
	})
}
