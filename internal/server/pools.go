package server

import (
	"context"
	"errors"
	"net/http"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func (s *Server) pools(ctx context.Context, r *page) (int, any, error) {
	if r.cursor != "" {
		if err := tms.ValidatePoolName("cursor", r.cursor); err != nil {
			return 0, nil, err
		}
	}
	names, err := s.store.Pools(ctx, r.cursor, r.limit+1)
	if err != nil {
		return 0, nil, err
	}
	answer := &api.Pools{}
	if len(names) > r.limit {
		names = names[:r.limit]
		answer.NextCursor = names[r.limit-1]
	}
	answer.Pools, err = s.describe(ctx, names)
	return http.StatusOK, answer, err
}

// describe leaves out a pool that has been deleted since it was listed.
func (s *Server) describe(ctx context.Context, names []string) ([]api.Pool, error) {
	pools := make([]api.Pool, 0, len(names))
	for _, name := range names {
		pool, stats, err := s.store.Pool(ctx, name)
		switch {
		case errors.Is(err, tms.ErrPoolNotFound):
		case err != nil:
			return nil, err
		default:
			pools = append(pools, api.PoolStatsOf(pool, stats))
		}
	}
	return pools, nil
}

func (s *Server) pool(ctx context.Context, r *poolPath) (int, any, error) {
	pool, stats, err := s.store.Pool(ctx, r.pool)
	return http.StatusOK, api.PoolStatsOf(pool, stats), err
}

func (s *Server) putPool(ctx context.Context, r *policyChange) (int, any, error) {
	change := r.Change()
	if err := change.Validate(); err != nil {
		return 0, nil, err
	}
	change.If = r.when
	pool, err := s.store.PutPool(ctx, r.pool, change)
	if pool.Was == nil {
		return http.StatusCreated, api.PoolOf(pool), err
	}
	return http.StatusOK, api.PoolOf(pool), err
}

func (s *Server) deletePool(ctx context.Context, r *poolPath) (int, any, error) {
	err := s.store.DeletePool(ctx, r.pool)
	return http.StatusOK, api.PoolDeleted{Pool: r.pool, Deleted: true}, err
}

func (s *Server) tokens(ctx context.Context, r *tokensPage) (int, any, error) {
	found, err := s.store.Tokens(ctx, r.pool, r.filter, r.cursor, r.limit)
	if err != nil {
		return 0, nil, err
	}
	answer := &api.Tokens{Tokens: make([]api.Token, len(found.Tokens)), NextCursor: found.Next}
	for i, token := range found.Tokens {
		answer.Tokens[i] = api.TokenOf(token)
	}
	return http.StatusOK, answer, nil
}
