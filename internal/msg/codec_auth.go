package msg

import (
	"net/netip"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

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
	b = putID(putString(u64(u64(b, g.Serial), g.Session), g.Connection), g.PeerID)
	b = putList(putList(putString(b, g.User), g.Peer, putOneAddr), g.Own, putOneAddr)
	return append(u64(b, uint64(g.Expiry)), g.MAC[:]...)
}

func readGrant(r *reader, g *Grant) {
	*g = Grant{Serial: r.u64(), Session: r.u64(), Connection: r.string(), PeerID: readID(r), User: r.string(),
		Peer: list(r, 1, readOneAddr), Own: list(r, 1, readOneAddr), Expiry: int64(r.u64())}
	r.fill(g.MAC[:])
}

func putOneAddr(b []byte, a *netip.Addr) []byte { return putAddr(b, *a) }
func readOneAddr(r *reader, a *netip.Addr)      { *a = r.addr() }

func putCert(b []byte, c *Cert) []byte { return putBytes(u8(b, uint8(c.Encoding)), c.Data) }
func readCert(r *reader, c *Cert)      { *c = Cert{Encoding: ikev2.CertEncoding(r.u8()), Data: r.bytes()} }

func putConfig(b []byte, a *ConfigAttribute) []byte { return putBytes(u16(b, a.Type), a.Value) }
func readConfig(r *reader, a *ConfigAttribute)      { *a = ConfigAttribute{Type: r.u16(), Value: r.bytes()} }

func putU16(b []byte, v *uint16) []byte { return u16(b, *v) }
func readU16(r *reader, v *uint16)      { *v = r.u16() }

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
	b = putBool(putString(u64(u64(b, m.Req), m.Conversation), m.Connection), m.Initiator)
	return putOctets(putList(putList(b, m.Hashes, putU16), m.Requests, putCert), &m.Octets)
}
func (m *Sign) read(r *reader) {
	*m = Sign{Req: r.u64(), Conversation: r.u64(), Connection: r.string(), Initiator: r.bool(), Hashes: list(r, 2, readU16),
		Requests: list(r, 5, readCert), Octets: readOctets(r)}
}

func (*Signed) Kind() Kind { return KindSigned }
func (m *Signed) append(b []byte) []byte {
	b = putBytes(u8(putID(u64(b, m.Req), m.ID), m.Method), m.Data)
	b = putList(putList(b, m.Certs, putCert), m.Requests, putCert)
	return putString(putBool(putBool(b, m.EAP), m.EAPOnly), m.Error)
}
func (m *Signed) read(r *reader) {
	*m = Signed{Req: r.u64(), ID: readID(r), Method: r.u8(), Data: r.bytes(), Certs: list(r, 5, readCert), Requests: list(r, 5, readCert),
		EAP: r.bool(), EAPOnly: r.bool(), Error: r.string()}
}

func (*Verify) Kind() Kind { return KindVerify }
func (m *Verify) append(b []byte) []byte {
	b = putBool(putList(u64(u64(b, m.Req), m.Conversation), m.Connections, putText), m.Initiator)
	b = putAddr(putID(putID(b, m.PeerID), m.LocalID), m.PeerAddr)
	b = putList(putBytes(u8(b, m.Method), m.Data), m.Certs, putCert)
	return putList(putBool(putOctets(b, &m.Octets), m.HasConfig), m.Config, putConfig)
}
func (m *Verify) read(r *reader) {
	*m = Verify{Req: r.u64(), Conversation: r.u64(), Connections: list(r, 4, readText), Initiator: r.bool(), PeerID: readID(r), LocalID: readID(r),
		PeerAddr: r.addr(), Method: r.u8(), Data: r.bytes(), Certs: list(r, 5, readCert), Octets: readOctets(r),
		HasConfig: r.bool(), Config: list(r, 6, readConfig)}
}

func (*Verified) Kind() Kind { return KindVerified }
func (m *Verified) append(b []byte) []byte {
	b = putList(putString(putBool(u64(b, m.Req), m.OK), m.Error), m.Grants, putGrant)
	return u32(putString(putList(putBool(b, m.More), m.Config, putConfig), m.InternalAddressFailure), m.Reauth)
}
func (m *Verified) read(r *reader) {
	*m = Verified{Req: r.u64(), OK: r.bool(), Error: r.string(), Grants: list(r, 77, readGrant), More: r.bool(), Config: list(r, 6, readConfig),
		InternalAddressFailure: r.string(), Reauth: r.u32()}
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

func (*TrustHints) Kind() Kind { return KindTrustHints }
func (m *TrustHints) append(b []byte) []byte {
	return putList(putList(b, m.Problems, putProblem), m.Requests, putCert)
}
func (m *TrustHints) read(r *reader) {
	*m = TrustHints{Problems: list(r, 20, readProblem), Requests: list(r, 5, readCert)}
}
