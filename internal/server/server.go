// Package server serves a [tms.Store] over HTTP, as package api describes it.
//
// Read it downward. server.go runs the server, routes.go is the table of what it answers, call.go is the way of a
// request in the order in which it goes: origin, place, body, endpoint, answer, accounts. verbs.go and health.go have
// the endpoints: each decodes and checks its request, calls the store, and returns a reply or an error. listener.go and
// budget.go bound what callers may use up.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/limit"
)

// Server serves a store over HTTP. It is made with [New].
type Server struct {
	config   Config
	store    tms.Store
	log      *slog.Logger
	handler  http.Handler
	origins  *http.CrossOriginProtection
	requests context.Context // of all requests under Serve; it ends when they are cut off
	cutOff   context.CancelFunc
	stopping atomic.Bool  // from the end of Serve's context: /readyz says no
	active   atomic.Int64 // requests that may be inside the store
	waiting  crowd
	budget   *budget
	heavy    heavy

	strangers *limit.Local // how often addresses bring no key that counts
}

// New returns a server for the store of the configuration. It does nothing before [Server.Serve], which is called once.
func New(config Config) *Server {
	config = config.WithDefaults()
	s := &Server{config: config, store: config.Store, log: config.Logger, origins: http.NewCrossOriginProtection()}
	s.budget, s.heavy = newBudget(config.MaxBodyMemory, config.MaxBodyBytes), newHeavy()
	s.requests, s.cutOff = context.WithCancel(context.Background())
	s.strangers = limit.NewLocal(nil)
	s.waiting.most = int64(config.MaxWaiting)
	s.handler = s.mux()
	return s
}

// Handler returns the handler of all routes, without the timeouts and the limit of connections that Serve adds.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve serves on the listener until ctx ends, and closes the listener. Then /readyz says no, after DrainDelay no
// connection is accepted any more, and the requests that are under way have ShutdownTimeout to end. It returns nil when
// they have. When it returns, no request is inside the store any more, so that the caller may close it; only where a
// store does not return although the request's context has ended does Serve give up and return an error that says so.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	defer s.cutOff()
	hs := s.httpServer()
	served := make(chan error, 1)
	go func() { served <- s.serveOn(hs, newPlaces(listener, s.config.MaxConnections)) }()
	select {
	case err := <-served:
		hs.Close()
		s.cutOff()
		return errors.Join(err, s.wait(time.Second))
	case <-ctx.Done():
	}
	s.drain()
	err := s.shutdown(hs)
	<-served
	return err
}

func (s *Server) serveOn(hs *http.Server, listener net.Listener) error {
	if s.config.Certificate == nil {
		return hs.Serve(listener)
	}
	return hs.Serve(tls.NewListener(listener, s.config.Certificate.config()))
}

// http2Limits bound what a connection of HTTP/2 may use up. One that is silent under its requests is asked whether it
// still stands.
var http2Limits = &http.HTTP2Config{
	MaxConcurrentStreams:          maxStreams,
	MaxReceiveBufferPerConnection: 128 << 10,
	MaxReceiveBufferPerStream:     64 << 10,
	SendPingTimeout:               30 * time.Second,
	PingTimeout:                   15 * time.Second,
	WriteByteTimeout:              30 * time.Second,
}

// maxStreams is how many requests a connection of HTTP/2 has at most at once.
const maxStreams = 100

func (s *Server) httpServer() *http.Server {
	return &http.Server{
		Handler:     s.handler,
		BaseContext: func(net.Listener) context.Context { return s.requests },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, placeKey{}, placeUnder(conn))
		},
		ConnState:         follow,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		MaxHeaderBytes:    s.config.MaxHeaderBytes,
		ReadHeaderTimeout: s.config.HeaderTimeout,
		ReadTimeout:       s.config.ReadTimeout,
		WriteTimeout:      s.config.WriteTimeout,
		IdleTimeout:       s.config.IdleTimeout,
		HTTP2:             http2Limits,
	}
}

func (s *Server) drain() {
	s.stopping.Store(true)
	s.log.Info("stopping", "drain_delay", s.config.DrainDelay, "shutdown_timeout", s.config.ShutdownTimeout)
	if s.config.DrainDelay > 0 {
		time.Sleep(s.config.DrainDelay)
	}
}

// shutdown lets the requests end, by force where their time is up: their connections are closed and their contexts end.
func (s *Server) shutdown(hs *http.Server) error {
	ctx, done := context.WithTimeout(context.Background(), s.config.ShutdownTimeout)
	defer done()
	hs.RegisterOnShutdown(s.config.Stopping)
	err := hs.Shutdown(ctx)
	if err == nil {
		return nil
	}
	cut := s.active.Load() // told with %v: that a time is up here says nothing about the store
	hs.Close()
	s.cutOff()
	return errors.Join(fmt.Errorf("server: %d requests were cut off after %v: %v", cut, s.config.ShutdownTimeout, err),
		s.wait(5*time.Second))
}

// wait returns when no request is inside the store any more. It is called when all of their contexts have ended.
func (s *Server) wait(atMost time.Duration) error {
	for deadline := time.Now().Add(atMost); s.active.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("server: %d requests did not end with their contexts", s.active.Load())
		}
	}
	return nil
}
