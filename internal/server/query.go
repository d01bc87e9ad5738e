package server

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// readDelete reads what to delete from the body or from the query, but not from both.
func (c *call) readDelete(request *api.DeleteRequest) error {
	if c.URL.RawQuery == "" {
		return api.Decode(c.body, request)
	}
	if len(c.body) > 0 {
		return tms.Invalid("", "give the fields as a body or as query parameters, not as both")
	}
	query, err := queryOf(c, "pool", "token", "lease_id")
	request.Pool, request.Token, request.LeaseID = query["pool"], query["token"], query["lease_id"]
	return err
}

// pool returns the pool of the path.
func (c *call) pool() (string, error) {
	pool := c.PathValue("pool")
	return pool, tms.ValidatePoolName("pool", pool)
}

// onlyPool returns the pool of the path, which is all that the request may say.
func (c *call) onlyPool() (string, error) {
	if err := noQuery(c); err != nil {
		return "", err
	}
	if len(c.body) > 0 {
		return "", tms.Invalid("", "the route takes no body")
	}
	return c.pool()
}

// readPolicy reads the change of a pool's policy, and on which pools it is meant to be carried out.
func (c *call) readPolicy() (pool string, change tms.PolicyChange, err error) {
	if pool, err = c.pool(); err != nil {
		return pool, change, err
	}
	when, err := condition(c.Header)
	if err != nil {
		return pool, change, err
	}
	var policy api.Policy
	if err := c.decode(&policy); err != nil {
		return pool, change, err
	}
	change = policy.Change()
	change.If = when
	return pool, change, change.Validate()
}

// condition returns on which pools a change is meant to be carried out.
func condition(h http.Header) (when tms.Condition, err error) {
	for _, each := range []tms.Condition{tms.IfMissing, tms.IfExists} {
		switch name := api.ConditionHeaders[each]; {
		case len(h.Values(name)) == 0:
		case h.Get(name) != "*" || len(h.Values(name)) > 1:
			return "", tms.Invalid(name, "must be *: pools have no entity tags")
		case when != tms.IfAny:
			return "", tms.Invalid(name, "must not be given together with %s", api.ConditionHeaders[when])
		default:
			when = each
		}
	}
	return when, nil
}

// page is a request for a part of a listing.
type page struct {
	limit  int
	cursor string
}

func (c *call) readPage() (p page, err error) {
	query, err := queryOf(c, "limit", cursorParameter)
	if err != nil {
		return p, err
	}
	return p, p.read(query)
}

func (p *page) read(query map[string]string) error {
	p.cursor, p.limit = query[cursorParameter], api.DefaultPage
	text, ok := query["limit"]
	if !ok {
		return nil
	}
	var err error
	if p.limit, err = strconv.Atoi(text); err != nil || p.limit < 1 || p.limit > api.MaxPage {
		return tms.Invalid("limit", "must be 1 to %d", api.MaxPage)
	}
	return nil
}

// readTokensPage reads which part of which pool's tokens is asked for.
func (c *call) readTokensPage() (pool string, f tms.Filter, p page, err error) {
	query, err := queryOf(c, "state", "client_id", "limit", cursorParameter)
	if err != nil {
		return pool, f, p, err
	}
	f = tms.Filter{State: tms.State(query["state"]), ClientID: query["client_id"]}
	if err := checkFilter(f); err != nil {
		return pool, f, p, err
	}
	if pool, err = c.pool(); err != nil {
		return pool, f, p, err
	}
	return pool, f, p, p.read(query)
}

func checkFilter(f tms.Filter) error {
	switch f.State {
	case "", tms.Available, tms.Assigned, tms.Cooling, tms.Quarantined:
		return tms.AssignRequest{ClientID: f.ClientID}.Validate()
	}
	return tms.Invalid("state", "must be available, assigned, cooling or quarantined")
}

func noQuery(c *call) error {
	_, err := queryOf(c)
	return err
}

const cursorParameter = "cursor" // the one that may be empty: there is no page before the first

// queryOf returns the parameters of the query. It refuses one that is not allowed, given twice or empty, which would
// read as one that was left out on purpose.
func queryOf(c *call, allowed ...string) (map[string]string, error) {
	if c.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, tms.Invalid("", "the query is not well-formed")
	}
	query := make(map[string]string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !slices.Contains(allowed, name):
			return nil, tms.Invalid(name, "is not a query parameter here")
		case len(values[name]) > 1:
			return nil, tms.Invalid(name, "is given twice")
		case values[name][0] == "" && name != cursorParameter:
			return nil, tms.Invalid(name, "must not be empty; leave it out if you mean none")
		}
		query[name] = values[name][0]
	}
	return query, nil
}
