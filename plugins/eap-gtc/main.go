// Command eap-gtc is trike's plugin for EAP-GTC (RFC 3748 section 5.6). With --check FILE it tells what is wrong with a user file.
package main

import (
	"os"

	"github.com/trike-ipsec/trike/plugins/eap-gtc/gtc"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/users"
)

func main() {
	if status, asked := users.CheckCommand(os.Args, os.Stdout, os.Stderr); asked {
		os.Exit(status)
	}
	eapsdk.Serve(&gtc.Method{})
}
