package pki

import (
	"crypto/x509"
	"encoding/asn1"
	"testing"
)

// policy is NIST-test-policy-n, or anyPolicy for 0.
func policy(n int) asn1.ObjectIdentifier {
	if n == 0 {
		return asn1.ObjectIdentifier{2, 5, 29, 32, 0}
	}
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 2, 1, 48, n}
}

func der(v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// p gives a certificate these policies.
func p(numbers ...int) func(*x509.Certificate) {
	var all []struct{ ID asn1.ObjectIdentifier }
	for _, n := range numbers {
		all = append(all, struct{ ID asn1.ObjectIdentifier }{policy(n)})
	}
	return extension(false, der(all), 2, 5, 29, 32)
}

// qualified is policy n with a qualifier: a user notice (explicitText) or the address of a statement of practice.
func qualified(n int, id asn1.ObjectIdentifier, text asn1.RawValue) func(*x509.Certificate) {
	type qualifier struct {
		ID   asn1.ObjectIdentifier
		Text asn1.RawValue
	}
	type info struct {
		ID         asn1.ObjectIdentifier
		Qualifiers []qualifier
	}
	return extension(false, der([]info{{policy(n), []qualifier{{id, text}}}}), 2, 5, 29, 32)
}

// maps says that each pair's first policy, of this authority, is the second, of those below.
func maps(pairs ...[2]int) func(*x509.Certificate) {
	type mapping struct{ Ours, Theirs asn1.ObjectIdentifier }
	var all []mapping
	for _, x := range pairs {
		all = append(all, mapping{policy(x[0]), policy(x[1])})
	}
	return extension(true, der(all), 2, 5, 29, 33)
}

// constraints writes policyConstraints; -1 leaves a field out.
func constraints(explicit, mapping int) func(*x509.Certificate) {
	type pc struct {
		Explicit int `asn1:"optional,tag:0,default:-1"`
		Mapping  int `asn1:"optional,tag:1,default:-1"`
	}
	return extension(true, der(pc{explicit, mapping}), 2, 5, 29, 36)
}

func explicit(n int) func(*x509.Certificate)  { return constraints(n, -1) }
func noMapping(n int) func(*x509.Certificate) { return constraints(-1, n) }
func noAny(n int) func(*x509.Certificate)     { return extension(true, der(n), 2, 5, 29, 54) }

// Sections 4.8 (policies), 4.9 (requireExplicitPolicy), 4.10 (mapping), 4.11 (inhibitPolicyMapping) and 4.12 (inhibitAnyPolicy). NIST's anchor has no policy, which with these inputs means any;
// and its authorities of 4.8 require an explicit policy wherever a test expects a refusal.
func TestPKITSPolicies(t *testing.T) {
	const no = "invalid policies"
	notice := func(n int, text string) func(*x509.Certificate) {
		return qualified(n, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 2}, asn1.RawValue{FullBytes: der(struct {
			Text string `asn1:"utf8"`
		}{text})})
	}
	cps := qualified(1, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 1}, asn1.RawValue{FullBytes: der(asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte("http://cps.example")})})
	e0 := explicit(0)
	mapped := p(1, 2)
	runPKITS(t, []pkits{
		{n: "4.8.1 all certificates same policy", path: []*link{ca(p(1), e0), ee(p(1))}},
		{n: "4.8.2 all certificates no policies", path: []*link{ca(), ee()}},
		{n: "4.8.3 different policies", path: []*link{ca(p(1)), ca(p(2)), ee(p(2))}},
		{n: "4.8.4 different policies", path: []*link{ca(p(1), e0), ca(p(1)), ee(p(2))}, want: no},
		{n: "4.8.5 different policies", path: []*link{ca(p(1), e0), ca(p(2)), ee(p(1))}, want: no},
		{n: "4.8.6 overlapping policies", path: []*link{ca(p(1, 2, 3, 4), e0), ca(p(1, 2, 3)), ca(p(1, 2)), ee(p(1))}},
		{n: "4.8.7 different policies", path: []*link{ca(p(1, 2, 3), e0), ca(p(1, 2)), ca(p(1)), ee(p(2))}, want: no},
		{n: "4.8.8 different policies", path: []*link{ca(p(1, 2), e0), ca(p(1)), ca(p(2)), ee(p(1))}, want: no},
		{n: "4.8.9 different policies", path: []*link{ca(p(1, 2, 3), e0), ca(p(1, 2)), ca(p(2)), ca(p(1)), ee(p(1))}, want: no},
		{n: "4.8.10 all certificates same policies", path: []*link{ca(p(1, 2), e0), ee(p(1, 2))}},
		{n: "4.8.11 all certificates anyPolicy", path: []*link{ca(p(0), e0), ee(p(0))}},
		{n: "4.8.12 different policies", path: []*link{ca(p(3), e0), ee(p(1))}, want: no},
		{n: "4.8.13 all certificates same policies", path: []*link{ca(p(1, 2, 3), e0), ee(p(1, 2, 3))}},
		{n: "4.8.14 anyPolicy", path: []*link{ca(p(0), e0), ee(p(1))}},
		{n: "4.8.15 user notice", path: []*link{ee(notice(1, "q1"))}},
		{n: "4.8.16 user notice", path: []*link{ca(p(1), e0), ee(notice(1, "q1"))}},
		{n: "4.8.17 user notice of anyPolicy", path: []*link{ca(p(1), e0), ee(notice(0, "q3"))}},
		{n: "4.8.18 user notice", path: []*link{ca(p(1, 2), e0), ee(notice(1, "q4"))}},
		{n: "4.8.19 user notice of more than 200 characters", path: []*link{ee(notice(1, string(make([]byte, 300))))}},
		{n: "4.8.20 CPS pointer", path: []*link{ca(p(1), e0), ee(cps)}},

		{n: "4.9.1 requireExplicitPolicy 10", path: []*link{ca(p(1), explicit(10)), ca(), ca(), ca(), ee()}},
		{n: "4.9.2 requireExplicitPolicy 5", path: []*link{ca(p(1), explicit(5)), ca(), ca(), ca(), ee()}},
		{n: "4.9.3 requireExplicitPolicy 4", path: []*link{ca(p(1), explicit(4)), ca(), ca(), ca(), ee()}, want: no},
		{n: "4.9.4 requireExplicitPolicy 0", path: []*link{ca(p(1), e0), ca(p(1)), ca(p(1)), ca(p(1)), ee(p(1))}},
		{n: "4.9.5 requireExplicitPolicy 7, 2, 4", path: []*link{ca(p(1), explicit(7)), ca(p(1), explicit(2)), ca(p(1), explicit(4)), ca(p(1)), ee()}, want: no},
		{n: "4.9.6 self-issued requireExplicitPolicy", path: []*link{ca(p(1), explicit(2)), ca(p(1)).selfIssued(), ee()}},
		{n: "4.9.7 self-issued requireExplicitPolicy", path: []*link{ca(p(1), explicit(2)), ca(p(1)).selfIssued(), ca(p(1)), ee()}, want: no},
		{n: "4.9.8 self-issued requireExplicitPolicy", path: []*link{ca(p(1), explicit(2)), ca(p(1)).selfIssued(), ca(p(1)), ca(p(1)).selfIssued(), ee()}, want: no},

		{n: "4.10.1 policy mapping", path: []*link{ca(p(1), maps([2]int{1, 2}), e0), ee(p(2))}},
		{n: "4.10.2 policy mapping", path: []*link{ca(p(1), maps([2]int{1, 2}), e0), ee(p(1))}, want: no},
		{n: "4.10.3 policy mapping", path: []*link{ca(mapped, maps([2]int{1, 3}), e0), ca(p(3, 2), maps([2]int{2, 4})), ca(p(4), maps([2]int{4, 5})), ee(p(5))}},
		{n: "4.10.4 policy mapping", path: []*link{ca(mapped, maps([2]int{1, 3}), e0), ca(p(3, 2), maps([2]int{2, 4})), ca(p(4), maps([2]int{4, 5})), ee(p(1))}, want: no},
		{n: "4.10.5 policy mapping 1 to 2, 3, 4", path: []*link{ca(p(1), maps([2]int{1, 2}, [2]int{1, 3}, [2]int{1, 4}), e0), ca(p(2, 3, 4), maps([2]int{2, 5}, [2]int{3, 5}, [2]int{4, 6})), ee(p(5))}},
		{n: "4.10.6 policy mapping 1 to 2, 3, 4", path: []*link{ca(p(1), maps([2]int{1, 2}, [2]int{1, 3}, [2]int{1, 4}), e0), ca(p(2, 3, 4), maps([2]int{2, 5}, [2]int{3, 5}, [2]int{4, 6})), ee(p(6))}},
		{n: "4.10.7 mapping from anyPolicy", path: []*link{ca(p(1), maps([2]int{0, 1}), e0), ee(p(1))}, want: no},
		{n: "4.10.8 mapping to anyPolicy", path: []*link{ca(p(1), maps([2]int{1, 0}), e0), ee(p(1))}, want: no},
		{n: "4.10.9 anyPolicy with a mapping", path: []*link{ca(p(0), maps([2]int{1, 2}), e0), ee(p(1))}},
		{n: "4.10.10 policy mapping", path: []*link{ca(p(1), e0), ca(p(0), maps([2]int{1, 2})), ee(p(1))}, want: no},
		{n: "4.10.11 policy mapping", path: []*link{ca(p(1), e0), ca(p(0), maps([2]int{1, 2})), ee(p(2))}},
		{n: "4.10.12 policy mapping with a notice", path: []*link{ca(mapped, maps([2]int{1, 3}), e0), ee(notice(3, "q7"))}},
		{n: "4.10.13 policy mapping", path: []*link{ca(p(1, 0), maps([2]int{1, 2}), e0), ee(p(2))}},
		{n: "4.10.14 policy mapping", path: []*link{ca(p(1, 0), maps([2]int{1, 2}), e0), ee(p(1))}},

		{n: "4.11.1 inhibitPolicyMapping 0", path: []*link{ca(p(1), constraints(0, 0)), ca(p(1), maps([2]int{1, 2})), ee(p(2))}, want: no},
		{n: "4.11.2 inhibitPolicyMapping 1", path: []*link{ca(mapped, constraints(0, 1)), ca(mapped, maps([2]int{1, 3}, [2]int{2, 4})), ee(p(3))}},
		{n: "4.11.3 inhibitPolicyMapping 1", path: []*link{ca(mapped, constraints(0, 1)), ca(mapped, maps([2]int{1, 3}, [2]int{2, 4})), ca(p(3, 4), maps([2]int{3, 5})), ee(p(5))}, want: no},
		{n: "4.11.4 inhibitPolicyMapping 1", path: []*link{ca(mapped, constraints(0, 1)), ca(mapped, maps([2]int{1, 3}, [2]int{2, 4})), ca(p(3, 4), maps([2]int{3, 5})), ee(p(4))}},
		{n: "4.11.5 inhibitPolicyMapping 5, 1", path: []*link{ca(p(1), constraints(0, 5)), ca(p(1), noMapping(1)), ca(p(1), maps([2]int{1, 2})), ca(p(2), maps([2]int{2, 3})), ee(p(3))}, want: no},
		{n: "4.11.6 inhibitPolicyMapping 1, 5", path: []*link{ca(mapped, constraints(0, 1)), ca(mapped, noMapping(5)), ca(mapped, maps([2]int{1, 3})), ee(p(3))}, want: no},
		{n: "4.11.7 self-issued inhibitPolicyMapping", path: []*link{ca(p(1), constraints(0, 1)), ca(p(1)).selfIssued(), ca(p(1), maps([2]int{1, 2})), ee(p(2))}},
		{n: "4.11.8 self-issued inhibitPolicyMapping", path: []*link{ca(p(1), constraints(0, 1)), ca(p(1)).selfIssued(), ca(p(1), maps([2]int{1, 2})), ca(p(2), maps([2]int{2, 3})), ee(p(3))}, want: no},
		{n: "4.11.9 self-issued inhibitPolicyMapping", path: []*link{ca(p(1), constraints(0, 1)), ca(p(1)).selfIssued(), ca(p(1), maps([2]int{1, 2})), ca(p(2), maps([2]int{2, 3})), ee(p(2))}, want: no},
		{n: "4.11.10 self-issued inhibitPolicyMapping", path: []*link{ca(p(1), constraints(0, 1)), ca(p(1)).selfIssued(), ca(p(1), maps([2]int{1, 2})), ca(p(2), maps([2]int{2, 3})).selfIssued(), ee(p(3))}, want: no},
		{n: "4.11.11 self-issued inhibitPolicyMapping", path: []*link{ca(p(1), constraints(0, 1)), ca(p(1)).selfIssued(), ca(p(1), maps([2]int{1, 2})), ca(p(2), maps([2]int{2, 3})).selfIssued(), ee(p(2))}, want: no},

		{n: "4.12.1 inhibitAnyPolicy 0", path: []*link{ca(p(1), noAny(0), e0), ee(p(0))}, want: no},
		{n: "4.12.2 inhibitAnyPolicy 0", path: []*link{ca(p(1), noAny(0), e0), ee(p(0, 1))}},
		{n: "4.12.3 inhibitAnyPolicy 1", path: []*link{ca(p(1), noAny(1), e0), ca(p(0)), ee(p(1))}},
		{n: "4.12.4 inhibitAnyPolicy 1", path: []*link{ca(p(1), noAny(1), e0), ca(p(0)), ee(p(0))}, want: no},
		{n: "4.12.5 inhibitAnyPolicy 5, 1", path: []*link{ca(p(1), noAny(5), e0), ca(p(1), noAny(1)), ca(p(0)), ee(p(0))}, want: no},
		{n: "4.12.6 inhibitAnyPolicy 1, 5", path: []*link{ca(p(1), noAny(1), e0), ca(p(0), noAny(5)), ee(p(0))}, want: no},
		{n: "4.12.7 self-issued inhibitAnyPolicy", path: []*link{ca(p(1), noAny(1), e0), ca(p(0)).selfIssued(), ca(p(0)), ee(p(1))}},
		{n: "4.12.8 self-issued inhibitAnyPolicy", path: []*link{ca(p(1), noAny(1), e0), ca(p(0)).selfIssued(), ca(p(0)), ca(p(0)), ee(p(1))}, want: no},
		{n: "4.12.9 self-issued inhibitAnyPolicy", path: []*link{ca(p(1), noAny(1), e0), ca(p(0)).selfIssued(), ca(p(0)), ca(p(0)).selfIssued(), ee(p(1))}},
		{n: "4.12.10 self-issued inhibitAnyPolicy", path: []*link{ca(p(1), noAny(1), e0), ca(p(0)).selfIssued(), ca(p(0)), ee(p(0))}, want: no},
	})
}
