package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func (s *Server) generate(c *call) (reply, error) {
	var r api.GenerateRequest
	if err := c.decodeWithID(&r, &r.RequestID); err != nil {
		return reply{}, err
	}
	pool, err := api.PoolName(r.Pool)
	if err != nil {
		return reply{}, err
	}
	request, err := r.GenerateRequest()
	if err != nil {
		return reply{}, err
	}
	generated, err := s.store.Generate(c.Context(), pool, request)
	if err != nil {
		return reply{}, err
	}
	answer := api.GeneratedOf(pool, generated)
	answer.Warnings = request.Warnings(generated)
	return reply{status: http.StatusCreated, body: answer}, nil
}

// assign is the one verb that may wait, and whose effect is taken back where the client does not hear of it.
func (s *Server) assign(c *call) (reply, error) {
	pool, request, err := s.readAssign(c)
	if err != nil {
		return reply{}, err
	}
	c.lighten() // what may wait holds nobody up
	if request.Wait > 0 {
		if err := s.waiting.enter(); err != nil {
			return reply{}, err
		}
		defer s.waiting.leave()
	}
	ctx, cancel := s.patience(c, request.Wait)
	defer cancel()
	results, err := s.store.Assign(ctx, pool, []tms.AssignRequest{request})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return reply{}, err
	}
	tokens := results[0].Tokens
	answer := api.AssignedOf(tokens, request.Count)
	answer.Warnings = request.Warnings(tokens)
	if request.RequestID != "" { // a repeat fetches the same leases
		return reply{body: answer}, nil
	}
	return reply{body: answer, undo: func(ctx context.Context) error { return s.unassign(ctx, tokens) }}, nil
}

func (s *Server) readAssign(c *call) (pool string, request tms.AssignRequest, err error) {
	var r api.AssignRequest
	if err := c.decodeWithID(&r, &r.RequestID); err != nil {
		return "", request, err
	}
	if pool, err = api.PoolName(r.Pool); err != nil {
		return "", request, err
	}
	if request, err = r.AssignRequest(); err == nil && request.Wait > s.config.MaxWait {
		err = tms.Invalid("wait", "must be at most %v", api.Duration(s.config.MaxWait))
	}
	return pool, request, err
}

// patience returns the context in which a call assigns. One that waits ends when its client hangs up, and has the time
// to wait beyond the usual one. One that does not wait goes on until requests are cut off: if it ended in the middle,
// nobody would know what it had been given, and nobody could take it back.
func (s *Server) patience(c *call, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait > 0 {
		c.mayTake(wait + s.config.WriteTimeout)
		return c.Context(), func() {}
	}
	lasting, cancel := context.WithCancel(context.WithoutCancel(c.Context()))
	stop := context.AfterFunc(s.requests, cancel)
	return lasting, func() { stop(); cancel() }
}

// unassign ends the leases that a client was given and will not hear of.
func (s *Server) unassign(ctx context.Context, tokens []tms.Token) error {
	keys := make([]tms.LeaseKey, len(tokens))
	for i, token := range tokens {
		keys[i] = tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID}
	}
	// which must not lend its code: nothing was refused
	if _, err := s.store.Unblock(ctx, tokens[0].Pool, keys); err != nil {
		return fmt.Errorf("server: the leases of a client that hung up stay until they expire: %v", err)
	}
	return tms.Refuse(tms.ErrStoreUnavailable, "the client hung up before it was answered; it holds nothing")
}

func (s *Server) keepAlive(c *call) (reply, error) {
	var r api.KeepAliveRequest
	if err := c.decode(&r); err != nil {
		return reply{}, err
	}
	verb := func(pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
		return s.store.KeepAlive(c.Context(), pool, keys)
	}
	if r.Answer == api.AnswerShort {
		return short(r.Pool, r.Keys, verb)
	}
	return each(r.Pool, r.Keys, func(pool string, keys []tms.LeaseKey) ([]outcome, error) {
		results, err := verb(pool, keys)
		return outcomesOf(results, api.LeaseOf), err
	})
}

func (s *Server) unblock(c *call) (reply, error) {
	var r api.UnblockRequest
	if err := c.decode(&r); err != nil {
		return reply{}, err
	}
	client, err := r.Client()
	if err != nil {
		return reply{}, err
	}
	request, err := r.Request()
	switch {
	case err != nil:
		return reply{}, err
	case client != "":
		return s.unblockClient(c.Context(), r.Pool, client)
	case request != "":
		return s.unblockRequest(c.Context(), r.Pool, request)
	}
	verb := func(pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
		results, err := s.store.Unblock(c.Context(), pool, keys)
		s.tellForce(c, "unblock", pool, keys, func(i int) bool { return i < len(results) && results[i].Err == nil })
		return results, err
	}
	if r.Answer == api.AnswerShort {
		return short(r.Pool, r.Keys, verb)
	}
	return each(r.Pool, r.Keys, func(pool string, keys []tms.LeaseKey) ([]outcome, error) {
		results, err := verb(pool, keys)
		return outcomesOf(results, api.TokenOf), err
	})
}

// short does a verb on a batch, and answers what was refused.
func short(pool string, keysOf func() ([]tms.LeaseKey, bool, error),
	verb func(pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error)) (reply, error) {
	pool, err := api.PoolName(pool)
	if err != nil {
		return reply{}, err
	}
	keys, _, err := keysOf()
	if err != nil {
		return reply{}, err
	}
	results, err := verb(pool, keys)
	if err != nil {
		return reply{}, err
	}
	return reply{body: api.ShortOf(results)}, nil
}

func (s *Server) unblockClient(ctx context.Context, pool, client string) (reply, error) {
	pool, err := api.PoolName(pool)
	if err != nil {
		return reply{}, err
	}
	n, err := s.store.UnblockClient(ctx, pool, client)
	return reply{body: api.ClientUnblocked{Pool: pool, ClientID: client, Unblocked: n}}, err
}

func (s *Server) unblockRequest(ctx context.Context, pool, request string) (reply, error) {
	pool, err := api.PoolName(pool)
	if err != nil {
		return reply{}, err
	}
	n, err := s.store.UnblockRequest(ctx, pool, request)
	return reply{body: api.RequestUnblocked{Pool: pool, RequestID: request, Unblocked: n}}, err
}

func (s *Server) restore(c *call) (reply, error) {
	var r api.RestoreRequest
	if err := c.decode(&r); err != nil {
		return reply{}, err
	}
	return each(r.Pool, r.Values, func(pool string, values []string) ([]outcome, error) {
		results, err := s.store.Restore(c.Context(), pool, values)
		return outcomesOf(results, api.TokenOf), err
	})
}

func (s *Server) delete(c *call) (reply, error) {
	var r api.DeleteRequest
	if err := c.readDelete(&r); err != nil {
		return reply{}, err
	}
	return each(r.Pool, r.Keys, func(pool string, keys []tms.LeaseKey) ([]outcome, error) {
		refusals, err := s.store.Delete(c.Context(), pool, keys)
		outcomes := make([]outcome, len(refusals))
		for i, refusal := range refusals {
			outcomes[i] = outcome{api.Token{Pool: pool, Token: keys[i].Token, Deleted: true}, refusal}
		}
		s.tellForce(c, "delete", pool, keys, func(i int) bool { return i < len(outcomes) && outcomes[i].err == nil })
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
) (reply, error) {
	pool, err := api.PoolName(pool)
	if err != nil {
		return reply{}, err
	}
	keys, batch, err := keysOf()
	if err != nil {
		return reply{}, err
	}
	outcomes, err := verb(pool, keys)
	if err != nil {
		return reply{}, err
	}
	if batch {
		return reply{body: batchOf(outcomes)}, nil
	}
	return reply{body: &outcomes[0].token}, outcomes[0].err
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

func (s *Server) lookup(c *call) (reply, error) { return s.token(c, false) }

func (s *Server) history(c *call) (reply, error) { return s.token(c, true) }

func (s *Server) token(c *call, history bool) (reply, error) {
	var r api.LookupRequest
	if err := c.decode(&r); err != nil {
		return reply{}, err
	}
	pool, err := api.PoolName(r.Pool)
	if err != nil {
		return reply{}, err
	}
	key := tms.LeaseKey{Token: r.Token, LeaseID: r.LeaseID, History: history}
	if err := key.Validate(); err != nil {
		return reply{}, err
	}
	token, err := s.store.Token(c.Context(), pool, key)
	if err != nil {
		return reply{}, err
	}
	view := api.TokenOf(token)
	return reply{body: &view}, nil
}

func (s *Server) pools(c *call) (reply, error) {
	p, err := c.readPage()
	if err != nil {
		return reply{}, err
	}
	if p.cursor != "" {
		if err := tms.ValidatePoolName("cursor", p.cursor); err != nil {
			return reply{}, err
		}
	}
	page, err := s.store.Pools(c.Context(), p.cursor, p.limit)
	if err != nil {
		return reply{}, err
	}
	return reply{body: api.PoolsOf(page)}, nil
}

func (s *Server) pool(c *call) (reply, error) {
	name, err := c.onlyPool()
	if err != nil {
		return reply{}, err
	}
	pool, stats, err := s.store.Pool(c.Context(), name)
	return reply{body: api.PoolStatsOf(pool, stats)}, err
}

func (s *Server) putPool(c *call) (reply, error) {
	name, change, err := c.readPolicy()
	if err != nil {
		return reply{}, err
	}
	pool, err := s.store.PutPool(c.Context(), name, change)
	if err != nil {
		return reply{}, err
	}
	status := http.StatusOK
	switch {
	case pool.Was == nil:
		status = http.StatusCreated
		s.tell(c, "a pool was made", slog.String("pool", name))
	case !reflect.DeepEqual(*pool.Was, pool.Policy):
		s.tell(c, "the policy of a pool was changed", slog.String("pool", name))
	}
	return reply{status: status, body: api.PoolOf(pool)}, nil
}

func (s *Server) deletePool(c *call) (reply, error) {
	name, err := c.onlyPool()
	if err != nil {
		return reply{}, err
	}
	if err = s.store.DeletePool(c.Context(), name); err == nil {
		s.tell(c, "a pool was deleted", slog.String("pool", name))
	}
	return reply{body: api.PoolDeleted{Pool: name, Deleted: true}}, err
}

func (s *Server) waiters(c *call) (reply, error) {
	query, err := queryOf(c, "limit")
	if err != nil {
		return reply{}, err
	}
	var p page
	if err := p.read(query); err != nil {
		return reply{}, err
	}
	pool, err := c.pool()
	if err != nil {
		return reply{}, err
	}
	all, err := s.store.Waiters(c.Context(), pool, p.limit)
	return reply{body: api.WaitersOf(all)}, err
}

func (s *Server) tokens(c *call) (reply, error) {
	pool, filter, p, err := c.readTokensPage()
	if err != nil {
		return reply{}, err
	}
	found, err := s.store.Tokens(c.Context(), pool, filter, p.cursor, p.limit)
	if err != nil {
		return reply{}, err
	}
	answer := &api.Tokens{Tokens: make([]api.Token, len(found.Tokens)), NextCursor: found.Next}
	for i, token := range found.Tokens {
		answer.Tokens[i] = api.TokenOf(token)
	}
	return reply{body: answer}, nil
}
