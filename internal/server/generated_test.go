package server

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

var (
	generated     = flag.Int("generated", 1_500, "how many requests are made out of openapi.yaml")
	generatedSeed = flag.Uint64("generated.seed", 0, "the seed of an earlier run; 0: another one")
)

// TestGeneratedRequests: requests that are made out of openapi.yaml, and then spoiled here and there, on pools that
// hold tokens. None has an answer that the document does not describe, none is accepted that it does not allow, and the
// server fails in none.
func TestGeneratedRequests(t *testing.T) {
	h := start(t, Config{Limits: Limits{MaxWait: 20 * time.Millisecond}})
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	seed := cmp.Or(*generatedSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	g := &generator{harness: h, Rand: rand.New(rand.NewPCG(seed, 1)), leases: []string{"x"}, seen: map[string]int{}}
	operations := g.operations(doc)
	for i := range *generated {
		if i%200 == 0 {
			g.stock()
		}
		g.request(operations[g.IntN(len(operations))])
		if t.Failed() {
			t.Fatalf("after %d requests", i+1)
		}
	}
	t.Logf("answers: %v", g.seen)
	for _, status := range []string{"200", "201", "400", "404", "409"} {
		if g.seen[status] == 0 {
			t.Errorf("none was answered %s", status)
		}
	}
}

// generator makes requests.
type generator struct {
	*harness
	*rand.Rand
	leases []string       // lease_ids that were seen
	seen   map[string]int // answers by status
}

// operation is one of the document's.
type operation struct {
	method, path string
	*openapi3.Operation
}

func (g *generator) operations(doc *openapi3.T) (all []operation) {
	for path := range doc.Paths.Map() {
		for method, o := range doc.Paths.Value(path).Operations() {
			all = append(all, operation{method, path, o})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

// generatedPools are those that there are, by name.
var generatedPools = map[string]tms.PolicyChange{
	"default":  {},
	"limited":  {MaxLeasesPerClient: new(2), MaxTokens: new(40)},
	"labelled": {Labels: new([]string{"os"}), Cooldown: new(time.Second)},
	"strict":   {RequireLeaseID: new(true), MaxLease: new(time.Minute), OnLeaseExpiry: new(tms.ExpiryQuarantines)},
}

// stock fills the pools, and lets time pass.
func (g *generator) stock() {
	g.advance(time.Duration(g.IntN(90)) * time.Second)
	for _, name := range slices.Sorted(maps.Keys(generatedPools)) {
		policy := generatedPools[name]
		g.store.PutPool(g.t.Context(), name, policy)
		tokens := make([]tms.NewToken, 8)
		for i := range tokens {
			tokens[i] = tms.NewToken{Value: fmt.Sprint("t", g.IntN(30)), Metadata: map[string]string{"os": "linux"}}
		}
		g.store.Generate(g.t.Context(), name, tms.GenerateRequest{Tokens: tokens})
	}
}

// request sends a request of the operation.
func (g *generator) request(o operation) {
	g.t.Helper()
	path := strings.ReplaceAll(o.path, "{pool}", url.PathEscape(g.text("pool")))
	query := url.Values{}
	header := http.Header{}
	for _, p := range o.Parameters {
		if g.IntN(4) > 0 || p.Value.In == "path" {
			continue
		}
		value := fmt.Sprint(g.spoilt(g.value(p.Value.Name, p.Value.Schema, 0)))
		if p.Value.In == "query" {
			query.Set(p.Value.Name, value)
		} else if printable(value) {
			header.Set(p.Value.Name, value)
		}
	}
	var body []byte
	if o.RequestBody != nil {
		body, _ = json.Marshal(g.spoilt(g.value("", o.RequestBody.Value.Content[api.JSON].Schema, 0)))
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	r, err := http.NewRequest(o.method, g.url+path, strings.NewReader(string(body)))
	if err != nil {
		g.t.Fatal(err)
	}
	if r.Header = header; body != nil {
		header.Set("Content-Type", api.JSON)
	}
	a := g.send(r)
	g.seen[fmt.Sprint(a.status)]++
	if a.status == http.StatusInternalServerError {
		g.t.Errorf("%s %s %s: %d %s", o.method, path, body, a.status, a.text)
	}
	g.learn(a.text)
}

// printable reports whether a text may stand in a header.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// learn keeps the lease_ids of an answer.
func (g *generator) learn(text string) {
	for _, part := range strings.Split(text, `"lease_id":"`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		g.leases = append(g.leases, id)
	}
	g.leases = g.leases[max(0, len(g.leases)-50):]
}

// value makes one that a schema allows, mostly: one that is likely to mean something, by the name of the field.
func (g *generator) value(name string, ref *openapi3.SchemaRef, deep int) any {
	schema := ref.Value
	switch {
	case len(schema.Enum) > 0:
		return schema.Enum[g.IntN(len(schema.Enum))]
	case schema.Type.Is("object") || len(schema.Properties) > 0:
		return g.object(schema, deep)
	case schema.Type.Is("array"):
		list := []any{}
		for range 1 + g.IntN(3) {
			list = append(list, g.value(strings.TrimSuffix(name, "s"), schema.Items, deep+1))
		}
		return list
	case schema.Type.Is("integer"), schema.Type.Is("number"):
		return 1 + g.IntN(5)
	case schema.Type.Is("boolean"):
		return g.IntN(2) == 0
	case len(schema.OneOf) > 0:
		return g.value(name, schema.OneOf[g.IntN(len(schema.OneOf))], deep)
	}
	return g.text(name)
}

// object makes one with the fields that are required, those of one of the alternatives, and some more.
func (g *generator) object(schema *openapi3.Schema, deep int) any {
	object, wanted := map[string]any{}, slices.Clone(schema.Required)
	if len(schema.OneOf) > 0 {
		wanted = append(wanted, schema.OneOf[g.IntN(len(schema.OneOf))].Value.Required...)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		alternative := slices.ContainsFunc(schema.OneOf, func(one *openapi3.SchemaRef) bool {
			return slices.Contains(one.Value.Required, name)
		})
		if slices.Contains(wanted, name) || !alternative && deep < 4 && g.IntN(4) == 0 {
			object[name] = g.value(name, schema.Properties[name], deep+1)
		}
	}
	return object
}

// text makes one that is likely to mean something as the field.
func (g *generator) text(name string) string {
	switch name {
	case "pool":
		return []string{"default", "limited", "labelled", "strict", "none", "Bad/pool"}[min(5, g.IntN(9))%6]
	case "token", "prefer", "value":
		return fmt.Sprint("t", g.IntN(32))
	case "lease_id":
		return g.leases[g.IntN(len(g.leases))]
	case "client_id", "request_id", "Idempotency-Key":
		return fmt.Sprint("c", g.IntN(5))
	case "os":
		return "linux"
	case "wait":
		return fmt.Sprint(g.IntN(30), "ms")
	}
	return []string{"1s", "90s", "5m", "0s", "os", "linux"}[g.IntN(6)]
}

// spoilt spoils a third of the values somewhere.
func (g *generator) spoilt(value any) any {
	if g.IntN(3) > 0 {
		return value
	}
	switch value := value.(type) {
	case map[string]any:
		return g.spoiltObject(value)
	case []any:
		if len(value) > 0 {
			value[0] = g.odd()
			return value
		}
	}
	return g.odd()
}

func (g *generator) spoiltObject(object map[string]any) any {
	names := slices.Sorted(maps.Keys(object))
	if len(names) == 0 || g.IntN(6) == 0 {
		object["odd"] = g.odd()
		return object
	}
	name := names[g.IntN(len(names))]
	switch g.IntN(4) {
	case 0:
		delete(object, name)
	case 1:
		object[name] = g.spoilt(object[name])
	default:
		object[name] = g.odd()
	}
	return object
}

// odd makes what nobody has reckoned with.
func (g *generator) odd() any {
	odd := []any{nil, true, -1, 0, 1e300, 1 << 53, 1.5, "", " ", "\x00", "é\u202e", "../..", strings.Repeat("x", 600),
		"-1s", "9999999h", "NaN", []any{}, []any{nil}, map[string]any{}, map[string]any{"": nil}, []any{[]any{}}}
	return odd[g.IntN(len(odd))]
}
