package msg

// route says, for one kind of message, who may say it to whom and how many octets its payload may have. This table is the law that
// the reader of every link enforces, in both directions.
type route struct {
	kind Kind
	name string
	max  int
	make func() Message
	from []Process
	to   []Process
}

const (
	small  = 4 << 10
	medium = 256 << 10 // holds a 64 KiB IKE message and its company
	wide   = 8 << 20   // names every connection of the largest plan
	large  = 64 << 20
	huge   = 512 << 20 // a view of the largest plan
)

var (
	supervisor = []Process{Triked}
	trio       = []Process{IKEProc, AuthProc, XFRMProc}
	ike        = []Process{IKEProc}
	auth       = []Process{AuthProc}
	xfrm       = []Process{XFRMProc}
	fetch      = []Process{FetchProc}
)

var routes = [...]route{
	{KindHello, "Hello", small, func() Message { return new(Hello) }, trio, supervisor},
	{KindPrepare, "Prepare", huge, func() Message { return new(Prepare) }, supervisor, trio},
	{KindPrepared, "Prepared", large, func() Message { return new(Prepared) }, trio, supervisor},
	{KindNotPrepared, "NotPrepared", medium, func() Message { return new(NotPrepared) }, trio, supervisor},
	{KindCommit, "Commit", small, func() Message { return new(Commit) }, supervisor, trio},
	{KindCommitted, "Committed", small, func() Message { return new(Committed) }, trio, supervisor},
	{KindAbort, "Abort", small, func() Message { return new(Abort) }, supervisor, trio},
	{KindLink, "Link", small, func() Message { return new(Link) }, supervisor, trio},
	{KindControl, "Control", small, func() Message { return new(Control) }, supervisor, ike},
	{KindControlled, "Controlled", medium, func() Message { return new(Controlled) }, ike, supervisor},
	{KindStatusRequest, "StatusRequest", small, func() Message { return new(StatusRequest) }, supervisor, trio},
	{KindStatusReply, "StatusReply", huge, func() Message { return new(StatusReply) }, trio, supervisor},
	{KindLog, "Log", medium, func() Message { return new(Log) }, trio, supervisor},
	{KindShutdown, "Shutdown", small, func() Message { return new(Shutdown) }, supervisor, trio},

	{KindSign, "Sign", medium, func() Message { return new(Sign) }, ike, auth},
	{KindSigned, "Signed", medium, func() Message { return new(Signed) }, auth, ike},
	{KindVerify, "Verify", wide, func() Message { return new(Verify) }, ike, auth},
	{KindVerified, "Verified", large, func() Message { return new(Verified) }, auth, ike},
	{KindRenew, "Renew", medium, func() Message { return new(Renew) }, ike, auth},
	{KindRenewed, "Renewed", medium, func() Message { return new(Renewed) }, auth, ike},
	{KindTrustHints, "TrustHints", large, func() Message { return new(TrustHints) }, auth, ike},

	{KindAllocSPI, "AllocSPI", small, func() Message { return new(AllocSPI) }, ike, xfrm},
	{KindSPI, "SPI", small, func() Message { return new(SPI) }, xfrm, ike},
	{KindInstallChild, "InstallChild", medium, func() Message { return new(InstallChild) }, ike, xfrm},
	{KindInstalled, "Installed", small, func() Message { return new(Installed) }, xfrm, ike},
	{KindRefused, "Refused", small, func() Message { return new(Refused) }, xfrm, ike},
	{KindUpdateChild, "UpdateChild", small, func() Message { return new(UpdateChild) }, ike, xfrm},
	{KindRemoveChild, "RemoveChild", small, func() Message { return new(RemoveChild) }, ike, xfrm},
	{KindQueryChild, "QueryChild", small, func() Message { return new(QueryChild) }, ike, xfrm},
	{KindCounters, "Counters", small, func() Message { return new(Counters) }, xfrm, ike},
	{KindAcquire, "Acquire", small, func() Message { return new(Acquire) }, xfrm, ike},
	{KindExpire, "Expire", small, func() Message { return new(Expire) }, xfrm, ike},
	{KindMapping, "Mapping", small, func() Message { return new(Mapping) }, xfrm, ike},
	{KindInventory, "Inventory", large, func() Message { return new(Inventory) }, xfrm, ike},
	{KindReloadDone, "ReloadDone", small, func() Message { return new(ReloadDone) }, ike, xfrm},

	{KindEAPStart, "EAPStart", wide, func() Message { return new(EAPStart) }, ike, auth},
	{KindEAPPacket, "EAPPacket", medium, func() Message { return new(EAPPacket) }, ike, auth},
	{KindEAPReply, "EAPReply", medium, func() Message { return new(EAPReply) }, auth, ike},
	{KindForget, "Forget", small, func() Message { return new(Forget) }, ike, auth},
	{KindUsage, "Usage", medium, func() Message { return new(Usage) }, ike, auth},
	{KindTerminate, "Terminate", small, func() Message { return new(Terminate) }, auth, ike},
	{KindPluginExec, "PluginExec", medium, func() Message { return new(PluginExec) }, auth, supervisor},
	{KindPluginStarted, "PluginStarted", small, func() Message { return new(PluginStarted) }, supervisor, auth},
	{KindPluginEnd, "PluginEnd", small, func() Message { return new(PluginEnd) }, auth, supervisor},
	{KindPluginExited, "PluginExited", small, func() Message { return new(PluginExited) }, supervisor, auth},
	{KindFetch, "Fetch", medium, func() Message { return new(Fetch) }, auth, fetch},
	{KindFetched, "Fetched", large, func() Message { return new(Fetched) }, fetch, auth},
	{KindAssign, "Assign", medium, func() Message { return new(Assign) }, ike, xfrm},
	{KindPluginDial, "PluginDial", small, func() Message { return new(PluginDial) }, auth, supervisor},
	{KindPluginDialed, "PluginDialed", small, func() Message { return new(PluginDialed) }, supervisor, auth},
}

func routeOf(k Kind) *route {
	if k == 0 || k >= kindEnd {
		return nil
	}
	return &routes[k-1]
}

// Allowed tells whether from may say a message of this kind to to, and how many octets its payload may then have.
func Allowed(k Kind, from, to Process) (maxSize int, ok bool) {
	r := routeOf(k)
	if r == nil || !holds(r.from, from) || !holds(r.to, to) {
		return 0, false
	}
	return r.max, true
}

// MaxFiles is how many descriptors may come with a message of this kind, on links that carry descriptors.
func (k Kind) MaxFiles() int {
	switch k {
	case KindPrepare: // sockets, or a secret each
		return 1<<16 - 1
	case KindLink, KindPluginStarted: // read end and write end; standard output and error
		return 2
	case KindPluginDialed: // the connection
		return 1
	}
	return 0
}

func holds(list []Process, p Process) bool {
	for _, q := range list {
		if q == p {
			return true
		}
	}
	return false
}

// Routes lists who may say what to whom, for the documentation and its test.
func Routes(f func(name string, from, to []Process, maxSize int)) {
	for _, r := range routes {
		f(r.name, r.from, r.to, r.max)
	}
}
