package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	tms "github.com/manankarani/token-manager"
)

var randomRules = []rule{
	{"RandomPrograms",
		"whatever is asked, in whatever order and at whatever instant, a store answers as the model does",
		randomPrograms},
}

// randomPrograms runs random operations in step on the stores and on a model that lives by the same clock, each program
// in a pool of its own. What is the store's to choose, the model follows, if the choice is a legal one.
func randomPrograms(e *env) {
	rapid.Check(e.tester.(rapid.TB), func(t *rapid.T) {
		p := newProgram(t, e)
		p.generate(t)
		p.assign(t)
		p.run(t)
		p.settle()
		p.list(t)
		p.invariants()
	})
}

// run carries out random operations. What should happen often stands there more than once.
func (p *program) run(t *rapid.T) {
	t.Repeat(map[string]func(*rapid.T){
		"generate":  p.generate,
		"assign 1":  p.assign,
		"assign 2":  p.assign,
		"assign 3":  p.assign,
		"keep 1":    p.keepAlive,
		"keep 2":    p.keepAlive,
		"keep 3":    p.keepAlive,
		"unblock 1": p.unblock,
		"unblock 2": p.unblock,
		"restore":   p.restore,
		"client":    p.unblockClient,
		"request":   p.unblockRequest,
		"leave":     p.leave,
		"delete":    p.delete,
		"tick 1":    p.tick,
		"tick 2":    p.tick,
		"tick 3":    p.tick,
		"tick 4":    p.tick,
		"lookup":    p.lookup,
		"list":      p.list,
		"waiters":   p.waiters,
		"sweep":     p.sweep,
		"policy":    p.policy,
		"recreate":  p.recreate,
	})
}

// program is one random program: the stores as an env of its own, and the model.
type program struct {
	*env
	model *Model
	pool  string
	held  []tms.LeaseKey // every lease that was ever given, the latest last
	given []tms.Token    // what the store newly gave in the present assignment, for the model to follow

	queues bool // requests may have tickets
}

func newProgram(t *rapid.T, outer *env) *program {
	p := &program{env: newEnv(t, newWitness(outer.stores), outer.clock), model: NewModel(outer.clock)}
	p.model.draw, p.model.own = p.follow, false
	_, p.queues = outer.stores[0].(tms.Queue)
	p.queues = p.queues && rapid.Bool().Draw(t, "queues")
	change := p.newPolicy(t)
	p.pool = p.env.pool(change)
	_, err := p.model.PutPool(t.Context(), p.pool, change)
	p.must(err)
	return p
}

// follow is the model's draw: what the store gave, if the model has it to give.
func (p *program) follow(policy tms.Policy, available []string) (string, string, int64) {
	if len(p.given) == 0 {
		p.Fatalf("assign gave too little: the model would give one of %q more", available)
	}
	t := p.given[0]
	p.given = p.given[1:]
	at := slices.Index(available, t.Value)
	legal := map[tms.Selection]bool{tms.SelectRandom: at >= 0, tms.SelectFIFO: at == 0,
		tms.SelectLIFO: at == len(available)-1}
	if at < 0 || !legal[policy.Selection] {
		p.Fatalf("assign gave %q, but the pool's %s choice is from %q", t.Value, policy.Selection, available)
	}
	return t.Value, t.Lease.ID, t.Lease.Fence
}

// agree ends the test if the store's answer or code is not the model's.
func (p *program) agree(verb string, got, want any, gotErr, wantErr error) {
	p.Helper()
	if tms.CodeOf(gotErr) != tms.CodeOf(wantErr) || (gotErr == nil) != (wantErr == nil) {
		p.Fatalf("%s: the store says %v, the model %v", verb, gotErr, wantErr)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(sameRefusal)); gotErr == nil && diff != "" {
		p.Fatalf("%s: the model -, the store +\n%s", verb, diff)
	}
}

// sameRefusal reports whether two errors say the same: how many are available, how many wait, and which of them this
// one is.
func sameRefusal(a, b error) bool {
	if tms.CodeOf(a) != tms.CodeOf(b) || (a == nil) != (b == nil) {
		return false
	}
	x, y := refusalOf(a), refusalOf(b)
	return x.Code != tms.ErrNoTokenAvailable || x.Available == y.Available && x.Waiting == y.Waiting &&
		x.Place == y.Place
}

func (p *program) generate(t *rapid.T) {
	tokens := rapid.SliceOfN(newTokenGen, 1, 6).Draw(t, "tokens")
	update := rapid.Bool().Draw(t, "update")
	got, gotErr := p.Generate(t.Context(), p.pool, tms.GenerateRequest{Tokens: tokens, Update: update})
	for i := range got.Tokens {
		tokens[i].Value = got.Tokens[i] // the model need not draw
	}
	want, wantErr := p.model.Generate(t.Context(), p.pool, tms.GenerateRequest{Tokens: tokens, Update: update})
	p.agree("generate", got, want, gotErr, wantErr)
}

func (p *program) assign(t *rapid.T) {
	requests := p.drawRequests(t)
	got, gotErr := p.Assign(t.Context(), p.pool, requests)
	for _, result := range got {
		for _, token := range result.Tokens {
			if !slices.Contains(p.held, keyOf(token)) { // or it is the answer to a repeated request
				p.given, p.held = append(p.given, token), append(p.held, keyOf(token))
			}
		}
	}
	want, wantErr := p.model.Assign(t.Context(), p.pool, requests)
	p.agree("assign", got, want, gotErr, wantErr)
	for i := range got {
		p.equal("what is told of the pool", p.told(got[i].Err, len(requests)), p.told(want[i].Err, len(requests)))
	}
	p.equal("given beyond what the model gives", len(p.given), 0)
}

// told returns what the refusal of one of several requests tells of the pool beyond what sameRefusal looks at. Of
// several each may tell how it stands before the others or after them; and when the next token is due, a store tells
// without looking whether it will be dead by then.
func (p *program) told(err error, of int) tms.Refusal {
	r := refusalOf(err)
	if r.Code != tms.ErrNoTokenAvailable || of > 1 {
		return tms.Refusal{}
	}
	if p.model.pools[p.pool].policy.TokenTTL == 0 {
		return *r
	}
	return tms.Refusal{HeldBy: r.HeldBy, HeldSince: r.HeldSince}
}

func (p *program) keepAlive(t *rapid.T) {
	keys := p.drawKeys(t)
	got, gotErr := p.KeepAlive(t.Context(), p.pool, keys)
	want, wantErr := p.model.KeepAlive(t.Context(), p.pool, keys)
	p.agree("keep-alive", got, want, gotErr, wantErr)
}

func (p *program) unblock(t *rapid.T) {
	keys := p.drawKeys(t)
	got, gotErr := p.Unblock(t.Context(), p.pool, keys)
	want, wantErr := p.model.Unblock(t.Context(), p.pool, keys)
	p.agree("unblock", got, want, gotErr, wantErr)
}

func (p *program) restore(t *rapid.T) {
	values := rapid.SliceOfN(rapid.SampledFrom(someValues), 1, 4).Draw(t, "values")
	got, gotErr := p.Restore(t.Context(), p.pool, values)
	want, wantErr := p.model.Restore(t.Context(), p.pool, values)
	p.agree("restore", got, want, gotErr, wantErr)
}

func (p *program) unblockClient(t *rapid.T) {
	client := rapid.SampledFrom(someClients[1:]).Draw(t, "client")
	got, gotErr := p.UnblockClient(t.Context(), p.pool, client)
	want, wantErr := p.model.UnblockClient(t.Context(), p.pool, client)
	p.agree("unblock client", got, want, gotErr, wantErr)
}

func (p *program) unblockRequest(t *rapid.T) {
	id := rapid.SampledFrom([]string{"r1", "r2", "r3"}).Draw(t, "request")
	got, gotErr := p.UnblockRequest(t.Context(), p.pool, id)
	want, wantErr := p.model.UnblockRequest(t.Context(), p.pool, id)
	p.agree("unblock request", got, want, gotErr, wantErr)
}

func (p *program) leave(t *rapid.T) {
	if !p.queues {
		return
	}
	ticket := []string{rapid.SampledFrom(recurring).Draw(t, "ticket").Ticket}
	keep := rapid.Bool().Draw(t, "keep")
	p.agree("leave", nil, nil, p.Leave(t.Context(), p.pool, ticket, keep),
		p.model.Leave(t.Context(), p.pool, ticket, keep))
}

func (p *program) delete(t *rapid.T) {
	keys := p.drawKeys(t)[:1]
	got, gotErr := p.Delete(t.Context(), p.pool, keys)
	want, wantErr := p.model.Delete(t.Context(), p.pool, keys)
	p.agree("delete", got, want, gotErr, wantErr)
}

// tick moves the clock a little, or to the next deadline or the instants beside it.
func (p *program) tick(t *rapid.T) {
	now := p.clock.Millis()
	_, due := p.model.pools[p.pool].next()
	by := rapid.SampledFrom([]time.Duration{0, ms, 50 * ms, 100 * ms, 250 * ms, second}).Draw(t, "by")
	if rapid.IntRange(0, 2).Draw(t, "toward a deadline") > 0 && due >= now && due < now+time.Hour.Milliseconds() {
		by = time.Duration(due-now+rapid.Int64Range(-1, 1).Draw(t, "beside it")) * ms
	}
	p.advance(max(by, 0))
}

func (p *program) lookup(t *rapid.T) {
	value := rapid.SampledFrom(someValues).Draw(t, "value")
	got, gotErr := p.Token(t.Context(), p.pool, tms.LeaseKey{Token: value, History: true})
	want, wantErr := p.model.Token(t.Context(), p.pool, tms.LeaseKey{Token: value, History: true})
	p.agree("lookup", got, want, gotErr, wantErr)
}

// list compares all tokens that pass a filter, read in pages of any size.
func (p *program) list(t *rapid.T) {
	f := filterGen.Draw(t, "filter")
	want, err := p.model.Tokens(t.Context(), p.pool, f, "", 1<<30)
	p.must(err)
	got := p.env.list(p.pool, f, rapid.IntRange(1, 12).Draw(t, "limit"))
	p.equal("listed", byName(got), byName(want.Tokens))
}

func (p *program) waiters(t *rapid.T) {
	got, gotErr := p.Waiters(t.Context(), p.pool, maxListed)
	want, wantErr := p.model.Waiters(t.Context(), p.pool, maxListed)
	p.agree("waiters", got, want, gotErr, wantErr)
}

const maxListed = 100 // waiters, more than a program has

// byName indexes tokens by their values.
func byName(tokens []tms.Token) map[string]tms.Token {
	index := map[string]tms.Token{}
	for _, t := range tokens {
		index[t.Value] = t
	}
	return index
}

func (p *program) sweep(t *rapid.T) {
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	got := p.env.sweep(p.pool, limit)
	_, err := p.model.Expire(t.Context(), p.pool, limit) // what is handed on is handed on at this instant
	p.must(err)
	// a token whose lease and then whose own clock ran out is two expiries
	if !p.queues && got.Total() > 2*int64(limit) {
		p.Fatalf("a sweep of at most %d tokens carried out %+v", limit, got)
	}
	p.equal("the store's clock", got.Now, p.clock.Now())
}

// settle sweeps both, after which nothing that the store remembers may differ: sizes, counts, next deadline, order.
func (p *program) settle() {
	p.Helper()
	p.sweepAll(p.pool)
	want, err := p.model.Expire(p.Context(), p.pool, 1<<30)
	p.must(err)
	p.equal("next due after a full sweep", p.env.sweep(p.pool, 10).NextDue, want.NextDue)
	gotPool, gotStats, gotErr := p.Pool(p.Context(), p.pool)
	wantPool, wantStats, wantErr := p.model.Pool(p.Context(), p.pool)
	p.agree("pool", gotPool, wantPool, gotErr, wantErr)
	p.equal("stats", gotStats, wantStats)
	for _, state := range []tms.State{tms.Available, tms.Assigned, tms.Cooling, tms.Quarantined} {
		page, err := p.model.Tokens(p.Context(), p.pool, tms.Filter{State: state}, "", 1<<30)
		p.must(err)
		got := valuesOf(p.env.list(p.pool, tms.Filter{State: state}, 7))
		p.equal(fmt.Sprintf("the order of %s tokens", state), got, valuesOf(page.Tokens))
	}
}

// policy changes the policy. What is due has been swept before, so that it is carried out under the old one.
func (p *program) policy(t *rapid.T) {
	p.settle()
	change := p.drawPolicy(t)
	change.If = rapid.SampledFrom([]tms.Condition{tms.IfAny, tms.IfAny, tms.IfExists, tms.IfMissing}).Draw(t, "if")
	got, gotErr := p.PutPool(t.Context(), p.pool, change)
	want, wantErr := p.model.PutPool(t.Context(), p.pool, change)
	p.agree("put pool", got, want, gotErr, wantErr)
}

// recreate deletes the pool, rarely, and makes it again.
func (p *program) recreate(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
		return
	}
	p.agree("delete pool", nil, nil, p.DeletePool(t.Context(), p.pool), p.model.DeletePool(t.Context(), p.pool))
	p.policyOfNew(t)
}

func (p *program) policyOfNew(t *rapid.T) {
	change := p.newPolicy(t)
	got, gotErr := p.PutPool(t.Context(), p.pool, change)
	want, wantErr := p.model.PutPool(t.Context(), p.pool, change)
	p.agree("put pool", got, want, gotErr, wantErr)
}
