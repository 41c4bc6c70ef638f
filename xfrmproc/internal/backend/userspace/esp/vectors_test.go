package esp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

func load(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// AG-03: the complete packet of RFC 7634 appendix A opens; its own sender padded with 1, 2 and used an IV that is not the sequence number.
func TestRFC7634Packet(t *testing.T) {
	var v struct {
		ESP struct {
			Keymat string `json:"keymat"`
			Plain  string `json:"plaintext_with_padding"`
			Packet string `json:"esp_packet_with_ip_header"`
		} `json:"esp"`
	}
	load(t, "rfc7634.json", &v)
	in, err := NewInbound(0x01020304, Suite{Encr: ikev2.ENCR_CHACHA20_POLY1305}, unhex(t, v.ESP.Keymat), nil, 64)
	if err != nil {
		t.Fatal(err)
	}
	pkt := unhex(t, v.ESP.Packet)[20:]
	dst := make([]byte, len(pkt))
	payload, next, err := in.Open(dst, pkt)
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, v.ESP.Plain)
	want = want[:len(want)-4]
	if next != NextIPv4 || !bytes.Equal(payload, want) {
		t.Errorf("next %d, payload %x, want %x", next, payload, want)
	}
	if in.Top() != 5 {
		t.Errorf("window top %d, want 5", in.Top())
	}
}

// AG-05: cases 5 to 8 of RFC 3602 are complete ESP packets without an ICV.
func TestRFC3602Packets(t *testing.T) {
	var v struct {
		Vectors []struct {
			Case        int
			Key, SPI    string
			Seq         uint64
			IV, PT, CT  string
			Description string
		}
	}
	load(t, "rfc3602-esp.json", &v)
	for _, c := range v.Vectors {
		b, err := newBlock(ikev2.ENCR_AES_CBC, unhex(t, c.Key))
		if err != nil {
			t.Fatal(err)
		}
		mac, err := newMAC(ikev2.AUTH_HMAC_SHA2_256_128, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		tr := newCBC(b, mac, 16, false)
		spi := unhex(t, "0000"+c.SPI)
		pkt := append(append(append(spi, 0, 0, 0, byte(c.Seq)), unhex(t, c.IV)...), unhex(t, c.CT)...)
		pkt = append(pkt, tr.tag(pkt, c.Seq)...)
		dst := make([]byte, len(unhex(t, c.PT)))
		if !tr.open(dst, pkt, c.Seq) || !bytes.Equal(dst, unhex(t, c.PT)) {
			t.Errorf("case %d: decrypted to %x", c.Case, dst)
		}
		// The other way round: the packet's IV is the next that the sender draws.
		copy(tr.pool[:], unhex(t, c.IV))
		tr.poolLeft = len(tr.pool)
		sent := append(append([]byte{}, pkt[:8]...), make([]byte, 16)...)
		sent = append(append(sent, unhex(t, c.PT)...), make([]byte, 16)...)
		tr.seal(sent, c.Seq)
		if !bytes.Equal(sent, pkt) {
			t.Errorf("case %d: sealed to\n%x, want\n%x", c.Case, sent, pkt)
		}
	}
}

// AG-01: AES-GCM with the additional data of RFC 4106, both lengths of it.
func TestGCMVectors(t *testing.T) {
	var v struct {
		Vectors []struct {
			TcID                       int
			Key, IV, AAD, Msg, CT, Tag string
		}
	}
	load(t, "wycheproof-aes-gcm.json", &v)
	if len(v.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.Vectors {
		iv, aad := unhex(t, c.IV), unhex(t, c.AAD)
		a, err := newAEAD(ikev2.ENCR_AES_GCM_16, unhex(t, c.Key))
		if err != nil {
			t.Fatal(err)
		}
		tr := &aeadTransform{aead: a, esn: len(aad) == 12}
		copy(tr.nonce[:], iv[:4])
		var seq uint64
		for _, b := range aad[4:] {
			seq = seq<<8 | uint64(b)
		}
		pkt := append(append([]byte{}, aad[:4]...), aad[len(aad)-4:]...)
		pkt = append(append(append(pkt, iv[4:]...), unhex(t, c.CT)...), unhex(t, c.Tag)...)
		dst := make([]byte, len(unhex(t, c.Msg)))
		if !tr.open(dst, pkt, seq) || !bytes.Equal(dst, unhex(t, c.Msg)) {
			t.Errorf("tcId %d does not open", c.TcID)
		}
	}
}
