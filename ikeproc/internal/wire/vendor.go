package wire

import "github.com/trike-ipsec/trike/internal/ikev2"

// VendorID is the vendor ID payload: opaque, and ignored when not recognised (RFC 7296 section 3.12).
type VendorID struct {
	Data []byte
}

// PayloadType is V.
func (*VendorID) PayloadType() ikev2.PayloadType { return ikev2.PayloadVendor }

// AppendBody writes the payload without its generic header.
func (p *VendorID) AppendBody(dst []byte) ([]byte, error) { return append(dst, p.Data...), nil }
