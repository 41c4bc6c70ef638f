package msg

func (*EAPStart) Kind() Kind { return KindEAPStart }
func (m *EAPStart) append(b []byte) []byte {
	b = putID(putID(putList(u64(u64(b, m.Req), m.Conversation), m.Connections, putText), m.PeerID), m.LocalID)
	return putBool(putAddr(putAddr(b, m.Local), m.PeerAddr), m.EAPOnly)
}
func (m *EAPStart) read(r *reader) {
	*m = EAPStart{Req: r.u64(), Conversation: r.u64(), Connections: list(r, 4, readText), PeerID: readID(r), LocalID: readID(r),
		Local: r.addr(), PeerAddr: r.addr(), EAPOnly: r.bool()}
}

func (*EAPPacket) Kind() Kind { return KindEAPPacket }
func (m *EAPPacket) append(b []byte) []byte {
	return putBytes(u64(u64(b, m.Req), m.Conversation), m.Packet)
}
func (m *EAPPacket) read(r *reader) {
	*m = EAPPacket{Req: r.u64(), Conversation: r.u64(), Packet: r.bytes()}
}

func (*EAPReply) Kind() Kind { return KindEAPReply }
func (m *EAPReply) append(b []byte) []byte {
	b = putBool(putBool(putBytes(u64(b, m.Req), m.Packet), m.Done), m.OK)
	return putString(putBool(putString(b, m.Connection), m.EAPOnly), m.Error)
}
func (m *EAPReply) read(r *reader) {
	*m = EAPReply{Req: r.u64(), Packet: r.bytes(), Done: r.bool(), OK: r.bool(), Connection: r.string(), EAPOnly: r.bool(), Error: r.string()}
}

func (*Forget) Kind() Kind               { return KindForget }
func (m *Forget) append(b []byte) []byte { return putString(u64(b, m.Conversation), m.Reason) }
func (m *Forget) read(r *reader)         { *m = Forget{Conversation: r.u64(), Reason: r.string()} }

func (*Usage) Kind() Kind { return KindUsage }
func (m *Usage) append(b []byte) []byte {
	b = putAddr(u8(putGrant(b, &m.Grant), uint8(m.What)), m.PeerAddr)
	b = u64(u64(u64(u64(b, m.BytesIn), m.BytesOut), m.PacketsIn), m.PacketsOut)
	return putString(b, m.Cause)
}
func (m *Usage) read(r *reader) {
	readGrant(r, &m.Grant)
	m.What, m.PeerAddr = UsageKind(r.u8()), r.addr()
	m.BytesIn, m.BytesOut, m.PacketsIn, m.PacketsOut = r.u64(), r.u64(), r.u64(), r.u64()
	m.Cause = r.string()
}

func (*Terminate) Kind() Kind               { return KindTerminate }
func (m *Terminate) append(b []byte) []byte { return putString(u64(b, m.Session), m.Reason) }
func (m *Terminate) read(r *reader)         { *m = Terminate{Session: r.u64(), Reason: r.string()} }

func (*PluginExec) Kind() Kind { return KindPluginExec }
func (m *PluginExec) append(b []byte) []byte {
	return putList(putString(u64(b, m.Req), m.Name), m.Env, putText)
}
func (m *PluginExec) read(r *reader) {
	*m = PluginExec{Req: r.u64(), Name: r.string(), Env: list(r, 4, readText)}
}

func (*PluginStarted) Kind() Kind { return KindPluginStarted }
func (m *PluginStarted) append(b []byte) []byte {
	return putString(putString(u32(u64(b, m.Req), uint32(m.PID)), m.Dir), m.Error)
}
func (m *PluginStarted) read(r *reader) {
	*m = PluginStarted{Req: r.u64(), PID: int(r.u32()), Dir: r.string(), Error: r.string()}
}

func (*PluginDial) Kind() Kind { return KindPluginDial }
func (m *PluginDial) append(b []byte) []byte {
	return putString(u32(u64(b, m.Req), uint32(m.PID)), m.Socket)
}
func (m *PluginDial) read(r *reader) {
	*m = PluginDial{Req: r.u64(), PID: int(r.u32()), Socket: r.string()}
}

func (*PluginDialed) Kind() Kind               { return KindPluginDialed }
func (m *PluginDialed) append(b []byte) []byte { return putString(u64(b, m.Req), m.Error) }
func (m *PluginDialed) read(r *reader)         { *m = PluginDialed{Req: r.u64(), Error: r.string()} }

func (*PluginEnd) Kind() Kind               { return KindPluginEnd }
func (m *PluginEnd) append(b []byte) []byte { return u32(b, uint32(m.PID)) }
func (m *PluginEnd) read(r *reader)         { *m = PluginEnd{PID: int(r.u32())} }

func (*PluginExited) Kind() Kind { return KindPluginExited }
func (m *PluginExited) append(b []byte) []byte {
	return putString(u32(putString(b, m.Name), uint32(m.PID)), m.Text)
}
func (m *PluginExited) read(r *reader) {
	*m = PluginExited{Name: r.string(), PID: int(r.u32()), Text: r.string()}
}

func (*Fetch) Kind() Kind { return KindFetch }
func (m *Fetch) append(b []byte) []byte {
	b = putString(putBytes(putString(u64(b, m.Req), m.URL), m.Body), m.Type)
	return u32(u32(b, uint32(m.Max)), uint32(m.Seconds))
}
func (m *Fetch) read(r *reader) {
	*m = Fetch{Req: r.u64(), URL: r.string(), Body: r.bytes(), Type: r.string(), Max: int(r.u32()), Seconds: int(r.u32())}
}

func (*Fetched) Kind() Kind               { return KindFetched }
func (m *Fetched) append(b []byte) []byte { return putString(putBytes(u64(b, m.Req), m.Data), m.Error) }
func (m *Fetched) read(r *reader) {
	*m = Fetched{Req: r.u64(), Data: r.bytes(), Error: r.string()}
}

func (*Assign) Kind() Kind { return KindAssign }
func (m *Assign) append(b []byte) []byte {
	return putBool(putString(putGrant(u64(b, m.Req), &m.Grant), m.Connection), m.Remove)
}
func (m *Assign) read(r *reader) {
	m.Req = r.u64()
	readGrant(r, &m.Grant)
	m.Connection, m.Remove = r.string(), r.bool()
}
