package bed

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

const sigTerm = syscall.SIGTERM

// Until polls check until it is true or the time is over; what names the thing waited for in the error.
func Until(limit time.Duration, what string, check func() bool) error {
	end := time.Now().Add(limit)
	for !check() {
		if time.Now().After(end) {
			return fmt.Errorf("gave up after %v waiting for %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

// Ping sends count echo requests at this interval from src (empty: any) and returns how many came back. The 5 s beyond the
// schedule are for the last answer.
func (h *Host) Ping(dst, src string, count int, interval time.Duration) (received int, out string) {
	args := []string{"ping", "-n", "-c", fmt.Sprint(count), "-i", fmt.Sprintf("%.3f", interval.Seconds()), "-W", "2"}
	if src != "" {
		args = append(args, "-I", src)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(count)*interval+10*time.Second)
	defer cancel()
	out, _ = h.Run(ctx, append(args, dst)...)
	return PingReceived(out), out
}

// PingReceived reads "n received" from ping's closing lines; -1 where there is none.
func PingReceived(out string) int {
	var sent, got int
	for i := 0; i < len(out); i++ {
		if n, _ := fmt.Sscanf(out[i:], "%d packets transmitted, %d received", &sent, &got); n == 2 {
			return got
		}
	}
	return -1
}
