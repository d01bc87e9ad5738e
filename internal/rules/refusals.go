package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
)

// NoneAvailable refuses count tokens, and says in a sentence what r tells of the pool: how many tokens are available,
// how many wait, whose lease ends first, and when the next token is due.
func NoneAvailable(count int, r tms.Refusal) *tms.Refusal {
	r.HeldBy = tms.OwnerText(r.HeldBy)
	r.Code, r.Detail = tms.ErrNoTokenAvailable, stands(count, r)
	return &r
}

// NotSettled refuses count tokens of a pool that settles after a takeover, and says how it stands.
func NotSettled(count int, r tms.Refusal) *tms.Refusal {
	r.HeldBy = tms.OwnerText(r.HeldBy)
	r.Code, r.Detail = tms.ErrPoolSettling, tms.ErrPoolSettling.Meaning()+"; "+stands(count, r)
	return &r
}

// stands says in a sentence how it stands in the pool.
func stands(count int, r tms.Refusal) string {
	says := []string{fmt.Sprintf("%d available, %d asked for", r.Available, count)}
	if r.Available >= count {
		says[0] += ", but others wait for what is available"
	}
	if r.Waiting > 0 {
		says = append(says, fmt.Sprintf("%d in the queue", r.Waiting))
	}
	if !r.HeldSince.IsZero() {
		says = append(says, fmt.Sprintf("%s has held one since %s", holder(r.HeldBy),
			r.HeldSince.UTC().Format(time.RFC3339)))
	}
	if r.RetryAfter > 0 {
		says = append(says, fmt.Sprintf("the next is due in %v", seconds(r.RetryAfter)))
	}
	return strings.Join(says, "; ")
}

func holder(client string) string {
	if client == "" {
		return "somebody"
	}
	return fmt.Sprintf("%q", client)
}

// seconds rounds to whole ones, of which there is one at least.
func seconds(d time.Duration) time.Duration { return max(time.Second, d.Round(time.Second)) }

// Paused refuses a request for tokens of a pool that gives none.
func Paused(pool string) error { return tms.Refuse(tms.ErrPoolPaused, "pool %q is paused", pool) }

// TooMany refuses a request for more tokens than the pool may hold.
func TooMany(most int) error {
	return tms.Invalid("count", "must be at most %d, the pool's max_tokens", most)
}

// TooManyLabelled refuses the tokens because a pool with labels takes fewer at once.
func TooManyLabelled(tokens []tms.NewToken) error {
	field := "count"
	if slices.ContainsFunc(tokens, func(t tms.NewToken) bool { return t.Value != "" || len(t.Metadata) > 0 }) {
		field = "tokens"
	}
	return tms.Invalid(field, "must be at most %d in a pool with labels, are %d", tms.MaxLabelledBatch, len(tokens))
}

// NoLabel refuses a match by a key that is no label of the pool.
func NoLabel(key string) error {
	return tms.Invalid("match."+key, "is no label of the pool; its policy must name it in labels")
}

// NoClient refuses a request without client_id in a pool with a limit for each client.
func NoClient() error {
	return tms.Invalid("client_id", "must be given, since the pool has max_leases_per_client")
}

// OverQuota refuses a client that would hold more leases than the policy allows.
func OverQuota(held, count, most int) error {
	return tms.Refuse(tms.ErrQuotaExceeded, "the client holds %d leases of at most %d, and asks for %d more", held,
		most,
		count)
}

// NoClientIndex refuses what needs the index of a pool's clients where there is none.
func NoClientIndex() error {
	return tms.Invalid("client_id",
		"the pool keeps no index of its clients; its policy must have max_leases_per_client")
}

// NoPool refuses what is asked of a pool that is missing.
func NoPool(name string) error { return tms.Refuse(tms.ErrPoolNotFound, "there is no pool %q", name) }

// NoToken refuses what is asked of a token that is missing.
func NoToken(pool string) error {
	return tms.Refuse(tms.ErrTokenNotFound, "pool %q has no such token", pool)
}

// Reused refuses a request whose request_id, or ticket, was used for another one.
func Reused() error {
	return tms.Refuse(tms.ErrRequestIDReused, "the request_id was used for a request with other content")
}

// LeaseEnded is the refusal of a repeated request whose lease is there no more.
func LeaseEnded() error {
	return tms.Refuse(tms.ErrLeaseLost,
		"the request was carried out before, and a lease that it was given has ended since")
}

// RestOfOnesOwn refuses a cooldown above the pool's to who may not run the pool.
func RestOfOnesOwn() error {
	return tms.Refuse(tms.ErrNotPermitted, "a cooldown above the pool's needs the right to run it")
}

// TooLongARest refuses a cooldown that the token would not outlive.
func TooLongARest() error {
	return tms.Invalid("cooldown", "must be below the pool's token_ttl, or the token would die while it rests")
}

// OnItsWay refuses what names no lease_id of a token that was handed to somebody who waits.
func OnItsWay() error {
	return tms.Refuse(tms.ErrNotHolder, "the token is on its way to a client that waits for it")
}
