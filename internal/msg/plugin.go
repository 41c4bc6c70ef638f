package msg

// PluginExec: authproc → triked. Start the plan's plugin of this name. Answered by PluginStarted.
type PluginExec struct {
	Req  uint64
	Name string
	// Env is added to the otherwise empty environment: go-plugin's handshake. triked takes names that begin with PLUGIN_ or TRIKE_ alone.
	Env []string
}

// PluginStarted answers PluginExec. With success the read ends of the plugin's standard output and error come with it.
type PluginStarted struct {
	Req uint64
	PID int
	// Dir is the plugin's temporary folder, in which its socket has to be.
	Dir   string
	Error string
}

// PluginDial: authproc → triked. Connect to the socket of this path in the plugin's folder; authproc has neither files nor sockets. Answered by PluginDialed.
type PluginDial struct {
	Req    uint64
	PID    int
	Socket string
}

// PluginDialed answers PluginDial. With success the connection comes with it.
type PluginDialed struct {
	Req   uint64
	Error string
}

// PluginEnd: authproc → triked. Kill the plugin with this PID, if it is one of ours.
type PluginEnd struct{ PID int }

// PluginExited: triked → authproc. A plugin ended; Text says how.
type PluginExited struct {
	Name string
	PID  int
	Text string
}

// Fetch: authproc → fetchproc. Get what this http URL names: a CRL by GET, an OCSP response by POST of Body.
type Fetch struct {
	Req     uint64
	URL     string
	Body    []byte // empty: GET
	Type    string // Content-Type of Body
	Max     int    // octets of an answer; a longer one is refused
	Seconds int    // in which it must have come
}

// Fetched answers Fetch.
type Fetched struct {
	Req   uint64
	Data  []byte
	Error string
}

// Assign: ikeproc → xfrmproc. The peer gave us addresses, in a grant's Own: put them where traffic of this connection leaves from; or take them away again.
type Assign struct {
	Req        uint64
	Grant      Grant
	Connection string
	Remove     bool
}
