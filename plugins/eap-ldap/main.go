// Command eap-ldap is trike's plugin for passwords that a directory (LDAP) checks.
package main

import (
	"github.com/trike-ipsec/trike/plugins/eap-ldap/directory"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func main() { eapsdk.Serve(&directory.Method{}) }
