package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// version is a plan with what belongs to it while it is in force or on the way there.
type version struct {
	plan     *plan.Plan
	bytes    []byte
	hash     plan.Hash
	views    map[msg.Process][]byte
	serial   uint64
	datapath plan.Datapath
	why      string
	open     *openings
	since    time.Time
	stamp    string        // of the files that the plan names, as they were opened
	changes  []plan.Change // against the plan before
}

// newVersion decodes a plan. want is the hash that its sender computed, or "": a plan that changed in between is refused.
func newVersion(b []byte, want string) (*version, error) {
	p, err := plan.Decode(b)
	if err != nil {
		return nil, err
	}
	v := &version{plan: p, bytes: b, hash: p.Hash()}
	if want != "" && want != v.hash.String() {
		return nil, fmt.Errorf("the plan's hash is %s and should be %s: it was changed after it was hashed. Nothing was applied", v.hash, want)
	}
	v.views = map[msg.Process][]byte{msg.IKEProc: plan.EncodeView(p.IKE()), msg.AuthProc: plan.EncodeView(p.Auth()), msg.XFRMProc: plan.EncodeView(p.XFRM())}
	return v, nil
}

// same tells whether applying v after o would change nothing, not even the lines that messages name.
func (v *version) same(o *version) bool { return o != nil && bytes.Equal(v.bytes, o.bytes) }

// prepare is the Prepare of this version for a process, with its descriptors. They are for it alone, as those of the version may be closed before it has left: after closes them.
func (v *version) prepare(name msg.Process, key secret.Bytes, secrets []*os.File) (outgoing, error) {
	m := &msg.Prepare{Serial: v.serial, Hash: v.hash, View: v.views[name]}
	out := outgoing{m: m}
	var err error
	switch name {
	case msg.IKEProc:
		m.Files = v.open.forIKE
		out.files, err = v.open.files(m.Files)
	case msg.XFRMProc:
		m.GrantKey = key
		m.Files = v.open.forXFRM
		out.files, err = v.open.files(m.Files)
	case msg.AuthProc:
		m.GrantKey = key
		for i, x := range filesOf(v.plan) {
			if secrets[i] != nil {
				m.Files = append(m.Files, x.File)
				out.files = append(out.files, secrets[i])
			}
		}
	}
	out.after = func() { closeAll(out.files) }
	return out, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// at says which line of policy a position is, for the operator.
func (v *version) at(p plan.Pos) string {
	if p.Line == 0 {
		return ""
	}
	name := fmt.Sprintf("source %d", p.File)
	if p.File >= 0 && p.File < len(v.plan.Sources) {
		name = v.plan.Sources[p.File]
	}
	return fmt.Sprintf("%s:%d:%d", name, p.Line, p.Column)
}

// secretErrors joins why files cannot be had, each with its policy line.
func (v *version) secretErrors(errs []error) error {
	var out []error
	for i, x := range filesOf(v.plan) {
		if i < len(errs) && errs[i] != nil {
			out = append(out, fmt.Errorf("%s %q (%s): %w", x.Kind, x.Name, v.at(x.pos), errs[i]))
		}
	}
	return errors.Join(out...)
}
