// Command eap-md5 is trike's plugin for EAP-MD5 (RFC 3748 section 5.4).
package main

import (
	"github.com/trike-ipsec/trike/plugins/eap-md5/md5"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func main() { eapsdk.Serve(&md5.Method{}) }
