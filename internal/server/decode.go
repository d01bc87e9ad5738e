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

// fromBody decodes the request from the body alone.
func fromBody[Req any](c *call, request *Req) error {
	if c.URL.RawQuery != "" {
		return noQuery(c)
	}
	return api.Decode(c.body, request)
}

// generateBody decodes what to generate.
func generateBody(c *call, request *api.GenerateRequest) error {
	return fromBodyWithID(c, request, &request.RequestID)
}

// fromBodyWithID decodes the request from the body, and its request_id from there or from the header. Both may be given
// if they are the same.
func fromBodyWithID[Req any](c *call, request *Req, id *string) error {
	if err := fromBody(c, request); err != nil {
		return err
	}
	for _, given := range c.Header[api.HeaderRequestID] {
		if given == "" {
			return tms.Invalid("request_id", "the header %s must not be empty", api.HeaderRequestID)
		}
		if *id != "" && *id != given {
			return tms.Invalid("request_id", "is given twice, and differently")
		}
		*id = given
	}
	return nil
}

// fromBodyOrQuery decodes what to delete from the body or from the query, but not from both.
func fromBodyOrQuery(c *call, request *api.DeleteRequest) error {
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

// poolPath is a request for a pool.
type poolPath struct{ pool string }

func fromPath(c *call, request *poolPath) error {
	if err := noQuery(c); err != nil {
		return err
	}
	if len(c.body) > 0 {
		return tms.Invalid("", "the route takes no body")
	}
	return request.read(c)
}

func (p *poolPath) read(c *call) error {
	p.pool = c.PathValue("pool")
	return tms.ValidatePoolName("pool", p.pool)
}

// policyChange is a request to make a pool or to change its policy.
type policyChange struct {
	poolPath
	api.Policy
	when tms.Condition
}

func fromPathAndBody(c *call, request *policyChange) error {
	if err := request.read(c); err != nil {
		return err
	}
	var err error
	if request.when, err = condition(c.Header); err != nil {
		return err
	}
	return fromBody(c, &request.Policy)
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

func fromPageQuery(c *call, request *page) error {
	query, err := queryOf(c, "limit", cursorParameter)
	if err != nil {
		return err
	}
	return request.read(query)
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

// tokensPage is a request for a part of a pool's tokens.
type tokensPage struct {
	poolPath
	page
	filter tms.Filter
}

func fromTokensQuery(c *call, request *tokensPage) error {
	query, err := queryOf(c, "state", "client_id", "limit", cursorParameter)
	if err != nil {
		return err
	}
	request.filter = tms.Filter{State: tms.State(query["state"]), ClientID: query["client_id"]}
	if err := checkFilter(request.filter); err != nil {
		return err
	}
	if err := request.poolPath.read(c); err != nil {
		return err
	}
	return request.page.read(query)
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

// queryOf returns the parameters of the query. It refuses one that is not allowed, given twice or empty, which would read
// as one that was left out on purpose.
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
