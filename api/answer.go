package api

import tms "github.com/manankarani/token-manager"

// Generated answers a GenerateRequest. Token is there when one token was asked for.
type Generated struct {
	Pool      string   `json:"pool"`
	Token     string   `json:"token,omitzero"`
	Tokens    []string `json:"tokens"`
	Created   int      `json:"created"`
	Existing  int      `json:"existing"`
	Differing int      `json:"differing,omitzero"`
	ExpiresAt Time     `json:"expires_at,omitzero"`
	Warnings  []string `json:"warnings,omitzero"` // see [tms.GenerateRequest.Warnings]
}

// Token is a token as every answer shows it; fields that do not apply are left out. The answers of assign and
// keep-alive show a lease: an assigned token with renew_after_ms and, for its holder, lease_id. No other answer has
// them.
type Token struct {
	Pool           string            `json:"pool"`
	Token          string            `json:"token"`
	State          tms.State         `json:"state,omitzero"`
	LeaseID        string            `json:"lease_id,omitzero"`
	Fence          int64             `json:"fence,omitzero"`
	ClientID       string            `json:"client_id,omitzero"`
	AssignedAt     Time              `json:"assigned_at,omitzero"`
	LeaseExpiresAt Time              `json:"lease_expires_at,omitzero"`
	TTLMS          int64             `json:"ttl_ms,omitzero"`
	RenewAfterMS   int64             `json:"renew_after_ms,omitzero"`
	ReadyAt        Time              `json:"ready_at,omitzero"`
	ExpiresAt      Time              `json:"expires_at,omitzero"`
	Metadata       map[string]string `json:"metadata,omitzero"`
	Deleted        bool              `json:"deleted,omitzero"` // only in the answer of delete, with nothing but the names

	*Past // only in the answers of lookup and of listings
}

// Past is what a pool remembers of a token's leases.
type Past struct {
	AssignedCount int64  `json:"assigned_count"`
	ExpiredCount  int64  `json:"expired_count"`
	Since         Time   `json:"since,omitzero"`
	LastClientID  string `json:"last_client_id,omitzero"`
}

// Assigned answers an AssignRequest: a lease where one token was asked for, and Leases otherwise.
type Assigned struct {
	*Token
	Leases   []Token  `json:"leases,omitzero"`
	Warnings []string `json:"warnings,omitzero"` // see [tms.AssignRequest.Warnings]
}

// Results answers a batch, in the order of its keys.
type Results struct {
	Results []Result `json:"results"`
}

// Result is either a token or a problem. Its Err is nil where it is a token.
type Result struct {
	*Token
	*Problem
}

// ClientUnblocked answers an UnblockRequest for all leases of a client.
type ClientUnblocked struct {
	Pool      string `json:"pool"`
	ClientID  string `json:"client_id"`
	Unblocked int    `json:"unblocked"`
}

// RequestUnblocked answers an UnblockRequest for what an assign was given.
type RequestUnblocked struct {
	Pool      string `json:"pool"`
	RequestID string `json:"request_id"`
	Unblocked int    `json:"unblocked"`
}

// Pool is a pool as answers show it. Tokens, Expired and Waiting are left out where only the policy was asked for.
type Pool struct {
	Pool    string   `json:"pool"`
	Policy  Policy   `json:"policy"`
	Was     *Policy  `json:"was,omitzero"` // of what a change has changed, the values before; nil in a pool that was made
	Tokens  *Counts  `json:"tokens,omitzero"`
	Expired *Expired `json:"expired,omitzero"`
	Waiting *int     `json:"waiting,omitzero"` // in the pool's queue

	Warnings []string `json:"warnings,omitzero"` // only in the answer of a PUT: see [tms.Pool.Warnings]
}

// Counts are the sizes of a pool's sets.
type Counts struct {
	Available   int `json:"available"`
	Assigned    int `json:"assigned"`
	Cooling     int `json:"cooling"`
	Quarantined int `json:"quarantined"`
	Total       int `json:"total"`
}

// Expired says what has expired in a pool since it was made.
type Expired struct {
	Released    int64 `json:"released"`
	Quarantined int64 `json:"quarantined"`
	Deleted     int64 `json:"deleted"`
}

// PoolDeleted answers the deletion of a pool.
type PoolDeleted struct {
	Pool    string `json:"pool"`
	Deleted bool   `json:"deleted"`
}

// Pools is a page of pools.
type Pools struct {
	Pools      []Pool `json:"pools"`
	NextCursor string `json:"next_cursor,omitzero"`
}

// Tokens is a page of tokens. It may hold fewer than were asked for, or none, and still have a next one.
type Tokens struct {
	Tokens     []Token `json:"tokens"`
	NextCursor string  `json:"next_cursor,omitzero"`
}

// Health answers that the server lives, or is ready to serve.
type Health struct {
	Status  string `json:"status"`
	Version string `json:"version,omitzero"`
}
