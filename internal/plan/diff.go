package plan

import (
	"bytes"
	"sort"
)

// Kind says what became of an object between two plans.
type Kind string

const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// Change is one object that differs between two plans. What stays as it was is not listed; positions do not count.
type Change struct {
	Kind       Kind
	Object     string // "connection", "child", "secret", "certificate", "authority", "bypass", "gateway"
	Connection string // of a child
	Name       string
	// Anew: the change is one of who talks to whom, so that the connection's SAs are negotiated from the beginning.
	Anew bool
}

// Diff lists what changes from one plan to the next, sorted by object, connection and name. It is what `trike apply` prints and what a reload does.
func Diff(old, new *Plan) []Change {
	a, b := old.withoutPositions(), new.withoutPositions()
	var out []Change
	if a.Gateway != b.Gateway || a.Datapath != b.Datapath || !same(a.Listen, b.Listen) {
		out = append(out, Change{Kind: Changed, Object: "gateway", Name: b.Gateway})
	}
	out = append(out, compare("secret", "", a.Secrets, b.Secrets, func(s Secret) string { return s.Name }, nil)...)
	out = append(out, compare("certificate", "", a.Certificates, b.Certificates, func(c Certificate) string { return c.Name }, nil)...)
	out = append(out, compare("authority", "", a.Authorities, b.Authorities, func(x Authority) string { return x.Name }, nil)...)
	out = append(out, compare("bypass", "", a.Bypass, b.Bypass, func(s Bypass) string { return s.Name }, nil)...)
	without := func(cs []Connection) []Connection {
		out := append([]Connection(nil), cs...)
		for i := range out {
			out[i].Children = nil
		}
		return out
	}
	out = append(out, compare("connection", "", without(a.Connections), without(b.Connections), func(c Connection) string { return c.Name },
		func(x, y Connection) bool { return BeginsAnew(&x, &y) })...)
	children := map[string][]Child{}
	for _, c := range a.Connections {
		children[c.Name] = c.Children
	}
	for _, c := range b.Connections {
		if before, both := children[c.Name]; both {
			out = append(out, compare("child", c.Name, before, c.Children, func(c Child) string { return c.Name }, nil)...)
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		x, y := out[i], out[j]
		if x.Object != y.Object {
			return x.Object < y.Object
		}
		if x.Connection != y.Connection {
			return x.Connection < y.Connection
		}
		return x.Name < y.Name
	})
	return out
}

// BeginsAnew tells whether two versions of a connection differ in who talks to whom: then its SAs cannot stay.
func BeginsAnew(a, b *Connection) bool {
	return a.Local != b.Local || a.Remote != b.Remote || !a.LocalAuth.Equal(b.LocalAuth) || !a.RemoteAuth.Equal(b.RemoteAuth) || a.ForceEncap != b.ForceEncap
}

func compare[T any](object, connection string, old, new []T, name func(T) string, anew func(a, b T) bool) (out []Change) {
	before := make(map[string]T, len(old))
	for _, o := range old {
		before[name(o)] = o
	}
	for _, n := range new {
		o, was := before[name(n)]
		delete(before, name(n))
		switch {
		case !was:
			out = append(out, Change{Kind: Added, Object: object, Connection: connection, Name: name(n)})
		case !same(o, n):
			out = append(out, Change{Kind: Changed, Object: object, Connection: connection, Name: name(n), Anew: anew != nil && anew(o, n)})
		}
	}
	for gone := range before {
		out = append(out, Change{Kind: Removed, Object: object, Connection: connection, Name: gone})
	}
	return out
}

func same(a, b any) bool { return bytes.Equal(canonical(a), canonical(b)) }
