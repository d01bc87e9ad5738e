package storetest

import (
	"time"

	tms "github.com/manankarani/token-manager"
)

// These hold of a store, not of a client, whose server says who holds and what is strict.
var holderRules = []rule{
	{"StrictWithoutLeaseID",
		"a strict key without a lease_id is not_holder where the token is held, and else as any other", strictBare},
	{"StrictWithLeaseID", "a strict key with the lease_id acts as any other", strictProof},
	{"StrictCooldown", "a strict key's own cooldown is at most the pool's, and else not_permitted", strictCooldown},
	{"HoldersShareNoQuota", "two holders' clients of one name have quotas of their own", holdersQuota},
	{"HoldersShareNoRequest", "two holders' requests of one request_id are two requests", holdersRequest},
	{"HoldersAreShown", "a lease shows its holder and its client_id apart", holdersShown},
	{"HistoryByForce", "the history names the key that ended a lease by force, and only then", historyByForce},
	{"HoldersAreListed", "leases are listed, and ended, by holder and client together", holdersListed},
}

// strictVerbs are what a strict key can ask for.
func strictVerbs(e *env, pool string) map[string]func(tms.LeaseKey) error {
	return map[string]func(tms.LeaseKey) error{
		"keep-alive": func(key tms.LeaseKey) error {
			_, err := e.keep(pool, key)
			return err
		},
		"unblock": func(key tms.LeaseKey) error {
			_, err := e.giveBack(pool, key)
			return err
		},
		"quarantine": func(key tms.LeaseKey) error {
			key.Quarantine = true
			_, err := e.giveBack(pool, key)
			return err
		},
		"delete": func(key tms.LeaseKey) error { return e.drop(pool, key) },
	}
}

func strictBare(e *env) {
	if e.parts() {
		return
	}
	pool := e.pool(tms.PolicyChange{})
	strict := tms.LeaseKey{Token: "a", Strict: true}
	for _, does := range strictVerbs(e, pool) {
		e.generate(pool, "a")
		lease := e.take(pool)
		e.refused(does(strict), tms.ErrNotHolder)
		e.is(pool, "a", tms.Assigned)
		_, err := e.giveBack(pool, keyOf(lease))
		e.must(err)
	}
	_, err := e.keep(pool, strict)
	e.must(err)
	_, err = e.giveBack(pool, strict)
	e.refused(err, tms.ErrNotAssigned)
	e.must(e.drop(pool, strict))
	e.refused(e.drop(pool, strict), tms.ErrTokenNotFound)
}

func strictProof(e *env) {
	if e.parts() {
		return
	}
	pool := e.pool(tms.PolicyChange{})
	for _, does := range strictVerbs(e, pool) {
		e.generate(pool, "a")
		lease := e.take(pool)
		wrong := tms.LeaseKey{Token: "a", LeaseID: "guessed", Strict: true}
		e.refused(does(wrong), tms.ErrLeaseLost)
		right := keyOf(lease)
		right.Strict = true
		e.must(does(right))
		e.drop(pool, byValue("a")) // where it is still there
	}
}

func strictCooldown(e *env) {
	if e.parts() {
		return
	}
	pool := e.pool(tms.PolicyChange{Cooldown: new(second)})
	e.generate(pool, "a")
	for asked, allowed := range map[time.Duration]bool{0: true, second: true, second + ms: false, minute: false} {
		key := keyOf(e.take(pool))
		key.Cooldown, key.Strict = &asked, true
		_, err := e.giveBack(pool, key)
		if !allowed {
			e.refused(err, tms.ErrNotPermitted)
			e.is(pool, "a", tms.Assigned)
			key.Strict = false
			_, err = e.giveBack(pool, key)
		}
		e.must(err)
		e.advance(asked + ms)
	}
}

func holdersQuota(e *env) {
	if e.parts() {
		return
	}
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(1)})
	e.fill(pool, "a", "b", "c")
	for _, holder := range []string{"", "ci", "qa"} {
		e.takeAs(pool, tms.AssignRequest{ClientID: tms.Owned(holder, "job")})
		e.refused(e.tryTake(pool, tms.AssignRequest{ClientID: tms.Owned(holder, "job")}).Err, tms.ErrQuotaExceeded)
	}
}

func holdersRequest(e *env) {
	if e.parts() {
		return
	}
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b")
	request := func(holder string) tms.AssignRequest {
		return tms.AssignRequest{RequestID: tms.Owned(holder, "r"), ClientID: tms.Owned(holder, "")}
	}
	first, other := e.takeAs(pool, request("ci"))[0], e.takeAs(pool, request("qa"))[0]
	if first.Value == other.Value {
		e.Fatalf("two holders were given %q", first.Value)
	}
	e.equal("a repeat", e.takeAs(pool, request("ci"))[0].Lease.ID, first.Lease.ID)
	n, err := e.UnblockRequest(e.Context(), pool, tms.Owned("ci", "r"))
	e.must(err)
	e.equal("ended", n, 1)
	e.is(pool, other.Value, tms.Assigned)
}

func holdersShown(e *env) {
	if e.parts() {
		return
	}
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.takeAs(pool, tms.AssignRequest{ClientID: tms.Owned("ci", "team/job")})[0].Lease
	e.equal("holder", lease.Holder, "ci")
	e.equal("client_id", lease.ClientID, "team/job")
	seen := e.lookUp(pool, "a")
	e.equal("holder when looked up", seen.Lease.Holder, "ci")
	e.equal("last client", seen.Past.LastClient, "ci/team/job")
	refusal, _ := e.tryTake(pool, tms.AssignRequest{}).Err.(*tms.Refusal)
	e.equal("held by", refusal.HeldBy, "ci/team/job")
}

func holdersListed(e *env) {
	if e.parts() {
		return
	}
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(5)})
	e.fill(pool, "a", "b", "c")
	mine := e.takeAs(pool, tms.AssignRequest{ClientID: tms.Owned("ci", "job")})[0]
	e.takeAs(pool, tms.AssignRequest{ClientID: tms.Owned("qa", "job")})
	e.takeAs(pool, tms.AssignRequest{ClientID: "job"})
	listed := e.list(pool, tms.Filter{ClientID: tms.Owned("ci", "job")}, 10)
	if len(listed) != 1 || listed[0].Value != mine.Value {
		e.Fatalf("the list has %d tokens, want %q alone", len(listed), mine.Value)
	}
	n, err := e.UnblockClient(e.Context(), pool, tms.Owned("ci", "job"))
	e.must(err)
	e.equal("ended", n, 1)
	e.equal("assigned still", e.stats(pool).Assigned, 2)
}
