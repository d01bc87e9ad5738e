package redis_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/manankarani/token-manager/internal/rules"
)

// checkRedis holds what must be true of every key at rest: each token stands in exactly one set; assigned tokens, and
// no others, have a lease string, with a TTL; cooling tokens, and no others, a last sign of life beside; metadata and
// past are those of living tokens; the lanes, the clients and the queue agree with the tokens; every key belongs to a
// pool that the index names.
func checkRedis(ctx context.Context, c rueidis.Client) error {
	keys, err := c.Do(ctx, c.B().Keys().Pattern("tms:*").Build()).AsStrSlice()
	if err != nil {
		return err
	}
	names, err := c.Do(ctx, c.B().Zrange().Key("tms:pools").Min("0").Max("-1").Build()).AsStrSlice()
	if err != nil {
		return err
	}
	pools := map[string]*poolKeys{}
	for _, name := range names {
		pools[name] = &poolKeys{ctx: ctx, client: c, prefix: "tms:{" + name + "}:"}
	}
	for _, key := range keys {
		pool, rest, found := strings.Cut(strings.TrimPrefix(key, "tms:{"), "}:")
		switch {
		case slices.Contains([]string{"tms:pools", "tms:store", "tms:secret", "tms:keys"}, key),
			strings.HasPrefix(key, "tms:limit:"), rest == "gone":
		case !found || pools[pool] == nil:
			return fmt.Errorf("key %q belongs to no pool", key)
		default:
			pools[pool].keys = append(pools[pool].keys, rest)
		}
	}
	for name, p := range pools {
		if err := p.check(); err != nil {
			return fmt.Errorf("pool %q: %w", name, err)
		}
	}
	return nil
}

// poolKeys is what Redis holds of one pool.
type poolKeys struct {
	ctx    context.Context
	client rueidis.Client
	prefix string
	keys   []string // without the prefix

	sets    map[string]map[string]float64 // by name, those with a lane or client included
	hashes  map[string]map[string]string
	strings map[string]map[string]string // by the prefix in the name, then by token
	pool    map[string]string
	policy  struct {
		Labels string `json:"labels"`
		Limit  int    `json:"max_leases_per_client"`
	}
}

func (p *poolKeys) check() error {
	p.sets, p.hashes = map[string]map[string]float64{}, map[string]map[string]string{}
	p.strings = map[string]map[string]string{"lease": {}, "token": {}}
	var errs []error
	for _, key := range p.keys {
		errs = append(errs, p.load(key))
	}
	if p.pool = p.hashes["pool"]; p.pool == nil {
		errs = append(errs, errors.New("it is in the index and has no hash"))
	}
	if text := p.pool["policy"]; text != "" {
		errs = append(errs, json.Unmarshal([]byte(text), &p.policy))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return errors.Join(p.checkTokens(), p.checkFresh(), p.checkLanes(), p.checkClients(), p.checkQueue(),
		p.checkRequests())
}

// load reads one key.
func (p *poolKeys) load(key string) (err error) {
	b, name := p.client.B(), p.prefix+key
	kind, token, _ := strings.Cut(key, ":")
	switch {
	case p.strings[kind] != nil:
		if p.strings[kind][token], err = p.client.Do(p.ctx, b.Get().Key(name).Build()).ToString(); kind == "lease" {
			err = errors.Join(err, p.checkTTL(name))
		}
	case key == "gone": // a string with a TTL
	case slices.Contains([]string{"pool", "past", "holders", "tickets", "answers"}, key):
		p.hashes[key], err = p.client.Do(p.ctx, b.Hgetall().Key(name).Build()).AsStrMap()
	default:
		var scores []rueidis.ZScore
		scores, err = p.client.Do(p.ctx, b.Zrange().Key(name).Min("0").Max("-1").Withscores().Build()).AsZScores()
		p.sets[key] = map[string]float64{}
		for _, s := range scores {
			p.sets[key][s.Member] = s.Score
		}
	}
	return err
}

// checkTTL holds that a lease string has a TTL.
func (p *poolKeys) checkTTL(name string) error {
	left, err := p.client.Do(p.ctx, p.client.B().Pttl().Key(name).Build()).AsInt64()
	if err == nil && left <= 0 {
		err = fmt.Errorf("%s has a TTL of %d ms", name, left)
	}
	return err
}

// checkTokens holds that the places of each token go together.
func (p *poolKeys) checkTokens() error {
	places := map[string][]string{}
	note := func(place, token string) { places[token] = append(places[token], place) }
	for _, set := range []string{"available", "assigned", "cooling", "quarantined", "seen"} {
		for token := range p.sets[set] {
			note(set, token)
		}
	}
	beside := map[string]map[string]string{"lease": p.strings["lease"], "token": p.strings["token"],
		"past": p.hashes["past"]}
	for place, tokens := range beside {
		for token := range tokens {
			note(place, token)
		}
	}
	for token, at := range places {
		if err := checkPlaces(token, at); err != nil {
			return err
		}
	}
	return nil
}

// checkPlaces holds that a token's places go together.
func checkPlaces(token string, places []string) error {
	has := map[string]int{}
	for _, place := range places {
		has[place]++
	}
	sets := has["available"] + has["assigned"] + has["cooling"] + has["quarantined"]
	if sets == 1 && has["lease"] == has["assigned"] && has["seen"] == has["cooling"] {
		return nil
	}
	return fmt.Errorf("token %q stands in %v", token, places)
}

// checkFresh holds that the leases that can end while the pool settles are those since the takeover.
func (p *poolKeys) checkFresh() error {
	if p.sets["fresh"] == nil {
		return nil
	}
	before, err := strconv.ParseFloat(p.pool["before"], 64)
	want := map[string]float64{}
	for token, till := range p.sets["assigned"] {
		fence, bad := strconv.ParseFloat(strings.Fields(p.strings["lease"][token])[1], 64)
		if err = errors.Join(err, bad); fence > before {
			want[token] = till
		}
	}
	return errors.Join(err, compare("fresh", want, p.sets["fresh"]))
}

// checkLanes holds that each lane has the available tokens that suit it, as rules.Lanes says, and no others.
func (p *poolKeys) checkLanes() error {
	want := map[string]map[string]float64{}
	for token, seen := range p.sets["available"] {
		var metadata map[string]string
		if text := p.strings["token"][token]; text != "" {
			if err := json.Unmarshal([]byte(text), &metadata); err != nil {
				return err
			}
		}
		for _, lane := range rules.Lanes(strings.Split(p.policy.Labels, "\n"), metadata) {
			insert(want, "lane:"+lane, token, seen)
		}
	}
	return compare("lanes", want, p.family("lane:"))
}

func insert[V any](sets map[string]map[string]V, key, member string, value V) {
	if sets[key] == nil {
		sets[key] = map[string]V{}
	}
	sets[key][member] = value
}

// family returns the sets whose names begin so.
func (p *poolKeys) family(prefix string) map[string]map[string]float64 {
	sets := maps.Clone(p.sets)
	maps.DeleteFunc(sets, func(name string, _ map[string]float64) bool { return !strings.HasPrefix(name, prefix) })
	return sets
}

func compare(what string, want, got any) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the %s are not as they should be: want -, got +\n%s", what, diff)
	}
	return nil
}

// checkClients holds that the index of clients, where there is one, is that of the assigned tokens.
func (p *poolKeys) checkClients() error {
	sets, holders := map[string]map[string]float64{}, map[string]string{}
	if p.policy.Limit > 0 {
		for token, till := range p.sets["assigned"] {
			client := strings.SplitN(p.strings["lease"][token], " ", 6)[5]
			insert(sets, "client:"+client, token, till)
			holders[token] = client
		}
	}
	if p.hashes["holders"] == nil && len(holders) == 0 {
		holders = nil
	}
	return errors.Join(compare("clients", sets, p.family("client:")), compare("holders", holders, p.hashes["holders"]))
}

// checkQueue holds that each ticket either waits in its line or was handed tokens, that no token is on its way to
// nobody, and that the pool's hash reports whether there are tickets.
func (p *poolKeys) checkQueue() error {
	lines, on := map[string]map[string]bool{}, map[string]string{}
	for ticket, text := range p.hashes["tickets"] {
		var request struct {
			Lane       string
			IDs, Offer []string
		}
		if err := json.Unmarshal([]byte(strings.SplitN(text, " ", 3)[2]), &request); err != nil {
			return err
		}
		_, waits := p.sets["waiting"][ticket]
		_, handed := p.sets["handed"][ticket]
		_, absent := p.sets["absent"][ticket]
		if waits && handed || waits && absent || handed != (request.Offer != nil) {
			return fmt.Errorf("ticket %q waits: %v, was handed: %v, is absent: %v, tokens %q", ticket, waits, handed,
				absent,
				request.Offer)
		}
		if _, beyond := p.sets["beyond"][ticket]; waits && !beyond {
			insert(lines, "line:"+request.Lane, ticket, true)
		}
		for i, token := range request.Offer {
			on[token] = request.IDs[i]
		}
	}
	got := map[string]map[string]bool{}
	for line, tickets := range p.family("line:") {
		for ticket := range tickets {
			insert(got, line, ticket, true)
		}
	}
	placed, there := len(p.sets["waiting"])+len(p.sets["handed"])+len(p.sets["absent"]), len(p.hashes["tickets"])
	if placed != there || (p.pool["queue"] != "") != (there > 0) {
		return fmt.Errorf("%d tickets have a place, %d are there, and queue is %q", placed, there, p.pool["queue"])
	}
	return errors.Join(compare("lines", lines, got), p.checkHanded(on))
}

// checkHanded holds that every handed token is on its way to a ticket.
func (p *poolKeys) checkHanded(on map[string]string) error {
	for token, lease := range p.strings["lease"] {
		parts := strings.SplitN(lease, " ", 6)
		if parts[2] == "0" && on[token] != parts[0] {
			return fmt.Errorf("token %q was handed to nobody: %q", token, lease)
		}
	}
	return nil
}

// checkRequests holds that what is remembered has an end.
func (p *poolKeys) checkRequests() error {
	want, got := map[string]string{}, map[string]string{}
	for id, until := range p.sets["requests"] {
		want[id] = strconv.FormatFloat(until, 'f', 0, 64)
	}
	for id, text := range p.hashes["answers"] {
		got[id] = strings.SplitN(text, " ", 3)[1]
	}
	return compare("requests", want, got)
}
