package wire

import "strings"

// Summary writes which payloads a message holds, as the RFCs' figures do: "{SA, KE, Nonce, N(COOKIE)}". It shows types
// only, never the peer's octets, and at most 24 payloads: fit for a log line or a test.
func Summary(ps []Payload) string {
	const most = 24
	var b strings.Builder
	b.WriteByte('{')
	for i, p := range ps {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == most {
			b.WriteString("…")
			break
		}
		b.WriteString(p.PayloadType().String())
		if n, ok := p.(*Notify); ok {
			b.WriteString("(" + n.Type.String() + ")")
		}
	}
	b.WriteByte('}')
	return b.String()
}
