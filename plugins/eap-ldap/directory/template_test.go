package directory

import (
	"fmt"

	"github.com/go-ldap/ldap/v3"
)

// oneValue reports a DN that is not uid=name,dc=example.
func oneValue(dn, name string) error {
	p, err := ldap.ParseDN(dn)
	if err != nil {
		return err
	}
	if len(p.RDNs) != 2 || len(p.RDNs[0].Attributes) != 1 || p.RDNs[0].Attributes[0].Value != name {
		return fmt.Errorf("%q", dn)
	}
	return nil
}

// oneAssertion reports a filter that is not an equality with name.
func oneAssertion(filter, name string) error {
	p, err := ldap.CompileFilter(filter)
	if err != nil {
		return err
	}
	if p.Tag != ldap.FilterEqualityMatch || len(p.Children) != 2 || p.Children[1].Data.String() != name {
		return fmt.Errorf("%q", filter)
	}
	return nil
}
