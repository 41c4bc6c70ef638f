package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/metrics"
	"syscall"
	"time"
)

// maxMemory is how many octets a compilation may hold at a time. Ten thousand connections need a tenth of it.
const maxMemory = 4 << 30

// bounded ends with an interrupt, after the time, or when the program holds too much memory. A policy is a program, and may be one that never ends. What
// the compiler was doing then goes on in the background, so the caller should exit soon.
func bounded(most time.Duration) (context.Context, context.CancelFunc) {
	ctx, interrupted := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, late := context.WithTimeoutCause(ctx, most, fmt.Errorf("it took longer than %v (--timeout allows more)", most))
	ctx, heavy := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		held := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if metrics.Read(held); held[0].Value.Uint64() > maxMemory {
					heavy(fmt.Errorf("it needs more than %d GiB of memory", maxMemory>>30))
				}
			}
		}
	}()
	return ctx, func() { heavy(nil); late(); interrupted() }
}
