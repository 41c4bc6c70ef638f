package msg

func (*Hello) Kind() Kind { return KindHello }
func (m *Hello) append(b []byte) []byte {
	return putString(u64(putString(b, m.Process), uint64(m.PID)), m.Version)
}
func (m *Hello) read(r *reader) {
	*m = Hello{Process: r.string(), PID: int(r.u64()), Version: r.string()}
}

func putFile(b []byte, f *File) []byte { return putString(putString(b, f.Kind), f.Name) }
func readFile(r *reader, f *File)      { *f = File{Kind: r.string(), Name: r.string()} }

func (*Prepare) Kind() Kind { return KindPrepare }
func (m *Prepare) append(b []byte) []byte {
	b = append(u64(b, m.Serial), m.Hash[:]...)
	return putSecret(putList(putBytes(b, m.View), m.Files, putFile), m.GrantKey)
}
func (m *Prepare) read(r *reader) {
	m.Serial = r.u64()
	r.fill(m.Hash[:])
	m.View, m.Files, m.GrantKey = r.bytes(), list(r, 8, readFile), r.secret()
}

func (*Prepared) Kind() Kind               { return KindPrepared }
func (m *Prepared) append(b []byte) []byte { return putList(u64(b, m.Serial), m.Problems, putProblem) }
func (m *Prepared) read(r *reader) {
	*m = Prepared{Serial: r.u64(), Problems: list(r, 20, readProblem)}
}

func (*NotPrepared) Kind() Kind               { return KindNotPrepared }
func (m *NotPrepared) append(b []byte) []byte { return putString(u64(b, m.Serial), m.Reason) }
func (m *NotPrepared) read(r *reader)         { *m = NotPrepared{Serial: r.u64(), Reason: r.string()} }

func (*Commit) Kind() Kind               { return KindCommit }
func (m *Commit) append(b []byte) []byte { return u64(b, m.Serial) }
func (m *Commit) read(r *reader)         { m.Serial = r.u64() }

func (*Committed) Kind() Kind               { return KindCommitted }
func (m *Committed) append(b []byte) []byte { return u64(b, m.Serial) }
func (m *Committed) read(r *reader)         { m.Serial = r.u64() }

func (*Abort) Kind() Kind               { return KindAbort }
func (m *Abort) append(b []byte) []byte { return u64(b, m.Serial) }
func (m *Abort) read(r *reader)         { m.Serial = r.u64() }

func (*Link) Kind() Kind               { return KindLink }
func (m *Link) append(b []byte) []byte { return putString(b, m.Process) }
func (m *Link) read(r *reader)         { m.Process = r.string() }

func (*Control) Kind() Kind { return KindControl }
func (m *Control) append(b []byte) []byte {
	b = putString(putString(putString(u64(b, m.Req), m.Verb), m.Connection), m.Child)
	return putBool(putBool(b, m.IKE), m.Wait)
}
func (m *Control) read(r *reader) {
	*m = Control{Req: r.u64(), Verb: r.string(), Connection: r.string(), Child: r.string(), IKE: r.bool(), Wait: r.bool()}
}

func (*Controlled) Kind() Kind               { return KindControlled }
func (m *Controlled) append(b []byte) []byte { return putString(u64(b, m.Req), m.Error) }
func (m *Controlled) read(r *reader)         { *m = Controlled{Req: r.u64(), Error: r.string()} }

func (*StatusRequest) Kind() Kind               { return KindStatusRequest }
func (m *StatusRequest) append(b []byte) []byte { return u64(b, m.Req) }
func (m *StatusRequest) read(r *reader)         { m.Req = r.u64() }

func (*StatusReply) Kind() Kind               { return KindStatusReply }
func (m *StatusReply) append(b []byte) []byte { return putBytes(u64(b, m.Req), m.JSON) }
func (m *StatusReply) read(r *reader)         { *m = StatusReply{Req: r.u64(), JSON: r.bytes()} }

func (*Log) Kind() Kind               { return KindLog }
func (m *Log) append(b []byte) []byte { return putBytes(b, m.JSON) }
func (m *Log) read(r *reader)         { m.JSON = r.bytes() }

func (*Shutdown) Kind() Kind               { return KindShutdown }
func (m *Shutdown) append(b []byte) []byte { return b }
func (m *Shutdown) read(*reader)           {}
