//go:build !linux

package sandbox

import "errors"

// Enter needs Linux.
func Enter(Profile) (Report, error) {
	return Report{}, errors.New("sandbox: trike's processes run on Linux only")
}

// Supervise needs Linux.
func Supervise() error { return errors.New("sandbox: trike's processes run on Linux only") }
