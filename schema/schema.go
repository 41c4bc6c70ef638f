// Package schema holds trike's policy language, a CUE module, as files.
//
// The files are served to policies from the program, without a registry, and are what `trike schema print` and `trike schema vendor` write.
package schema

import "embed"

const (
	// ImportPath is what a policy imports.
	ImportPath = "github.com/trike-ipsec/trike/schema"
	// Module is the CUE module's path with its major version.
	Module = ImportPath + "@v1"
	// Version is the module's version. Within a major version a policy keeps its meaning.
	Version = "v1.0.0"
)

// Files holds the module: *.cue and cue.mod/module.cue.
//
//go:embed *.cue cue.mod/module.cue
var Files embed.FS
