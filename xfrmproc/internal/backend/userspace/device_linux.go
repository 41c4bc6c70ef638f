package userspace

import (
	"fmt"
	"os"

	"golang.zx2c4.com/wireguard/tun"
)

// OpenDevice adopts a TUN device that is attached already (IFF_TUN, IFF_NO_PI; with IFF_VNET_HDR packets come and go in batches). It takes the file over,
// also when it fails.
func OpenDevice(file *os.File) (Device, error) {
	fd, err := duplicate(file)
	if err != nil {
		return nil, fmt.Errorf("TUN device %s: %w", file.Name(), err)
	}
	d, _, err := tun.CreateUnmonitoredTUNFromFD(fd) // wraps fd in a file, whose finalizer closes it if this fails
	if err != nil {
		return nil, fmt.Errorf("TUN device %s: %w", file.Name(), err)
	}
	return d, nil
}
