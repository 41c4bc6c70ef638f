package supervise

import (
	"errors"
	"io"
	"time"
)

// Config is what triked works with.
type Config struct {
	Version string // said by all programs of one build: others are refused
	// Plan is the file of a plan, or "". It is put in force at start, unless the operator has applied another since it was last read.
	Plan string
	// State is the folder of the last good plan and of the processes' empty root directory.
	State string
	// Credentials is the folder of systemd's credentials ($CREDENTIALS_DIRECTORY), or "".
	Credentials string
	// Control is the path of the operator's socket.
	Control string
	// Libexec is the folder of the programs ikeproc, authproc and xfrmproc.
	Libexec string
	// Flush takes protection away when triked ends. Without it what policy protects is held back until trike runs again.
	Flush bool
	// Log gets the log's lines, as JSON if LogJSON, else for people.
	Log     io.Writer
	LogJSON bool
	// Notify is systemd's notification socket, or "".
	Notify string

	Patience Patience
}

// Patience is how long triked waits for what. Zero fields take the default.
type Patience struct {
	Hello    time.Duration // from a process's start to its first word; default 10 s
	Prepare  time.Duration // for all Prepared; default 60 s, a plan may be large
	Commit   time.Duration // for each Committed; default 60 s
	Trio     time.Duration // for processes that are being started again to be there for an apply; default 15 s
	Status   time.Duration // for a process's part of the status; default 3 s
	Shutdown time.Duration // for the Deletes to the peers; default 5 s
	Backoff  time.Duration // before the first new start of a process; doubles; default 250 ms
	MaxWait  time.Duration // the back-off's bound; default 30 s
	Stable   time.Duration // a process that lived this long has its back-off forgotten; default 60 s
}

func (p Patience) withDefaults() Patience {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&p.Hello, 10 * time.Second}, {&p.Prepare, time.Minute}, {&p.Commit, time.Minute}, {&p.Trio, 15 * time.Second}, {&p.Status, 3 * time.Second},
		{&p.Shutdown, 5 * time.Second}, {&p.Backoff, 250 * time.Millisecond}, {&p.MaxWait, 30 * time.Second}, {&p.Stable, time.Minute}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	return p
}

func (c *Config) validate() error {
	if c.State == "" || c.Control == "" || c.Libexec == "" {
		return errors.New("a state folder, a control socket and a folder of programs are needed")
	}
	if c.Log == nil {
		c.Log = io.Discard
	}
	c.Patience = c.Patience.withDefaults()
	return nil
}
