package client_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/loopback"
	"github.com/manankarani/token-manager/internal/node"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// process is a server on a data directory that can be ended and started again at the same address.
type process struct {
	t     *testing.T
	dir   string
	addr  string
	srv   *httptest.Server
	node  *node.Node
	store tms.Store
	max   time.Duration // MaxWait
}

func startProcess(t *testing.T, maxWait time.Duration) *process {
	p := &process{t: t, dir: t.TempDir(), addr: loopback.Addr(t), max: maxWait}
	p.start()
	t.Cleanup(p.end)
	return p
}

func (p *process) start() {
	p.t.Helper()
	store, err := embedded.Open(embedded.Options{Dir: p.dir})
	if err != nil {
		p.t.Fatal(err)
	}
	p.node = node.New(store, node.Options{HTTP: server.Config{Limits: server.Limits{MaxWait: p.max}}})
	p.store = p.node.Store()
	listener, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.srv = httptest.NewUnstartedServer(p.node.Handler())
	p.srv.Listener.Close()
	p.srv.Listener = listener
	p.srv.Start()
}

// end cuts all connections and closes the store.
func (p *process) end() {
	p.srv.CloseClientConnections()
	p.srv.Listener.Close()
	p.srv.Close()
	p.node.Close()
}

func (p *process) fill(n int) {
	p.t.Helper()
	ctx := context.Background()
	if _, err := p.store.PutPool(ctx, pool, short(10*time.Second)); err != nil {
		p.t.Fatal(err)
	}
	if n == 0 {
		return
	}
	if _, err := p.store.Generate(ctx, pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, n)}); err != nil {
		p.t.Fatal(err)
	}
}

func TestAThousandLeasesOutliveARestartOfTheServer(t *testing.T) {
	t.Parallel()
	const n = 1000
	p := startProcess(t, 0)
	p.fill(n)
	helds, err := dial(t, "http://"+p.addr).AcquireN(t.Context(), pool, n)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p.end()
		time.Sleep(3500 * time.Millisecond) // due after 3 s
		p.start()
		awaitRenewal(t, helds)
	}
	if _, stats, err := p.store.Pool(t.Context(), pool); err != nil || stats.Assigned != n {
		t.Errorf("%+v, error %v", stats, err)
	}
}

func TestWhoWaitsOutlivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	p := startProcess(t, 0)
	p.fill(0)
	c, got := dial(t, "http://"+p.addr), make(chan error, 1)
	go func() {
		held, err := c.Acquire(t.Context(), pool, client.Wait(time.Minute))
		if err == nil {
			err = held.Err()
		}
		got <- err
	}()
	waits := func() bool {
		_, stats, err := p.store.Pool(t.Context(), pool)
		return err == nil && stats.Waiting == 1
	}
	eventually(t, "the client waits", waits)
	p.end()
	p.start()
	eventually(t, "the client waits again", waits)
	p.fill(1)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestWaitingAtAServerThatLetsNobodyWaitLong(t *testing.T) {
	t.Parallel()
	for _, most := range []time.Duration{time.Second, 50 * time.Millisecond} {
		p := startProcess(t, most)
		p.fill(0)
		begin := time.Now()
		_, err := dial(t, "http://"+p.addr).Acquire(t.Context(), pool, client.Wait(1500*time.Millisecond))
		if took := time.Since(begin); !errors.Is(err, tms.ErrNoTokenAvailable) || took < 1500*time.Millisecond {
			t.Errorf("at most %v: after %v: %v", most, took, err)
		}
	}
}
