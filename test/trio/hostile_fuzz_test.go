package trio

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/ikeproc"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// maxScript bounds a script's length, and with it what one run costs.
const maxScript = 2048

// FuzzHostileIKEproc has ikeproc say whatever a script of octets makes of the messages: spoiled, repeated, out of order, cut off, with reloads and hours
// in between. Whatever it says, the datapath holds only what the plan and a true grant allow, and only our own IKE_SA_INIT is signed.
func FuzzHostileIKEproc(f *testing.F) {
	f.Add([]byte{opAlloc, 0, 0, opInstall, 0, 0, 0, opUpdate, 0, 0, 0, 0, opSign, 0, 0, opVerify, 0, 0, opRenew, 0, 0, opRemove, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		attacked(t, func(h *hostile) { h.perform(script[:min(len(script), maxScript)]) })
	})
}

// The same with scripts drawn from seeds.
func TestHostileSequences(t *testing.T) {
	installed := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(rng.Uint32())
			if rng.IntN(2) == 0 {
				script[i] = 0 // so that some messages stay whole
			}
		}
		attacked(t, func(h *hostile) { installed += h.perform(script) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if installed == 0 {
		t.Error("no script came so far that anything was installed: they show little")
	}
}

// The operations of a script. Each is followed by how the message is spoiled and how it is framed.
const (
	opAlloc = iota
	opInstall
	opReinstall
	opUpdate
	opRemove
	opQuery
	opReloadDone
	opSign
	opVerify
	opRenew
	opRaw
	opSleep
	opReload
	ops
)

// actor performs a script and keeps the books that an honest ikeproc would.
type actor struct {
	h      *hostile
	script []byte
	mouths map[msg.Process]net.Conn

	mu     sync.Mutex // readers of the links write these
	spis   []uint32
	grants []msg.Grant
	signs  map[uint64][]*msg.Sign

	asked  map[uint32][]attempt
	beyond []func(*msg.InstallChild)
}

// attempt is an InstallChild that was said, and when.
type attempt struct {
	m  *msg.InstallChild
	at time.Time
}

// perform runs a script, and returns how many pairs the datapath carried at most.
func (h *hostile) perform(script []byte) (most int) {
	a := &actor{h: h, script: script, mouths: map[msg.Process]net.Conn{}, grants: []msg.Grant{h.grant}, signs: map[uint64][]*msg.Sign{}, asked: map[uint32][]attempt{}}
	spoils := beyond()
	for _, name := range slices.Sorted(maps.Keys(spoils)) {
		a.beyond = append(a.beyond, spoils[name])
	}
	for len(a.script) > 0 {
		a.step()
		synctest.Wait()
		a.check()
		most = max(most, h.a.carried())
	}
	for _, m := range a.mouths {
		_ = m.Close()
	}
	synctest.Wait()
	return most
}

func (a *actor) octet() (b byte) {
	if len(a.script) > 0 {
		b, a.script = a.script[0], a.script[1:]
	}
	return b
}

func (a *actor) take(n int) []byte {
	n = min(n, len(a.script))
	out := slices.Clone(a.script[:n])
	a.script = a.script[n:]
	return out
}

func (a *actor) step() {
	h, req := a.h, uint64(a.octet())
	op := int(req) % ops
	a.mu.Lock()
	spi, grant := uint32(0), a.grants[len(a.grants)-1]
	if n := len(a.spis); n > 0 {
		spi = a.spis[n-1]
	}
	a.mu.Unlock()
	switch op {
	case opAlloc:
		a.say(msg.XFRMProc, &msg.AllocSPI{Req: req, Connection: "ab", Child: "net", Local: addrA, Remote: addrB})
	case opInstall, opReinstall:
		if op == opReinstall { // also as a rekey of what there is
			grant = h.grant
		}
		m := h.install(spi)
		m.Grant, m.SPIOut = grant, 0x1000+spi
		m.OutboundLater = op == opReinstall
		if n := int(a.octet()); n > 0 {
			a.beyond[(n-1)%len(a.beyond)](m)
		}
		a.say(msg.XFRMProc, m)
	case opUpdate:
		m := &msg.UpdateChild{Req: req, SPIIn: spi, Activate: a.octet()%2 == 0}
		if a.octet()%2 == 1 {
			m.Local, m.Remote = netip.AddrPortFrom(addrA, 500), netip.AddrPortFrom(addrB, 500)
		}
		a.say(msg.XFRMProc, m)
	case opRemove:
		a.say(msg.XFRMProc, &msg.RemoveChild{Req: req, SPIIn: spi})
	case opQuery:
		a.say(msg.XFRMProc, &msg.QueryChild{Req: req, SPIIn: spi})
	case opReloadDone:
		a.say(msg.XFRMProc, &msg.ReloadDone{Serial: h.a.serial})
	case opSign:
		a.say(msg.AuthProc, &msg.Sign{Req: req, Connection: "ab", Initiator: true, Octets: octets(true)})
	case opVerify:
		a.say(msg.AuthProc, &msg.Verify{Req: req, Connections: []string{"ab", "other"}, Initiator: true, PeerID: h.signed.ID, PeerAddr: addrB,
			Method: h.signed.Method, Data: h.signed.Data, Octets: octets(true)})
	case opRenew:
		a.say(msg.AuthProc, &msg.Renew{Req: req, Grant: grant})
	case opRaw:
		_, _ = a.mouth(trio[a.octet()%2]).Write(a.take(int(a.octet())))
	case opSleep:
		sleep(time.Duration(a.octet()) * 15 * time.Minute)
	case opReload:
		if why := h.a.apply(h.a.plan); why != "" {
			h.t.Errorf("reload: %s", why)
		}
	}
}

// mouth is the link to a process, a new one where there is none.
func (a *actor) mouth(with msg.Process) net.Conn {
	if m := a.mouths[with]; m != nil {
		return m
	}
	link, raw := a.h.rawPipe(with)
	go a.listen(link)
	a.mouths[with] = raw
	return raw
}

// say spoils and frames m as the script wants it.
func (a *actor) say(to msg.Process, m msg.Message) {
	kind, b := m.Kind(), msg.Encode(m)
	for range a.octet() % 4 {
		at := int(binary.BigEndian.Uint16(append(a.take(2), 0, 0)))
		b[at%len(b)] ^= a.octet()
	}
	how, times, size := a.octet()%16, 1, len(b)
	switch how {
	case 1:
		b = b[:len(b)/2]
		size = len(b)
	case 2:
		b = append(b, a.octet())
		size = len(b)
	case 3: // a length that lies: the next frame begins inside this one, or this one ends in the next
		size += int(int8(a.octet()))
	case 4:
		times = 20
	case 5:
		to = trio[a.octet()%2]
	case 6:
		kind = msg.Kind(a.octet())
	}
	a.note(kind, b)
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(size+3)), byte(kind), 0, 0)
	frame = append(frame, b...)
	if how == 7 {
		frame = frame[:int(a.octet())%len(frame)]
	}
	mouth := a.mouth(to)
	for range times {
		if _, err := mouth.Write(frame); err != nil {
			break
		}
	}
	synctest.Wait()
	if how == 7 || how == 8 || ended(mouth) {
		_ = mouth.Close()
		delete(a.mouths, to)
	}
}

// ended tells whether the far end has closed the link, by writing nothing to it.
func ended(m net.Conn) bool {
	_ = m.SetWriteDeadline(time.Now().Add(time.Second))
	_, err := m.Write(nil)
	_ = m.SetWriteDeadline(time.Time{})
	return err != nil
}

// note takes down what is about to be said, as the reader will understand it.
func (a *actor) note(kind msg.Kind, b []byte) {
	m, err := msg.Decode(kind, b)
	if err != nil {
		return
	}
	switch m := m.(type) {
	case *msg.InstallChild:
		a.asked[m.SPIIn] = append(a.asked[m.SPIIn], attempt{m, time.Now()})
	case *msg.Sign:
		a.mu.Lock()
		defer a.mu.Unlock()
		a.signs[m.Req] = append(a.signs[m.Req], m)
	}
}

// listen takes down what comes back over a link.
func (a *actor) listen(l ikeproc.Link) {
	for {
		m, err := l.Receive()
		if err != nil {
			return
		}
		a.mu.Lock()
		switch m := m.(type) {
		case *msg.SPI:
			if m.SPI != 0 {
				a.spis = append(a.spis, m.SPI)
			}
		case *msg.Verified:
			a.grants = append(a.grants, m.Grants...)
		case *msg.Renewed:
			if m.Error == "" {
				a.grants = append(a.grants, m.Grant)
			}
		case *msg.Signed:
			if m.Error == "" && !slices.ContainsFunc(a.signs[m.Req], ours) {
				a.h.t.Errorf("signed: %+v, after %+v", m, a.signs[m.Req])
			}
		}
		a.mu.Unlock()
	}
}

// ours: an IKE_SA_INIT in our own role.
func ours(m *msg.Sign) bool {
	b := m.Octets.Message
	if len(b) < 28 || (m.Connection != "ab" && m.Connection != "other") {
		return false
	}
	const initiator, response = 0x08, 0x20
	want := byte(response)
	if m.Initiator {
		want = initiator
	}
	return b[18] == 34 && b[19]&(initiator|response) == want && binary.BigEndian.Uint32(b[20:]) == 0 && int(binary.BigEndian.Uint32(b[24:])) == len(b)
}

// check holds what the datapath carries against the plan, by other means than the guard's.
func (a *actor) check() {
	a.h.t.Helper()
	pairs, err := a.h.a.path.Dump()
	if err != nil {
		a.h.t.Fatal(err)
	}
	for _, p := range pairs {
		if !slices.ContainsFunc(a.asked[p.SPIIn], a.inside) {
			a.h.t.Errorf("the datapath carries %+v, which the plan does not allow", p)
		}
		if p.Connection != "ab" || p.Child != "net" || p.Local.Addr() != addrA || p.Remote.Addr() != addrB {
			a.h.t.Errorf("the datapath carries %+v", p)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.grants {
		if g.Connection != "ab" || g.Expiry > time.Now().Add(25*time.Hour).Unix() {
			a.h.t.Errorf("a grant of %+v was given", g)
		}
	}
}

// inside: a true grant that was still good, an SPI of xfrmproc's, and all else as the plan has it.
func (a *actor) inside(t attempt) bool {
	m := t.m
	a.mu.Lock()
	defer a.mu.Unlock()
	in := func(ts []msg.TS, prefix string) bool {
		p := netip.MustParsePrefix(prefix)
		return len(ts) > 0 && !slices.ContainsFunc(ts, func(s msg.TS) bool { return !p.Contains(s.First) || !p.Contains(s.Last) || s.Last.Less(s.First) })
	}
	return slices.ContainsFunc(a.grants, func(g msg.Grant) bool { return msg.GrantMAC(secret.Copy(a.h.a.key), m.Grant) && g.MAC == m.Grant.MAC }) &&
		t.at.Unix() < m.Grant.Expiry && m.Grant.Connection == "ab" && m.Connection == "ab" && m.Child == "net" && m.Mode == plan.ModeTunnel &&
		slices.Contains(a.spis, m.SPIIn) && m.Local.Addr() == addrA && m.Remote.Addr() == addrB && m.SPIOut > 255 &&
		m.Transform == msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256, SN: ikev2.SN_ESN} && m.EncrIn.Len() == 36 && m.EncrOut.Len() == 36 &&
		in(m.TSLocal, "10.1.0.0/16") && in(m.TSRemote, "10.2.0.0/16")
}
