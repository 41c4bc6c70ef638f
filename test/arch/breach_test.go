package arch

import (
	"strings"
	"testing"
)

// one expects exactly one breach that says all of the words, or none where there are no words.
func one(t *testing.T, what string, breaches []string, words ...string) {
	t.Helper()
	if len(words) == 0 {
		if len(breaches) != 0 {
			t.Errorf("%s: breaches where there are none: %q", what, breaches)
		}
		return
	}
	if len(breaches) != 1 {
		t.Errorf("%s: %d breaches: %q", what, len(breaches), breaches)
		return
	}
	for _, w := range words {
		if !strings.Contains(breaches[0], w) {
			t.Errorf("%s: %q does not say %q", what, breaches[0], w)
		}
	}
}

func made(path string, imports, deps []string) []pkg {
	p := pkg{ImportPath: module + "/" + path}
	for _, i := range imports {
		p.Imports = append(p.Imports, strings.Replace(i, "./", module+"/", 1))
	}
	for _, d := range append(deps, imports...) {
		p.Deps = append(p.Deps, strings.Replace(d, "./", module+"/", 1))
	}
	return []pkg{p}
}

// The law finds the breaches that it is there for, and says which rule and why.
func TestLawIsKept(t *testing.T) {
	for _, c := range []struct {
		path    string
		imports []string
		deps    []string
		words   []string
	}{
		{"internal/plan", []string{"./internal/ikev2", "fmt"}, nil, nil},
		{"internal/plan", []string{"./internal/msg"}, nil, []string{"internal/plan imports internal/msg", "policy language"}},
		{"internal/plan", nil, []string{"cuelang.org/go/cue/ast"}, []string{"links cuelang.org/go/cue/ast"}},
		{"internal/msg", []string{"net/netip"}, []string{"os"}, nil},
		{"internal/msg", []string{"os"}, nil, []string{"imports os", "plain data"}},
		{"internal/xcbc", []string{"./internal/secret"}, nil, []string{"imports internal/secret"}},
		{"internal/new", nil, nil, []string{"internal/new has no row"}},
		{"compiler/lower", []string{"./compiler/source", "./schema", "./internal/plan"}, nil, nil},
		{"compiler/lower", []string{"./internal/ipc"}, nil, []string{"imports internal/ipc"}},
		{"ikeproc/internal/wire", []string{"./ikeproc/internal/suite"}, nil, []string{"imports ikeproc/internal/suite", "the codec"}},
		{"ikeproc/internal/wire", []string{"fmt"}, []string{"time", "os", "net/netip"}, nil},
		{"ikeproc/internal/wire", nil, []string{"net"}, []string{"links net"}},
		{"ikeproc/internal/suite", []string{"./internal/xcbc", "./internal/secret", "sync"}, nil, nil},
		{"ikeproc/internal/engine", []string{"./ikeproc/internal/wire", "net/netip"}, []string{"sync"}, nil},
		{"ikeproc/internal/engine", []string{"sync"}, nil, []string{"imports sync", "pure function"}},
		{"ikeproc/internal/engine", []string{"./internal/ipc"}, nil, []string{"imports internal/ipc"}},
		{"ikeproc", []string{"./ikeproc/internal/engine", "./internal/ipc"}, nil, nil},
		{"ikeproc", nil, []string{"github.com/vishvananda/netlink/nl"}, []string{"netlink/nl"}},
		{"authproc/internal/authn", []string{"./xfrmproc"}, nil, []string{"imports xfrmproc", "credentials"}},
		{"xfrmproc/internal/guard", nil, []string{"crypto/x509"}, []string{"links crypto/x509"}},
		{"plugins/eapsdk", []string{"./internal/secret"}, nil, []string{"imports internal/secret", "plugin authors"}},
		{"plugins/eap-tls", []string{"./plugins/eapsdk"}, nil, nil},
		{"cmd/triked", []string{"./internal/supervise"}, []string{"github.com/urfave/cli/v2"}, []string{"links github.com/urfave/cli/v2", "root"}},
		{"cmd/trike", []string{"./ikeproc"}, nil, []string{"imports ikeproc"}},
		{"cmd/other", []string{"./internal/plan"}, nil, []string{"does not know"}},
		{"test/interop", []string{"./compiler", "./test/bed"}, nil, nil},
	} {
		one(t, c.path+" "+strings.Join(c.imports, " "), lawBreaches(made(c.path, c.imports, c.deps)), c.words...)
	}
}

func TestProcessesAreKeptApart(t *testing.T) {
	two := []string{"./ikeproc", "./authproc"}
	one(t, "test/trio", processBreaches(made("test/trio", two, nil)))
	one(t, "test/interop", processBreaches(made("test/interop", two, nil)), "test/interop links ikeproc and authproc")
	one(t, "cmd/triked", processBreaches(made("cmd/triked", []string{"./internal/supervise", "./xfrmproc"}, nil)), "xfrmproc and internal/supervise")
	one(t, "cmd/ikeproc", processBreaches(made("cmd/ikeproc", []string{"./ikeproc"}, []string{"./ikeproc/internal/engine"})))
}

func TestPlacesAreKept(t *testing.T) {
	one(t, "cue", placeBreaches(made("cmd/trike", []string{"cuelang.org/go/cue/errors"}, nil)), "cuelang.org/go/cue/errors", "compiler")
	one(t, "cue", placeBreaches(made("compiler/load", []string{"cuelang.org/go/cue/errors"}, nil)))
	one(t, "exec", placeBreaches(made("xfrmproc", []string{"os/exec"}, nil)), "only the supervisor starts a process")
	one(t, "simnet", placeBreaches(made("ikeproc", []string{"./internal/simnet"}, nil)), "real network")
}

func TestHabitsAreKept(t *testing.T) {
	const head = "package engine\nimport \"time\"\nimport \"testing\"\n"
	for what, c := range map[string]struct {
		text  string
		check func(source) []string
		words []string
	}{
		"a goroutine":         {"func f() { go f() }", purityBreaches, []string{"x.go:4", "go statement"}},
		"a channel":           {"var c chan int", purityBreaches, []string{"channel"}},
		"a clock":             {"func f() time.Time { return time.Now() }", purityBreaches, []string{"time.Now", "parameter"}},
		"a timer":             {"var _ = time.AfterFunc", purityBreaches, []string{"time.AfterFunc"}},
		"time as data":        {"func f(now time.Time) time.Time { return now.Add(time.Second) }", purityBreaches, nil},
		"an init":             {"func init() {}", initBreaches, []string{"func init", "rights"}},
		"a method named init": {"type T struct{}\nfunc (T) init() {}", initBreaches, nil},
		"an underscore":       {"func TestA_B(t *testing.T) {}", nameBreaches, []string{"TestA_B", "camel case"}},
		"a name for nothing":  {"func TestBasic(t *testing.T) {}", nameBreaches, []string{"TestBasic", "claim"}},
		"a number":            {"func Test2(t *testing.T) {}", nameBreaches, []string{"Test2", "claim"}},
		"a claim":             {"func TestNoncesDiffer(t *testing.T) {}\nfunc TestRFC7634(t *testing.T) {}", nameBreaches, nil},
		"not a test":          {"func Test_(a, b int) {}", nameBreaches, nil},
		"a silent skip":       {"func TestX(t *testing.T) { t.Skip() }", skipBreaches, []string{"reason"}},
		"a skip that speaks":  {"func TestX(t *testing.T) { t.Skip(\"no root\") }", skipBreaches, nil},
	} {
		s, err := parse("x.go", []byte(head+c.text))
		if err != nil {
			t.Fatal(what, err)
		}
		one(t, what, c.check(s), c.words...)
	}
}
