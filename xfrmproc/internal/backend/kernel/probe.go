package kernel

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Probe says whether this kernel, with this process's rights, carries ESP: it really adds an SA, between addresses that no host has, and
// takes it away again. The error says why not, for the operator.
func Probe() error {
	s, err := dial()
	if err != nil {
		if errors.Is(err, errnoNoProto) {
			return &noESP{"the kernel is built without XFRM", err}
		}
		return err
	}
	_, err = try(s)
	return errors.Join(err, s.close())
}

// try adds and removes a throw-away outbound ESN SA, first as kernels from 6.10 on want it, then as those before: noDir says which.
func try(s *sock) (noDir bool, err error) {
	var random [40]byte
	if _, err := rand.Read(random[:]); err != nil {
		return false, err
	}
	defer clear(random[:])
	// Addresses for documentation (RFC 5737): no packet goes to them.
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	spec := saSpec{dir: saDirOut, spi: 0x100 | binary.BigEndian.Uint32(random[36:]), src: netip.AddrPortFrom(src, 0), dst: netip.AddrPortFrom(dst, 0),
		reqid: plan.ReqidFirst, mode: plan.ModeTunnel, lifetime: plan.Lifetime{Hard: 1},
		transform: msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256, SN: ikev2.SN_ESN}, encr: random[:36]}
	err = s.one(spec.message(msgNewSA, false))
	if errors.Is(err, errnoInvalid) {
		noDir = true
		err = s.one(spec.message(msgNewSA, true))
	}
	switch {
	case err == nil:
		return noDir, s.one(saKey(msgDelSA, dst, spec.spi))
	case errors.Is(err, errnoNoProto):
		return false, &noESP{"the kernel has XFRM and no ESP: load esp4 and esp6, or use the userspace datapath", err}
	case errors.Is(err, errnoNoAlg), errors.Is(err, errnoNoEntry):
		return false, &noESP{"the kernel has XFRM and no AES-GCM for ESP: load esp4, esp6 and the ciphers, or use the userspace datapath", err}
	}
	return false, fmt.Errorf("the kernel refuses an ESP SA: %w", err)
}

// noESP: this kernel will never carry ESP as it is. The kernel's own words follow ours.
type noESP struct {
	text string
	err  error
}

func (e *noESP) Error() string   { return fmt.Sprintf("%s (%v)", e.text, e.err) }
func (e *noESP) Unwrap() []error { return []error{backend.ErrUnsupported, e.err} }
