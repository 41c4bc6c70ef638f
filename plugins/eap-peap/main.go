// Command eap-peap is trike's plugin for PEAP.
package main

import (
	"github.com/trike-ipsec/trike/plugins/eap-peap/peap"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func main() { eapsdk.Serve(&peap.Method{}) }
