package eap

import "github.com/trike-ipsec/trike/plugins/eapsdk"

// Kind is what a machine wants done.
type Kind uint8

const (
	Send   Kind = iota + 1 // Packet goes to the other side
	Choose                 // Identity is who the peer says it is: answer with Server.Chosen
	Begin                  // the method Method begins a session; Packet is what it begins with
	Next                   // the session is given Packet
	End                    // it is over
)

// Action is one thing to do.
type Action struct {
	Kind       Kind
	Packet     []byte
	Identity   string
	Identifier uint8 // Begin of a server: of the first request
	Method     Method
	OK         bool        // of End
	Result     eapsdk.Step // of End with OK: MSK, identity, groups, grants
	Reason     string      // of End without: for the operator
	// Abort: a session is open in the method that ends with this.
	Abort bool
}

// Method is one that may be used: a plugin.
type Method struct {
	Name      string      // of the plugin
	Type      eapsdk.Type // 0: a relay, of any type
	MakesKeys bool
	Mutual    bool
}

// maxRounds is how many packets of the other side a conversation may have. EAP-TLS with a long chain in small fragments takes about 60.
const maxRounds = 100
