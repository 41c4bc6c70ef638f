//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/test/bed"
)

// TestPeerAgainstItself proves the bed before trike is in it: two strongSwans reach each other through a tunnel. When this one
// fails, the peers or the machine are at fault, not trike.
func TestPeerAgainstItself(t *testing.T) {
	b := bed.NewFor("peer")
	t.Cleanup(b.Close)
	left, right := b.Host("left"), b.Host("right")
	b.Wire(left, "192.0.2.1/24", right, "192.0.2.2/24")
	for h, addr := range map[*bed.Host]string{left: "10.1.0.1/32", right: "10.2.0.1/32"} {
		h.Must("ip", "addr", "add", addr, "dev", "lo")
	}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	conf := func(local, remote, lts, rts string) string {
		return fmt.Sprintf(`
connections { peer {
	version = 2
	local_addrs = %s
	remote_addrs = %s
	proposals = aes256gcm16-prfsha384-x25519-ke1_mlkem768
	encap = %s
	local { auth = psk
		id = %[1]s }
	remote { auth = psk
		id = %[2]s }
	children { net { local_ts = %[4]s
		remote_ts = %[5]s
		esp_proposals = aes256gcm16-x25519-ke1_mlkem768 } }
} }
secrets { ike-1 { secret = "correct horse battery staple" } }
`, local, remote, yesNo(!inKernel()), lts, rts)
	}
	l := startStrongSwan(t, left, !inKernel(), "", conf("192.0.2.1", "192.0.2.2", "10.1.0.1/32", "10.2.0.1/32"))
	startStrongSwan(t, right, !inKernel(), "", conf("192.0.2.2", "192.0.2.1", "10.2.0.1/32", "10.1.0.1/32"))
	l.up("net")
	if got := l.sas(); !strings.Contains(got, "ML_KEM_768") || !strings.Contains(got, "ESTABLISHED") {
		t.Fatal(got)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
