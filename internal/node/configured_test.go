package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// A pool of the configuration that is gone is made again by whatever meets that first, with its policy; no other is.
func TestAConfiguredPoolIsMadeAgain(t *testing.T) {
	ctx := t.Context()
	for what, meet := range map[string]func(s tms.Sweeper, pool string) error{
		"assign": func(s tms.Sweeper, pool string) error {
			_, err := s.Assign(ctx, pool, make([]tms.AssignRequest, 1))
			return err
		},
		"generate": func(s tms.Sweeper, pool string) error {
			_, err := s.Generate(ctx, pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
			return err
		},
		"list": func(s tms.Sweeper, pool string) error {
			_, err := s.Tokens(ctx, pool, tms.Filter{}, "",
				1)
			return err
		},
		"show":  func(s tms.Sweeper, pool string) error { _, _, err := s.Pool(ctx, pool); return err },
		"sweep": func(s tms.Sweeper, pool string) error { _, err := s.Expire(ctx, pool, 1); return err },
	} {
		store, err := embedded.Open(embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := &configured{Sweeper: store, logger: slog.New(slog.DiscardHandler), found: func(bool) {},
			pools: map[string]tms.PolicyChange{"p": {LeaseTTL: new(7 * time.Second)}}}
		if err := s.look(ctx); err != nil {
			t.Fatal(err)
		}
		if err := store.DeletePool(ctx, "p"); err != nil {
			t.Fatal(err)
		}
		if err := meet(s, "p"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if p, _, err := store.Pool(ctx, "p"); err != nil || p.Policy.LeaseTTL != 7*time.Second {
			t.Errorf("%s: the pool is %+v, error %v", what, p, err)
		}
		if err := meet(s, "other"); !errors.Is(err, tms.ErrPoolNotFound) {
			t.Errorf("%s: another pool: %v", what, err)
		}
		store.Close()
	}
}

type givesUp struct {
	tms.Sweeper
	failed chan struct{}
}

func (s givesUp) Failed() <-chan struct{} { return s.failed }

func TestAStoreThatGivesUpEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	store := givesUp{failed: make(chan struct{})}
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		awaitFailure(ctx, store, cancel)
	}()
	if ctx.Err() != nil {
		t.Fatal("the server ended before the store gave up")
	}
	close(store.failed)
	<-returned
	if ctx.Err() == nil {
		t.Error("the server goes on without a store")
	}
}
