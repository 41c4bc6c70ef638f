// Command eap-radius is trike's plugin for EAP that RADIUS servers decide on (RFC 3579).
package main

import (
	"github.com/trike-ipsec/trike/plugins/eap-radius/relay"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func main() { eapsdk.Serve(relay.New()) }
