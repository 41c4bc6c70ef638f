package packet

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"layeh.com/radius"
)

// Microsoft's vendor number and its two key attributes (RFC 2548 section 2.4).
const (
	vendorMicrosoft = 311
	mppeSendKey     = 16
	mppeRecvKey     = 17
)

// mskLen is the length of an MSK (RFC 3748 section 7.10), half of which each of the two keys is.
const mskLen = 64

// MSK is MS-MPPE-Recv-Key followed by MS-MPPE-Send-Key (RFC 5216 section 2.3 gives their order), filled up with zeros to 64 octets as methods with
// shorter keys want. It is nil if the packet has neither. request is the octets of the Access-Request that p answers.
func MSK(p *radius.Packet, request, secret []byte) ([]byte, error) {
	if len(request) < headerLen {
		return nil, ErrMalformed
	}
	recv, err := mppeKey(p, mppeRecvKey, request[4:headerLen], secret)
	if err != nil {
		return nil, err
	}
	send, err := mppeKey(p, mppeSendKey, request[4:headerLen], secret)
	if err != nil {
		return nil, err
	}
	if recv == nil && send == nil {
		return nil, nil
	}
	if recv == nil || send == nil {
		return nil, errors.New("one of MS-MPPE-Recv-Key and MS-MPPE-Send-Key is missing")
	}
	// Longer keys than an MSK has room for are cut to its halves; shorter ones follow each other (EAP-MSCHAPv2's are 16 octets each).
	msk := make([]byte, 0, mskLen)
	msk = append(msk, recv[:min(len(recv), mskLen/2)]...)
	msk = append(msk, send[:min(len(send), mskLen/2)]...)
	clear(recv)
	clear(send)
	return msk[:mskLen], nil
}

// mppeKey finds and decrypts one of the two keys; nil if it is not there.
func mppeKey(p *radius.Packet, kind byte, authenticator, secret []byte) ([]byte, error) {
	var key []byte
	for _, value := range Vendor(p, vendorMicrosoft, kind) {
		if key != nil {
			return nil, errors.New("an MS-MPPE key is there twice")
		}
		// Salt, whose top bit is set, and whole blocks (RFC 2548 section 2.4.2).
		if len(value) < 2+md5.Size || (len(value)-2)%md5.Size != 0 || value[0]&0x80 == 0 {
			return nil, errors.New("an MS-MPPE key is malformed")
		}
		plain := mppeCrypt(value[2:], value[:2], authenticator, secret, false)
		n := int(plain[0])
		if n == 0 || n > len(plain)-1 {
			return nil, errors.New("an MS-MPPE key does not decrypt")
		}
		key = plain[1 : 1+n]
	}
	return key, nil
}

// mppeCrypt is the chained MD5 of RFC 2548 section 2.4.2, either way.
func mppeCrypt(in, salt, authenticator, secret []byte, encrypt bool) []byte {
	out := make([]byte, len(in))
	h := md5.New()
	h.Write(secret)
	h.Write(authenticator)
	h.Write(salt)
	for i := 0; i+md5.Size <= len(in); i += md5.Size {
		for j, b := range h.Sum(nil) {
			out[i+j] = in[i+j] ^ b
		}
		h.Reset()
		h.Write(secret)
		if encrypt {
			h.Write(out[i : i+md5.Size])
		} else {
			h.Write(in[i : i+md5.Size])
		}
	}
	return out
}

// AddMSK puts the halves of an MSK in as a server does; the tests' servers use it.
func AddMSK(p *radius.Packet, msk, request, secret []byte) error {
	if len(msk)%2 != 0 || len(msk) > 2*mskLen || len(request) < headerLen {
		return errors.New("no MSK of a length that can be sent")
	}
	for i, kind := range []byte{mppeRecvKey, mppeSendKey} {
		half := msk[i*len(msk)/2 : (i+1)*len(msk)/2]
		plain := make([]byte, (1+len(half)+md5.Size-1)/md5.Size*md5.Size)
		plain[0] = byte(len(half))
		copy(plain[1:], half)
		salt := make([]byte, 2)
		rand.Read(salt)
		salt[0], salt[1] = salt[0]|0x80, salt[1]&0xfe|byte(i)
		p.Add(VendorSpecific, VendorValue(vendorMicrosoft, kind, append(salt, mppeCrypt(plain, salt, request[4:headerLen], secret, true)...)))
	}
	return nil
}

// VendorValue is the value of a Vendor-Specific attribute with one sub-attribute in it (RFC 2865 section 5.26).
func VendorValue(vendor uint32, kind byte, value []byte) radius.Attribute {
	b := binary.BigEndian.AppendUint32(nil, vendor)
	b = append(b, kind, byte(2+len(value)))
	return append(b, value...)
}

// Vendor are the values of a vendor's sub-attributes of one type. What is not laid out as RFC 2865 section 5.26 proposes is passed over.
func Vendor(p *radius.Packet, vendor uint32, kind byte) (out [][]byte) {
	for _, v := range All(p, VendorSpecific) {
		if len(v) < 4 || binary.BigEndian.Uint32(v) != vendor {
			continue
		}
		for v = v[4:]; len(v) >= 2 && int(v[1]) >= 2 && int(v[1]) <= len(v); v = v[v[1]:] {
			if v[0] == kind {
				out = append(out, v[2:v[1]])
			}
		}
	}
	return out
}
