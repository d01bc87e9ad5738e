// Package storetest is the contract of [tms.Store] as a test: rules that each check one sentence of it, races, and
// random programs that run in step on a store and on the [Model]. Every one of them ends in a check of the invariants.
package storetest

import (
	"context"
	"slices"
	"testing"

	tms "github.com/manankarani/token-manager"
)

// Opener opens a store that takes its instants from the clock, or several that share one state. It closes them with
// t.Cleanup. It may give a state that earlier calls have used: every rule works in pools of its own.
type Opener func(t testing.TB, clock *Clock) []tms.Sweeper

// Checker is a store that can examine itself. Every rule ends with its Check.
type Checker interface {
	// Check returns an error that says which indexes, counts or keys disagree. It may walk the whole store.
	Check(ctx context.Context) error
}

// rule is one sentence of the contract and the test of it.
type rule struct {
	name string
	says string
	run  func(e *env)
}

// Run checks every rule of the contract, each as a subtest. Where the opener gives several stores the operations of a
// rule go to them in turn.
func Run(t *testing.T, open Opener) {
	clock := NewClock()
	for _, r := range allRules() {
		t.Run(r.name, func(t *testing.T) { r.check(t, open, clock) })
	}
}

func allRules() []rule {
	return slices.Concat(generateRules, assignRules, keepAliveRules, unblockRules, deleteRules, clockRules, expiryRules,
		poolRules, putRules, refusalRules, listRules, overdueRules, requestRules, repeatRules, choiceRules, asideRules,
		fairRules, defectRules, holderRules, historyRules, raceRules, randomRules)
}

// check runs the rule on stores of its own, and the invariant check after it.
func (r rule) check(t testing.TB, open Opener, clock *Clock) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the contract says: %s", r.says)
		}
	})
	e := newEnv(t, newWitness(open(t, clock)), clock)
	r.run(e)
	e.invariants()
}
