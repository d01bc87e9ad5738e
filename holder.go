package tms

import (
	"path"
	"strings"
	"time"
)

// Right is what a caller with a key may do in a pool. Which verb needs which right stands in docs/security.md.
type Right string

// The rights. None implies another but Run, which implies them all.
const (
	Hold  Right = "hold"  // take tokens, and keep, return or put aside by the lease_id what one holds
	Fill  Right = "fill"  // generate tokens, restore them, and delete those that nobody holds
	Watch Right = "watch" // see pools, tokens behind masks, and metrics
	Run   Right = "run"   // all of that by force, without a lease_id; policies and pools
)

// Grant gives a right on all pools whose name matches a glob, as "ci-*".
type Grant struct {
	Right Right
	Pools string // in the syntax of [path.Match]
}

// ParseGrant reads "hold@ci-*", or "hold" for all pools. "all" is another word for "run".
func ParseGrant(text string) (Grant, error) {
	right, pools, some := strings.Cut(text, "@")
	if !some {
		pools = "*"
	}
	if right == "all" {
		right = string(Run)
	}
	g := Grant{Right(right), pools}
	if _, err := path.Match(pools, ""); err != nil || pools == "" {
		return Grant{}, Invalid("may", "must have a glob of pools after the @, as hold@ci-*, is %q", text)
	}
	switch g.Right {
	case Hold, Fill, Watch, Run:
		return g, nil
	}
	return Grant{}, Invalid("may", "must be hold, fill, watch, run or all, and may have @POOLS, is %q", text)
}

// String returns what [ParseGrant] reads.
func (g Grant) String() string {
	if g.Pools == "*" {
		return string(g.Right)
	}
	return string(g.Right) + "@" + g.Pools
}

// Gives reports whether the grant gives the right in the pool.
func (g Grant) Gives(right Right, pool string) bool {
	if g.Right != right && g.Right != Run {
		return false
	}
	matches, _ := path.Match(g.Pools, pool)
	return matches
}

// Caller is who asks a server: the name of the key, what it may, and when it ends.
type Caller struct {
	Key     string // as [ValidatePoolName] lets through; empty: the server asks for none
	May     []Grant
	Expires time.Time // zero: never
}

// ownedBy stands between a holder and a name of its own. No client_id and no request_id has it, since it does not
// print.
const ownedBy = "\x1f"

// Owned returns the name by which a store knows what a holder calls so: a client_id, or a request_id. No two holders
// have one in common. What belongs to no holder is known by its own name.
func Owned(holder, name string) string {
	if holder == "" {
		return name
	}
	return holder + ownedBy + name
}

// Owner returns what [Owned] was given.
func Owner(owned string) (holder, name string) {
	holder, name, some := strings.Cut(owned, ownedBy)
	if !some {
		return "", owned
	}
	return holder, name
}

// OwnerText returns an owned client_id as people read it: "holder/client_id".
func OwnerText(owned string) string {
	holder, name := Owner(owned)
	if holder == "" || name == "" {
		return holder + name
	}
	return holder + "/" + name
}
