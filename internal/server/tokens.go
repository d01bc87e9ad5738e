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
	request, err := r.GenerateRequest()
	if err != nil {
		return 0, nil, err
	}
	generated, err := s.store.Generate(ctx, pool, request)
	if err != nil {
		return 0, nil, err
	}
	answer := api.GeneratedOf(pool, generated)
	answer.Warnings = request.Warnings(generated)
	return http.StatusCreated, answer, nil
}

func (s *Server) keepAlive(ctx context.Context, r *api.KeepAliveRequest) (int, any, error) {
	return each(r.Pool, r.Keys, func(pool string, keys []tms.LeaseKey) ([]outcome, error) {
		results, err := s.store.KeepAlive(ctx, pool, keys)
		return outcomesOf(results, api.LeaseOf), err
	})
}

func (s *Server) unblock(ctx context.Context, r *api.UnblockRequest) (int, any, error) {
	client, err := r.Client()
	if err != nil {
		return 0, nil, err
	}
	request, err := r.Request()
	switch {
	case err != nil:
		return 0, nil, err
	case client != "":
		return s.unblockClient(ctx, r.Pool, client)
	case request != "":
		return s.unblockRequest(ctx, r.Pool, request)
	}
	return each(r.Pool, r.Keys, func(pool string, keys []tms.LeaseKey) ([]outcome, error) {
		results, err := s.store.Unblock(ctx, pool, keys)
		return outcomesOf(results, api.TokenOf), err
	})
}

func (s *Server) unblockClient(ctx context.Context, pool, client string) (int, any, error) {
	pool, err := api.PoolName(pool)
	if err != nil {
		return 0, nil, err
	}
	n, err := s.store.UnblockClient(ctx, pool, client)
	return http.StatusOK, api.ClientUnblocked{Pool: pool, ClientID: client, Unblocked: n}, err
}

func (s *Server) unblockRequest(ctx context.Context, pool, request string) (int, any, error) {
	pool, err := api.PoolName(pool)
	if err != nil {
		return 0, nil, err
	}
	n, err := s.store.UnblockRequest(ctx, pool, request)
	return http.StatusOK, api.RequestUnblocked{Pool: pool, RequestID: request, Unblocked: n}, err
}

func (s *Server) restore(ctx context.Context, r *api.RestoreRequest) (int, any, error) {
	return each(r.Pool, r.Values, func(pool string, values []string) ([]outcome, error) {
		results, err := s.store.Restore(ctx, pool, values)
		return outcomesOf(results, api.TokenOf), err
	})
}

func (s *Server) delete(ctx context.Context, r *api.DeleteRequest) (int, any, error) {
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
func each[Key any](
	pool string, keysOf func() ([]Key, bool, error),
	verb func(pool string, keys []Key) ([]outcome, error),
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
