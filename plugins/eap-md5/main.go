// Command eap-md5 is trike's plugin for EAP-MD5 (RFC 3748 section 5.4). With --check FILE it tells what is wrong with a user file.
package main

import (
	"os"

	"github.com/trike-ipsec/trike/plugins/eap-md5/md5"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/users"
)

func main() {
	if status, asked := users.CheckCommand(os.Args, os.Stdout, os.Stderr); asked {
		os.Exit(status)
	}
	eapsdk.Serve(&md5.Method{})
}
