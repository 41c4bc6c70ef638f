// Package backendtest is the one suite that every datapath must pass. It lays out two hosts as network namespaces with a wire between
// them, runs a backend on each, and watches what crosses the wire: ESP, or clear text, which is what must never cross.
//
//	func TestContract(t *testing.T) {
//		backendtest.Run(t, backendtest.Harness{Open: func(t *testing.T, h *backendtest.Host) backend.Backend { … }})
//	}
//
// It needs root and namespaces; where there are none it skips and says why.
package backendtest
