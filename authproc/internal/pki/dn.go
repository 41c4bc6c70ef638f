package pki

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// attribute types by the short names that people write (RFC 4514 section 3 and RFC 4519).
var attributes = []struct {
	name string
	oid  asn1.ObjectIdentifier
	// form is the string type that a name of ours has; what is read may have any.
	form int
}{
	{"CN", asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.TagUTF8String},
	{"C", asn1.ObjectIdentifier{2, 5, 4, 6}, asn1.TagPrintableString},
	{"O", asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.TagUTF8String},
	{"OU", asn1.ObjectIdentifier{2, 5, 4, 11}, asn1.TagUTF8String},
	{"ST", asn1.ObjectIdentifier{2, 5, 4, 8}, asn1.TagUTF8String},
	{"L", asn1.ObjectIdentifier{2, 5, 4, 7}, asn1.TagUTF8String},
	{"SN", asn1.ObjectIdentifier{2, 5, 4, 4}, asn1.TagUTF8String},
	{"GN", asn1.ObjectIdentifier{2, 5, 4, 42}, asn1.TagUTF8String},
	{"T", asn1.ObjectIdentifier{2, 5, 4, 12}, asn1.TagUTF8String},
	{"SERIALNUMBER", asn1.ObjectIdentifier{2, 5, 4, 5}, asn1.TagPrintableString},
	{"STREET", asn1.ObjectIdentifier{2, 5, 4, 9}, asn1.TagUTF8String},
	{"E", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, asn1.TagIA5String},
	{"EMAILADDRESS", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, asn1.TagIA5String},
	{"DC", asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, asn1.TagIA5String},
	{"UID", asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, asn1.TagUTF8String},
}

// DN is a distinguished name: attributes in the order of the DER, which is that of "C=DE, O=Acme, CN=gw1".
type DN []Attribute

// Attribute is one type and value. Set counts the relative distinguished names: attributes with the same one belong together.
type Attribute struct {
	OID   asn1.ObjectIdentifier
	Value string
	Set   int
}

// ParseDN reads a name as a policy writes it: "C=DE, O=Acme, CN=gw1", first attribute first. A comma or a plus in a value has a backslash before it.
func ParseDN(text string) (DN, error) {
	var out DN
	set := 0
	for rest := text; ; {
		part, after, end := cut(rest)
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), unescape(strings.TrimSpace(value))
		if !ok || value == "" {
			return nil, fmt.Errorf("distinguished name %q: want TYPE=value, separated by commas, for example \"C=DE, O=Acme, CN=gw1\"", text)
		}
		i := -1
		for k, a := range attributes {
			if strings.EqualFold(a.name, name) {
				i = k
			}
		}
		if i < 0 {
			return nil, fmt.Errorf("distinguished name %q: %q is no attribute type that is known", text, name)
		}
		if out = append(out, Attribute{attributes[i].oid, value, set}); len(out) > 64 {
			return nil, errors.New("a distinguished name of more than 64 attributes")
		}
		switch end {
		case 0:
			return out, nil
		case ',':
			set++
		}
		rest = after
	}
}

// cut takes the text up to the next comma or plus that has no backslash before it.
func cut(s string) (part, after string, end byte) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ',', '+':
			return s[:i], s[i+1:], s[i]
		}
	}
	return s, "", 0
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ReadDN reads the DER of a Name.
func ReadDN(der []byte) (DN, error) {
	var seq []pkix.RelativeDistinguishedNameSET
	if rest, err := asn1.Unmarshal(der, &seq); err != nil || len(rest) > 0 {
		return nil, errors.New("a distinguished name is malformed")
	}
	var out DN
	for set, rdn := range seq {
		for _, a := range rdn {
			v, ok := a.Value.(string)
			if !ok || !utf8.ValidString(v) {
				return nil, errors.New("a distinguished name has a value that is no text")
			}
			if out = append(out, Attribute{a.Type, v, set}); len(out) > 64 {
				return nil, errors.New("a distinguished name of more than 64 attributes")
			}
		}
	}
	return out, nil
}

// DER writes the name.
func (d DN) DER() ([]byte, error) {
	var seq pkix.RDNSequence
	for i, a := range d {
		if i == 0 || d[i-1].Set != a.Set {
			seq = append(seq, nil)
		}
		form := asn1.TagUTF8String
		for _, k := range attributes {
			if k.oid.Equal(a.OID) {
				form = k.form
			}
		}
		raw := asn1.RawValue{Tag: form, Bytes: []byte(a.Value)}
		seq[len(seq)-1] = append(seq[len(seq)-1], pkix.AttributeTypeAndValue{Type: a.OID, Value: raw})
	}
	b, err := asn1.Marshal(seq)
	if err != nil {
		return nil, fmt.Errorf("write a distinguished name: %w", err)
	}
	return b, nil
}

// Matches tells whether name is the one that d means: the same attributes in the same order, values without regard to case and to the amount of white space (RFC 5280
// section 7.1), and "*" in d for any value.
func (d DN) Matches(name DN) bool {
	if len(d) != len(name) {
		return false
	}
	for i, a := range d {
		if !a.OID.Equal(name[i].OID) || a.Set != name[i].Set || a.Value != "*" && fold(a.Value) != fold(name[i].Value) {
			return false
		}
	}
	return true
}

// Pattern tells whether d has a "*".
func (d DN) Pattern() bool {
	for _, a := range d {
		if a.Value == "*" {
			return true
		}
	}
	return false
}

func fold(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// String writes the name as a policy does.
func (d DN) String() string {
	var b strings.Builder
	for i, a := range d {
		switch {
		case i > 0 && d[i-1].Set == a.Set:
			b.WriteString(" + ")
		case i > 0:
			b.WriteString(", ")
		}
		name := a.OID.String()
		for _, k := range attributes {
			if k.oid.Equal(a.OID) {
				name = k.name
				break
			}
		}
		b.WriteString(name + "=" + strings.NewReplacer(`\`, `\\`, ",", `\,`, "+", `\+`).Replace(a.Value))
	}
	return b.String()
}

// sameName compares two names in DER.
func sameName(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err1 := ReadDN(a)
	y, err2 := ReadDN(b)
	return err1 == nil && err2 == nil && !x.Pattern() && x.Matches(y)
}
