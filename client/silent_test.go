package client_test

import (
	"net/http/httptest"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/loopback"
	"github.com/manankarani/token-manager/internal/node"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// overTLS starts a server over TLS, and returns a client of it whose connections go over the wire.
func overTLS(t *testing.T, http2 bool) (*client.Client, tms.Store, *loopback.Wire) {
	t.Helper()
	memory, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := node.New(memory, node.Options{})
	srv := httptest.NewUnstartedServer(n.Handler())
	srv.EnableHTTP2 = http2
	srv.StartTLS()
	w := loopback.NewWire(t, srv.Listener.Addr().String())
	own := srv.Client()
	c, err := client.New("https://"+w.Addr, client.WithHTTPClient(own))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		w.Cut()
		own.CloseIdleConnections()
		srv.CloseClientConnections()
		srv.Close()
		n.Close()
	})
	return c, n.Store(), w
}

// TestAConnectionThatFallsSilentCostsNoLease has every connection that there is carry nothing any more, and says
// nothing of it, at each turn of a lease: while it is kept, when it ends, and while another is waited for.
func TestAConnectionThatFallsSilentCostsNoLease(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, store, w := overTLS(t, http2)
			ctx := t.Context()
			if _, err := store.PutPool(ctx, pool, short(6*time.Second)); err != nil {
				t.Fatal(err)
			}
			one := tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)}
			if _, err := store.Generate(ctx, pool, one); err != nil {
				t.Fatal(err)
			}
			held := acquire(t, c)
			for range 2 {
				w.Mute()
				awaitRenewal(t, []*client.Held{held})
			}
			w.Mute()
			if err := held.Close(); err != nil {
				t.Error(err)
			}
			if _, stats, err := store.Pool(ctx, pool); err != nil || stats.Available != 1 {
				t.Errorf("%+v, error %v", stats, err)
			}
		})
	}
}

// TestAConnectionThatFallsSilentCostsNoWait is about one under a request that waits.
func TestAConnectionThatFallsSilentCostsNoWait(t *testing.T) {
	t.Parallel()
	c, store, w := overTLS(t, true)
	if _, err := store.PutPool(t.Context(), pool, short(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := c.Acquire(t.Context(), pool, client.Wait(time.Minute))
		got <- err
	}()
	eventually(t, "somebody waits", func() bool {
		_, stats, err := store.Pool(t.Context(), pool)
		return err == nil && stats.Waiting == 1
	})
	w.Mute()
	if _, err := store.Generate(t.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}
