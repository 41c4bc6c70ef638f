package authn

import (
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

func TestServerNamesAreTextForEveryType(t *testing.T) {
	for want, id := range map[string]msg.ID{
		"":            {},
		"gw.example":  {Type: ikev2.ID_FQDN, Data: []byte("gw.example")},
		"ops@example": {Type: ikev2.ID_RFC822_ADDR, Data: []byte("ops@example")},
		"192.0.2.1":   {Type: ikev2.ID_IPV4_ADDR, Data: []byte{192, 0, 2, 1}},
		"C=CH, CN=gw": {Type: ikev2.ID_DER_ASN1_DN, Data: []byte("\x30\x1a\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02CH\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02gw")},
	} {
		if got := ServerName(id); got != want {
			t.Errorf("%v: %q, want %q", id, got, want)
		}
	}
	if got := ServerName(msg.ID{Type: ikev2.ID_KEY_ID, Data: []byte("gw.example")}); strings.Contains(got, "gw.example") {
		t.Errorf("a key identifier is taken for a name: %q", got)
	}
}
