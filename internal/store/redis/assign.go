package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Assign implements [tms.Store]. More than 1,000 tokens in all go in several steps, of half that size where a request
// chooses, queues or can be repeated, and so do requests for any tokens and others that stand between each other.
func (s *Store) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	alike := func(a, b tms.AssignRequest) bool { return simple(a) == simple(b) }
	most := maxStep
	if !allSimple(requests) {
		most /= 2
	}
	return rules.AssignInSteps(pool, requests, most, alike, func(part []tms.AssignRequest) ([]tms.AssignResult, error) {
		if len(part) == 1 && simple(part[0]) && part[0].Count <= fewItems {
			return s.assigns.do(ctx, pool, part)
		}
		return s.assign(ctx, pool, part)
	})
}

// simple reports whether the request asks for any tokens, does not queue, and cannot be repeated.
func simple(r tms.AssignRequest) bool {
	return r.Prefer == "" && len(r.Match) == 0 && r.RequestID == "" && r.Ticket == ""
}

func allSimple(requests []tms.AssignRequest) bool {
	return !slices.ContainsFunc(requests, func(r tms.AssignRequest) bool { return !simple(r) })
}

// assign answers requests of one kind in one step.
func (s *Store) assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	a, err := s.assignOnce(ctx, pool, requests)
	if errors.Is(err, tms.ErrPoolPaused) {
		return slices.Repeat([]tms.AssignResult{{Err: rules.Paused(pool)}}, len(requests)), nil
	}
	if err != nil {
		return nil, err
	}
	policy, stands := a.policy(), a.standing()
	results := make([]tms.AssignResult, len(requests))
	for i, r := range requests {
		results[i] = a.assigned(pool, policy, max(1, r.Count), stands)
		s.pulse.note(pool, results[i].Tokens...)
	}
	return results, a.failure()
}

func (s *Store) assignOnce(ctx context.Context, pool string, requests []tms.AssignRequest) (*answer, error) {
	if simple(requests[0]) {
		return s.repeat(ctx, pool, fnAssign, s.assignArgs(requests)...)
	}
	s.attend(ctx, pool, requests)
	return s.repeat(ctx, pool, fnClaim, s.claimArgs(requests)...)
}

func (s *Store) assignArgs(requests []tms.AssignRequest) []string {
	args := make([]string, 0, 4*len(requests))
	for _, r := range requests {
		args = s.leaseIDs(append(args, r.ClientID, ms(r.TTL), count(r)), r)
	}
	return args
}

func (s *Store) claimArgs(requests []tms.AssignRequest) []string {
	args := make([]string, 0, 1+9*len(requests))
	args = append(args, s.wakes.inbox)
	for _, r := range requests {
		args = append(args, r.ClientID, ms(r.TTL), count(r), rules.Lane(r.Match), r.Prefer, r.RequestID,
			rules.AssignPrint(r), r.Ticket)
		args = s.leaseIDs(args, r)
	}
	return args
}

func count(r tms.AssignRequest) string { return strconv.Itoa(max(1, r.Count)) }

// leaseIDs appends as many as the request asks for.
func (s *Store) leaseIDs(args []string, r tms.AssignRequest) []string {
	for range max(1, r.Count) {
		args = append(args, s.newID())
	}
	return args
}

// standing reads "next since client": what the refusals of a step say of the pool, as it stands after the step.
func (a *answer) standing() (r tms.Refusal) {
	parts := strings.SplitN(a.text(), " ", 3)
	if len(parts) != 3 { // nothing is refused
		return r
	}
	var next, since int64
	a.parse(parts, &next, &since)
	if next >= 0 {
		r.RetryAfter = time.Duration(next+a.ahead+1-a.now) * time.Millisecond
	}
	if r.HeldBy = parts[2]; since > 0 {
		r.HeldSince = rules.Instant(since + a.ahead)
	}
	return r
}

// assigned reads the result of one request.
func (a *answer) assigned(pool string, policy rules.Terms, count int, stands tms.Refusal) tms.AssignResult {
	first := a.text()
	if first == "" || first[0] > '9' {
		return tms.AssignResult{Err: a.notAssigned(first, pool, count, stands)}
	}
	tokens := make([]tms.Token, 0, count)
	for text := first; ; text = a.text() {
		value, r := a.grant(text)
		tokens = append(tokens, r.Token(pool, value, policy, a.now, true))
		if len(tokens) == count || a.err != nil {
			return tms.AssignResult{Tokens: tokens}
		}
	}
}

// grant reads "till lease", a line feed and the token, and behind another one its metadata.
func (a *answer) grant(text string) (value string, r rules.Record) {
	record, rest, _ := strings.Cut(text, "\n")
	value, metadata, _ := strings.Cut(rest, "\n")
	till, lease, _ := strings.Cut(record, " ")
	r.State = tms.Assigned
	a.parse([]string{till}, &r.Until)
	a.lease(lease, &r)
	r.Metadata = a.decode(metadata)
	return value, r.Shift(a.ahead)
}

// notAssigned reads why a request was refused.
func (a *answer) notAssigned(text, pool string, count int, stands tms.Refusal) error {
	code, about, _ := strings.Cut(text, " ")
	switch code {
	case "no_label":
		return rules.NoLabel(about)
	case "no_client":
		return rules.NoClient()
	case "too_many":
		return rules.TooMany(a.numbers(about, 1)[0])
	case "lease_ended":
		return rules.LeaseEnded()
	case string(tms.ErrPoolPaused):
		return rules.Paused(pool)
	case string(tms.ErrRequestIDReused):
		return rules.Reused()
	case string(tms.ErrQuotaExceeded):
		n := a.numbers(about, 2)
		return rules.OverQuota(n[0], count, n[1])
	}
	n := a.numbers(about, 3)
	stands.Available, stands.Place, stands.Waiting = n[0], n[1], n[2]
	if code == string(tms.ErrPoolSettling) {
		return rules.NotSettled(count, stands)
	}
	return rules.NoneAvailable(count, stands)
}

// numbers reads n numbers from the text of an element.
func (a *answer) numbers(text string, n int) []int {
	numbers := make([]int, n)
	fields := strings.Fields(text)
	if len(fields) != n {
		a.err = errors.Join(a.err, errors.New("a refusal has not its numbers"))
		return numbers
	}
	for i, field := range fields {
		var err error
		if numbers[i], err = strconv.Atoi(field); err != nil {
			a.err = err
		}
	}
	return numbers
}
