// Package control is what is said on triked's control socket: `trike status`, up, down, rekey, apply and log on one end, triked on the
// other.
//
// A connection carries one request: a line of JSON, and for apply the plan's octets behind it. The answer is lines of JSON; the last one has
// Done set. The socket belongs to root alone (mode 0600), and the server asks the kernel who calls.
//
//	c := control.Client{Socket: control.DefaultSocket}
//	r, err := c.Do(ctx, control.Request{Verb: control.Up, Connection: "office", Wait: true}, nil, nil)
package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// DefaultSocket is where triked listens unless it is told otherwise.
const DefaultSocket = "/run/trike/control.sock"

// Verbs of a request.
const (
	Status = "status"
	Up     = "up"
	Down   = "down"
	Rekey  = "rekey"
	Apply  = "apply"
	Log    = "log"
)

// maxLine bounds a request's line in octets, maxReply that of an answer: a status of many connections is long.
const (
	maxLine  = 16 << 10
	maxReply = 512 << 20
)

// Request is what the operator wants.
type Request struct {
	Verb       string `json:"verb"`
	Connection string `json:"connection,omitempty"`
	Child      string `json:"child,omitempty"`
	IKE        bool   `json:"ike,omitempty"`    // rekey: the IKE SA instead of the children
	Wait       bool   `json:"wait,omitempty"`   // answer at the end, not at the beginning
	Follow     bool   `json:"follow,omitempty"` // log: go on
	Size       int    `json:"size,omitempty"`   // apply: octets of the plan that follow the line
	Rename     bool   `json:"rename,omitempty"` // apply: the plan may be of a gateway of another name than the one in force
}

// Reply is one line of an answer.
type Reply struct {
	Done    bool            `json:"done,omitempty"`
	Error   string          `json:"error,omitempty"`
	Status  *status.Gateway `json:"status,omitempty"`
	Event   *status.Event   `json:"event,omitempty"`
	Applied *Applied        `json:"applied,omitempty"`
}

// Applied is what an apply came to.
type Applied struct {
	Serial  uint64   `json:"serial"`
	Hash    string   `json:"hash"`
	Changes []Change `json:"changes"` // empty when the plan was in force already
	// Problems are what does not keep the plan from being in force and still needs somebody: a secret that cannot be read.
	Problems []string `json:"problems,omitempty"`
}

// Change is one object that changed, as plan.Diff has it.
type Change struct {
	Kind       string `json:"kind"`
	Object     string `json:"object"`
	Connection string `json:"connection,omitempty"`
	Name       string `json:"name"`
}

// ErrRequest is a request that is none.
var ErrRequest = errors.New("malformed request")

// ReadRequest reads and checks one request's line.
func ReadRequest(r *bufio.Reader) (q Request, err error) {
	line, err := readLine(r, maxLine)
	if err != nil {
		return q, err
	}
	if err := json.Unmarshal(line, &q); err != nil {
		return q, fmt.Errorf("%w: %v", ErrRequest, err)
	}
	needsName := false
	switch q.Verb {
	case Status, Log:
	case Up, Down, Rekey:
		needsName = true
	case Apply:
		if q.Size <= 0 || q.Size > plan.MaxSize {
			return q, fmt.Errorf("%w: a plan of %d octets, want 1 to %d", ErrRequest, q.Size, plan.MaxSize)
		}
	default:
		return q, fmt.Errorf("%w: unknown verb %q", ErrRequest, q.Verb)
	}
	if needsName && q.Connection == "" || len(q.Connection) > 256 || len(q.Child) > 256 {
		return q, fmt.Errorf("%w: %s needs the name of a connection, of 256 octets at most", ErrRequest, q.Verb)
	}
	return q, nil
}

// readLine reads up to a newline, and no more than most octets.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > most {
			return nil, fmt.Errorf("%w: a line of more than %d octets", ErrRequest, most)
		}
		switch err {
		case nil:
			return line, nil
		case bufio.ErrBufferFull:
		case io.EOF:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}
