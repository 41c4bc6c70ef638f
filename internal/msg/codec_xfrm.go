package msg

import (
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

func putTS(b []byte, t *TS) []byte {
	return putAddr(putAddr(u16(u16(u8(b, t.Protocol), t.PortFirst), t.PortLast), t.First), t.Last)
}

func readTS(r *reader, t *TS) {
	*t = TS{Protocol: r.u8(), PortFirst: r.u16(), PortLast: r.u16(), First: r.addr(), Last: r.addr()}
}

func putTransform(b []byte, t Transform) []byte {
	return u16(u16(u16(u16(b, uint16(t.Encr)), uint16(t.KeyBits)), uint16(t.Integ)), uint16(t.SN))
}

func readTransform(r *reader) Transform {
	return Transform{Encr: ikev2.EncrID(r.u16()), KeyBits: int(r.u16()), Integ: ikev2.IntegID(r.u16()), SN: ikev2.SNID(r.u16())}
}

func putCarried(b []byte, c *Carried) []byte {
	b = u32(u32(putString(putString(b, c.Connection), c.Child), c.SPIIn), c.SPIOut)
	return putAddrPort(putAddrPort(b, c.Local), c.Remote)
}

func readCarried(r *reader, c *Carried) {
	*c = Carried{Connection: r.string(), Child: r.string(), SPIIn: r.u32(), SPIOut: r.u32(), Local: r.addrPort(), Remote: r.addrPort()}
}

func (*AllocSPI) Kind() Kind { return KindAllocSPI }
func (m *AllocSPI) append(b []byte) []byte {
	return putAddr(putAddr(putString(putString(u64(b, m.Req), m.Connection), m.Child), m.Local), m.Remote)
}
func (m *AllocSPI) read(r *reader) {
	*m = AllocSPI{Req: r.u64(), Connection: r.string(), Child: r.string(), Local: r.addr(), Remote: r.addr()}
}

func (*SPI) Kind() Kind               { return KindSPI }
func (m *SPI) append(b []byte) []byte { return putString(u32(u64(b, m.Req), m.SPI), m.Error) }
func (m *SPI) read(r *reader)         { *m = SPI{Req: r.u64(), SPI: r.u32(), Error: r.string()} }

func (*InstallChild) Kind() Kind { return KindInstallChild }
func (m *InstallChild) append(b []byte) []byte {
	b = putGrant(u64(b, m.Req), &m.Grant)
	b = putString(putString(putString(b, m.Connection), m.Child), string(m.Mode))
	b = putBool(putAddrPort(putAddrPort(b, m.Local), m.Remote), m.Encap)
	b = putTransform(u32(u32(b, m.SPIIn), m.SPIOut), m.Transform)
	b = putSecret(putSecret(putSecret(putSecret(b, m.EncrIn), m.IntegIn), m.EncrOut), m.IntegOut)
	b = putList(putList(b, m.TSLocal, putTS), m.TSRemote, putTS)
	return u32(putBool(b, m.OutboundLater), m.Replaces)
}
func (m *InstallChild) read(r *reader) {
	m.Req = r.u64()
	readGrant(r, &m.Grant)
	m.Connection, m.Child, m.Mode = r.string(), r.string(), plan.Mode(r.string())
	m.Local, m.Remote, m.Encap = r.addrPort(), r.addrPort(), r.bool()
	m.SPIIn, m.SPIOut, m.Transform = r.u32(), r.u32(), readTransform(r)
	m.EncrIn, m.IntegIn, m.EncrOut, m.IntegOut = r.secret(), r.secret(), r.secret(), r.secret()
	m.TSLocal, m.TSRemote = list(r, 7, readTS), list(r, 7, readTS)
	m.OutboundLater, m.Replaces = r.bool(), r.u32()
}

func (*Installed) Kind() Kind               { return KindInstalled }
func (m *Installed) append(b []byte) []byte { return u64(b, m.Req) }
func (m *Installed) read(r *reader)         { m.Req = r.u64() }

func (*Refused) Kind() Kind               { return KindRefused }
func (m *Refused) append(b []byte) []byte { return putPos(putString(u64(b, m.Req), m.Reason), m.Pos) }
func (m *Refused) read(r *reader)         { *m = Refused{Req: r.u64(), Reason: r.string(), Pos: r.pos()} }

func (*UpdateChild) Kind() Kind { return KindUpdateChild }
func (m *UpdateChild) append(b []byte) []byte {
	return putAddrPort(putAddrPort(putBool(u32(u64(b, m.Req), m.SPIIn), m.Activate), m.Local), m.Remote)
}
func (m *UpdateChild) read(r *reader) {
	*m = UpdateChild{Req: r.u64(), SPIIn: r.u32(), Activate: r.bool(), Local: r.addrPort(), Remote: r.addrPort()}
}

func (*RemoveChild) Kind() Kind               { return KindRemoveChild }
func (m *RemoveChild) append(b []byte) []byte { return u32(u64(b, m.Req), m.SPIIn) }
func (m *RemoveChild) read(r *reader)         { *m = RemoveChild{Req: r.u64(), SPIIn: r.u32()} }

func (*QueryChild) Kind() Kind               { return KindQueryChild }
func (m *QueryChild) append(b []byte) []byte { return u32(u64(b, m.Req), m.SPIIn) }
func (m *QueryChild) read(r *reader)         { *m = QueryChild{Req: r.u64(), SPIIn: r.u32()} }

func (*Counters) Kind() Kind { return KindCounters }
func (m *Counters) append(b []byte) []byte {
	b = putBool(u32(u64(b, m.Req), m.SPIIn), m.Missing)
	for _, v := range [...]uint64{m.BytesIn, m.BytesOut, m.PacketsIn, m.PacketsOut, uint64(m.LastIn), m.Errors} {
		b = u64(b, v)
	}
	return b
}
func (m *Counters) read(r *reader) {
	*m = Counters{Req: r.u64(), SPIIn: r.u32(), Missing: r.bool(), BytesIn: r.u64(), BytesOut: r.u64(),
		PacketsIn: r.u64(), PacketsOut: r.u64(), LastIn: int64(r.u64()), Errors: r.u64()}
}

func (*Acquire) Kind() Kind { return KindAcquire }
func (m *Acquire) append(b []byte) []byte {
	return putTS(putTS(putString(putString(b, m.Connection), m.Child), &m.TSLocal), &m.TSRemote)
}
func (m *Acquire) read(r *reader) {
	m.Connection, m.Child = r.string(), r.string()
	readTS(r, &m.TSLocal)
	readTS(r, &m.TSRemote)
}

func (*Expire) Kind() Kind               { return KindExpire }
func (m *Expire) append(b []byte) []byte { return putBool(u32(b, m.SPIIn), m.Hard) }
func (m *Expire) read(r *reader)         { *m = Expire{SPIIn: r.u32(), Hard: r.bool()} }

func (*Mapping) Kind() Kind               { return KindMapping }
func (m *Mapping) append(b []byte) []byte { return putAddrPort(u32(b, m.SPIIn), m.Remote) }
func (m *Mapping) read(r *reader)         { *m = Mapping{SPIIn: r.u32(), Remote: r.addrPort()} }

func (*Inventory) Kind() Kind { return KindInventory }
func (m *Inventory) append(b []byte) []byte {
	return putList(putString(putString(b, m.Datapath), m.Why), m.Children, putCarried)
}
func (m *Inventory) read(r *reader) {
	*m = Inventory{Datapath: r.string(), Why: r.string(), Children: list(r, 22, readCarried)}
}

func (*ReloadDone) Kind() Kind               { return KindReloadDone }
func (m *ReloadDone) append(b []byte) []byte { return u64(b, m.Serial) }
func (m *ReloadDone) read(r *reader)         { m.Serial = r.u64() }
