// Command eap-mschapv2 is trike's plugin for EAP-MSCHAPv2.
package main

import (
	"github.com/trike-ipsec/trike/plugins/eap-mschapv2/mschapv2"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func main() { eapsdk.Serve(&mschapv2.Method{}) }
