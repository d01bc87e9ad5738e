package main

import (
	"cmp"
	"context"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/loopback"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// mortal is a server that is killed and started again at the same address, with a wire to its clients and one to its
// Redis.
type mortal struct {
	listen       string
	near, far    *loopback.Wire // far is nil where the store is no single Redis
	serve        []string       // what tms serve is told of the store
	program      string         // empty: this build of tms
	cmd          *exec.Cmd
	client       *http.Client
	said, stderr *output
}

// behindWire returns a server with a wire to its Redis.
func behindWire(t *testing.T, redis *redistest.Server, serve ...string) *mortal {
	far := loopback.NewWire(t, redis.Addr)
	m := newMortal(t, append([]string{"--store", "redis://" + far.Addr}, serve...)...)
	m.far = far
	return m
}

func newMortal(t *testing.T, serve ...string) *mortal {
	listen := loopback.Addr(t)
	m := &mortal{listen: listen, near: loopback.NewWire(t, listen), serve: serve, stderr: &output{}}
	m.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: soakClients}}
	t.Cleanup(func() {
		m.client.CloseIdleConnections()
		m.end()
	})
	return m
}

// start starts the process and returns whether it serves. One that ends instead, as it may while Redis is away, is
// started again until the context ends.
func (m *mortal) start(ctx context.Context) bool {
	for ctx.Err() == nil {
		m.said = &output{}
		m.cmd = exec.Command(cmp.Or(m.program, "tms"), append([]string{"serve", "--listen", m.listen}, m.serve...)...)
		m.cmd.Stdout, m.cmd.Stderr = m.said, m.stderr
		if m.cmd.Start() != nil {
			return false
		}
		if m.serves(ctx) {
			return true
		}
		m.end()
	}
	return false
}

func (m *mortal) serves(ctx context.Context) bool {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) &&
		ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if servesOn.MatchString(m.said.String()) {
			return true
		}
	}
	return false
}

func (m *mortal) end() {
	if m.cmd != nil && m.cmd.Process != nil {
		m.cmd.Process.Kill()
		m.cmd.Wait()
	}
}
