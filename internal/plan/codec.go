package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrNotCanonical is a plan that decodes but is not what Encode writes: it was edited by hand, or by another program.
var ErrNotCanonical = errors.New("it was changed after `trike compile` wrote it: its sum or its form is not what that writes. Compile the policy again")

// Encode writes the canonical form: JSON with one space of indentation, every field present, lists never null, a newline at the end.
func Encode(p *Plan) []byte {
	q := p.normal()
	q.Sum = ""
	h := sha256.New()
	io.WriteString(h, sumDomain)
	h.Write(canonical(q))
	q.Sum = hex.EncodeToString(h.Sum(nil))
	return canonical(q)
}

const sumDomain = "trike plan file v1\x00"

func canonical(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		panic("plan: " + err.Error()) // no type of a plan can fail to encode
	}
	return b.Bytes()
}

// Decode reads a plan and refuses one that is too large, has unknown fields, breaks a rule (see Validate), or is not canonical.
func Decode(b []byte) (*Plan, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("plan of %d octets, at most %d are allowed", len(b), MaxSize)
	}
	p := new(Plan)
	if err := strict(b, p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if p.Format != Format {
		return nil, fmt.Errorf("plan of format %d, this trike reads format %d: compile it again", p.Format, Format)
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if !bytes.Equal(Encode(p), b) {
		return nil, ErrNotCanonical
	}
	return p, nil
}

func strict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the end")
	}
	return nil
}

// Hash names a plan: SHA-256 over a domain and the canonical form, positions and sources left out, so that moving a line in a policy file does
// not make another plan.
type Hash [32]byte

// String is the hash in lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

const hashDomain = "trike plan v1\x00"

// Hash is the plan's name.
func (p *Plan) Hash() Hash {
	h := sha256.New()
	io.WriteString(h, hashDomain)
	h.Write(canonical(p.withoutPositions()))
	return Hash(h.Sum(nil))
}

// EncodeView writes one of the views for Prepare.
func EncodeView[V IKEView | AuthView | XFRMView](v V) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("plan: " + err.Error())
	}
	return b
}

// DecodeIKEView reads ikeproc's view. triked is trusted, and still nothing unknown is taken.
func DecodeIKEView(b []byte) (v IKEView, err error) { err = decodeView(b, &v); return v, err }

// DecodeAuthView reads authproc's view.
func DecodeAuthView(b []byte) (v AuthView, err error) { err = decodeView(b, &v); return v, err }

// DecodeXFRMView reads xfrmproc's view.
func DecodeXFRMView(b []byte) (v XFRMView, err error) { err = decodeView(b, &v); return v, err }

func decodeView(b []byte, v any) error {
	if err := strict(b, v); err != nil {
		return fmt.Errorf("view of the plan: %w", err)
	}
	return nil
}
