// Command eap-gtc is trike's plugin for EAP-GTC (RFC 3748 section 5.6).
package main

import (
	"github.com/trike-ipsec/trike/plugins/eap-gtc/gtc"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func main() { eapsdk.Serve(&gtc.Method{}) }
