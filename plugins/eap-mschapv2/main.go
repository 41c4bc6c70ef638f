// Command eap-mschapv2 is trike's plugin for EAP-MSCHAPv2. With --check FILE it tells what is wrong with a user file.
package main

import (
	"os"

	"github.com/trike-ipsec/trike/plugins/eap-mschapv2/mschapv2"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/users"
)

func main() {
	if status, asked := users.CheckCommand(os.Args, os.Stdout, os.Stderr); asked {
		os.Exit(status)
	}
	eapsdk.Serve(&mschapv2.Method{})
}
