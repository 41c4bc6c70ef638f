// Command eap-tls is trike's plugin for EAP-TLS (RFC 5216, RFC 9190).
package main

import (
	"github.com/trike-ipsec/trike/plugins/eap-tls/tlsmethod"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func main() { eapsdk.Serve(&tlsmethod.Method{}) }
