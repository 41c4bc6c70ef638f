// Package eaptest tries an EAP method, or the program that is one, as trike's peers and trike itself would: with what is right, with what is lost and comes twice, and with what a
// hostile peer sends. It is for authors of plugins in any language; trike's own plugins go through it as well.
//
// From a Go test, each check is a subtest:
//
//	func TestConformance(t *testing.T) {
//		eaptest.Conformance(t, eaptest.Config{
//			Start:  eaptest.InProcess(func() eapsdk.Method { return &Method{} }),
//			Server: eaptest.Side{Settings: eapsdk.Config{Secrets: map[string][]byte{"users": file}}},
//			Client: eaptest.Side{Settings: eapsdk.Config{Secrets: map[string][]byte{"password": word}}},
//		})
//	}
//
// A program runs Run and looks at the findings; `trike plugin test` is one. Program starts an executable as trike does, as far as its environment and the first line go; the
// sandbox is triked's own.
//
// Converse has both sides of a method talk to the end over a link that may lose packets, and is of use for an author's own tests.
//
// The package does not link package testing.
package eaptest
