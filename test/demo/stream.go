package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// canary stands all through the stream: seen on the wire, it would prove a leak.
const canary = "clear-text-canary"

const streamSize = 16 << 20

// stream is the text that crosses the tunnel.
func stream() io.Reader {
	return io.LimitReader(strings.NewReader(strings.Repeat(canary+"\n", streamSize/len(canary))), streamSize)
}

// serveStream takes one stream and answers with its SHA-256.
func serveStream(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	h := sha256.New()
	if _, err := io.CopyN(h, c, streamSize); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c, hex.EncodeToString(h.Sum(nil)))
	return err
}

// sendStream sends the stream and checks what arrived.
func sendStream(addr string) error {
	var c net.Conn
	var err error
	for range 50 { // the other end may still be starting
		if c, err = net.DialTimeout("tcp", addr, 5*time.Second); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	start := time.Now()
	h := sha256.New()
	if _, err := io.Copy(c, io.TeeReader(stream(), h)); err != nil {
		return err
	}
	var got string
	if _, err := fmt.Fscanln(c, &got); err != nil {
		return err
	}
	if want := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("the stream arrived changed: SHA-256 %s, sent %s", got, want)
	}
	took := time.Since(start)
	fmt.Printf("%d MiB arrived with the right SHA-256, at %.0f Mbit/s\n", streamSize>>20, float64(streamSize)*8/1e6/took.Seconds())
	return nil
}
