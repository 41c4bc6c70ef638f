package eaptls

import (
	"crypto/tls"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Label12 makes the keys of EAP-TLS and of PEAP under TLS 1.2 (RFC 5216 section 2.3).
const Label12 = "client EAP encryption"

// label13 makes the keys of every method under TLS 1.3, with the type as context (RFC 9190 section 2.3, RFC 9427 section 2.1).
const label13 = "EXPORTER_EAP_TLS_Key_Material"

// keyMaterial is MSK and EMSK together, in octets.
const keyMaterial = 128

// KeyMaterial is the MSK, 64 octets, and the EMSK behind it.
func KeyMaterial(t *Tunnel, method eapsdk.Type, label12 string) ([]byte, error) {
	if t.State().Version >= tls.VersionTLS13 {
		return t.Export(label13, []byte{uint8(method)}, keyMaterial)
	}
	return t.Export(label12, nil, keyMaterial)
}

// MSK is the Master Session Key that TLS makes by itself.
func MSK(t *Tunnel, method eapsdk.Type, label12 string) ([]byte, error) {
	both, err := KeyMaterial(t, method, label12)
	if err != nil {
		return nil, err
	}
	clear(both[eapsdk.MaxMSK:])
	return both[:eapsdk.MaxMSK:eapsdk.MaxMSK], nil
}
