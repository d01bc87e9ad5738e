package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Waiters do not lock out those they wait for: as many of them as there are connections repeat, each on one that
// it keeps, and yet the holder comes through on a new one.
func TestTheHolderComesThroughBesideThoseWhoWait(t *testing.T) {
	p := startServe(t, "--store", "memory:", "--max-connections", "4")
	p.must(201, http.MethodPost, "/generate-token", nil)
	lease := p.must(200, http.MethodPost, "/assign-token", nil)
	p.client.CloseIdleConnections()
	ctx, stop := context.WithCancel(t.Context())
	var asked, refused atomic.Int64
	var waiters sync.WaitGroup
	for range 4 {
		waiters.Go(func() {
			own := *p
			own.client = &http.Client{Transport: &http.Transport{}}
			defer own.client.CloseIdleConnections()
			for ctx.Err() == nil {
				asked.Add(1)
				r, _ := own.callUntil(ctx, http.MethodPost, "/assign-token", object{"wait": "10s"})
				if r.Code == "overloaded" {
					refused.Add(1)
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	eventually(t, "four assigns are asked for", func() bool { return asked.Load() >= 4 })
	time.Sleep(100 * time.Millisecond) // in which they take their places
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	began := time.Now()
	r, err := p.callUntil(within, http.MethodPost, "/unblock-token",
		object{"token": lease.Token, "lease_id": lease.LeaseID})
	t.Logf("unblock took %v, status %d, error %v; %d of %d assigns were refused", time.Since(began), r.Status, err,
		refused.Load(), asked.Load())
	if r.Status != 200 {
		t.Errorf("the holder's unblock is answered %d, error %v", r.Status, err)
	}
	if refused.Load() == 0 {
		t.Error("all four waited at once")
	}
	stop()
	waiters.Wait()
}

// Connections that do nothing, however many, lock nobody out.
func TestIdleConnectionsDoNotLockOutTheHealthCheck(t *testing.T) {
	p := startServe(t, "--store", "memory:", "--max-connections", "256")
	for range 280 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	within, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	began := time.Now()
	r, err := p.callUntil(within, http.MethodGet, "/livez", nil)
	t.Logf("/livez took %v, error %v", time.Since(began), err)
	if r.Status != 200 {
		t.Errorf("/livez is answered %d, error %v", r.Status, err)
	}
}
