// Command eap-ttls is trike's plugin for EAP-TTLS (RFC 5281).
package main

import (
	"github.com/trike-ipsec/trike/plugins/eap-ttls/ttls"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func main() { eapsdk.Serve(&ttls.Method{}) }
