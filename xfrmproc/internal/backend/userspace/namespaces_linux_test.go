package userspace

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/backendtest"
)

// gateways is two real datapaths in two namespaces with static keys: TUN devices, raw and UDP sockets, a wire.
type gateways struct {
	t     testing.TB
	hosts [2]*backendtest.Host
	ends  [2]*routed
}

func newGateways(t *testing.T, outer, inner int, encap bool, transform msg.Transform) *gateways {
	t.Helper()
	g := &gateways{t: t}
	g.hosts[0], g.hosts[1] = backendtest.Hosts(t)
	encr, integ, _ := backend.KeyLengths(transform)
	for i, h := range g.hosts {
		peer := g.hosts[1-i]
		g.ends[i] = openHost(t, h)
		t.Cleanup(func() { _ = g.ends[i].Close() })
		if err := g.ends[i].SetPolicies(backend.Policies{Protect: []backend.Protect{{Connection: "office", Child: "net", Reqid: plan.ReqidFirst, Mode: plan.ModeTunnel,
			Local: h.Outer[outer], Remote: peer.Outer[outer], LocalTS: []plan.Selector{sel(h.Net[inner].String())}, RemoteTS: []plan.Selector{sel(peer.Net[inner].String())}}}},
			false); err != nil {
			t.Fatal(err)
		}
		if err := g.ends[i].Install(backend.Pair{Connection: "office", Child: "net", Reqid: plan.ReqidFirst, Mode: plan.ModeTunnel,
			Local: netip.AddrPortFrom(h.Outer[outer], 4500), Remote: netip.AddrPortFrom(peer.Outer[outer], 4500), Encap: encap,
			SPIIn: uint32(1000 + i), SPIOut: uint32(1001 - i), Transform: transform, EncrIn: key(byte(i*100), encr), EncrOut: key(byte(100-i*100), encr),
			IntegIn: key(byte(i*100), integ), IntegOut: key(byte(100-i*100), integ),
			TSLocal:  []msg.TS{whole(h.Net[inner])},
			TSRemote: []msg.TS{whole(peer.Net[inner])}, ReplayWindow: 4096}); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func whole(p netip.Prefix) msg.TS {
	last := p.Addr().AsSlice()
	for i := p.Bits() / 8; i < len(last); i++ {
		last[i] = 0xff
	}
	end, _ := netip.AddrFromSlice(last)
	return msg.TS{PortLast: 65535, First: p.Addr(), Last: end}
}

// ping asks from host 0 with size octets and more arguments of ping(8).
func (g *gateways) ping(inner, size int, args ...string) (string, error) {
	var out []byte
	err := errors.New("not run")
	g.hosts[0].In(func() {
		args = append([]string{"-n", "-c", "1", "-W", "2", "-s", fmt.Sprint(size), "-I", g.hosts[0].Inner[inner].String()}, args...)
		out, err = exec.Command("ping", append(args, g.hosts[1].Inner[inner].String())...).CombinedOutput()
	})
	return string(out), err
}

// transfer sends total octets over one TCP connection from host 0 to host 1 and checks that they are what arrives.
func (g *gateways) transfer(inner int, total int64) {
	g.t.Helper()
	var l net.Listener
	var c net.Conn
	var err error
	g.hosts[1].In(func() { l, err = net.Listen("tcp", netip.AddrPortFrom(g.hosts[1].Inner[inner], 0).String()) })
	if err != nil {
		g.t.Fatal(err)
	}
	defer l.Close()
	sum := make(chan string, 1)
	go func() {
		defer close(sum)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		h := sha256.New()
		n, _ := io.CopyBuffer(h, c, make([]byte, 1<<20))
		sum <- fmt.Sprint(n) + hex.EncodeToString(h.Sum(nil))
	}()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: g.hosts[0].Inner[inner].AsSlice()}, Timeout: 10 * time.Second}
	g.hosts[0].In(func() { c, err = d.Dial("tcp", l.Addr().String()) })
	if err != nil {
		g.t.Fatal(err)
	}
	h := sha256.New()
	chunk := bytes.Repeat([]byte("in clear this would be seen "), 4<<10)
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	for left := total; left > 0; left -= int64(len(chunk)) {
		if left < int64(len(chunk)) {
			chunk = chunk[:left]
		}
		h.Write(chunk)
		if _, err := c.Write(chunk); err != nil {
			g.t.Fatal(err)
		}
	}
	_ = c.Close()
	if got := <-sum; got != fmt.Sprint(total)+hex.EncodeToString(h.Sum(nil)) {
		g.t.Fatal("what came is not what was sent")
	}
}

// Ping and TCP cross in ESP and in nothing else; what does not fit is cut, or its sender told.
func TestNamespaces(t *testing.T) {
	for _, c := range []struct {
		name         string
		outer, inner int
		encap        bool
	}{{"raw", 0, 0, false}, {"UDP", 0, 0, true}, {"raw, IPv6", 1, 1, false}, {"UDP, IPv6", 1, 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // it mostly waits for pings that are lost
			g := newGateways(t, c.outer, c.inner, c.encap, gcm)
			for _, size := range []int{0, 1, 56, 1300, 1372, 1400, 1420, 1440, 1472, 5000} {
				if out, err := g.ping(c.inner, size); err != nil && c.inner == 0 && size != 1472 || size < 1300 && err != nil {
					// With DF clear every size passes. ping sets DF where the packet fits the route, so one size may be told of the path first.
					if out2, err := g.ping(c.inner, size); err != nil {
						t.Errorf("ping of %d: %v\n%s\n%s", size, err, out, out2)
					}
				}
			}
			g.transfer(c.inner, 8<<20)
			for i, h := range g.hosts {
				esp, clear := h.Sent()
				if esp == 0 || clear != 0 {
					t.Errorf("%s sent %d packets of ESP and %d in clear", h.Name, esp, clear)
				}
				t.Logf("%s: %d ESP packets, drops %+v", h.Name, esp, g.ends[i].Drops())
			}
		})
	}
}

// SP-12: the kernel refuses what does not fit a narrower link, the datapath learns how much does, and tells senders or cuts.
func TestNarrowPath(t *testing.T) {
	for _, c := range []struct {
		name         string
		outer, inner int
		encap        bool
	}{{"raw", 0, 0, false}, {"UDP", 0, 0, true}, {"raw, IPv6", 1, 1, false}, {"IPv4 in IPv6", 1, 0, false}} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateways(t, c.outer, c.inner, c.encap, gcm)
			for i, e := range g.ends {
				l, err := e.nl.LinkByName(g.hosts[i].WireName)
				if err == nil {
					err = e.nl.LinkSetMTU(l, 1300)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			g.transfer(c.inner, 1<<20)
			if c.inner == 0 {
				if out, err := g.ping(0, 3000, "-M", "dont"); err != nil {
					t.Errorf("a ping that may be fragmented: %v\n%s", err, out)
				}
			}
			if c.inner == 1 {
				// The least that IPv6 asks of a link is more than fits: it goes in outer fragments.
				if out, err := g.ping(1, 1280-48); err != nil {
					t.Errorf("a ping of the least MTU: %v\n%s", err, out)
				}
			}
			for i, h := range g.hosts {
				if _, clear := h.Sent(); clear != 0 {
					t.Errorf("%s sent %d in clear", h.Name, clear)
				}
				t.Logf("%s: %+v", h.Name, g.ends[i].Drops())
			}
		})
	}
}

// A TCP stream comes through whole with each kind of algorithm. How fast it is, `make bench` measures.
func TestStreams(t *testing.T) {
	for _, c := range []struct {
		name      string
		encap     bool
		transform msg.Transform
	}{
		{"AES-GCM-128, IP", false, gcm},
		{"AES-GCM-128, UDP", true, gcm},
		{"AES-GCM-256, UDP", true, msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256}},
		{"ChaCha20-Poly1305, UDP", true, msg.Transform{Encr: ikev2.ENCR_CHACHA20_POLY1305}},
		{"AES-CBC-128 HMAC-SHA2-256, IP", false, msg.Transform{Encr: ikev2.ENCR_AES_CBC, KeyBits: 128, Integ: ikev2.AUTH_HMAC_SHA2_256_128}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateways(t, 0, 0, c.encap, c.transform)
			g.transfer(0, 16<<20)
			t.Logf("drops %+v and %+v", g.ends[0].Drops(), g.ends[1].Drops())
		})
	}
}
