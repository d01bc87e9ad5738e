package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

const adminPath = "/debug/pprof/"

// admin serves what only an operator of the machine may see, on a listener of its own: profiles, which hold what is in
// memory. The zero value serves nothing.
type admin struct {
	listener net.Listener
	server   *http.Server
}

// listenAdmin takes the address of the setting; without one there is no admin. It must be one of this machine.
func (c *config) listenAdmin() (a admin, err error) {
	if c.AdminListen == "" {
		return a, nil
	}
	address, err := net.ResolveTCPAddr("tcp", c.AdminListen)
	switch {
	case err != nil:
		return a, fmt.Errorf("admin_listen: must be HOST:PORT, as 127.0.0.1:6060: %w", err)
	case !address.IP.IsLoopback():
		return a, &ended{exitUsage, fmt.Errorf("admin_listen: %s is reachable from other machines, and asks nobody "+
			"for a key; say 127.0.0.1:PORT", c.AdminListen)}
	}
	if a.listener, err = net.ListenTCP("tcp", address); err != nil {
		return a, fmt.Errorf("admin_listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+adminPath, pprof.Index)
	mux.HandleFunc("GET "+adminPath+"profile", pprof.Profile)
	mux.HandleFunc("GET "+adminPath+"trace", pprof.Trace)
	mux.HandleFunc("GET "+adminPath+"symbol", pprof.Symbol)
	a.server = &http.Server{Handler: http.NewCrossOriginProtection().Handler(localOnly(mux)),
		ReadHeaderTimeout: 10 * time.Second}
	return a, nil
}

// localOnly refuses what a page of another origin has led here by the name of its own host.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "say localhost or 127.0.0.1", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serve serves until it is ended.
func (a admin) serve() (end func()) {
	if a.server == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.server.Serve(a.listener) // whose error says that it was ended
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := a.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) { // a profile is under way
			a.server.Close()
		}
		<-done
	}
}
