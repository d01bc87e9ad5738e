package storetest

import (
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Helpers for the tests of packages that have a store. Each ends the test with a sentence.

// Must ends the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("an error that was not to be: %v", err)
	}
}

// Refused ends the test if err does not carry the code.
func Refused(t testing.TB, err error, code tms.Code) {
	t.Helper()
	if tms.CodeOf(err) != code {
		t.Fatalf("got the error %v, want %s", err, code)
	}
}

// Eventually ends the test if the condition does not come to hold within half a minute.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Put makes or changes a pool.
func Put(t testing.TB, s tms.Store, pool string, change tms.PolicyChange) {
	t.Helper()
	_, err := s.PutPool(t.Context(), pool, change)
	Must(t, err)
}

// Fill generates tokens with these values.
func Fill(t testing.TB, s tms.Store, pool string, values ...string) {
	t.Helper()
	tokens := make([]tms.NewToken, len(values))
	for i, value := range values {
		tokens[i].Value = value
	}
	_, err := s.Generate(t.Context(), pool, tms.GenerateRequest{Tokens: tokens})
	Must(t, err)
}

// Take assigns one token, which must be there, to the client "tester".
func Take(t testing.TB, s tms.Store, pool string) tms.Token {
	t.Helper()
	results, err := s.Assign(t.Context(), pool, []tms.AssignRequest{{ClientID: "tester"}})
	Must(t, err)
	Must(t, results[0].Err)
	return results[0].Tokens[0]
}
