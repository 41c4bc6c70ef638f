package ikev2

import (
	"encoding"
	"fmt"
	"testing"
)

// table checks that numbers and names of a registry are one to one and that a number without a name has a text too.
func table[T ~uint8 | ~uint16](t *testing.T, kind string, names []name[T], unknown T, want string, text func(T) string) {
	t.Helper()
	ids, texts := map[T]bool{}, map[string]bool{}
	for _, n := range names {
		if ids[n.id] || texts[n.text] || n.text == "" {
			t.Errorf("%s: %d %q stands twice, or has no name", kind, n.id, n.text)
		}
		ids[n.id], texts[n.text] = true, true
		if got := text(n.id); got != n.text {
			t.Errorf("%s %d: String gives %q, want %q", kind, n.id, got, n.text)
		}
	}
	if got := text(unknown); got != want {
		t.Errorf("%s %d: String gives %q, want %q", kind, unknown, got, want)
	}
}

func TestNames(t *testing.T) {
	table(t, "exchange", exchangeNames, 99, "EXCHANGE_99", ExchangeType.String)
	table(t, "payload", payloadNames, 99, "PAYLOAD_99", PayloadType.String)
	table(t, "protocol", protocolNames, 99, "PROTOCOL_99", ProtocolID.String)
	table(t, "notify", notifyNames, 65535, "NOTIFY_65535", NotifyType.String)
	table(t, "auth method", authNames, 99, "AUTH_METHOD_99", AuthMethod.String)
	table(t, "hash", hashNames, 99, "HASH_99", HashID.String)
	table(t, "certificate", certNames, 99, "CERT_99", CertEncoding.String)
	table(t, "selector", tsNames, 99, "TS_99", TSType.String)
	table(t, "configuration", cfgNames, 99, "CFG_99", CFGType.String)
	table(t, "attribute", cfgAttributeNames, 999, "CFG_ATTRIBUTE_999", CFGAttribute.String)
	table(t, "identity", idNames, 99, "ID_99", IDType.String)
	table(t, "encryption", encrNames, 999, "ENCR_999", EncrID.String)
	table(t, "prf", prfNames, 999, "PRF_999", PRFID.String)
	table(t, "integrity", integNames, 999, "INTEG_999", IntegID.String)
	table(t, "key exchange", keNames, 999, "KE_999", KEID.String)
	table(t, "sequence number", snNames, 999, "SN_999", SNID.String)
}

// What marshals to a name marshals to what String says, and an algorithm's name comes back as its number.
func TestText(t *testing.T) {
	for _, v := range []interface {
		encoding.TextMarshaler
		fmt.Stringer
	}{
		IKE_AUTH, PayloadTSr, ProtocolESP, COOKIE, AuthSignature, HashIdentity, CertX509Signature, TS_IPV6_ADDR_RANGE, CFG_REPLY,
		INTERNAL_IP4_DNS, ID_FQDN, ENCR_AES_GCM_16, PRF_HMAC_SHA2_512, AUTH_HMAC_SHA2_256_128, KE_MLKEM768, SN_ESN,
	} {
		if b, err := v.MarshalText(); err != nil || string(b) != v.String() {
			t.Errorf("%s marshals to %q %v", v, b, err)
		}
	}
	var (
		id    IDType
		encr  EncrID
		prf   PRFID
		integ IntegID
		ke    KEID
		sn    SNID
	)
	for text, v := range map[string]encoding.TextUnmarshaler{
		"ID_KEY_ID": &id, "ENCR_AES_CBC": &encr, "PRF_HMAC_SHA1": &prf, "AUTH_HMAC_SHA1_96": &integ, "ML_KEM_1024": &ke, "32_BIT": &sn,
	} {
		if err := v.UnmarshalText([]byte(text + "x")); err == nil {
			t.Errorf("%sx is taken", text)
		}
		if err := v.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
	}
	if id != ID_KEY_ID || encr != ENCR_AES_CBC || prf != PRF_HMAC_SHA1 || integ != AUTH_HMAC_SHA1_96 || ke != KE_MLKEM1024 || sn != SN_32 {
		t.Error("a name comes back as another number")
	}
}

// The numbers of RFC 7296 that interoperability hangs on.
func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want int }{
		{int(IKE_SA_INIT), 34}, {int(INFORMATIONAL), 37}, {int(PayloadSA), 33}, {int(PayloadEAP), 48}, {int(INVALID_SYNTAX), 7},
		{int(TEMPORARY_FAILURE), 43}, {int(REKEY_SA), 16393}, {int(IKEV2_FRAGMENTATION_SUPPORTED), 16430},
		{int(INTERMEDIATE_EXCHANGE_SUPPORTED), 16438}, {int(ADDITIONAL_KEY_EXCHANGE), 16441},
	} {
		if c.got != c.want {
			t.Errorf("got %d, want %d", c.got, c.want)
		}
	}
	if TransformADDKE1.String() != "ADDKE1" || TransformADDKE7.String() != "ADDKE7" || TransformType(13).String() != "transform type 13" {
		t.Error("transform types have wrong names")
	}
	if !ENCR_AES_GCM_16.IsAEAD() || !ENCR_CHACHA20_POLY1305.IsAEAD() || ENCR_AES_CBC.IsAEAD() || !KE_MLKEM768.IsKEM() || KE_CURVE448.IsKEM() {
		t.Error("AEADs or KEMs are mixed up")
	}
	if !NO_PROPOSAL_CHOSEN.IsError() || INITIAL_CONTACT.IsError() || !NotifyType(16383).IsError() {
		t.Error("ER-12: errors and status are mixed up")
	}
}
