package compiler

import "sort"

// Code names a kind of finding. Codes are stable: one is never given another meaning.
type Code string

const (
	CodeUnreadable    Code = "TRK0001"
	CodeTooLarge      Code = "TRK0002"
	CodeSymlink       Code = "TRK0003"
	CodeSyntax        Code = "TRK0004"
	CodeNoPolicy      Code = "TRK0005"
	CodeImport        Code = "TRK0006"
	CodeAbandoned     Code = "TRK0007"
	CodeEvaluator     Code = "TRK0008"
	CodeModule        Code = "TRK0009"
	CodeTag           Code = "TRK0010"
	CodeValue         Code = "TRK0101"
	CodeField         Code = "TRK0102"
	CodeMissing       Code = "TRK0103"
	CodeOneOf         Code = "TRK0104"
	CodeConflict      Code = "TRK0105"
	CodeReference     Code = "TRK0106"
	CodeIncomplete    Code = "TRK0107"
	CodeName          Code = "TRK0108"
	CodeNoGateway     Code = "TRK0201"
	CodeNoSecret      Code = "TRK0202"
	CodeLinkName      Code = "TRK0203"
	CodeLinkSelf      Code = "TRK0204"
	CodeNameTwice     Code = "TRK0205"
	CodeUnusedSecret  Code = "TRK0206"
	CodeIdleGateway   Code = "TRK0207"
	CodeNoCertificate Code = "TRK0208"
	CodeNoAuthority   Code = "TRK0209"
	CodeNoPlugin      Code = "TRK0210"
	CodeEAPLink       Code = "TRK0211"
	CodeNoPool        Code = "TRK0212"
	CodeAddressTwice  Code = "TRK0301"
	CodeIdentityTwice Code = "TRK0302"
	CodeFamilies      Code = "TRK0303"
	CodeIdentity      Code = "TRK0304"
	CodeIdentityNone  Code = "TRK0305"
	CodeAddress       Code = "TRK0306"
	CodeSameAddress   Code = "TRK0307"
	CodeHostBits      Code = "TRK0401"
	CodeOverlap       Code = "TRK0402"
	CodeShadow        Code = "TRK0403"
	CodeNoSelector    Code = "TRK0404"
	CodeTSFamilies    Code = "TRK0405"
	CodePort          Code = "TRK0406"
	CodeTransport     Code = "TRK0407"
	CodeManySelectors Code = "TRK0408"
	CodeBothSides     Code = "TRK0409"
	CodePool          Code = "TRK0410"
	CodeHardRekey     Code = "TRK0501"
	CodeJitter        Code = "TRK0502"
	CodeDuration      Code = "TRK0503"
	CodeInitiate      Code = "TRK0504"
	CodeRekeyOff      Code = "TRK0505"
	CodeLegacy        Code = "TRK0601"
	CodeProposal      Code = "TRK0602"
	CodeProposalTwice Code = "TRK0603"
	CodeManyProposals Code = "TRK0604"
	CodeLegacyUnused  Code = "TRK0605"
	CodeSecretMissing Code = "TRK0701"
	CodeSecretRead    Code = "TRK0702"
	CodeSecretOpen    Code = "TRK0703"
	CodeSecretKind    Code = "TRK0704"
	CodeSecretPath    Code = "TRK0705"
	CodeCertificate   Code = "TRK0706"
	CodeCertEnds      Code = "TRK0707"
	CodeCertName      Code = "TRK0708"
	CodeCertPath      Code = "TRK0709"
	CodePlan          Code = "TRK0901"
)

// Explain tells more about a code: what is wrong, why it matters, how to mend it. It is empty for a code that does not exist.
func Explain(c Code) string { return explanations[c] }

// Codes lists all codes in order.
func Codes() []Code {
	out := make([]Code, 0, len(explanations))
	for c := range explanations {
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// CouldNotRead tells whether a code means that the policy could not be read at all, rather than that something in it is wrong.
func CouldNotRead(c Code) bool {
	switch c {
	case CodeUnreadable, CodeTooLarge, CodeSymlink, CodeAbandoned, CodeEvaluator:
		return true
	}
	return false
}
