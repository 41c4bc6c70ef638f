package mschapv2

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

// opCode says what a packet is (draft-kamath-pppext-eap-mschapv2 section 2).
type opCode uint8

const (
	opChallenge      opCode = 1
	opResponse       opCode = 2
	opSuccess        opCode = 3
	opFailure        opCode = 4
	opChangePassword opCode = 7
)

// String is the code's name in lower case.
func (o opCode) String() string {
	switch o {
	case opChallenge:
		return "challenge"
	case opResponse:
		return "response"
	case opSuccess:
		return "success"
	case opFailure:
		return "failure"
	case opChangePassword:
		return "change-password"
	}
	return fmt.Sprintf("opcode %d", uint8(o))
}

// Sizes in octets.
const (
	headerSize   = 4 // OpCode, MS-CHAPv2-ID and MS-Length
	responseSize = 49
	maxName      = 256
	maxMessage   = 512
)

// What a parser finds wrong.
var (
	errShort  = errors.New("EAP-MSCHAPv2 packet is shorter than its header")
	errLength = errors.New("EAP-MSCHAPv2 packet's MS-Length is not what has come")
	errValue  = errors.New("EAP-MSCHAPv2 packet's value has a size that is not its opcode's")
	errName   = errors.New("EAP-MSCHAPv2 packet's name is longer than 256 octets")
	errText   = errors.New("EAP-MSCHAPv2 packet's message is longer than 512 octets")
	errProof  = errors.New("EAP-MSCHAPv2 success does not begin with S= and 40 hexadecimal digits")
	errFail   = errors.New("EAP-MSCHAPv2 failure has no E= with a number")
)

// message is a packet after EAP's type. A success or failure that a peer sends is one octet: then body is empty and id 0.
type message struct {
	op   opCode
	id   uint8
	body []byte
}

// parseMessage reads what follows EAP's type.
func parseMessage(b []byte) (message, error) {
	if len(b) == 0 {
		return message{}, errShort
	}
	m := message{op: opCode(b[0])}
	if len(b) == 1 && (m.op == opSuccess || m.op == opFailure) {
		return m, nil
	}
	if len(b) < headerSize {
		return message{}, errShort
	}
	if int(b[2])<<8|int(b[3]) != len(b) {
		return message{}, errLength
	}
	m.id, m.body = b[1], b[headerSize:]
	return m, nil
}

// marshal is parseMessage's other way, with the header always.
func (m message) marshal() []byte {
	length := headerSize + len(m.body)
	return append([]byte{byte(m.op), m.id, byte(length >> 8), byte(length)}, m.body...)
}

// challenge is the body of opChallenge (section 2.1).
type challenge struct {
	value mschap.Challenge
	name  string // of the server, for show
}

func parseChallenge(b []byte) (c challenge, err error) {
	if len(b) < 1+mschap.ChallengeSize || b[0] != mschap.ChallengeSize {
		return c, errValue
	}
	c.value = mschap.Challenge(b[1 : 1+mschap.ChallengeSize])
	c.name, err = parseName(b[1+mschap.ChallengeSize:])
	return c, err
}

func (c challenge) marshal() []byte {
	b := append([]byte{mschap.ChallengeSize}, c.value[:]...)
	return append(b, c.name...)
}

// response is the body of opResponse (section 2.2). The eight octets in reserve and the flags are zero when sent, and not looked at.
type response struct {
	peer mschap.Challenge
	nt   mschap.NTResponse
	name string // of the user, as hashed
}

func parseResponse(b []byte) (r response, err error) {
	if len(b) < 1+responseSize || b[0] != responseSize {
		return r, errValue
	}
	r.peer = mschap.Challenge(b[1:17])
	r.nt = mschap.NTResponse(b[25:49])
	r.name, err = parseName(b[1+responseSize:])
	return r, err
}

func (r response) marshal() []byte {
	b := append([]byte{responseSize}, r.peer[:]...)
	b = append(b, make([]byte, 8)...)
	b = append(b, r.nt[:]...)
	b = append(b, 0)
	return append(b, r.name...)
}

func parseName(b []byte) (string, error) {
	if len(b) > maxName {
		return "", errName
	}
	return string(b), nil
}

// parseSuccess reads the body of a server's opSuccess (section 2.3): "S=" and 40 digits, and perhaps more. It gives S= and the digits.
func parseSuccess(b []byte) (string, error) {
	const size = 42
	if len(b) > maxMessage {
		return "", errText
	}
	if len(b) < size || !bytes.HasPrefix(b, []byte("S=")) || len(b) > size && b[size] != ' ' {
		return "", errProof
	}
	if _, err := hex.DecodeString(string(b[2:size])); err != nil {
		return "", errProof
	}
	return string(b[:size]), nil
}

// failure is the body of a server's opFailure (section 2.5, RFC 2759 section 6).
type failure struct {
	code      int // one of RFC 2759 section 6
	retry     bool
	challenge mschap.Challenge // for the retry
	text      string
}

// Codes of a failure (RFC 2759 section 6).
const (
	errorRestrictedHours  = 646
	errorDisabled         = 647
	errorPasswordExpired  = 648
	errorNoDialin         = 649
	errorAuthentication   = 691
	errorChangingPassword = 709
)

// why is a failure's code in words.
func (f failure) why() string {
	switch f.code {
	case errorRestrictedHours:
		return "not at this hour"
	case errorDisabled:
		return "account disabled"
	case errorPasswordExpired:
		return "password expired"
	case errorNoDialin:
		return "no permission to dial in"
	case errorAuthentication:
		return "wrong name or password"
	case errorChangingPassword:
		return "password cannot be changed"
	}
	return "unknown to RFC 2759"
}

func parseFailure(b []byte) (f failure, err error) {
	if len(b) > maxMessage {
		return f, errText
	}
	fields, text, _ := strings.Cut(string(b), "M=")
	f.text = strings.TrimSpace(text)
	found := false
	for _, field := range strings.Fields(fields) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "E":
			code, err := strconv.ParseUint(value, 10, 31)
			if err != nil || found {
				return failure{}, errFail
			}
			f.code, found = int(code), true
		case "R":
			f.retry = value == "1"
		case "C":
			if c, err := hex.DecodeString(value); err == nil && len(c) == mschap.ChallengeSize {
				f.challenge = mschap.Challenge(c)
			}
		}
	}
	if !found {
		return failure{}, errFail
	}
	return f, nil
}

func (f failure) marshal() []byte {
	retry := 0
	if f.retry {
		retry = 1
	}
	return fmt.Appendf(nil, "E=%d R=%d C=%X V=3 M=%s", f.code, retry, f.challenge[:], f.text)
}
