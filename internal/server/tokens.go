package server

import (
	"context"
	"net/http"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func (s *Server) generate(ctx context.Context, r *api.GenerateRequest) (int, any, error) {
	pool, err := api.PoolName(r.Pool)
	if err != nil {
		return 0, nil, err
	}
	tokens, err := r.NewTokens()
	if err != nil {
		return 0, nil, err
	}
	generated, err := s.store.Generate(ctx, pool, tms.GenerateRequest{Tokens: tokens})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, api.GeneratedOf(pool, generated), nil
}

func (s *Server) assign(ctx context.Context, r *api.AssignRequest) (int, any, error) {
	pool, err := api.PoolName(r.Pool)
	if err != nil {
		return 0, nil, err
	}
	request, err := r.AssignRequest()
	if err != nil {
		return 0, nil, err
	}
	results, err := s.store.Assign(ctx, pool, []tms.AssignRequest{request})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, leasesOf(results[0].Tokens, request.Count), nil
}

// leasesOf is one lease where one was asked for, and a list otherwise.
func leasesOf(tokens []tms.Token, asked int) any {
	if asked == 1 {
		lease := api.LeaseOf(tokens[0])
		return &lease
	}
	answer := &api.Leases{Leases: make([]api.Token, len(tokens))}
	for i, token := range tokens {
		answer.Leases[i] = api.LeaseOf(token)
	}
	return answer
}

func (s *Server) keepAlive(ctx context.Context, r *api.KeepAliveRequest) (int, any, error) {
	return each(r.Pool, r.Keys, func(pool string, keys []tms.LeaseKey) ([]outcome, error) {
		results, err := s.store.KeepAlive(ctx, pool, keys)
		return outcomesOf(results, api.LeaseOf), err
	})
}

func (s *Server) unblock(ctx context.Context, r *api.KeyRequest) (int, any, error) {
	return each(r.Pool, r.Keys, func(pool string, keys []tms.LeaseKey) ([]outcome, error) {
		results, err := s.store.Unblock(ctx, pool, keys)
		return outcomesOf(results, api.TokenOf), err
	})
}

func (s *Server) delete(ctx context.Context, r *api.KeyRequest) (int, any, error) {
	return each(r.Pool, r.Keys, func(pool string, keys []tms.LeaseKey) ([]outcome, error) {
		refusals, err := s.store.Delete(ctx, pool, keys)
		outcomes := make([]outcome, len(refusals))
		for i, refusal := range refusals {
			outcomes[i] = outcome{api.Token{Pool: pool, Token: keys[i].Token, Deleted: true}, refusal}
		}
		return outcomes, err
	})
}

// outcome is what became of one key: a token, or an error.
type outcome struct {
	token api.Token
	err   error
}

func outcomesOf(results []tms.TokenResult, view func(tms.Token) api.Token) []outcome {
	outcomes := make([]outcome, len(results))
	for i, r := range results {
		outcomes[i] = outcome{view(r.Token), r.Err}
	}
	return outcomes
}

// each does a verb that has an outcome for each key. A batch answers with all of them, a single key with its own.
func each(
	pool string, keysOf func() ([]tms.LeaseKey, bool, error),
	verb func(pool string, keys []tms.LeaseKey) ([]outcome, error),
) (int, any, error) {
	pool, err := api.PoolName(pool)
	if err != nil {
		return 0, nil, err
	}
	keys, batch, err := keysOf()
	if err != nil {
		return 0, nil, err
	}
	outcomes, err := verb(pool, keys)
	if err != nil {
		return 0, nil, err
	}
	if batch {
		return http.StatusOK, batchOf(outcomes), nil
	}
	return http.StatusOK, &outcomes[0].token, outcomes[0].err
}

func batchOf(outcomes []outcome) *api.Results {
	answer := &api.Results{Results: make([]api.Result, len(outcomes))}
	for i := range outcomes {
		if err := outcomes[i].err; err != nil {
			answer.Results[i].Problem = api.NewProblem(err)
		} else {
			answer.Results[i].Token = &outcomes[i].token
		}
	}
	return answer
}

func (s *Server) lookup(ctx context.Context, r *api.LookupRequest) (int, any, error) {
	pool, err := api.PoolName(r.Pool)
	if err != nil {
		return 0, nil, err
	}
	if err := tms.ValidateToken("token", r.Token); err != nil {
		return 0, nil, err
	}
	token, err := s.store.Token(ctx, pool, r.Token)
	if err != nil {
		return 0, nil, err
	}
	view := api.TokenOf(token)
	return http.StatusOK, &view, nil
}
