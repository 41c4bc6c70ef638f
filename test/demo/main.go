// Command demo shows trike's main job in under a minute: a policy becomes a live tunnel between two gateways, each with a host
// behind it, all of them network namespaces on this machine. KEEP=1 leaves it running and says what to try next.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/trike-ipsec/trike/test/bed"
)

func main() {
	bin := flag.String("bin", "bin", "folder with trike and its processes")
	serve := flag.String("serve", "", "(inside a namespace) take one TCP stream at this address, answer with its hash")
	send := flag.String("send", "", "(inside a namespace) send a TCP stream to this address, check its hash")
	flag.Parse()
	var err error
	switch {
	case *serve != "":
		err = serveStream(*serve)
	case *send != "":
		err = sendStream(*send)
	default:
		err = run(*bin, os.Getenv("KEEP") != "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run: the two gateways berlin and paris, the network between them and a host behind each.
type demo struct {
	bin, dir                       string
	bed                            *bed.Bed
	berlin, paris, net, alice, bob *bed.Host
	wan                            string // the interface of net towards berlin
	capture                        *bed.Capture
	gateways                       map[string]*bed.Proc
	steps                          int
	start                          time.Time
}

func run(bin string, keep bool) error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces, TUN and XFRM need root: run `sudo make demo`")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	d := &demo{bin: bin, start: time.Now(), gateways: map[string]*bed.Proc{}, bed: bed.New("demo")}
	d.dir = d.bed.Dir
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, d.bed.Close)
	for _, step := range []func() error{d.layout, d.policy, d.compile, d.noClearBefore, d.gatewaysUp, d.tunnelUp, d.traffic, d.rekeys, d.status} {
		if err := step(); err != nil {
			d.explain()
			if keep {
				d.tryNext()
			} else {
				d.bed.Close()
			}
			return err
		}
	}
	if keep {
		d.tryNext()
		return nil
	}
	d.step("Clean up")
	d.bed.Close()
	fmt.Printf("\nDone in %v.\n", time.Since(d.start).Round(time.Second))
	return nil
}

func (d *demo) step(format string, args ...any) {
	d.steps++
	fmt.Printf("\n\033[1m%d. %s\033[0m\n", d.steps, fmt.Sprintf(format, args...))
}

func say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

func show(text string) {
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		fmt.Println("   │ " + line)
	}
}

func (d *demo) layout() error {
	d.step("Lay out five hosts")
	b := d.bed
	d.alice, d.berlin, d.net, d.paris, d.bob = b.Host("alice"), b.Host("berlin"), b.Host("net"), b.Host("paris"), b.Host("bob")
	b.Wire(d.alice, "10.1.0.2/16", d.berlin, "10.1.0.1/16")
	_, d.wan = b.Wire(d.berlin, "198.51.100.1/24", d.net, "198.51.100.254/24")
	b.Wire(d.net, "203.0.113.254/24", d.paris, "203.0.113.1/24")
	b.Wire(d.paris, "10.2.0.1/16", d.bob, "10.2.0.2/16")
	d.alice.Route("default", "10.1.0.1")
	d.berlin.Route("default", "198.51.100.254")
	d.paris.Route("default", "203.0.113.254")
	d.bob.Route("default", "10.2.0.1")
	// The network between would deliver clear text, so that what stays away stays away by trike's doing.
	d.net.Route("10.1.0.0/16", "198.51.100.1")
	d.net.Route("10.2.0.0/16", "203.0.113.1")
	if err := b.Err(); err != nil {
		return err
	}
	say("alice 10.1.0.2 ── berlin 198.51.100.1 ══ the network ══ 203.0.113.1 paris ── 10.2.0.2 bob")
	got, out := d.alice.Ping("10.2.0.2", "", 2, 200*time.Millisecond)
	if got != 2 {
		return fmt.Errorf("the hosts cannot reach each other: %s", out)
	}
	say("without trike, alice reaches bob in clear")
	return nil
}

// policy is the README's first policy, with its secret in this demo's folder.
func (d *demo) policy() error {
	d.step("Write a policy")
	text, err := os.ReadFile("examples/site-to-site/policy.cue")
	if err != nil {
		return err
	}
	for _, site := range []string{"policy", "secrets"} {
		if err := os.MkdirAll(filepath.Join(d.dir, site), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(d.dir, "secrets/berlin-paris.psk"), []byte("a demo is the only place for a secret in a source file\n"), 0o400); err != nil {
		return err
	}
	text = []byte(strings.ReplaceAll(string(text), "/etc/trike/secrets", filepath.Join(d.dir, "secrets")))
	show(string(text))
	return os.WriteFile(filepath.Join(d.dir, "policy/policy.cue"), text, 0o644)
}

func (d *demo) compile() error {
	d.step("Check it, and compile a plan for each gateway")
	for _, args := range [][]string{
		{"vet", filepath.Join(d.dir, "policy")},
		{"compile", "-o", filepath.Join(d.dir, "plans"), filepath.Join(d.dir, "policy")},
	} {
		if err := d.trike(d.berlin, args...); err != nil {
			return err
		}
	}
	return nil
}

// trike runs one command on a host and shows it with what it says.
func (d *demo) trike(h *bed.Host, args ...string) error {
	shown := strings.ReplaceAll(strings.Join(args, " "), d.dir+"/", "")
	fmt.Printf("   %s$ trike %s\n", h.Name, shown)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := h.Run(ctx, append([]string{filepath.Join(d.bin, "trike")}, args...)...)
	if out != "" {
		show(strings.ReplaceAll(out, d.dir+"/", ""))
	}
	return err
}

func (d *demo) control(h *bed.Host) string { return filepath.Join(d.dir, h.Name, "control.sock") }

func (d *demo) noClearBefore() error {
	d.step("Start berlin alone: what policy protects no longer leaves in clear")
	if err := d.startGateway(d.berlin); err != nil {
		return err
	}
	c, err := d.net.Capture(d.wan, "net 10.0.0.0/8")
	if err != nil {
		return err
	}
	got, _ := d.alice.Ping("10.2.0.2", "", 5, 200*time.Millisecond)
	c.Stop()
	n, err := c.Count("")
	if err != nil || got != 0 || n != 0 {
		return fmt.Errorf("%d answers and %d clear packets on the wire before the tunnel was up, want none (%w)", got, n, err)
	}
	say("5 pings sent, none answered, 0 clear packets on the wire")
	return nil
}

func (d *demo) startGateway(h *bed.Host) error {
	dir := filepath.Join(d.dir, h.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	p, err := h.Start("triked", nil, filepath.Join(d.bin, "triked"), "--plan", filepath.Join(d.dir, "plans", h.Name+".plan.json"),
		"--control", d.control(h), "--state", dir, "--libexec", d.bin)
	if err != nil {
		return err
	}
	d.gateways[h.Name] = p
	return bed.Until(15*time.Second, h.Name+" to be ready", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := h.Run(ctx, filepath.Join(d.bin, "trike"), "status", "--control", d.control(h))
		return err == nil || !p.Running()
	})
}

func (d *demo) gatewaysUp() error {
	d.step("Start paris")
	return d.startGateway(d.paris)
}

func (d *demo) tunnelUp() (err error) {
	d.step("Bring the tunnel up")
	if d.capture, err = d.net.Capture(d.wan, ""); err != nil {
		return err
	}
	return d.trike(d.berlin, "up", "--control", d.control(d.berlin), "berlin-paris")
}

func (d *demo) traffic() error {
	d.step("Traffic across: ping, and 16 MiB over TCP")
	got, out := d.alice.Ping("10.2.0.2", "", 10, 50*time.Millisecond)
	if got != 10 {
		return fmt.Errorf("%d of 10 pings came back: %s", got, out)
	}
	say("10 of 10 pings came back")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := d.bob.Start("stream", nil, self, "-serve", "10.2.0.2:9000"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err = d.alice.Run(ctx, self, "-send", "10.2.0.2:9000")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	say("%s", strings.TrimSpace(out))
	return nil
}

func (d *demo) rekeys() error {
	d.step("Rekey the child and the IKE SA under traffic")
	type result struct {
		got int
		out string
	}
	done := make(chan result)
	const count = 100
	go func() {
		got, out := d.alice.Ping("10.2.0.2", "", count, 30*time.Millisecond)
		done <- result{got, out}
	}()
	time.Sleep(500 * time.Millisecond)
	if err := d.trike(d.berlin, "rekey", "--control", d.control(d.berlin), "berlin-paris"); err != nil {
		return err
	}
	if err := d.trike(d.paris, "rekey", "--control", d.control(d.paris), "--ike", "berlin-paris"); err != nil {
		return err
	}
	r := <-done
	if r.got != count {
		return fmt.Errorf("%d of %d pings came back during the rekeys: %s", r.got, count, r.out)
	}
	say("%d of %d pings came back", r.got, count)
	d.capture.Stop()
	esp, err := d.capture.Count("esp or udp port 4500")
	if err != nil {
		return err
	}
	clear, err := d.capture.Count("net 10.0.0.0/8")
	if err != nil {
		return err
	}
	canary, err := d.capture.Contains(canary)
	if err != nil {
		return err
	}
	if esp == 0 || clear != 0 || canary {
		return fmt.Errorf("the capture between the gateways: %d ESP packets, %d in clear, canary seen: %v", esp, clear, canary)
	}
	say("on the wire between them: %d ESP packets, 0 packets in clear, the stream's text nowhere", esp)
	return nil
}

func (d *demo) status() error {
	d.step("What the gateway says of itself")
	return d.trike(d.berlin, "status", "--control", d.control(d.berlin))
}

// explain shows the end of both gateways' logs when something went wrong.
func (d *demo) explain() {
	for name, p := range d.gateways {
		lines := strings.Split(strings.TrimSpace(p.Output()), "\n")
		if len(lines) > 25 {
			lines = lines[len(lines)-25:]
		}
		fmt.Printf("\n   %s's log, its end:\n", name)
		show(strings.Join(lines, "\n"))
	}
}

func (d *demo) tryNext() {
	trike := filepath.Join(d.bin, "trike")
	fmt.Printf("\nIt keeps running. Try:\n")
	for _, c := range []string{
		"ip netns exec demo-alice ping 10.2.0.2",
		"ip netns exec demo-net tcpdump -ni " + d.wan,
		trike + " status --control " + d.control(d.berlin),
		trike + " log --follow --control " + d.control(d.paris),
		trike + " down --control " + d.control(d.berlin) + " berlin-paris",
		"$EDITOR " + d.dir + "/policy/policy.cue && " + trike + " apply --control " + d.control(d.berlin) + " --gateway berlin " + d.dir + "/policy",
	} {
		fmt.Println("  " + c)
	}
	fmt.Println("End it with:")
	var pids []string
	for _, p := range d.gateways {
		pids = append(pids, fmt.Sprint(p.PID()))
	}
	fmt.Printf("  kill %s; for h in alice berlin net paris bob; do ip netns del demo-$h; done; rm -r %s\n", strings.Join(pids, " "), d.dir)
}
