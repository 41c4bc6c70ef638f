package supervise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/trike-ipsec/trike/internal/plan"
)

// mark is set on packets of our own sockets where the userspace datapath is in use, so that rules keep them out of the device: a policy may well cover the peer's own address.
const mark = 0x7472696b // "trik"

// exempt keeps a socket's packets out of IPsec policies, both ways: IKE itself, and ESP that is built here, are not what the policies protect.
func exempt(f *os.File, addr netip.Addr, datapath plan.Datapath) error {
	return onSocket(f, func(fd int) error {
		err := bypassPolicies(fd, addr)
		if datapath == plan.DatapathKernel {
			if err != nil {
				return fmt.Errorf("socket %v: keep IKE out of the kernel's IPsec policies: %w", addr, err)
			}
			return nil
		}
		if err != nil && !noXFRM(err) {
			return fmt.Errorf("socket %v: keep it out of the kernel's IPsec policies: %w", addr, err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
			return fmt.Errorf("socket %v: mark its packets: %w", addr, err)
		}
		return nil
	})
}

// noXFRM: the kernel was built without it, so that there are no policies.
func noXFRM(err error) bool {
	return errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL)
}

func bypassPolicies(fd int, addr netip.Addr) error {
	family, level, option := uint16(unix.AF_INET), unix.IPPROTO_IP, unix.IP_XFRM_POLICY
	if addr.Is6() {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_XFRM_POLICY
	}
	for _, dir := range []uint8{dirIn, dirOut} {
		p := make([]byte, sizePolicy) // lets everything of this family pass
		binary.NativeEndian.PutUint16(p[40:], family)
		p[160] = dir
		if err := unix.SetsockoptString(fd, level, option, string(p)); err != nil {
			return err
		}
	}
	return nil
}
