package arch

// The import law: who may import what of ours, and what nobody there may link. It is the table of docs/architecture.md; a change here
// changes that page in the same commit, and says why in docs/decisions.
//
// A path ends in "/..." for itself and all below. The first row that fits a package is its row; a package without one breaks the law, so a new
// room is thought about once.
type row struct {
	path string
	// may lists what of ours the package may import. Its own subtree it may import always.
	may []string
	// link lists what it must not link, directly or through anything it imports.
	link []string
	// direct lists what it must not import itself; through the standard library it may come in.
	direct []string
	// why says what breaks when the row does not hold.
	why string
}

const (
	cue     = "cuelang.org/go/..."
	grpc    = "google.golang.org/grpc/..."
	cli     = "github.com/urfave/cli/v2/..."
	netlink = "github.com/vishvananda/netlink/..."
)

var law = []row{
	{path: "internal/ikev2", why: "names of the IANA registry are for everybody, so they lean on nobody"},
	{path: "internal/secret", why: "everybody who holds a key uses it, so it leans on nobody"},
	{path: "internal/xcbc", why: "it is mathematics, shared by the IKE suites and the userspace datapath"},
	{path: "internal/sandbox", why: "it runs first in a process, with that process's rights still on"},
	{path: "internal/status", why: "the status document is a contract with programs outside, plain data alone"},
	{path: "internal/pkitest", why: "tests on both sides of the house make certificates with it"},
	{path: "internal/simnet", why: "a simulated network knows packets, not who sends them"},
	{path: "internal/plan", may: []string{"internal/ikev2"}, link: []string{cue},
		why: "every process decodes the plan, and none of them may link the policy language"},
	{path: "internal/msg", may: []string{"internal/ikev2", "internal/plan", "internal/secret"}, direct: []string{"net", "os"},
		why: "the contract between the processes is plain data, without sockets and files"},
	{path: "internal/ipc", may: []string{"internal/msg"}, why: "frames carry messages and know nothing of who runs them"},
	{path: "internal/control", may: []string{"internal/plan", "internal/status"},
		why: "the operator's requests speak of the plan and of the status, and of nothing inside"},
	{path: "internal/supervise", may: []string{"internal/plan", "internal/msg", "internal/ipc", "internal/control", "internal/status", "internal/sandbox",
		"internal/secret", "internal/ikev2"},
		link: []string{cue, grpc, cli}, why: "the supervisor is root: it links nothing that parses what a stranger wrote"},

	{path: "schema/...", why: "the schema is public, and stands alone"},
	{path: "compiler/...", may: []string{"schema", "internal/plan", "internal/ikev2"},
		why: "the compiler knows the plan and nothing of the processes that run it"},

	{path: "ikeproc/internal/wire/...", may: []string{"internal/ikev2"}, link: []string{"net"}, direct: []string{"time"},
		why: "the codec turns octets into values; it has no keys, no state, no clock and no socket"},
	{path: "ikeproc/internal/suite/...", may: []string{"internal/ikev2", "internal/secret", "internal/xcbc"}, link: []string{"net"}, direct: []string{"time", "os"},
		why: "algorithms know nothing of messages and of states"},
	{path: "ikeproc/internal/engine/...", may: []string{"ikeproc/internal/wire", "ikeproc/internal/suite", "internal/plan", "internal/msg", "internal/ikev2",
		"internal/secret", "internal/status"},
		link: []string{"net"}, direct: []string{"os", "log", "log/slog", "sync", "sync/atomic", "math/rand", "math/rand/v2", "crypto/rand"},
		why: "the engine is a pure function of plan, entropy and events, so that a simulation can run it for years"},
	{path: "ikeproc/internal/udp/...", may: []string{"internal/ikev2"},
		why: "the sockets' side hands over datagrams and understands none of them"},
	{path: "ikeproc/...", may: []string{"internal/plan", "internal/msg", "internal/ipc", "internal/sandbox", "internal/status", "internal/ikev2", "internal/secret"},
		link: []string{cue, grpc, cli, netlink, "crypto/x509"},
		why:  "ikeproc faces the network and is assumed to be taken over: credentials and netlink are out of its reach"},
	{path: "authproc/...", may: []string{"internal/plan", "internal/msg", "internal/ipc", "internal/sandbox", "internal/status", "internal/ikev2", "internal/secret",
		"internal/xcbc", "plugins/eapsdk"},
		link: []string{cue, cli, netlink}, why: "authproc holds the credentials: it has no netlink and no IKE parser"},
	{path: "xfrmproc/...", may: []string{"internal/plan", "internal/msg", "internal/ipc", "internal/sandbox", "internal/status", "internal/ikev2", "internal/secret",
		"internal/xcbc"},
		link: []string{cue, grpc, cli, "crypto/x509"},
		why:  "xfrmproc holds CAP_NET_ADMIN: it has no credentials and no parser of what a peer says"},
	{path: "plugins/internal/eaptls", may: []string{"plugins/eapsdk"},
		why: "TLS within EAP knows no method and no user: what is said inside the tunnel is the methods' affair"},
	{path: "plugins/eapsdk/...", why: "plugin authors use it outside this module, where internal/ cannot be imported"},
	{path: "plugins/...", may: []string{"plugins/eapsdk", "plugins/eapsdk/turn", "plugins/eapsdk/eappacket"}, why: "our plugins are made of what any author has"},

	{path: "cmd/triked", may: []string{"internal/supervise", "internal/plan", "internal/sandbox"}, link: []string{cue, grpc, cli},
		why: "triked is root: every package that it links runs its init as root"},
	{path: "cmd/ikeproc", may: []string{"ikeproc", "internal/sandbox"}, link: []string{cue, grpc, cli}, why: "a main of five lines, in a binary of its own"},
	{path: "cmd/authproc", may: []string{"authproc", "internal/sandbox"}, link: []string{cue, cli, netlink}, why: "a main of five lines, in a binary of its own"},
	{path: "cmd/xfrmproc", may: []string{"xfrmproc", "internal/sandbox", "internal/plan"}, link: []string{cue, grpc, cli, "crypto/x509"}, why: "a main of five lines, in a binary of its own"},
	{path: "cmd/trike/...", may: []string{"compiler/...", "schema", "internal/plan", "internal/control", "internal/status", "internal/ikev2",
		"plugins/eapsdk/eaptest", "plugins/eapsdk/scaffold"},
		why: "the operator's command speaks to triked by internal/control alone, and starts no process of the trio"},
	{path: "cmd/...", why: "a program that this table does not know"},

	// Tests that cross rooms live here. What they may not do is said in TestOneProcessEach.
	{path: "test/...", may: []string{"..."}, why: "tests may look at everything"},
}

// processes are the four programs that must stay apart.
var processes = []string{"ikeproc", "authproc", "xfrmproc", "internal/supervise"}

// mayHoldSeveral is the one package that runs several processes in one.
const mayHoldSeveral = "test/trio"

// onlyThere says of packages who alone imports them.
var onlyThere = []struct {
	pkg   string
	where []string
	why   string
}{
	{cue, []string{"compiler/..."}, "the policy language stays out of everything that runs"},
	{"github.com/go-ldap/ldap/v3/...", []string{"plugins/eap-ldap/..."}, "a directory's client is linked where a directory is asked, and nowhere else"},
	{"github.com/hashicorp/go-plugin/...", []string{"authproc/...", "plugins/...", "internal/supervise"}, "plugins are authproc's to talk to"},
	{"layeh.com/radius/...", []string{"plugins/eap-radius/...", "plugins/internal/eapradiustest"}, "its server checks no Message-Authenticator: it is a codec, used where one is added"},
	{"os/exec", []string{"internal/supervise", "cmd/triked", "plugins/eapsdk/...", "test/..."}, "only the supervisor starts a process"},
	{"os/user", []string{"internal/supervise", "cmd/triked", "test/..."}, "only the supervisor knows users"},
	{"testing", []string{"xfrmproc/internal/backend/backendtest", "test/..."}, "no program that runs links the test framework and its flags"},
	{"plugins/internal/eapradiustest", []string{"test/..."}, "its RADIUS server has one secret and no bounds: it is for tests on loopback"},
	{"plugins/eapsdk/eaptest", []string{"cmd/trike", "test/..."}, "it tries plugins, and authproc has the conversation where trike runs"},
	{"plugins/internal/pkitest", []string{"test/..."}, "an authority of a test signs everything"},
	{"internal/simnet", []string{"test/..."}, "a program that runs has a real network"},
	{"internal/pkitest", []string{"test/..."}, "no program that runs makes authorities"},
	{"unsafe", []string{"internal/sandbox", "internal/supervise", "xfrmproc/internal/backend/...", "plugins/eapsdk/trikeeapv1"}, "what parses octets does it with bounds"},
}

// clockless are the rooms below the loops, where time is a parameter.
var clockless = []string{
	"internal/ikev2/", "internal/plan/", "internal/msg/", "internal/secret/", "internal/xcbc/", "internal/status/", "compiler/", "schema/",
	"ikeproc/internal/wire/", "ikeproc/internal/suite/", "ikeproc/internal/engine/", "xfrmproc/internal/guard/",
}

// topLevel is all that may stand in the module's root. What .gitignore names does not count.
var topLevel = []string{
	"schema", "compiler", "ikeproc", "authproc", "xfrmproc", "plugins", "examples", "cmd", "internal", "test", "docs",
	"README.md", "LICENSE", "Makefile", "go.mod", "go.sum", ".ci", ".git", ".gitignore",
}

// vague are names that say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared"}

// longest is the most lines that a Go file written by hand may have; past it, a file is usually two.
const longest = 500
