package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Problem is the body of every error: problem details of RFC 9457 with the code of the refusal. Code, and nothing else
// of it, is meant for programs to decide by.
type Problem struct {
	Type         string   `json:"type"`
	Title        string   `json:"title"`
	Status       int      `json:"status"`
	Code         tms.Code `json:"code"`
	Detail       string   `json:"detail,omitzero"`
	Instance     string   `json:"instance,omitzero"` // the name of the request, as its X-Request-Id, escaped for a URL
	Field        string   `json:"field,omitzero"`
	Reason       string   `json:"reason,omitzero"` // of a failed, where it is known: not_durable
	RetryAfterMS int64    `json:"retry_after_ms,omitzero"`

	// Of a no_token_available or pool_settling: how many wait in the pool's queue, which is always said, and where the
	// request stood in its line of it.
	Waiting *int `json:"waiting,omitzero"`
	Place   int  `json:"place,omitzero"`

	// Of a no_token_available or pool_settling: how many tokens that suit are available, which is always said, and who
	// holds the lease that ends first, where there is one, since when.
	Available *int   `json:"available,omitzero"`
	HeldBy    string `json:"held_by,omitzero"`
	HeldSince Time   `json:"held_since,omitzero"`
}

// notDurable is the reason of an operation that may be lost.
const notDurable = "not_durable"

// NewProblem returns the problem that err is on the wire. An error without a [tms.Code] becomes [CodeFailed]; its text,
// which was written for operators, stays behind.
func NewProblem(err error) *Problem {
	code := tms.CodeOf(err)
	if code == "" {
		code = CodeFailed
	}
	p := &Problem{Type: "about:blank", Status: Status(code), Code: code, Detail: meaningOf(code)}
	if code == CodeFailed && errors.Is(err, tms.ErrNotDurable) {
		p.Status, p.Reason, p.Detail = http.StatusServiceUnavailable, notDurable, tms.ErrNotDurable.Error()
	}
	p.Title = http.StatusText(p.Status)
	var refusal *tms.Refusal
	if errors.As(err, &refusal) && code != CodeFailed {
		p.refine(refusal)
	}
	if tms.NoneYet(code) && p.Waiting == nil {
		p.Waiting, p.Available = new(int), new(int)
	}
	return p
}

func (p *Problem) refine(r *tms.Refusal) {
	if r.Detail != "" {
		p.Detail = r.Detail
	}
	p.Field = r.Field
	p.RetryAfterMS = ceil(r.RetryAfter, time.Millisecond)
	if tms.NoneYet(r) {
		p.Waiting, p.Place, p.Available = &r.Waiting, r.Place, &r.Available
		p.HeldBy, p.HeldSince = r.HeldBy, Time{r.HeldSince}
	}
}

// Err returns the error that the problem was, as the caller of a store gets it: a [tms.Refusal], or for [CodeFailed],
// and where there is no code, an error that carries none. A nil problem is no error.
func (p *Problem) Err() error {
	switch {
	case p == nil:
		return nil
	case p.Code == CodeFailed && p.Reason == notDurable:
		return fmt.Errorf("the server answered %d %s: %w", p.Status, p.Title, tms.ErrNotDurable)
	case p.Code == CodeFailed || p.Code == "":
		return fmt.Errorf("the server answered %d %s: %s", p.Status, p.Title, p.Detail)
	}
	refusal := &tms.Refusal{
		Code:       p.Code,
		Field:      p.Field,
		Detail:     p.Detail,
		RetryAfter: time.Duration(p.RetryAfterMS) * time.Millisecond,
		Place:      p.Place,
		HeldBy:     p.HeldBy,
		HeldSince:  p.HeldSince.Time,
	}
	if p.Waiting != nil {
		refusal.Waiting = *p.Waiting
	}
	if p.Available != nil {
		refusal.Available = *p.Available
	}
	return refusal
}

// RetryAfterSeconds returns the value of the Retry-After header, rounded up; zero means that there is none.
func (p *Problem) RetryAfterSeconds() int64 {
	return ceil(time.Duration(p.RetryAfterMS)*time.Millisecond, time.Second)
}

func ceil(d, unit time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + unit - 1) / unit)
}
