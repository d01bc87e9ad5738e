package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// ask is one request to the server.
type ask struct {
	verb   string // for errors
	method string
	path   string
	query  url.Values
	body   any           // nil: none
	on     tms.Condition // the pools on which it is to be carried out
	wait   time.Duration // how long the server may hold the request before it answers
	within time.Duration // how long the answer may take beside that; zero: the request timeout of the options
	repeat bool          // it may be sent again although it may have been carried out
	batch  bool          // whoever asks cuts it where it is too long for one request
}

// failure is an attempt that did not end in an answer to the request.
type failure struct {
	error
	passing   bool          // another attempt may succeed
	unchanged bool          // nothing was carried out
	nobody    bool          // no connection was made
	pause     time.Duration // that the server asks for before the next attempt
}

func (f *failure) Unwrap() error { return f.error }

// send makes one attempt. Its errors are refusals, failures, or of the context.
func (c *Client) send(ctx context.Context, a ask, out any) error {
	if ctx.Err() != nil {
		return &failure{error: fmt.Errorf("%s: %w", c.doing(a), ctx.Err()), unchanged: true}
	}
	limit := c.limit(ctx, a)
	attempt, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := c.request(attempt, a)
	if err != nil {
		return err
	}
	through := c.wire.through()
	defer c.wire.watch(ctx, through)()
	response, body, err := exchange(through, request)
	if err != nil {
		if attempt.Err() == context.DeadlineExceeded {
			c.wire.leave(through)
		}
		return c.unanswered(ctx, attempt, a, limit, err)
	}
	if response.StatusCode/100 != 2 {
		return c.refused(a, response, body)
	}
	if err := api.DecodeAnswer(body, out); err != nil {
		return c.failed(a, fmt.Errorf("the answer is not that of a TMS server: %w", err))
	}
	return nil
}

// limit returns how long an attempt may take. Where the call has to end at an instant it leaves time for another one,
// which goes over other connections.
func (c *Client) limit(ctx context.Context, a ask) time.Duration {
	limit := a.wait + cmp.Or(a.within, c.requestTimeout)
	if deadline, ok := ctx.Deadline(); ok && a.repeat && c.retryFor > 0 {
		limit = min(limit, max(shortestAttempt, time.Until(deadline)/2))
	}
	return limit
}

const shortestAttempt = 500 * time.Millisecond // where time runs out

// exchange sends a request and reads its answer.
func exchange(through *http.Client, request *http.Request) (*http.Response, []byte, error) {
	response, err := through.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := read(response)
	return response, body, err
}

func (c *Client) request(ctx context.Context, a ask) (*http.Request, error) {
	var body bytes.Buffer
	if a.body != nil {
		if err := api.Encode(&body, a.body); err != nil {
			return nil, tms.Invalid("", "the request cannot be written as JSON: %v", err)
		}
	}
	if a.batch && body.Len() > api.MaxBodyBytes {
		return nil, tms.Refuse(tms.ErrBodyTooLarge, "the batch has more than %d bytes", api.MaxBodyBytes)
	}
	target := c.base.JoinPath(a.path)
	target.RawQuery = a.query.Encode()
	request, err := http.NewRequestWithContext(ctx, a.method, target.String(), &body)
	if err != nil {
		return nil, c.failed(a, bare(err))
	}
	request.Header.Set("User-Agent", c.userAgent)
	if err := c.authenticate(request); err != nil {
		return nil, &failure{error: fmt.Errorf("%s: %w", c.doing(a), err), unchanged: true}
	}
	if header := api.ConditionHeaders[a.on]; header != "" {
		request.Header.Set(header, "*")
	}
	if a.body != nil {
		request.Header.Set("Content-Type", api.JSON)
	}
	return request, nil
}

// authenticate puts the key into the request. One that is empty is none.
func (c *Client) authenticate(request *http.Request) error {
	if c.key == nil {
		return nil
	}
	key, err := c.key()
	if err == nil && key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	return err
}

func read(response *http.Response) ([]byte, error) {
	var body bytes.Buffer
	body.Grow(int(min(max(0, response.ContentLength), 16<<20)) + bytes.MinRead)
	_, err := body.ReadFrom(response.Body)
	return body.Bytes(), err
}

// unanswered says why there was no answer. The caller's context comes first.
func (c *Client) unanswered(ctx, attempt context.Context, a ask, limit time.Duration, err error) error {
	var op *net.OpError
	nobody := errors.As(err, &op) && op.Op == "dial"
	f := &failure{passing: !hopeless(err), unchanged: nobody, nobody: nobody}
	switch {
	case ctx.Err() != nil:
		f.error, f.passing = fmt.Errorf("%s: %w", c.doing(a), ctx.Err()), false
	case attempt.Err() != nil:
		f.error = fmt.Errorf("%s: %w within %v", c.doing(a), ErrUnreachable, limit)
	default:
		f.error = fmt.Errorf("%s: %w: %w", c.doing(a), ErrUnreachable, bare(err))
	}
	return f
}

// hopeless reports whether there is a server which does not speak as the address says it does, or is not who it says.
func hopeless(err error) bool {
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, new(*tls.CertificateVerificationError))
}

// refused reads an answer that is none of success: a problem, or whatever a proxy says.
func (c *Client) refused(a ask, response *http.Response, body []byte) error {
	status := response.StatusCode
	var problem api.Problem
	if !strings.HasPrefix(response.Header.Get("Content-Type"), api.ProblemJSON) ||
		api.DecodeAnswer(body, &problem) != nil || problem.Code == "" {
		return c.foreign(a, response)
	}
	err := problem.Err()
	switch code := tms.CodeOf(err); {
	case code == "":
		return &failure{error: fmt.Errorf("%s: %w", c.doing(a), err), passing: status >= 500}
	case passes(status, code):
		pause := cmp.Or(time.Duration(problem.RetryAfterMS)*time.Millisecond,
			retryAfter(response.Header.Get("Retry-After"))) // which has whole seconds
		return &failure{error: err, passing: true, unchanged: true, pause: pause}
	}
	return err
}

// passes reports whether a refusal may be another one in a while: a server that is too busy, stops, or cannot ask its
// store, and a limit of a rate. A pool stays paused, and a client that holds all it may goes on to, until somebody
// acts. A pool that settles is waited for as one that has no token.
func passes(status int, code tms.Code) bool {
	return status == http.StatusServiceUnavailable && code != tms.ErrPoolPaused && code != tms.ErrPoolSettling ||
		status == http.StatusTooManyRequests && code != tms.ErrQuotaExceeded
}

// foreign is an answer that no TMS server gave. Some proxies say so that another attempt may reach one.
func (c *Client) foreign(a ask, response *http.Response) error {
	f := &failure{error: fmt.Errorf("%s: %w: something else answered %s", c.doing(a), ErrUnreachable, response.Status)}
	f.pause = retryAfter(response.Header.Get("Retry-After"))
	switch response.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		f.passing = true
	case http.StatusTooManyRequests:
		f.passing, f.unchanged = true, true
	case http.StatusRequestEntityTooLarge:
		f.error, f.unchanged = fmt.Errorf("%w: %w", f.error, tms.ErrBodyTooLarge), true
	}
	return f
}

// retryAfter reads the header, which has seconds or an instant. Zero: it has neither.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(0, min(seconds, math.MaxInt32))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}

func (c *Client) failed(a ask, err error) error {
	return &failure{error: fmt.Errorf("%s: %w", c.doing(a), err)}
}

// doing says what was asked of whom. It holds no query, which may name tokens.
func (c *Client) doing(a ask) string { return a.verb + " at " + c.base.String() }

// bare returns the cause of an error of package url or http, without the address that they put before it.
func bare(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}
