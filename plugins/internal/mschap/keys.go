package mschap

import (
	"bytes"
	"crypto/sha1"
)

// What RFC 3079 section 3.4 puts between the pads. The first is the key of what the client sends, the second of what the server sends.
const (
	masterMagic = "This is the MPPE Master Key"
	clientSends = "On the client side, this is the send key; on the server side, it is the receive key."
	serverSends = "On the client side, this is the receive key; on the server side, it is the send key."
)

// MSK is the Master Session Key of EAP-MSCHAPv2: the authenticator's MasterReceiveKey, its MasterSendKey and 32 octets of zero. Both sides make the same.
func MSK(h Hash, nt NTResponse) []byte {
	master := masterKey(h, nt)
	defer clear(master[:])
	msk := make([]byte, 0, MSKSize)
	msk = append(msk, startKey(master, clientSends)...)
	msk = append(msk, startKey(master, serverSends)...)
	return msk[:MSKSize]
}

// masterKey is GetMasterKey (RFC 3079 section 3.4).
func masterKey(h Hash, nt NTResponse) [16]byte {
	hh := hashHash(h)
	defer clear(hh[:])
	s := sha1.New()
	s.Write(hh[:])
	s.Write(nt[:])
	s.Write([]byte(masterMagic))
	return [16]byte(s.Sum(nil)[:16])
}

// startKey is GetAsymmetricStartKey (RFC 3079 section 3.4) for keys of 128 bits.
func startKey(master [16]byte, magic string) []byte {
	s := sha1.New()
	s.Write(master[:])
	s.Write(bytes.Repeat([]byte{0x00}, 40))
	s.Write([]byte(magic))
	s.Write(bytes.Repeat([]byte{0xf2}, 40))
	return s.Sum(nil)[:16]
}
