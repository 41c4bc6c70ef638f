package bed

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Capture is a running tcpdump.
type Capture struct {
	proc *Proc
	file string
	host *Host
}

// Capture starts tcpdump on an interface of the host and returns once it listens. filter is in pcap's language.
func (h *Host) Capture(dev, filter string) (*Capture, error) {
	c := &Capture{host: h, file: filepath.Join(h.bed.Dir, h.Name+"-"+dev+".pcap")}
	args := []string{"tcpdump", "--immediate-mode", "-U", "-Z", "root", "-ni", dev, "-w", c.file}
	if filter != "" {
		args = append(args, filter)
	}
	p, err := h.Start("tcpdump-"+dev, nil, args...)
	if err != nil {
		return nil, err
	}
	c.proc = p
	return c, Until(10*time.Second, "tcpdump to listen", func() bool { return strings.Contains(p.Output(), "listening on") })
}

// Stop ends the capture and returns its file, which lives as long as the bed.
func (c *Capture) Stop() string {
	time.Sleep(200 * time.Millisecond) // what is on the wire now still belongs to it
	_ = c.proc.Stop(5 * time.Second)
	return c.file
}

// Count tells how many packets of the capture match a filter in pcap's language.
func (c *Capture) Count(filter string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := c.host.Run(ctx, "sh", "-c", "tcpdump -n -r \"$0\" \"$1\" 2>/dev/null | wc -l", c.file, filter)
	n := 0
	for _, d := range strings.TrimSpace(out) {
		if d < '0' || d > '9' {
			return 0, err
		}
		n = n*10 + int(d-'0')
	}
	return n, err
}

// Contains tells whether the captured bytes hold this text, as they would if it had crossed in clear.
func (c *Capture) Contains(text string) (bool, error) {
	b, err := os.ReadFile(c.file)
	return strings.Contains(string(b), text), err
}
