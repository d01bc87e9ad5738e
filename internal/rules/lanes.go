package rules

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	tms "github.com/manankarani/token-manager"
)

// Lane names what a match asks for, the same for every map with the same content: "" for any token, otherwise each key
// and value with its length before it, in the order of the keys.
func Lane(match map[string]string) string {
	var lane strings.Builder
	for _, key := range slices.Sorted(maps.Keys(match)) {
		writeText(&lane, key)
		writeText(&lane, match[key])
	}
	return lane.String()
}

func writeText(lane *strings.Builder, text string) {
	lane.WriteString(strconv.Itoa(len(text)))
	lane.WriteByte(':')
	lane.WriteString(text)
}

// Matched returns the match that a lane is named after; nil for the lane of any token. A text that names none has what
// could be read of it.
func Matched(lane string) map[string]string {
	var match map[string]string
	for lane != "" {
		var key, value string
		if key, lane = readText(lane); lane == "" {
			break
		}
		value, lane = readText(lane)
		if match == nil {
			match = map[string]string{}
		}
		match[key] = value
	}
	return match
}

// readText returns the text in front of a lane, and the rest.
func readText(lane string) (text, rest string) {
	size, rest, _ := strings.Cut(lane, ":")
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || n > len(rest) {
		return "", ""
	}
	return rest[:n], rest[n:]
}

// WaiterOf returns who waits with a request of so many tokens since an instant of the wall clock, in a place of a lane.
func WaiterOf(clientID string, count int, lane string, place int, since int64) tms.Waiter {
	w := tms.Waiter{Place: place, Count: max(1, count), Match: Matched(lane), Since: Instant(since)}
	w.Holder, w.ClientID = tms.Owner(clientID)
	return w
}

// Lanes returns every lane but "" that a token with this metadata suits: one for each set of the labels that it has. At
// most three labels make at most seven lanes.
func Lanes(labels []string, metadata map[string]string) []string {
	lanes := []string{""}
	for _, label := range labels {
		value, has := metadata[label]
		if !has {
			continue
		}
		for _, shorter := range slices.Clone(lanes) {
			var lane strings.Builder
			lane.WriteString(shorter)
			writeText(&lane, label)
			writeText(&lane, value)
			lanes = append(lanes, lane.String())
		}
	}
	return lanes[1:]
}

// CheckAssign refuses what the policy does not let anybody ask for, naming the field.
func CheckAssign(p tms.Policy, r tms.AssignRequest) error {
	if r.Count > p.MaxTokens {
		return TooMany(p.MaxTokens)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Match)) {
		if !slices.Contains(p.Labels, key) {
			return NoLabel(key)
		}
	}
	if p.MaxLeasesPerClient > 0 && r.ClientID == "" {
		return NoClient()
	}
	return nil
}

// CheckGenerate refuses more tokens than one step takes in a pool with labels, naming the field that says how many.
func CheckGenerate(p tms.Policy, tokens []tms.NewToken) error {
	if len(p.Labels) == 0 || len(tokens) <= tms.MaxLabelledBatch {
		return nil
	}
	return TooManyLabelled(tokens)
}

// Suits reports whether a token with this metadata is among those that the match asks for.
func Suits(metadata, match map[string]string) bool {
	for key, value := range match {
		if has, ok := metadata[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// MayPut refuses a change that is not for a pool which exists, or which is missing.
func MayPut(name string, when tms.Condition, exists bool) error {
	switch {
	case exists && when == tms.IfMissing:
		return tms.Refuse(tms.ErrPoolExists, "there is a pool %q already", name)
	case !exists && when == tms.IfExists:
		return NoPool(name)
	}
	return nil
}

// ChangePolicy returns the changed policy of a pool with so many tokens, and so many of them assigned, or refuses the
// change because of them.
func ChangePolicy(p tms.Policy, c tms.PolicyChange, tokens, assigned int) (tms.Policy, error) {
	changed := c.Apply(p)
	switch {
	case tokens > 0 && !slices.Equal(changed.Labels, p.Labels):
		return p, tms.Refuse(tms.ErrPoolInUse, "labels can be changed only while the pool holds no tokens; it holds %d",
			tokens)
	case assigned > 0 && (changed.MaxLeasesPerClient > 0) != (p.MaxLeasesPerClient > 0):
		return p, tms.Refuse(tms.ErrPoolInUse,
			"max_leases_per_client can be turned on or off only while no token is assigned; %d are", assigned)
	}
	return changed, nil
}
