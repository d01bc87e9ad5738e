package rules

import (
	"fmt"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
)

// NoneAvailable refuses count tokens, and says in a sentence what r tells of the pool: how many tokens are available, how
// many wait, whose lease ends first, and when the next token is due.
func NoneAvailable(count int, r tms.Refusal) *tms.Refusal {
	says := []string{fmt.Sprintf("%d available, %d asked for", r.Available, count)}
	if r.Available >= count {
		says[0] += ", but others wait for what is available"
	}
	if r.Waiting > 0 {
		says = append(says, fmt.Sprintf("%d in the queue", r.Waiting))
	}
	if !r.HeldSince.IsZero() {
		says = append(says, fmt.Sprintf("%s has held one since %s", holder(r.HeldBy), r.HeldSince.UTC().Format(time.RFC3339)))
	}
	if r.RetryAfter > 0 {
		says = append(says, fmt.Sprintf("the next is due in %v", seconds(r.RetryAfter)))
	}
	r.Code, r.Detail = tms.ErrNoTokenAvailable, strings.Join(says, "; ")
	return &r
}

func holder(client string) string {
	if client == "" {
		return "somebody"
	}
	return fmt.Sprintf("%q", client)
}

// seconds rounds to whole ones, of which there is one at least.
func seconds(d time.Duration) time.Duration { return max(time.Second, d.Round(time.Second)) }
