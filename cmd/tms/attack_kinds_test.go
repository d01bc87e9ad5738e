package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/loopback"
)

// attack is what somebody does to a server until ctx ends.
type attack struct {
	name   string
	run    func(ctx context.Context, s *target)
	secure bool // over TLS
}

var attacks = []attack{
	{"2,000 connections that send a header, a line a second", slowHeaders, false},
	{"10,000 idle connections", idleConnections, false},
	{"400 connections a second that send nothing", connectAndLeave, false},
	{"bodies of 1 GB that are announced, 50 a second", announcedBodies, false},
	{"bodies of 1 GB that are not, 10 a second", endlessBodies, false},
	{"10,000 header lines, 50 a second", manyHeaders, false},
	{"wrong keys, 1,000 a second", wrongKeys, false},
	{"one key, 2,000 a second, which is 10 times its limit", overTheLimit, false},
	{"2,000 assigns that wait for what does not come, and ask again", manyWaiters, false},
	{"400 TLS connections a second that do not greet", connectAndLeave, true},
	{"20 connections of HTTP/2 with 100 bodies each that do not come", slowStreams, true},
	{"HTTP/2 rapid reset, 10,000 a second", rapidReset, true},
}

// often calls f so many times a second, evenly, by so many at once, until ctx ends.
func often(ctx context.Context, perSecond, atOnce int, f func()) {
	var working sync.WaitGroup
	for i := range atOnce {
		working.Go(func() {
			sleepUntil(ctx, time.Second*time.Duration(i)/time.Duration(perSecond))
			for ctx.Err() == nil {
				start := time.Now()
				f()
				time.Sleep(time.Second*time.Duration(atOnce)/time.Duration(perSecond) - time.Since(start))
			}
		})
	}
	working.Wait()
}

// connections opens so many, sends a text over each, and calls f for it about once a second until ctx ends. One of
// which f returns an error is opened anew.
func (s *target) connections(ctx context.Context, count int, hello string, f func(net.Conn) error) {
	var working sync.WaitGroup
	for i := range count / s.share {
		if ctx.Err() != nil {
			break
		}
		conn, err := s.dial(hello)
		working.Go(func() {
			for err == nil && ctx.Err() == nil {
				sleepUntil(ctx, time.Second+time.Duration(i%1000)*time.Millisecond)
				if f(conn) != nil {
					conn.Close()
					conn, err = s.dial(hello)
				}
			}
			if err == nil {
				conn.Close()
			}
		})
	}
	working.Wait()
}

func (s *target) dial(hello string) (net.Conn, error) {
	conn, err := net.Dial("tcp", s.address)
	if err == nil {
		io.WriteString(conn, hello)
	}
	return conn, err
}

func sleepUntil(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func slowHeaders(ctx context.Context, s *target) {
	s.connections(ctx, 2_000, "POST /assign-token HTTP/1.1\r\nHost: tms\r\n", func(c net.Conn) error {
		_, err := io.WriteString(c, "X-A: b\r\n")
		return err
	})
}

func idleConnections(ctx context.Context, s *target) {
	s.connections(ctx, 10_000, "", func(c net.Conn) error {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err == io.EOF {
			return err
		}
		return nil
	})
}

func connectAndLeave(ctx context.Context, s *target) {
	often(ctx, 400, 8, func() {
		if conn, err := net.Dial("tcp", s.address); err == nil {
			conn.Close()
		}
	})
}

// raw sends a text, and then what there is of a body, until the server closes the connection.
func (s *target) raw(ctx context.Context, head string, body io.Reader) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	io.WriteString(conn, head)
	io.Copy(conn, body)
	conn.SetReadDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, conn)
}

func (s *target) post(more string) string {
	return fmt.Sprintf("POST /assign-token HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\n%s\r\n", s.address, s.noisy, more)
}

func announcedBodies(ctx context.Context, s *target) {
	often(ctx, 50, 4, func() {
		s.raw(ctx, s.post("Content-Length: 1073741824\r\n"), io.LimitReader(endless(" "), 1<<20))
	})
}

func endlessBodies(ctx context.Context, s *target) {
	often(ctx, 10, 8, func() {
		s.raw(ctx, s.post("Transfer-Encoding: chunked\r\n"),
			io.LimitReader(endless("4000\r\n"+strings.Repeat(" ", 1<<14)+"\r\n"), 1<<30))
	})
}

// endless repeats a text.
type endless string

func (e endless) Read(p []byte) (n int, _ error) {
	if len(p) < len(e) {
		return copy(p, e), nil
	}
	for len(p)-n >= len(e) {
		n += copy(p[n:], e)
	}
	return n, nil
}

func manyHeaders(ctx context.Context, s *target) {
	head := s.post(strings.Repeat("X-A: b\r\n", 10_000) + "Content-Length: 2\r\n")
	often(ctx, 50, 4, func() { s.raw(ctx, head, strings.NewReader("{}")) })
}

func wrongKeys(ctx context.Context, s *target) {
	often(ctx, 1_000, 16, func() { s.ask(access.NewKey(), http.MethodGet, "/pools/default", "") })
}

func overTheLimit(ctx context.Context, s *target) {
	often(ctx, 2_000, 32, func() { s.ask(s.noisy, http.MethodGet, "/pools/default", "") })
}

func manyWaiters(ctx context.Context, s *target) {
	s.ask(s.noisy, http.MethodPut, "/pools/empty", "{}")
	body := `{"pool":"empty","wait":"20s"}`
	request := s.post(fmt.Sprintf("Content-Length: %d\r\n", len(body))) + body
	s.connections(ctx, 2_000, request, func(c net.Conn) (err error) {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if n, _ := c.Read(make([]byte, 4096)); n > 0 { // it was answered
			_, err = io.WriteString(c, request)
		}
		return err
	})
}

// greet opens a connection of HTTP/2, whose frames it reads and drops.
func (s *target) greet(ctx context.Context) (*loopback.HTTP2, error) {
	conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	h, err := loopback.NewHTTP2(conn)
	go func() {
		for err == nil {
			_, _, _, err = h.Read()
		}
		conn.Close()
	}()
	return h, err
}

// slowStreams begins requests whose bodies do not come, a hundred over each connection, and anew where that was closed.
func slowStreams(ctx context.Context, s *target) {
	often(ctx, 20, 20, func() {
		h, err := s.greet(ctx)
		for n := 0; err == nil && ctx.Err() == nil; n++ {
			if _, err = h.Ask(http.MethodPost, "/assign-token", false, "authorization", "Bearer "+s.noisy); n >= 100 {
				sleepUntil(ctx, time.Second) // those that are too many are refused
			}
		}
	})
}

func rapidReset(ctx context.Context, s *target) {
	const connections, perSecond = 4, 10_000
	var working sync.WaitGroup
	for range connections {
		working.Go(func() {
			for ctx.Err() == nil {
				h, err := s.greet(ctx)
				for start, n := time.Now(), 0; err == nil; n++ {
					var stream uint32
					stream, err = h.Ask(http.MethodGet, "/pools", true, "authorization", "Bearer "+s.noisy)
					if err == nil {
						err = h.Reset(stream)
					}
					if n%100 == 0 {
						time.Sleep(time.Duration(n)*time.Second*connections/perSecond - time.Since(start))
					}
				}
			}
		})
	}
	working.Wait()
}
