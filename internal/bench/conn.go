package bench

import (
	"context"

	tms "github.com/manankarani/token-manager"
)

// Conn is one connection of the load. It carries out one verb at a time.
type Conn interface {
	// Do carries out a verb, on the key where it needs one, and returns the key that an assign was given. Its error
	// carries a code if the verb was refused. It ends with ctx.
	Do(ctx context.Context, verb string, key tms.LeaseKey) (tms.LeaseKey, error)
	Close() error
}

func (l *run) connect() Conn {
	if l.Connect != nil {
		return l.Connect()
	}
	return stored{l.Store, l.Pool}
}

// stored is a connection that asks a store.
type stored struct {
	tms.Store
	pool string
}

// Do implements [Conn].
func (s stored) Do(ctx context.Context, verb string, key tms.LeaseKey) (tms.LeaseKey, error) {
	keys := []tms.LeaseKey{key}
	switch verb {
	case Generate:
		_, err := s.Generate(ctx, s.pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
		return key, err
	case Assign:
		return s.assign(ctx)
	case Lookup:
		_, err := s.Token(ctx, s.pool, tms.LeaseKey{Token: key.Token})
		return key, err
	case KeepAlive:
		return key, first(s.Store.KeepAlive(ctx, s.pool, keys))
	case Unblock:
		return key, first(s.Store.Unblock(ctx, s.pool, keys))
	default:
		errs, err := s.Delete(ctx, s.pool, keys)
		if err == nil {
			err = errs[0]
		}
		return key, err
	}
}

func (s stored) assign(ctx context.Context) (key tms.LeaseKey, err error) {
	results, err := s.Store.Assign(ctx, s.pool, []tms.AssignRequest{{ClientID: clientID}})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return key, err
	}
	token := results[0].Tokens[0]
	return tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID}, nil
}

// Close implements [Conn]. The store goes on.
func (s stored) Close() error { return nil }

const clientID = "bench"

func first(results []tms.TokenResult, err error) error {
	if err == nil {
		err = results[0].Err
	}
	return err
}
