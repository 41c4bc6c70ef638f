package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
)

// cookieLife is how long one secret makes new cookies; for as long again it still checks them (CK-05).
const cookieLife = 2 * time.Minute

// cookieJar makes and checks cookies without keeping any state for a stranger (RFC 7296 section 2.6).
type cookieJar struct {
	secret, before         []byte
	version, versionBefore byte
	since                  time.Time
}

// cookie is version | HMAC-SHA-256(secret, Ni | SPIi | address and port).
func cookie(version byte, secret, nonce []byte, d Datagram, spiI uint64) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write(binary.BigEndian.AppendUint64(nil, spiI))
	m.Write(d.Remote.Addr().AsSlice())
	m.Write(binary.BigEndian.AppendUint16(nil, d.Remote.Port()))
	m.Write(nonce)
	return append([]byte{version}, m.Sum(nil)...)
}

func (e *Engine) rotateCookies() {
	j := &e.cookies
	if j.secret == nil || e.now.Sub(j.since) >= cookieLife {
		j.before, j.versionBefore = j.secret, j.version
		j.secret, j.version, j.since = e.random(32), j.version+1, e.now
	}
}

// cookieRequired answers a stranger's IKE_SA_INIT with a cookie while too many SAs are half-open, unless it came with a right one. A wrong
// one counts as none (CK-04).
func (e *Engine) cookieRequired(d Datagram, h wire.Header, nonce *wire.Nonce, ps []wire.Payload) bool {
	if e.half < e.cfg.Limits.CookieThreshold {
		return false
	}
	e.rotateCookies()
	j := &e.cookies
	if n := wire.FindNotify(ps, ikev2.COOKIE); n != nil && len(n.Data) > 0 {
		switch {
		case n.Data[0] == j.version && subtle.ConstantTimeCompare(n.Data, cookie(j.version, j.secret, nonce.Data, d, h.SPIi)) == 1:
			return false
		case j.before != nil && n.Data[0] == j.versionBefore && subtle.ConstantTimeCompare(n.Data, cookie(j.versionBefore, j.before, nonce.Data, d, h.SPIi)) == 1:
			return false
		}
	}
	e.sendUnprotected(d, h.Answer(), wire.NotifyStatus(ikev2.COOKIE, cookie(j.version, j.secret, nonce.Data, d, h.SPIi)))
	return true
}
