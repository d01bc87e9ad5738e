// Package tms holds the words of TMS, the Token Management System, and the contract of its stores.
//
// TMS leases unique tokens from pools: many clients, few tokens. A token goes to one client at a time and comes back
// when that client is done or dies.
//
// # Two clocks
//
// Every token has a token clock, and a lease clock while it is assigned. The lease clock is set by [Store.Assign],
// pushed on by [Store.KeepAlive], and when it runs out the token returns to its pool. The token clock is wound to
// [Policy.TokenTTL] by every sign of life (generate, assign, keep-alive, unblock); when it runs out and no lease
// stands, the token is deleted. Deadlines are facts, not events: from the instant a clock has run out, every operation
// behaves as if the expiry had been carried out, whether or not a sweep has come by.
//
// # Refused or failed
//
// An error that carries a [Code] means refused: nothing changed, and the code says why. Any other error means failed:
// the outcome is unknown.
package tms
