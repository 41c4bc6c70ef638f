package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// planFile is one file that a plan names and that authproc is handed: triked opens it, and reads none of it.
type planFile struct {
	msg.File
	path       string
	credential string // the name of a systemd credential, in place of path
	pos        plan.Pos
}

// filesOf lists what a plan names, in the order in which it is opened and handed over. The file of leases, which is triked's, comes last.
func filesOf(p *plan.Plan) (out []planFile) {
	for _, x := range p.Secrets {
		out = append(out, planFile{msg.File{Kind: "secret", Name: x.Name}, x.File, x.Credential, x.Pos})
	}
	for _, x := range p.Certificates {
		if x.File != "" {
			out = append(out, planFile{msg.File{Kind: "certificate", Name: x.Name}, x.File, "", x.Pos})
		}
	}
	for _, x := range p.Authorities {
		if x.File != "" {
			out = append(out, planFile{msg.File{Kind: "authority", Name: x.Name}, x.File, "", x.Pos})
		}
		for _, list := range x.CRLFiles {
			out = append(out, planFile{msg.File{Kind: "crl", Name: x.Name}, list, "", x.Pos})
		}
	}
	if len(p.Pools) > 0 {
		out = append(out, planFile{File: msg.File{Kind: leasesKind, Name: "leases"}})
	}
	return out
}

const leasesKind = "leases"

// stampOf is the same for the same files as they are: a key or a certificate that was put in another's place gives another one.
func stampOf(files []*os.File) string {
	h := sha256.New()
	for i, f := range files {
		if f == nil {
			continue
		}
		info, err := f.Stat()
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && f.Name() != leasesKind {
			fmt.Fprintln(h, i, st.Dev, st.Ino, info.Size(), info.ModTime().UnixNano(), info.Mode(), st.Uid)
		}
	}
	_, _ = io.WriteString(h, "files")
	return hex.EncodeToString(h.Sum(nil))
}

// restamped says how the files of a plan look that is in force already.
type restamped struct {
	r     *applyRequest
	stamp string
}

// lookAgain looks, away from the loop, whether a file changed of a plan that is applied once more: that is how keys, certificates and lists are rotated.
func (s *supervisor) lookAgain(r *applyRequest) {
	go func() {
		files, _ := s.host.Secrets(r.v.plan)
		e := restamped{r, stampOf(files)}
		closeAll(files)
		s.post(e)
	}()
}
