package msg

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// fill gives every field of v a random value, so that a field that a codec forgets is found.
func fill(rng *rand.Rand, v reflect.Value) {
	octets := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	switch v.Interface().(type) {
	case secret.Bytes:
		v.Set(reflect.ValueOf(secret.New(octets(1 + rng.IntN(40)))))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(randomAddr(octets, rng)))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.AddrPortFrom(randomAddr(octets, rng), uint16(rng.Uint32()))))
		return
	case plan.Pos:
		v.Set(reflect.ValueOf(plan.Pos{File: rng.IntN(100), Line: rng.IntN(1e6), Column: rng.IntN(1e4)}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(rng, v.Field(i))
		}
	case reflect.Slice:
		n := 1 + rng.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rng, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rng, v.Index(i))
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", rng.Uint32()))
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 1)
	case reflect.Int:
		v.SetInt(int64(rng.IntN(1 << 16)))
	case reflect.Int64:
		v.SetInt(rng.Int64())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rng.Uint64() >> (64 - v.Type().Bits()))
	default:
		panic("no random value for " + v.Type().String())
	}
}

func randomAddr(octets func(int) []byte, rng *rand.Rand) netip.Addr {
	a, _ := netip.AddrFromSlice(octets([]int{4, 16, 0}[rng.IntN(3)]))
	return a
}

func TestRoundTripOfEveryKind(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, r := range routes {
		for range 50 {
			m := r.make()
			fill(rng, reflect.ValueOf(m).Elem())
			b := Encode(m)
			got, err := Decode(r.kind, b)
			if err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			if !reflect.DeepEqual(m, got) {
				t.Fatalf("%s:\n sent %+v\n got  %+v", r.name, m, got)
			}
			if m.Kind() != r.kind {
				t.Fatalf("%s says that it is %v", r.name, m.Kind())
			}
			for cut := range len(b) {
				if _, err := Decode(r.kind, b[:cut]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%s cut to %d of %d octets: %v", r.name, cut, len(b), err)
				}
			}
			if _, err := Decode(r.kind, append(b, 0)); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s with an octet too many: %v", r.name, err)
			}
		}
	}
}

func TestRoutesTableIsInOrder(t *testing.T) {
	if len(routes) != int(kindEnd)-1 {
		t.Fatalf("%d routes for %d kinds", len(routes), kindEnd-1)
	}
	for i, r := range routes {
		if int(r.kind) != i+1 {
			t.Errorf("%s stands at %d and has the number %d", r.name, i+1, r.kind)
		}
		if want := reflect.TypeOf(r.make()).Elem().Name(); want != r.name {
			t.Errorf("%s makes a %s", r.name, want)
		}
	}
}

// There is no link between authproc and xfrmproc: neither may say anything to the other, or to itself.
func TestNoRouteBetweenAuthprocAndXfrmproc(t *testing.T) {
	for k := Kind(1); k < kindEnd; k++ {
		for _, pair := range [][2]Process{{AuthProc, XFRMProc}, {XFRMProc, AuthProc}, {IKEProc, IKEProc}, {AuthProc, AuthProc}, {XFRMProc, XFRMProc}, {Triked, Triked}} {
			if _, ok := Allowed(k, pair[0], pair[1]); ok {
				t.Errorf("%v may go from %s to %s", k, pair[0], pair[1])
			}
		}
	}
	if _, ok := Allowed(0, Triked, IKEProc); ok {
		t.Error("kind 0 is allowed")
	}
	if _, ok := Allowed(kindEnd, Triked, IKEProc); ok {
		t.Error("a kind past the last is allowed")
	}
}

// A list that claims more elements than its frame can hold costs no memory.
func TestListLongerThanItsFrame(t *testing.T) {
	b := append(make([]byte, 8), 0xff, 0xff, 0xff, 0xff)
	allocs := testing.AllocsPerRun(10, func() {
		if _, err := Decode(KindPrepared, b); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	})
	if allocs > 10 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	key := []byte("a key that nobody may read")
	for _, m := range []Message{
		&InstallChild{EncrIn: secret.Copy(key), IntegIn: secret.Copy(key), EncrOut: secret.Copy(key), IntegOut: secret.Copy(key)},
		&Sign{Octets: Octets{SKp: secret.Copy(key)}}, &Prepare{GrantKey: secret.Copy(key)},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if out := fmt.Sprintf(verb, m); strings.Contains(out, string(key)) || strings.Contains(out, fmt.Sprintf("%x", key)) || strings.Contains(out, "97 32 107") {
				t.Errorf("%T with %s prints its key", m, verb)
			}
		}
	}
}

// Whatever decodes encodes to the same octets: there is one way to say a thing.
func FuzzDecode(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, r := range routes {
		m := r.make()
		fill(rng, reflect.ValueOf(m).Elem())
		f.Add(uint8(r.kind), Encode(m))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		m, err := Decode(Kind(kind), b)
		if err != nil {
			return
		}
		if again := Encode(m); !bytes.Equal(again, b) {
			t.Fatalf("%v: %x became %x", m.Kind(), b, again)
		}
	})
}

func BenchmarkInstallChild(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := new(InstallChild)
	fill(rng, reflect.ValueOf(m).Elem())
	buf := Encode(m)
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], m)
		if _, err := Decode(KindInstallChild, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// A Verify may name every connection of the largest plan.
func TestVerifyNamesAllConnections(t *testing.T) {
	v := &Verify{Octets: Octets{Message: make([]byte, 1<<16)}}
	for range plan.MaxConnections {
		v.Connections = append(v.Connections, strings.Repeat("n", 63))
	}
	if most, _ := Allowed(KindVerify, IKEProc, AuthProc); len(Encode(v)) > most {
		t.Errorf("%d octets, at most %d are allowed", len(Encode(v)), most)
	}
}
