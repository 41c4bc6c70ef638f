package udp

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestStrip(t *testing.T) {
	ike := bytes.Repeat([]byte{7}, minIKE)
	marked := append(make([]byte, 4), ike...)
	for _, c := range []struct {
		what string
		port uint16
		in   []byte
		want []byte // nil: dropped
	}{
		{"IKE on port 500 has no marker", 500, ike, ike},
		{"four zero octets on port 500 are an SPI's", 500, marked, marked},
		{"IKE on port 4500 has one", 4500, marked, ike},
		{"ESP on port 4500", 4500, append([]byte{0, 0, 1, 0}, ike...), nil},
		{"NAT keepalive on port 4500", 4500, []byte{0xff}, nil},
		{"NAT keepalive on port 500", 500, []byte{0xff}, nil},
		{"a marker alone", 4500, make([]byte, 4), nil},
		{"less than a marker", 4500, make([]byte, 3), nil},
		{"nothing", 500, nil, nil},
		{"less than a header behind the marker", 4500, make([]byte, 4+minIKE-1), nil},
		{"less than a header", 500, make([]byte, minIKE-1), nil},
	} {
		got, ok := Strip(c.port, c.in)
		if ok != (c.want != nil) || ok && !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x %v", c.what, got, ok)
		}
	}
}

func TestNeedsMarker(t *testing.T) {
	for _, c := range []struct {
		port uint16
		data []byte
		want bool
	}{{500, make([]byte, 28), false}, {4500, make([]byte, 28), true}, {4500, []byte{0xff}, false}, {4500, []byte{0xfe}, true}, {500, []byte{0xff}, false}} {
		if NeedsMarker(c.port, c.data) != c.want {
			t.Errorf("port %d, %d octets", c.port, len(c.data))
		}
	}
}

// pair is two sockets on the loopback interface of this family, adopted as triked would hand them over.
func pair(t testing.TB, at string) (a, b Transport) {
	t.Helper()
	open := func() Transport {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(at), 0)))
		if err != nil {
			t.Skipf("no loopback address %s here: %v", at, err)
		}
		f, err := c.File()
		if err != nil {
			t.Fatal(err)
		}
		name := c.LocalAddr().String()
		c.Close()
		tr, err := Open(name, f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		return tr
	}
	return open(), open()
}

func TestDatagramsCross(t *testing.T) {
	for _, at := range []string{"127.0.0.1", "::1"} {
		a, b := pair(t, at)
		var ds []Datagram
		for i := range Batch + 5 {
			ds = append(ds, Datagram{Remote: b.Local(), Marker: i%2 == 0, Data: bytes.Repeat([]byte{byte(i)}, i)})
		}
		ds = append(ds, Datagram{Remote: b.Local(), Data: bytes.Repeat([]byte{1}, 60_000)})
		if err := a.Send(ds); err != nil {
			t.Fatal(err)
		}
		into := make([]Datagram, Batch)
		for got := 0; got < len(ds); {
			n, err := b.Receive(into)
			if err != nil {
				t.Fatal(err)
			}
			for i, d := range into[:n] {
				if want := ds[got+i].AppendTo(nil); !bytes.Equal(d.Data, want) || d.Remote != a.Local() {
					t.Fatalf("%s: datagram %d from %v: %d octets, want %d", at, got+i, d.Remote, len(d.Data), len(want))
				}
			}
			got += n
		}
	}
}

// What cannot be sent does not hold up what comes after it.
func TestOneBadDatagram(t *testing.T) {
	a, b := pair(t, "127.0.0.1")
	to6 := netip.MustParseAddrPort("[2001:db8::1]:500")
	err := a.Send([]Datagram{{Remote: b.Local(), Data: []byte("one")}, {Remote: to6, Data: []byte("two")}, {Remote: b.Local(), Data: make([]byte, 65_530)}, {Remote: b.Local(), Data: []byte("four")}})
	if err == nil || !strings.Contains(err.Error(), b.Local().String()) {
		t.Errorf("sending to nowhere: %v", err)
	}
	into := make([]Datagram, Batch)
	for _, want := range []string{"one", "four"} {
		n, err := b.Receive(into[:1])
		if err != nil || n != 1 || string(into[0].Data) != want {
			t.Fatalf("got %q %v, want %q", into[0].Data, err, want)
		}
	}
}

func TestCloseEndsReceive(t *testing.T) {
	a, _ := pair(t, "127.0.0.1")
	ended := make(chan error, 1)
	go func() {
		_, err := a.Receive(make([]Datagram, 1))
		ended <- err
	}()
	a.Close()
	if err := <-ended; err == nil {
		t.Error("a closed socket gave datagrams")
	}
	if err := a.Send([]Datagram{{Remote: netip.MustParseAddrPort("127.0.0.1:9"), Data: []byte{1}}}); err == nil {
		t.Error("a closed socket sent")
	}
}

func TestOpenRefuses(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Skipf("no loopback here: %v", err)
	}
	defer c.Close()
	file := func() *os.File {
		f, err := c.File()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	stream, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]struct {
		name string
		f    *os.File
	}{"another name than its own": {"127.0.0.1:1", file()}, "no address": {"here", file()}, "no socket": {c.LocalAddr().String(), plain}, "TCP": {tcp.Addr().String(), stream}} {
		if s, err := Open(try.name, try.f); err == nil {
			t.Errorf("%s is adopted", what)
			s.Close()
		}
		if err := try.f.Close(); err == nil {
			t.Errorf("%s: the file was left open", what)
		}
	}
}

func FuzzStrip(f *testing.F) {
	f.Add(uint16(4500), append(make([]byte, 4), make([]byte, 28)...))
	f.Add(uint16(500), make([]byte, 28))
	f.Add(uint16(4500), []byte{0xff})
	f.Fuzz(func(t *testing.T, port uint16, b []byte) {
		ike, ok := Strip(port, b)
		if !ok {
			return
		}
		if again := (Datagram{Marker: port == NATPort, Data: ike}).AppendTo(nil); !bytes.Equal(again, b) {
			t.Fatalf("port %d: %x came out of %x", port, ike, b)
		}
	})
}

func BenchmarkReceive(b *testing.B) {
	x, y := pair(b, "127.0.0.1")
	ds := make([]Datagram, Batch)
	for i := range ds {
		ds[i] = Datagram{Remote: y.Local(), Data: make([]byte, 500)}
	}
	into := make([]Datagram, Batch)
	b.ReportAllocs()
	for range b.N {
		if err := x.Send(ds); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < len(ds); {
			n, err := y.Receive(into)
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
	}
	b.ReportMetric(float64(b.N*len(ds))/b.Elapsed().Seconds(), "datagrams/s")
}
