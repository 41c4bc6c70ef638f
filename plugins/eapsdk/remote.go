package eapsdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	wire "github.com/trike-ipsec/trike/plugins/eapsdk/trikeeapv1"
)

// Remote is a plugin as its user sees it: trike, or a test. What the plugin says is bounded and checked; an error tells what was wrong with it.
type Remote struct {
	conn       *grpc.ClientConn
	method     wire.MethodClient
	accounting wire.AccountingClient
}

// Connect speaks to the plugin at the other end of c, which is closed with the Remote. It does not wait for the plugin.
func Connect(c net.Conn) (*Remote, error) {
	var once sync.Once
	conn, err := grpc.NewClient("passthrough:///plugin", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0), grpc.WithUserAgent(Protocol),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)), grpc.WithMaxHeaderListSize(16<<10),
		grpc.WithContextDialer(func(context.Context, string) (out net.Conn, err error) {
			err = errors.New("the connection to the plugin is gone")
			once.Do(func() { out, err = c, nil })
			return out, err
		}))
	if err != nil {
		return nil, err
	}
	return &Remote{conn: conn, method: wire.NewMethodClient(conn), accounting: wire.NewAccountingClient(conn)}, nil
}

// Close ends the connection; calls under way fail.
func (r *Remote) Close() error { return r.conn.Close() }

// Describe asks what the plugin is.
func (r *Remote) Describe(ctx context.Context) (Description, error) {
	w, err := r.method.Describe(ctx, &wire.DescribeRequest{})
	if err != nil {
		return Description{}, plain(err)
	}
	return description(w)
}

// Configure tells the plugin its settings.
func (r *Remote) Configure(ctx context.Context, c Config) error {
	w, err := r.method.Configure(ctx, &wire.Config{Values: c.Values, Secrets: c.Secrets})
	if err != nil {
		return plain(err)
	}
	if w.GetError() != "" {
		return errors.New(clip(w.GetError()))
	}
	return nil
}

// Begin opens the session of this number, which is not used twice.
func (r *Remote) Begin(ctx context.Context, id uint64, b Begin) (Step, error) {
	w, err := r.method.Begin(ctx, b.wire(id))
	if err != nil {
		return Step{}, plain(err)
	}
	return step(w, b.Role)
}

// Next goes on with a session of this role.
func (r *Remote) Next(ctx context.Context, id uint64, role Role, packet []byte) (Step, error) {
	w, err := r.method.Next(ctx, &wire.NextRequest{Id: id, Packet: packet})
	if err != nil {
		return Step{}, plain(err)
	}
	return step(w, role)
}

// Abort ends a session.
func (r *Remote) Abort(ctx context.Context, id uint64, reason string) error {
	_, err := r.method.Abort(ctx, &wire.AbortRequest{Id: id, Reason: clip(reason)})
	return plain(err)
}

// Account tells the plugin of a session.
func (r *Remote) Account(ctx context.Context, rec Record) error {
	w, err := r.accounting.Account(ctx, rec.wire())
	if err != nil {
		return plain(err)
	}
	if w.GetError() != "" {
		return errors.New(clip(w.GetError()))
	}
	return nil
}

// Commands hands on what the plugin's back end wants, until ctx or the connection ends, or the plugin says what makes no sense.
func (r *Remote) Commands(ctx context.Context, deliver func(Command) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.accounting.Commands(ctx)
	if err != nil {
		return plain(err)
	}
	for {
		w, err := stream.Recv()
		if err != nil {
			return plain(err)
		}
		c, err := command(w)
		if err != nil {
			return err
		}
		if err := stream.Send(&wire.Delivered{Id: w.GetId(), Known: deliver(c)}); err != nil {
			return plain(err)
		}
	}
}

// Drain takes what a plugin made with go-plugin writes to its standard output after its start, until ctx or the connection ends: otherwise the plugin would wait for a reader.
func (r *Remote) Drain(ctx context.Context) {
	stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil || stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	for stream.RecvMsg(&emptypb.Empty{}) == nil {
	}
}

// plain is an error without gRPC's dressing, in one line: a plugin writes it.
func plain(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Errorf("%v: %s", s.Code(), clip(s.Message()))
	}
	return errors.New(clip(err.Error()))
}
