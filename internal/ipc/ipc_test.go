package ipc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/msg"
)

func pair(a, b msg.Process) (*Conn, *Conn) {
	x, y := net.Pipe()
	return New(x, a, b), New(y, b, a)
}

func TestMessagesCross(t *testing.T) {
	ike, auth := pair(msg.IKEProc, msg.AuthProc)
	go func() {
		for i := range uint64(3) {
			_ = ike.Send(&msg.Sign{Req: i, Connection: "office"})
		}
		ike.Close()
	}()
	for i := range uint64(3) {
		m, err := auth.Receive()
		if s, ok := m.(*msg.Sign); err != nil || !ok || s.Req != i || s.Connection != "office" {
			t.Fatalf("%v %v", m, err)
		}
	}
	if _, err := auth.Receive(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// What the routes forbid does not even leave; and when a process that was taken over sends it all the same, its reader ends the link.
func TestRoutesAreEnforcedBothWays(t *testing.T) {
	ike, _ := pair(msg.IKEProc, msg.XFRMProc)
	if err := ike.Send(&msg.Sign{}); !errors.Is(err, ErrIllegal) {
		t.Errorf("ikeproc said Sign to xfrmproc: %v", err)
	}
	for name, raw := range map[string][]byte{
		"ikeproc says Sign to xfrmproc":       frameOf(msg.KindSign, msg.Encode(&msg.Sign{})),
		"ikeproc says Installed to xfrmproc":  frameOf(msg.KindInstalled, msg.Encode(&msg.Installed{})),
		"ikeproc says Prepare to xfrmproc":    frameOf(msg.KindPrepare, msg.Encode(&msg.Prepare{})),
		"a kind that does not exist":          frameOf(200, nil),
		"kind 0":                              frameOf(0, nil),
		"a length of 0":                       {0, 0, 0, 0, byte(msg.KindExpire), 0, 0},
		"a length of 2^32-1":                  {255, 255, 255, 255, byte(msg.KindInstallChild), 0, 0},
		"a frame over its kind's bound":       frameOf(msg.KindRemoveChild, make([]byte, 5000)),
		"descriptors where there can be none": {0, 0, 0, 3, byte(msg.KindReloadDone), 0, 1},
	} {
		x, y := net.Pipe()
		xfrm := New(y, msg.XFRMProc, msg.IKEProc)
		go func() { _, _ = x.Write(raw); x.Close() }()
		m, err := xfrm.Receive()
		var link *LinkError
		if !errors.Is(err, ErrIllegal) || !errors.As(err, &link) || link.Peer != msg.IKEProc {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		y.Close()
	}
}

func TestTornFrame(t *testing.T) {
	whole := frameOf(msg.KindInstallChild, msg.Encode(&msg.InstallChild{}))
	for cut := 1; cut < len(whole); cut++ {
		c := New(rwc{bytes.NewBuffer(whole[:cut])}, msg.XFRMProc, msg.IKEProc)
		if _, err := c.Receive(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut to %d octets: %v", cut, err)
		}
	}
}

// A length alone claims no memory: the buffer grows with what arrives.
func TestLargeLengthCostsNothing(t *testing.T) {
	raw := binary.BigEndian.AppendUint32(nil, 400<<20)
	raw = append(raw, byte(msg.KindPrepare), 0, 0, 1, 2, 3)
	c := New(rwc{bytes.NewBuffer(raw)}, msg.IKEProc, msg.Triked)
	if _, err := c.Receive(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if cap(c.in) > 2*chunk {
		t.Errorf("a buffer of %d octets for a frame that sent three", cap(c.in))
	}
}

func TestDescriptorsCross(t *testing.T) {
	fa, fb, err := Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	triked, err := NewFileConn(fa, msg.Triked, msg.AuthProc)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := NewFileConn(fb, msg.AuthProc, msg.Triked)
	if err != nil {
		t.Fatal(err)
	}
	defer triked.Close()
	defer auth.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	view := bytes.Repeat([]byte("x"), 3<<20) // more than a socket buffer: sender and reader meet
	sent := make(chan error, 1)
	go func() {
		err := triked.SendFiles(&msg.Prepare{Serial: 7, View: view, Files: []msg.File{{Kind: "secret", Name: "office"}}}, []*os.File{r})
		r.Close()
		sent <- errors.Join(err, triked.SendFiles(&msg.Commit{Serial: 7}, nil))
	}()
	m, files, err := auth.ReceiveFiles()
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := m.(*msg.Prepare); !ok || p.Serial != 7 || !bytes.Equal(p.View, view) || len(files) != 1 {
		t.Fatalf("%T with %d descriptors", m, len(files))
	}
	_, _ = w.WriteString("secret")
	w.Close()
	if b, err := io.ReadAll(files[0]); err != nil || string(b) != "secret" {
		t.Fatalf("%q %v", b, err)
	}
	files[0].Close()
	if m, files, err := auth.ReceiveFiles(); err != nil || len(files) != 0 || m.Kind() != msg.KindCommit {
		t.Fatal(m, files, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// A plan with many connections has many secrets: more than the kernel lets travel at once.
func TestManyDescriptorsCross(t *testing.T) {
	for _, count := range []int{1, 252, 253, 254, 506, 507} {
		fa, fb, err := Socketpair()
		if err != nil {
			t.Fatal(err)
		}
		triked, err := NewFileConn(fa, msg.Triked, msg.AuthProc)
		if err != nil {
			t.Fatal(err)
		}
		auth, err := NewFileConn(fb, msg.AuthProc, msg.Triked)
		if err != nil {
			t.Fatal(err)
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		send := make([]*os.File, count)
		for i := range send {
			send[i] = null
		}
		sent := make(chan error, 1)
		go func() {
			sent <- errors.Join(triked.SendFiles(&msg.Prepare{Serial: 1}, send), triked.SendFiles(&msg.Commit{Serial: 1}, nil))
		}()
		m, files, err := auth.ReceiveFiles()
		if err != nil || m.Kind() != msg.KindPrepare || len(files) != count {
			t.Fatalf("%d descriptors: %v, %d, %v", count, m, len(files), err)
		}
		for _, f := range files {
			f.Close()
		}
		if m, files, err := auth.ReceiveFiles(); err != nil || len(files) != 0 || m.Kind() != msg.KindCommit {
			t.Fatal(m, files, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if err := triked.SendFiles(&msg.Commit{Serial: 1}, send[:1]); !errors.Is(err, ErrIllegal) {
			t.Errorf("a Commit with a descriptor: %v", err)
		}
		null.Close()
		triked.Close()
		auth.Close()
	}
}

func TestErrorNamesBothEnds(t *testing.T) {
	c := New(rwc{bytes.NewBuffer(nil)}, msg.XFRMProc, msg.IKEProc)
	if _, err := c.Receive(); err == nil || !strings.Contains(err.Error(), "from ikeproc to xfrmproc") {
		t.Error(err)
	}
}

// Any octets from a neighbour end in messages that the routes allow, or in an error.
func FuzzReceive(f *testing.F) {
	f.Add(frameOf(msg.KindInstallChild, msg.Encode(&msg.InstallChild{})))
	f.Add(append(frameOf(msg.KindExpire, msg.Encode(&msg.Expire{SPIIn: 300})), frameOf(msg.KindReloadDone, msg.Encode(&msg.ReloadDone{}))...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := New(rwc{bytes.NewBuffer(raw)}, msg.XFRMProc, msg.IKEProc)
		for {
			m, err := c.Receive()
			if err != nil {
				return
			}
			if _, ok := msg.Allowed(m.Kind(), msg.IKEProc, msg.XFRMProc); !ok {
				t.Fatalf("%v came through", m.Kind())
			}
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	r1, w1, _ := os.Pipe()
	r2, w2, _ := os.Pipe()
	ike, auth := Pipe(r1, w2, msg.IKEProc, msg.AuthProc), Pipe(r2, w1, msg.AuthProc, msg.IKEProc)
	defer ike.Close()
	go func() {
		for {
			m, err := auth.Receive()
			if err != nil {
				return
			}
			_ = auth.Send(&msg.Signed{Req: m.(*msg.Sign).Req, Data: make([]byte, 32)})
		}
	}()
	sign := &msg.Sign{Connection: "office", Octets: msg.Octets{Message: make([]byte, 400), Nonce: make([]byte, 32)}}
	b.ReportAllocs()
	for b.Loop() {
		if err := ike.Send(sign); err != nil {
			b.Fatal(err)
		}
		if _, err := ike.Receive(); err != nil {
			b.Fatal(err)
		}
	}
}

func frameOf(k msg.Kind, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)+3))
	return append(append(b, byte(k), 0, 0), payload...)
}

type rwc struct{ io.ReadWriter }

func (rwc) Close() error { return nil }
