// Package client is the Go client of a TMS server.
//
// A [Client] is a [tms.Store] over HTTP: its methods do what the contract of Store says, and their refusals are the
// same, so that errors.Is(err, [tms.ErrNoTokenAvailable]) holds here as it holds in the server. Most programs want
// [Client.Acquire] instead, which gives a [Held]: a token with a lease that keeps itself alive in the background.
//
//	held, err := c.Acquire(ctx, "licences", client.Wait(time.Minute))
//	if err != nil {
//		return err
//	}
//	defer held.Close()
//	return work(held.Context(), held.Token(), held.Fence())
//
// # What a held lease promises
//
// The lease is counted on this process's own monotonic clock, from before the request was sent, for as long as the
// server granted, less a margin. [Held.Context] ends when that time is over, which is before the server can give the
// token away, whatever became of the network or of the requests under way. [Held.Err] then says why. Work that heeds
// its context never runs beside the next holder's.
//
// A machine that was suspended is noticed on Linux, where a monotonic clock stands still meanwhile: the lease ends
// then, too, for who asks at once, and within a second for who waits for the end of the context. On other systems it
// goes on for as long as its clock says. No client can know that its process was stopped between looking at its context
// and doing the next thing. Where that matters, hand [Held.Fence] to what the token protects, and let that refuse a
// smaller fence than it has seen.
//
// # Failures
//
// An error that carries a [tms.Code] is a refusal: nothing changed. Nor did anything where it is [ErrNotSent], whose
// requests got nowhere. Any other means that the outcome is unknown. Calls that are safe to repeat are repeated while
// the server cannot be reached or answers that it failed, with growing pauses of random length, until the context's
// deadline or, where it has none, for the time of [WithRetryFor]. Generate and Assign are safe because each carries a
// RequestID, which the client draws where the caller gave none. A refusal is returned at once, except for
// [tms.ErrStoreUnavailable] and others that say 503 or 429 and pass. A wait outlives its server: see [WithRetryFor]. A
// token that was handed over so late that its lease had ended is no answer to it while it has time left: the client
// asks anew, unless the RequestID is the caller's. [ErrUnreachable] tells a server that was not reached from one that
// failed.
package client
