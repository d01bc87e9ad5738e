package tms_test

import (
	"errors"
	"fmt"
	"time"

	tms "github.com/manankarani/token-manager"
)

// What a store refuses says so in a code, which is the error itself, and what a person needs beside it.
func Example() {
	var err error = &tms.Refusal{
		Code: tms.ErrNoTokenAvailable, Detail: "0 available, 1 asked for", Waiting: 2, RetryAfter: 40 * time.Second,
	}
	var refusal *tms.Refusal
	if errors.Is(err, tms.ErrNoTokenAvailable) && errors.As(err, &refusal) {
		fmt.Println(refusal.Waiting, "wait; the next token is due in", refusal.RetryAfter)
	}
	fmt.Println(tms.CodeOf(err).Meaning())
	fmt.Println(tms.CodeOf(errors.New("connection reset")) == "") // no code: the outcome is unknown
	// Output:
	// 2 wait; the next token is due in 40s
	// fewer tokens are available than were asked for, or others wait for them
	// true
}

// A change names the parts of a policy that are to be set.
func ExamplePolicyChange() {
	change := tms.PolicyChange{LeaseTTL: new(30 * time.Second), Selection: new(tms.SelectFIFO)}
	fmt.Println(change.Validate())
	policy := change.Apply(tms.DefaultPolicy())
	fmt.Println(policy.LeaseTTL, policy.Selection, policy.TokenTTL)
	fmt.Println(tms.PolicyChange{Grace: new(-time.Second)}.Validate())
	// Output:
	// <nil>
	// 30s fifo 5m0s
	// invalid_request: grace: must be 100ms to 720h0m0s
}
