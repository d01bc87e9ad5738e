package tms

import (
	"context"
	"time"
)

// The clocks of waiters.
const (
	// PresenceTime is how long a ticket counts as present after it was shown. Only those who are present are handed
	// anything, so that the waiters of a server that died are soon out of everybody's way.
	PresenceTime = time.Second

	// TicketTTL is how long a place in the queue is kept without a word from whoever waits.
	TicketTTL = 2 * time.Second

	// PickupTime is how long a token that was handed to one who waits is kept for them to pick up.
	PickupTime = time.Second

	// AnswerTime is how long what a ticket was given is remembered for whoever did not hear the answer.
	AnswerTime = 10 * time.Second
)

// Waiter is a request that waits in a pool's queue.
type Waiter struct {
	Place    int               // in the line of those who wait for the same tokens, 1 being next
	Holder   string            // the name of the key with which it waits; empty: it waits without one
	ClientID string            // who waits, in the caller's words; may be empty
	Since    time.Time         // when it joined the queue
	Count    int               // how many tokens it asks for
	Match    map[string]string // what they must have; nil: any
}

// Queue is what a store offers to those who let callers wait: a queue in each pool, first come, first served, that all
// servers of the store share. Callers do not use it themselves: they say [AssignRequest.Wait] to a store that heeds it.
//
// Whoever waits draws a ticket, an unguessable text such as [NewValue] returns, and calls [Store.Assign] with it. If a
// token is free and nobody waits for it the request is granted, as if it had no ticket. Otherwise it joins the queue
// and is refused with [ErrNoTokenAvailable]; the refusal says its Place.
//
// A ticket is a place in the queue, which it keeps for [TicketTTL] after every Assign with it. The right to be handed
// something is another thing: it has that while it is present, for [PresenceTime] after the Assign. An absent ticket is
// handed nothing, keeps nobody waiting, and is not counted among waiters; shown again before its time is over it
// stands where it stood.
//
// In the atomic step that makes a token available it is handed to the longest waiter whom it suits: it is assigned,
// with the lease_ids that came with the ticket, for [PickupTime]. The store wakes the waiter; the next Assign with the
// ticket picks the token up, and the lease begins. A token that nobody picks up in time returns to the pool as if it
// had never been handed out, and goes to the next; the ticket is absent from then on, and keeps its place for as long
// as one that was shown last a PresenceTime ago. A ticket that was given tokens has left the queue; shown again within
// [AnswerTime] it is answered with the same leases, as they now stand, unless one of them has ended since: then it
// joins anew. So an Assign with a ticket whose outcome is unknown can be made again. Until a token is picked up,
// keep-alive, unblock and delete that name no lease_id are refused with [ErrNotHolder], and a lookup shows it as
// assigned to its client, without a fence.
//
// Waiters for any token stand in one line, those with the same Match in another. A token that suits several
// lines goes to the one whose first ticket is oldest. A ticket that asks for several tokens is not overtaken by later
// ones of its line that ask for fewer, unless it asks for more than the pool holds (available, assigned and cooling):
// then it waits in its place, nothing is kept back for it, and others are served past it, until the pool holds enough.
// While the pool is paused nobody is handed anything, and no ticket is renewed. One whose client has come to hold as
// many leases as it may is taken out of the queue when its turn comes, and woken.
type Queue interface {
	// Leave takes tickets out of the pool's queue or, where keep is set, makes them absent: whoever waits may come
	// back, and finds their places kept for [TicketTTL] from now. What the tickets had been handed and had not picked
	// up goes to the next. A ticket that is not there is passed over.
	Leave(ctx context.Context, pool string, tickets []string, keep bool) error

	// Listen calls wake for every ticket, of any Assign on this store value, that should be shown again at once, until
	// ctx ends, when it returns nil. It returns an error when it can no longer hear of them, and may then be called
	// again. A wake can get lost: whoever waits shows the ticket again in any case. It is called once at a time.
	Listen(ctx context.Context, wake func(ticket string)) error
}
