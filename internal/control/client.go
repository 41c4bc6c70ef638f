package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
)

// Client is one end of the socket. Each call is a connection of its own.
type Client struct{ Socket string }

// Do sends a request, with a plan for apply, and returns the last line of the answer. Events, if not nil, gets the events of a log. An
// error of the gateway's comes as *GatewayError.
func (c Client) Do(ctx context.Context, q Request, body []byte, events func(status.Event) error) (Reply, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return Reply{}, fmt.Errorf("no gateway answers at %s: is triked running? (%w)", c.Socket, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	q.Size = len(body)
	b, err := json.Marshal(q)
	if err != nil {
		return Reply{}, err
	}
	// A gateway that refuses may answer before it has read all: what it says is better than the error of the write.
	_, writeErr := conn.Write(append(append(b, '\n'), body...))
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		line, err := readLine(r, maxReply)
		if err != nil {
			if ctx.Err() != nil {
				return Reply{}, ctx.Err()
			}
			return Reply{}, fmt.Errorf("the gateway hung up before its answer was complete: %w", errors.Join(err, writeErr))
		}
		var reply Reply
		if err := json.Unmarshal(line, &reply); err != nil {
			return Reply{}, fmt.Errorf("the gateway's answer makes no sense: %w", err)
		}
		if reply.Event != nil && events != nil {
			if err := events(*reply.Event); err != nil {
				return Reply{}, err
			}
		}
		if reply.Done {
			if reply.Error != "" {
				return reply, &GatewayError{reply.Error}
			}
			return reply, nil
		}
	}
}

// GatewayError is what the gateway says went wrong.
type GatewayError struct{ Text string }

func (e *GatewayError) Error() string { return e.Text }
