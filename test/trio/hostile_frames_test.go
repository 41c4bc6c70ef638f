package trio

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
)

// Frames that the routes forbid, that lie about their length, or that stop half way end the link, and nothing but the link.
func TestHostileFrames(t *testing.T) {
	for _, with := range []msg.Process{msg.AuthProc, msg.XFRMProc} {
		for name, b := range map[string][]byte{
			"a Prepare":           {0, 0, 0, 3, byte(msg.KindPrepare), 0, 0},
			"a Shutdown":          {0, 0, 0, 3, byte(msg.KindShutdown), 0, 0},
			"a Link":              {0, 0, 0, 3, byte(msg.KindLink), 0, 0},
			"an answer":           {0, 0, 0, 3, byte(msg.KindInstalled), 0, 0},
			"a kind of nobody's":  {0, 0, 0, 3, 255, 0, 0},
			"descriptors":         {0, 0, 0, 3, byte(msg.KindSign), 0, 9},
			"an endless frame":    {255, 255, 255, 255, byte(msg.KindSign), 0, 0},
			"a frame of no size":  {0, 0, 0, 0, byte(msg.KindSign), 0, 0},
			"a frame without end": append([]byte{0, 0, 255, 255, byte(msg.KindVerify), 0, 0}, make([]byte, 100)...),
			"noise":               bytes.Repeat([]byte("noise "), 1000),
		} {
			t.Run(string(with)+"/"+name, func(t *testing.T) {
				attacked(t, func(h *hostile) {
					_, raw := h.rawPipe(with)
					go func() {
						_, _ = raw.Write(b)
						time.Sleep(time.Second)
						_ = raw.Close()
					}()
					sleep(2 * time.Second)
				})
			})
		}
	}
}

// An ikeproc that asks without end and never reads is cut off. Neither before nor after does it take memory that counts, nor a process with it.
func TestHostileFlood(t *testing.T) {
	long := strings.Repeat("n", 3000)
	for name, say := range map[string]func(h *hostile) (msg.Process, msg.Message){
		"AllocSPI": func(h *hostile) (msg.Process, msg.Message) {
			return msg.XFRMProc, &msg.AllocSPI{Connection: "ab", Child: "net", Local: addrA, Remote: addrB}
		},
		"refused AllocSPI": func(h *hostile) (msg.Process, msg.Message) {
			return msg.XFRMProc, &msg.AllocSPI{Connection: long, Child: "net", Local: addrA, Remote: addrB}
		},
		"QueryChild":   func(h *hostile) (msg.Process, msg.Message) { return msg.XFRMProc, new(msg.QueryChild) },
		"InstallChild": func(h *hostile) (msg.Process, msg.Message) { return msg.XFRMProc, h.install(1) },
		"Sign": func(h *hostile) (msg.Process, msg.Message) {
			return msg.AuthProc, &msg.Sign{Connection: "ab", Initiator: true, Octets: octets(true)}
		},
		"Verify": func(h *hostile) (msg.Process, msg.Message) {
			return msg.AuthProc, &msg.Verify{Connections: slices.Repeat([]string{long}, 8), Initiator: true, PeerID: h.signed.ID, Method: h.signed.Method, Data: []byte("no"), Octets: octets(true)}
		},
		"Renew": func(h *hostile) (msg.Process, msg.Message) {
			return msg.AuthProc, &msg.Renew{Grant: msg.Grant{Connection: long, PeerID: msg.ID{Type: 2, Data: []byte(long)}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			attacked(t, func(h *hostile) {
				with, m := say(h)
				l := h.pipe(with)
				asked, most := 0, 60_000
				for ; asked < most && l.Send(m) == nil; asked++ {
					if asked == 16_000 { // just before it is
						h.small()
					}
				}
				if asked == most {
					t.Errorf("%s, whose answers nobody reads, goes on answering", with)
				}
				synctest.Wait()
				h.small()
			})
		})
	}
}

// The largest messages that the routes allow, and frames that promise more than ever comes.
func TestHostileLargest(t *testing.T) {
	attacked(t, func(h *hostile) {
		limit, _ := msg.Allowed(msg.KindVerify, msg.IKEProc, msg.AuthProc)
		m := &msg.Verify{Initiator: true, PeerID: h.signed.ID, Method: h.signed.Method, Data: h.signed.Data, Octets: octets(true)}
		m.Connections = make([]string, (limit-len(msg.Encode(m)))/4)
		if v, ok := h.ask(h.auth, m).(*msg.Verified); !ok || v.OK {
			t.Errorf("%+v", v)
		}
		m = nil
		h.small()
		for range 20 {
			_, raw := h.rawPipe(msg.AuthProc)
			_, _ = raw.Write(append(binary.BigEndian.AppendUint32(nil, uint32(limit)), byte(msg.KindVerify), 0, 0, 1))
		}
		synctest.Wait()
		h.small()
	})
}

// small fails when the survivors (and the test) hold much memory.
func (h *hostile) small() {
	h.t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 128<<20 {
		h.t.Errorf("%d MiB are held", m.HeapAlloc>>20)
	}
}
