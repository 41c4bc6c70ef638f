package authn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// keyPad is what a shared secret is bound to IKEv2 by: 17 ASCII octets without an end (RFC 7296 section 2.15).
const keyPad = "Key Pad for IKEv2"

const (
	flagInitiator = 0x08 // RFC 7296 section 3.1
	flagResponse  = 0x20
	majorVersion  = 2
)

// octets are one side's inputs of AUTH, checked.
type octets struct {
	prf prf
	in  *msg.Octets
}

// check holds ikeproc's word against what RFC 7296 section 2.15 says that a signer of this role signs. byUs tells our octets from the peer's.
func check(o *msg.Octets, initiator, byUs bool) (octets, error) {
	p, ok := prfOf(o.PRF)
	if !ok {
		return octets{}, fmt.Errorf("%v cannot be used for authentication", o.PRF)
	}
	intAuth := 2*p.size + 4
	switch n := len(o.Nonce); {
	case o.SKp.Len() != p.size:
		return octets{}, fmt.Errorf("SK_p has %d octets, and that of %v has %d", o.SKp.Len(), o.PRF, p.size)
	case len(o.IntAuth) != 0 && len(o.IntAuth) != intAuth:
		return octets{}, fmt.Errorf("IntAuth has %d octets, and that of %v has %d", len(o.IntAuth), o.PRF, intAuth)
	case n < minNonce || n > maxNonce:
		return octets{}, fmt.Errorf("a nonce of %d octets", n)
	case !byUs && n != NonceLen:
		return octets{}, fmt.Errorf("our nonces have %d octets, not %d", NonceLen, n)
	case byUs && n == NonceLen+intAuth && len(o.IntAuth) == 0:
		return octets{}, fmt.Errorf("the peer's nonce of %d octets could be read as one of ours and IntAuth: another length is needed", n)
	}
	if err := checkMessage(o.Message, initiator); err != nil {
		return octets{}, err
	}
	return octets{p, o}, nil
}

// checkMessage makes sure that b is the IKE_SA_INIT message of a signer of this role and nothing else (RFC 7296 section 3.1).
func checkMessage(b []byte, initiator bool) error {
	if len(b) < minMessage || len(b) > maxMessage {
		return fmt.Errorf("a message of %d octets cannot be an IKE_SA_INIT", len(b))
	}
	spiI, spiR, flags := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), b[19]
	switch {
	case b[17]>>4 != majorVersion:
		return fmt.Errorf("the message is of IKE version %d", b[17]>>4)
	case ikev2.ExchangeType(b[18]) != ikev2.IKE_SA_INIT:
		return fmt.Errorf("the message is an %v, and only an IKE_SA_INIT is signed", ikev2.ExchangeType(b[18]))
	case binary.BigEndian.Uint32(b[24:]) != uint32(len(b)):
		return errors.New("the message's length is not the one in its header")
	case binary.BigEndian.Uint32(b[20:]) != 0:
		return errors.New("an IKE_SA_INIT has message ID 0")
	case spiI == 0:
		return errors.New("the initiator's SPI is 0")
	case initiator && (flags&flagResponse != 0 || flags&flagInitiator == 0 || spiR != 0):
		return errors.New("an initiator signs its request, and this is none")
	case !initiator && (flags&flagResponse == 0 || flags&flagInitiator != 0 || spiR == 0):
		return errors.New("a responder signs its response, and this is none")
	}
	return nil
}

// auth is the content of the AUTH payload for a shared key and the signer's identity:
//
//	prf(prf(secret, "Key Pad for IKEv2"), RealMessage | Nonce | prf(SK_p, ID type | reserved | ID data) | IntAuth)
func (o octets) auth(key []byte, id msg.ID) []byte {
	padded := o.prf.sum(key, []byte(keyPad))
	defer clear(padded)
	head := [4]byte{byte(id.Type), o.in.IDReserved[0], o.in.IDReserved[1], o.in.IDReserved[2]}
	maced := o.prf.sum(o.in.SKp.Reveal(), head[:], id.Data)
	return o.prf.sum(padded, o.in.Message, o.in.Nonce, maced, o.in.IntAuth)
}
