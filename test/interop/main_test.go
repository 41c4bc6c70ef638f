//go:build interop

// Package interop runs trike against peers that others wrote. The same tests run in plain namespaces with userspace
// ESP on both sides, and in a kernel that has ESP with the kernel's on both sides.
//
//	TRIKE_PEER   the unpacked suite with strongSwan (test/interop/fetch-peers prints it)
//	TRIKE_DATAPATH  userspace or kernel
//	TRIKE_BIN    the folder with trike, triked, ikeproc, authproc and xfrmproc
package interop

import (
	"os"
	"os/exec"
	"testing"
)

// inKernel tells whether this run is about the kernel's ESP on both sides, or about userspace ESP on both.
func inKernel() bool { return os.Getenv("TRIKE_DATAPATH") == "kernel" }

// TestKernelHasESP passes where this kernel carries ESP: it accepts a throw-away SA. The runner asks it where to go.
func TestKernelHasESP(t *testing.T) {
	if os.Getenv("TRIKE_DATAPATH") == "userspace" {
		t.Skip("this run is about userspace ESP")
	}
	const ns = "trike-probe-esp"
	_ = exec.Command("ip", "netns", "del", ns).Run()
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer func() { _ = exec.Command("ip", "netns", "del", ns).Run() }()
	out, err := exec.Command("ip", "netns", "exec", ns, "ip", "xfrm", "state", "add", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x1000",
		"mode", "tunnel", "aead", "rfc4106(gcm(aes))", "0x000102030405060708090a0b0c0d0e0f10111213", "128").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
