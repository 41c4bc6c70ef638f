package live

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk/scaffold"
)

// The method that an author begins with brings a tunnel up, within triked's sandbox on both gateways.
func TestAuthorsMethod(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the method's project needs Go to be built")
	}
	s := certificateSite(t)
	dir, err := scaffold.Write(scaffold.Project{Name: "word", Dir: s.path("eap-word"), Source: "../.."})
	s.must(err)
	build := exec.CommandContext(t.Context(), tool, "build", "-o", "eap-word", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.comesUpBy(filepath.Join(dir, "eap-word"), secretText{"words", "alice kWfmyG8jqKmNj4\n"}, secretText{"word", "kWfmyG8jqKmNj4\n"})
}

// So does the same method in Python: a script within the sandbox, whose interpreter reads it by a descriptor.
func TestAuthorsMethodInPython(t *testing.T) {
	if err := exec.Command("/usr/bin/python3", "-I", "-c", "import grpc, google.protobuf").Run(); err != nil {
		t.Skip("Debian's python3-grpcio and python3-protobuf are not here: test/setup packages installs them")
	}
	for _, tool := range []string{"make", "protoc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the method is built by %s, which is not here: test/setup packages installs it", tool)
		}
	}
	s := certificateSite(t)
	s.must(os.CopyFS(s.path("python"), os.DirFS("../../plugins/python")))
	source, err := filepath.Abs("../..")
	s.must(err)
	if out, err := exec.CommandContext(t.Context(), "make", "-C", s.path("python"), "-B", "TRIKE_SOURCE="+source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := s.path("python/eap-word")
	s.comesUpBy(file, secretText{"words", "alice kWfmyG8jqKmNj4\n"}, secretText{"word", "kWfmyG8jqKmNj4\n"}, file)
}

// comesUpBy puts both gateways' plans with a plugin in force, and the tunnel up. script is the plugin's file where an interpreter reads it.
func (s *site) comesUpBy(file string, server, client secretText, script ...string) {
	s.t.Helper()
	s.authenticate(file, server, client)
	s.ask(s.p, "apply", s.path("plans/paris.plan.json"))
	theirs := s.pluginRuns(s.p, 0)
	s.ask(s.b, "apply", s.path("plans/berlin.plan.json"))
	ours := s.pluginRuns(s.b, 0)
	s.ask(s.b, "up", "berlin-paris")
	s.settled()
	s.unharmed(1, func() {})
	s.plugin(theirs, "paris", s.pid(s.p, "authproc"), script...)
	s.plugin(ours, "berlin", s.pid(s.b, "authproc"), script...)
}
