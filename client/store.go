package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

var (
	_ tms.Store   = (*Client)(nil)
	_ tms.Readier = (*Client)(nil)
)

// PutPool makes the pool, or changes its policy: see [tms.Store]. Where an answer was lost it is repeated, unless it is
// to make the pool only, and what Was says is how the first attempt may have left it.
func (c *Client) PutPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	a, err := poolAsk("put pool", http.MethodPut, api.PathPool, name)
	if err != nil {
		return tms.Pool{}, err
	}
	a.body, a.on = api.Policy(change), change.If
	a.repeat = change.If != tms.IfMissing
	var answer api.Pool
	if _, _, err := c.do(ctx, a, &answer); err != nil {
		return tms.Pool{}, err
	}
	pool, _ := answer.TMS()
	return pool, nil
}

// Pool returns a pool and the sizes of its sets: see [tms.Store].
func (c *Client) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	a, err := poolAsk("get pool", http.MethodGet, api.PathPool, name)
	if err != nil {
		return tms.Pool{}, tms.Stats{}, err
	}
	var answer api.Pool
	if _, _, err := c.do(ctx, a, &answer); err != nil {
		return tms.Pool{}, tms.Stats{}, err
	}
	pool, stats := answer.TMS()
	return pool, stats, nil
}

// Pools returns a page of pools, of at most [api.MaxPage] whatever the limit: see [tms.Store].
func (c *Client) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	var answer api.Pools
	a := ask{verb: "list pools", method: http.MethodGet, path: api.PathPools, query: pageQuery(after, limit),
		repeat: true}
	if _, _, err := c.do(ctx, a, &answer); err != nil {
		return tms.PoolPage{}, err
	}
	return answer.TMS(), nil
}

// DeletePool deletes a pool: see [tms.Store]. Where an answer was lost, it takes the absence of the pool for its own
// work.
func (c *Client) DeletePool(ctx context.Context, name string) error {
	a, err := poolAsk("delete pool", http.MethodDelete, api.PathPool, name)
	if err != nil {
		return err
	}
	_, doubt, err := c.do(ctx, a, &api.PoolDeleted{})
	if doubt && errors.Is(err, tms.ErrPoolNotFound) {
		return nil
	}
	return err
}

// Token returns one token: see [tms.Store].
func (c *Client) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	var answer api.Token
	a := ask{verb: "look up", method: http.MethodPost, path: api.PathLookup, repeat: true}
	if key.History {
		a.path = api.PathHistory
	}
	a.body = api.LookupRequest{Pool: pool, Token: key.Token, LeaseID: key.LeaseID}
	if _, _, err := c.do(ctx, a, &answer); err != nil {
		return tms.Token{}, err
	}
	return answer.TMS(), nil
}

// Waiters returns who waits, at most [api.MaxPage] whatever the limit: see [tms.Store].
func (c *Client) Waiters(ctx context.Context, pool string, limit int) ([]tms.Waiter, error) {
	a, err := poolAsk("list who waits", http.MethodGet, api.PathWaiters, pool)
	if err != nil {
		return nil, err
	}
	a.query = pageQuery("", limit)
	var answer api.Waiters
	if _, _, err := c.do(ctx, a, &answer); err != nil {
		return nil, err
	}
	return answer.TMS(), nil
}

// Tokens returns a page of tokens, of at most [api.MaxPage] whatever the limit: see [tms.Store].
func (c *Client) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	a, err := poolAsk("list tokens", http.MethodGet, api.PathTokens, pool)
	if err != nil {
		return tms.Page{}, err
	}
	a.query = pageQuery(cursor, limit)
	setQuery(a.query, "state", string(f.State))
	setQuery(a.query, "client_id", f.ClientID)
	var answer api.Tokens
	if _, _, err := c.do(ctx, a, &answer); err != nil {
		return tms.Page{}, err
	}
	return answer.TMS(), nil
}

// Ready returns nil if the server says that it is fit to serve, and otherwise what it says is wrong. It asks once.
func (c *Client) Ready(ctx context.Context) error {
	return c.send(ctx, ask{verb: "ask for readiness", method: http.MethodGet, path: api.PathReady}, &api.Health{})
}

// poolAsk asks about the pool that the path names. All such requests can be repeated.
func poolAsk(verb, method, path, pool string) (ask, error) {
	pool, err := api.PoolName(pool)
	path = strings.Replace(path, "{pool}", pool, 1)
	return ask{verb: verb, method: method, path: path, repeat: true}, err
}

func pageQuery(cursor string, limit int) url.Values {
	query := url.Values{"limit": {strconv.Itoa(min(limit, api.MaxPage))}}
	setQuery(query, "cursor", cursor)
	return query
}

func setQuery(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}
