package msg

import "github.com/trike-ipsec/trike/internal/ikev2"

func putID(b []byte, id ID) []byte { return putBytes(u8(b, uint8(id.Type)), id.Data) }
func readID(r *reader) ID          { return ID{Type: ikev2.IDType(r.u8()), Data: r.bytes()} }

func putOctets(b []byte, o *Octets) []byte {
	b = putBytes(u16(b, uint16(o.PRF)), o.Message)
	b = putSecret(putBytes(b, o.Nonce), o.SKp)
	return append(putBytes(b, o.IntAuth), o.IDReserved[:]...)
}

func readOctets(r *reader) (o Octets) {
	o = Octets{PRF: ikev2.PRFID(r.u16()), Message: r.bytes(), Nonce: r.bytes(), SKp: r.secret(), IntAuth: r.bytes()}
	r.fill(o.IDReserved[:])
	return o
}

func putGrant(b []byte, g *Grant) []byte {
	b = putID(putString(u64(b, g.Serial), g.Connection), g.PeerID)
	return append(u64(b, uint64(g.Expiry)), g.MAC[:]...)
}

func readGrant(r *reader, g *Grant) {
	*g = Grant{Serial: r.u64(), Connection: r.string(), PeerID: readID(r), Expiry: int64(r.u64())}
	r.fill(g.MAC[:])
}

func putProblem(b []byte, p *Problem) []byte {
	return putPos(putString(putString(b, p.Connection), p.Text), p.Pos)
}

func readProblem(r *reader, p *Problem) {
	*p = Problem{Connection: r.string(), Text: r.string(), Pos: r.pos()}
}

func putText(b []byte, s *string) []byte { return putString(b, *s) }
func readText(r *reader, s *string)      { *s = r.string() }

func (*Sign) Kind() Kind { return KindSign }
func (m *Sign) append(b []byte) []byte {
	return putOctets(putBool(putString(u64(b, m.Req), m.Connection), m.Initiator), &m.Octets)
}
func (m *Sign) read(r *reader) {
	*m = Sign{Req: r.u64(), Connection: r.string(), Initiator: r.bool(), Octets: readOctets(r)}
}

func (*Signed) Kind() Kind { return KindSigned }
func (m *Signed) append(b []byte) []byte {
	return putString(putBytes(u8(putID(u64(b, m.Req), m.ID), m.Method), m.Data), m.Error)
}
func (m *Signed) read(r *reader) {
	*m = Signed{Req: r.u64(), ID: readID(r), Method: r.u8(), Data: r.bytes(), Error: r.string()}
}

func (*Verify) Kind() Kind { return KindVerify }
func (m *Verify) append(b []byte) []byte {
	b = putBool(putList(u64(b, m.Req), m.Connections, putText), m.Initiator)
	b = putAddr(putID(putID(b, m.PeerID), m.LocalID), m.PeerAddr)
	return putOctets(putBytes(u8(b, m.Method), m.Data), &m.Octets)
}
func (m *Verify) read(r *reader) {
	*m = Verify{Req: r.u64(), Connections: list(r, 4, readText), Initiator: r.bool(), PeerID: readID(r), LocalID: readID(r),
		PeerAddr: r.addr(), Method: r.u8(), Data: r.bytes(), Octets: readOctets(r)}
}

func (*Verified) Kind() Kind { return KindVerified }
func (m *Verified) append(b []byte) []byte {
	return putList(putString(putBool(u64(b, m.Req), m.OK), m.Error), m.Grants, putGrant)
}
func (m *Verified) read(r *reader) {
	*m = Verified{Req: r.u64(), OK: r.bool(), Error: r.string(), Grants: list(r, 57, readGrant)}
}

func (*Renew) Kind() Kind               { return KindRenew }
func (m *Renew) append(b []byte) []byte { return putGrant(u64(b, m.Req), &m.Grant) }
func (m *Renew) read(r *reader) {
	m.Req = r.u64()
	readGrant(r, &m.Grant)
}

func (*Renewed) Kind() Kind { return KindRenewed }
func (m *Renewed) append(b []byte) []byte {
	return putString(putGrant(u64(b, m.Req), &m.Grant), m.Error)
}
func (m *Renewed) read(r *reader) {
	m.Req = r.u64()
	readGrant(r, &m.Grant)
	m.Error = r.string()
}

func (*TrustHints) Kind() Kind               { return KindTrustHints }
func (m *TrustHints) append(b []byte) []byte { return putList(b, m.Problems, putProblem) }
func (m *TrustHints) read(r *reader)         { m.Problems = list(r, 20, readProblem) }
