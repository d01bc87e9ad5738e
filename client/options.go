package client

import (
	"crypto/tls"
	"net/http"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Defaults of the options.
const (
	DefaultRequestTimeout = 30 * time.Second
	DefaultRetryFor       = 10 * time.Second
)

// Option changes how a Client works.
type Option func(*options)

type options struct {
	http           *http.Client
	tls            *tls.Config // nil: that of package net/http
	userAgent      string
	key            func() (string, error) // nil: none is sent
	requestTimeout time.Duration
	retryFor       time.Duration
	clock          clock
}

// WithHTTPClient sends the requests through c, which may carry a transport with certificates or credentials. It should
// have no Timeout of its own, and is not closed with the Client. Where a connection of an [http.Transport] falls
// silent, requests go through a clone of it from then on; another [http.RoundTripper] has to see to that itself.
// Default: a client of its own that keeps up to 100 connections open.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.http = c } }

// WithTLS sets whom the client trusts, and what it shows of itself, over https. It is not heeded with WithHTTPClient,
// whose transport has its own. Default: the certificates that the machine trusts.
func WithTLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

// WithKey sends the key with every request, for a server that asks for one. Send it over TLS only: who reads a request
// on its way has the key. Default: none is sent.
func WithKey(key string) Option { return WithKeyFrom(func() (string, error) { return key, nil }) }

// WithKeyFrom is [WithKey] for a key that changes: f is called for each request, by many goroutines at once. Where it
// returns an error, no request is sent.
func WithKeyFrom(f func() (string, error)) Option { return func(o *options) { o.key = f } }

// WithUserAgent sets the User-Agent of the requests. Default: "tms-client".
func WithUserAgent(text string) Option { return func(o *options) { o.userAgent = text } }

// WithRequestTimeout sets how long one request may take, beside what it waits for a token; one that waits is given up
// after 5 seconds more than that at most, and repeated. Default: [DefaultRequestTimeout].
func WithRequestTimeout(d time.Duration) Option { return func(o *options) { o.requestTimeout = d } }

// WithRetryFor sets for how long a request that failed is repeated. It holds for calls whose context has no deadline;
// other calls repeat until their deadline. Zero: no request is repeated. Default: [DefaultRetryFor].
//
// A call that waits for a token heeds it only until a server has answered. From then on it repeats for as long as it
// waits. So it ends soon where there is no server, and outlives a server that stops, dies or is too busy for a while.
func WithRetryFor(d time.Duration) Option { return func(o *options) { o.retryFor = d } }

// AcquireOption says what [Client.Acquire] asks for and how it keeps it.
type AcquireOption func(*acquire)

type acquire struct {
	request  tms.AssignRequest
	margin   func(ttl time.Duration) time.Duration // nil, or not positive: the default
	progress time.Duration
	onWait   func(tms.Refusal)
	hears    time.Duration // how often onWait is called
	clock    clock
}

// Wait lets Acquire wait its turn for up to d where no token is free. Zero, the default: it does not wait.
func Wait(d time.Duration) AcquireOption { return func(a *acquire) { a.request.Wait = d } }

// TTL sets how long the lease outlasts its last renewal: how soon others get the token when this process dies. Default:
// the pool's lease_ttl.
func TTL(d time.Duration) AcquireOption { return func(a *acquire) { a.request.TTL = d } }

// ClientID says who holds the token, for those who look. It is needed where the pool has max_leases_per_client.
func ClientID(id string) AcquireOption { return func(a *acquire) { a.request.ClientID = id } }

// Prefer names the token that is taken if it is available. If it is not, another is.
func Prefer(token string) AcquireOption { return func(a *acquire) { a.request.Prefer = token } }

// Match takes only a token whose metadata has these values. The keys must be labels of the pool.
func Match(labels map[string]string) AcquireOption {
	return func(a *acquire) { a.request.Match = labels }
}

// Margin sets how long before its end, as this process counts it, a lease is taken for lost: what a program needs to
// stop what it does. Default: a tenth of the lease, and at least 50 ms.
func Margin(d time.Duration) AcquireOption {
	return MarginOf(func(time.Duration) time.Duration { return d })
}

// MarginOf is [Margin] for where the margin depends on how long the lease lasts, which the server decides: f is called
// with the time that was granted, for each token. [Held.Margin] tells what became of it.
func MarginOf(f func(ttl time.Duration) time.Duration) AcquireOption {
	return func(a *acquire) { a.margin = f }
}

// RequireProgress renews the lease only while [Held.Progress] was called within d, so that a worker that hangs loses
// its token, d and one lease after it began to hang at the latest. Zero, the default: nothing is required.
func RequireProgress(d time.Duration) AcquireOption { return func(a *acquire) { a.progress = d } }

// OnWait calls f about once a second while Acquire waits, with the server's last refusal: its Waiting says how many
// wait, its Place which of them this one is. f runs in the goroutine of Acquire.
func OnWait(f func(tms.Refusal)) AcquireOption { return OnWaitEvery(reportSlice, f) }

// OnWaitEvery is [OnWait] with another time between two calls, of 15 seconds at most. The first call comes after a
// second.
func OnWaitEvery(every time.Duration, f func(tms.Refusal)) AcquireOption {
	return func(a *acquire) { a.onWait, a.hears = f, every }
}
