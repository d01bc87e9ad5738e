package tms

import "context"

// Store keeps pools and their tokens. It is safe for concurrent use, by many servers where the implementation says so.
//
// Every method is one atomic step, or a sequence of such steps where it says so, at one instant of the store's own
// clock, which counts milliseconds. A deadline passes when that clock is past it, so that no lease is shorter than its
// TTL. An error that carries a [Code] means refused, and nothing changed; any other error means failed, and the outcome
// is unknown. A result is durable to the store's stated level before it is returned. A method ends when its context
// does; what it had asked for may then still be carried out.
//
// A client_id and a request_id are the caller's own words, or what [Owned] makes of them.
//
// Arguments must be within the limits that the Validate functions of this package check; whoever opens a door to a
// store checks them there, once. A pool that does not exist is refused with [ErrPoolNotFound] by every method but
// PutPool; the pool [DefaultPool] always exists. Every method can be refused with [ErrStoreUnavailable], and every
// method that may change something with [ErrStoreReset], where the store finds that it has lost what it held.
//
// The cost of a step is O(log n) for each token that it touches, n being the size of the pool.
type Store interface {
	// PutPool makes the pool, or changes the policy of one that exists, and returns it, with the policy that it had
	// before. The change's If says which of the two it may do. Parts of the policy that the change leaves out keep
	// their values. A change holds at once and for every token: a deadline that has passed and that nothing has carried
	// out yet is reckoned, and carried out, under the new policy. A lease that stands keeps the end that it has: a
	// lower MaxLease ends none, it only keeps it from being kept alive for longer. Codes: [ErrPoolExists] or
	// [ErrPoolNotFound] because of If; [ErrPoolInUse] for a change of Labels in a pool that holds tokens, and for
	// turning MaxLeasesPerClient on or off while tokens are assigned; before it refuses for that, it carries out a
	// bounded number of expiries that are due.
	PutPool(ctx context.Context, name string, change PolicyChange) (Pool, error)

	// Pool returns a pool and the sizes of its sets. It first carries out a bounded number of expiries that are due, so
	// that in a pool that is kept swept the sizes hold no token whose clock has run out. Where more are due it counts
	// the others as what the policy will make of them, but for tokens that die with their leases.
	Pool(ctx context.Context, name string) (Pool, Stats, error)

	// Pools returns a page of at most limit pools, in the order of their names, that come after the given one, each as
	// Pool does, in a step of its own. Empty means from the first. A pool that is deleted meanwhile is left out, so
	// that a page may hold fewer, or none, and still have a next one.
	Pools(ctx context.Context, after string, limit int) (PoolPage, error)

	// DeletePool deletes a pool with all its tokens and leases, in steps of at most 1,000 tokens. The pool is gone for
	// everybody with the first step. The pool [DefaultPool] is refused with [ErrInvalidRequest].
	DeletePool(ctx context.Context, name string) error

	// Generate puts tokens into the pool, all or none. A value that the pool has already, or that stands twice in the
	// request, is counted as existing: its token clock is wound, and nothing else of it changes. Where the pool's token
	// has other metadata than a NewToken that brings some, it is counted as differing, too, and has it after an Update:
	// it is found by its new labels from this step on, while a lease of it, or what was handed to a ticket, goes on. Of
	// a value that stands twice in the request only the first counts. New tokens, and those with other labels, go to
	// those who wait in the pool's queue first. In a pool with labels, where a token costs several times as much, more
	// than [MaxLabelledBatch] are refused with [ErrInvalidRequest], naming the field. Codes: [ErrPoolFull].
	//
	// A request that carries the RequestID of one that was carried out less than the pool's RequestTTL ago changes
	// nothing: if it asks for the same it is answered the same, and otherwise refused with [ErrRequestIDReused]. The
	// two are compared in the same atomic step. A refusal is not remembered.
	Generate(ctx context.Context, pool string, request GenerateRequest) (Generated, error)

	// Assign answers each request, in order: with as many available tokens as it asks for, each under a new lease, or
	// with a refusal. The error is for the whole batch.
	//
	// The requests are one step. More than 1,000 tokens go in several, and so do requests beside others that have a
	// Prefer, a Match, a RequestID or a Ticket.
	//
	// No request overtakes waiters in the pool's queue for the same tokens.
	//
	// A request that carries the RequestID of one that was carried out less than the pool's RequestTTL ago takes
	// nothing. If it asks for the same, whatever its Wait and Ticket, it is answered with the same leases as they now
	// stand, or is refused with [ErrLeaseLost] if one of them has ended since. If it asks for something else it is
	// refused with [ErrRequestIDReused]. The two are compared in the same atomic step. A refusal is not remembered.
	//
	// Codes of an item: [ErrNoTokenAvailable], with Available, Waiting, and whose lease ends first, and with RetryAfter
	// where the store knows when a token comes back; [ErrQuotaExceeded]; [ErrInvalidRequest] for a Count above the
	// pool's MaxTokens, for a key of Match that is no label of the pool, or for a missing ClientID where the pool has
	// MaxLeasesPerClient. [ErrPoolPaused] is for the batch, or for its items where others are repeats of requests that
	// were carried out.
	Assign(ctx context.Context, pool string, requests []AssignRequest) ([]AssignResult, error)

	// KeepAlive pushes on the lease of each key, in order, and winds the token clock. It never shortens a lease. A
	// token that nobody holds has its clock wound only, and its result has no lease. More than 1,000 keys go in several
	// steps. Codes of an item: [ErrTokenNotFound], [ErrLeaseLost], [ErrNotHolder], [ErrMaxLeaseExceeded].
	KeepAlive(ctx context.Context, pool string, keys []LeaseKey) ([]TokenResult, error)

	// Unblock ends the lease of each key, in order, and returns its token to the pool, where it is available at once or
	// after the key's cooldown, or else the pool's. Where the key says Quarantine the token is put aside instead, and
	// one that nobody holds as well; if it is aside already nothing changes. More than 1,000 keys go in several steps.
	// Codes of an item: [ErrTokenNotFound], [ErrNotAssigned] without a lease_id, [ErrLeaseLost] with one,
	// [ErrNotHolder], [ErrInvalidRequest] for a Cooldown that the token would not outlive, and [ErrNotPermitted] for
	// one of a Strict key that is above the pool's.
	Unblock(ctx context.Context, pool string, keys []LeaseKey) ([]TokenResult, error)

	// UnblockClient ends every lease that the client holds in the pool, and returns their tokens to the pool as Unblock
	// does. It returns how many there were. More than 1,000 go in several steps; leases that the client is given
	// meanwhile may be among them. Codes: [ErrInvalidRequest] in a pool without MaxLeasesPerClient, which keeps no
	// index of clients.
	UnblockClient(ctx context.Context, pool, clientID string) (int, error)

	// UnblockRequest ends the leases that an assign with the RequestID was given and that still stand, and returns
	// their tokens to the pool as Unblock does. It returns how many there were. Whoever repeats that request, as a
	// server does that still lets it wait, takes nothing from then on: for the pool's RequestTTL it is refused with
	// [ErrLeaseLost], whether or not it had been carried out. It is one step. A generate with that RequestID stays as
	// it is.
	UnblockRequest(ctx context.Context, pool, requestID string) (int, error)

	// Restore returns each quarantined token, in order, to the pool, where it is available at once. More than 1,000
	// values go in several steps. Codes of an item: [ErrTokenNotFound], [ErrNotQuarantined].
	Restore(ctx context.Context, pool string, values []string) ([]TokenResult, error)

	// Delete deletes the token of each key, in order, in whatever state it is, and with it its lease. More than 1,000
	// keys go in several steps. Codes of an item: [ErrTokenNotFound], [ErrLeaseLost], [ErrNotHolder].
	Delete(ctx context.Context, pool string, keys []LeaseKey) ([]error, error)

	// Token returns the token of the key, and its history where the key asks for that. With a LeaseID it does so only
	// for the present lease, which the same step looks at; the rest of the key is not heeded. Codes:
	// [ErrTokenNotFound], [ErrLeaseLost].
	Token(ctx context.Context, pool string, key LeaseKey) (Token, error)

	// Tokens returns a page of the tokens that the filter lets through. A token that stays as it is while the pages are
	// read, and has no deadline that passed unswept, is on exactly one of them. It looks at no more than limit tokens,
	// so that a page may hold fewer, or none, and still have a next one. In a pool that keeps an index of clients a
	// filter by ClientID looks at that client's leases only. Codes: [ErrInvalidRequest] for a cursor that is none of
	// this pool's.
	Tokens(ctx context.Context, pool string, filter Filter, cursor string, limit int) (Page, error)

	// Waiters returns at most limit of the requests that wait in the pool's queue, in the order in which they joined.
	// Where more wait than that, it is not said which they are. Who is absent, or was handed something, does not wait:
	// see [Queue].
	Waiters(ctx context.Context, pool string, limit int) ([]Waiter, error)

	// Close ends the store's work and frees what it holds. No method may be called after it.
	Close() error
}

// Sweeper is a store that carries out what is due when it is told to. The store of a server is one; a client is none.
type Sweeper interface {
	Store

	// PoolNames returns the names of at most limit pools, in order, that come after the given one. Empty means from the
	// first. It takes no step on any pool, so that it costs little however many there are.
	PoolNames(ctx context.Context, after string, limit int) ([]string, error)

	// Expire is one sweep: it carries out what is due of at most limit tokens, the longest overdue first, and says when
	// to come back. Where somebody waits, up to 1,000 tokens more come back first, as in every step. Nothing but the
	// space that is taken and the sizes that Pool reports depends on it. It takes tickets whose time is over out of the
	// queue. It finishes the removal of a pool whose DeletePool was interrupted, and then answers [ErrPoolNotFound].
	Expire(ctx context.Context, pool string, limit int) (Expired, error)
}

// Filter chooses tokens. The zero value lets every token through.
type Filter struct {
	State    State  // empty: any
	ClientID string // the holder's; empty: anybody's or nobody's
}

// Page is a part of a listing.
type Page struct {
	Tokens []Token
	Next   string // the cursor of the next page; empty: this was the last
}

// Keyed is a store that keeps a secret for its servers.
type Keyed interface {
	// InstallationKey returns 32 random bytes, which are drawn when they are first asked for, and are the same for all
	// servers of the store, and after a restart, from then on. No other method tells of them.
	InstallationKey(ctx context.Context) ([32]byte, error)
}

// Readier is a store that can say whether it is fit to serve.
type Readier interface {
	// Ready returns nil, or an error that tells an operator what is wrong. It may ask the store's server.
	Ready(ctx context.Context) error
}
