package kernel

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

func testSpec(dir uint8, sn ikev2.SNID) *saSpec {
	return &saSpec{dir: dir, spi: 0xdeadbeef, twin: 0xcafe, src: netip.MustParseAddrPort("198.51.100.1:4500"), dst: netip.MustParseAddrPort("198.51.100.2:40000"), encap: true,
		reqid: plan.ReqidFirst, mode: plan.ModeTunnel, window: 128, transform: msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 128, SN: sn},
		encr: bytes.Repeat([]byte{0x5a}, 20), lifetime: plan.Lifetime{Hard: 3600, HardPackets: 1 << 40, RekeyBytes: 1 << 30}}
}

func TestSARoundTrip(t *testing.T) {
	spec := testSpec(saDirIn, ikev2.SN_ESN)
	m := spec.message(msgNewSA, false)
	s, ok := parseSA(m.body())
	if !ok || s.spi != spec.spi || s.twin != spec.twin || s.reqid != spec.reqid || s.src != spec.src || s.dst != spec.dst || !s.encap || s.dir != saDirIn ||
		s.mode != modeTunnel || s.window != 128 || !s.keyed {
		t.Fatalf("%+v %v", s, ok)
	}
	b := m.body()
	if get64(b[offSALft:]) != 1<<30 || get64(b[offSALft+8:]) != lifetimeNoEnd || get64(b[offSALft+24:]) != 1<<40 || get64(b[offSALft+40:]) != 3600+hardGrace {
		t.Error("limits")
	}
	b = testSpec(saDirOut, ikev2.SN_32).message(msgNewSA, false).body()
	if get64(b[offSALft+16:]) != softPackets32 || get64(b[offSALft+24:]) != hardPackets32 {
		t.Error("an SA with 32-bit numbers has no end")
	}
}

// A moved SA never uses a sequence number twice, for that would be a nonce twice.
func TestMoveSkipsAhead(t *testing.T) {
	spec := testSpec(saDirOut, ikev2.SN_ESN)
	m := spec.message(msgNewSA, false)
	attrs, err := parseAttrs(m.body()[sizeSAInfo:])
	if err != nil {
		t.Fatal(err)
	}
	r := find(attrs, attrReplayESN, 24)
	put32(r[4:], 0xffff_fff0) // oseq
	put32(r[12:], 2)          // oseq_hi
	src, dst := netip.MustParseAddrPort("198.51.100.1:4500"), netip.MustParseAddrPort("192.0.2.7:1025")
	moved, err := readdress(m.body(), src, dst)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := parseSA(moved.body())
	if !ok || s.dst != dst || s.src != src || s.spi != spec.spi || s.reqid != spec.reqid {
		t.Fatalf("%+v", s)
	}
	attrs, _ = parseAttrs(moved.body()[sizeSAInfo:])
	r = find(attrs, attrReplayESN, 24)
	if n := uint64(get32(r[12:]))<<32 | uint64(get32(r[4:])); n != 2<<32+0xffff_fff0+sequenceMargin {
		t.Fatalf("the number went on at %x", n)
	}
	if k := find(attrs, attrAlgAEAD, 72); !bytes.Equal(k[72:], spec.encr) {
		t.Fatal("the key changed")
	}
	old := attribute{attrReplay, make([]byte, 12)}
	put32(old.data, 0xffff_ff00)
	if got := skipAhead(old, false); get32(got) != 0xffff_ffff {
		t.Fatalf("32-bit number %x", get32(got))
	}
	// What was never used begins at the beginning, and an SA whose keys the kernel hides cannot move.
	if got := skipAhead(attribute{attrReplay, make([]byte, 12)}, false); get32(got) != 0 {
		t.Fatal("an unused SA skipped")
	}
	clear(spec.encr)
	hidden := spec.message(msgNewSA, false)
	if _, err := readdress(hidden.body(), src, dst); err == nil {
		t.Fatal("an SA without keys was moved")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(testSpec(saDirIn, ikev2.SN_ESN).message(msgNewSA, false)))
	f.Add([]byte(policyMessage(msgNewPolicy, policyKey{dirOut, between(prefixSel("10.1.0.0/16", 0, 0, 65535), prefixSel("10.2.0.0/16", 0, 0, 65535))[0]},
		policyValue{reqid: 7, family: afINET}, indexMark|8|dirOut)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = split(b, func(h header, data []byte) error {
			_ = answerOf(h, data)
			parsePolicy(data)
			parseSA(data)
			_, _ = readdress(data, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"))
			k := &Backend{}
			k.eventOf(h.typ, data)
			return nil
		})
	})
}
