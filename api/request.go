package api

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	tms "github.com/manankarani/token-manager"
)

// PoolName returns the pool that a request means: [tms.DefaultPool] where it names none.
func PoolName(name string) (string, error) {
	if name == "" {
		return tms.DefaultPool, nil
	}
	return name, tms.ValidatePoolName("pool", name)
}

// GenerateRequest returns the request for the store, or refuses it naming the field.
func (r *GenerateRequest) GenerateRequest() (tms.GenerateRequest, error) {
	tokens, err := r.newTokens()
	if err == nil {
		err = tms.ValidateRequestID("request_id", r.RequestID)
	}
	return tms.GenerateRequest{Tokens: tokens, Update: r.Update, RequestID: r.RequestID}, err
}

func (r *GenerateRequest) newTokens() ([]tms.NewToken, error) {
	if r.Tokens == nil {
		return drawn(r.Count)
	}
	if r.Count != nil {
		return nil, tms.Invalid("count", "must not be given together with tokens")
	}
	if err := checkBatch("tokens", len(r.Tokens)); err != nil {
		return nil, err
	}
	tokens := make([]tms.NewToken, len(r.Tokens))
	for i, t := range r.Tokens {
		if err := t.validate(); err != nil {
			return nil, at("tokens", i, err)
		}
		tokens[i] = tms.NewToken{Value: t.Token, Metadata: t.Metadata}
	}
	return tokens, nil
}

func drawn(count *int) ([]tms.NewToken, error) {
	n := 1
	if count != nil {
		n = *count
	}
	if n < 1 || n > tms.MaxBatch {
		return nil, tms.Invalid("count", "must be 1 to %d", tms.MaxBatch)
	}
	return make([]tms.NewToken, n), nil
}

func (t NewToken) validate() error {
	if t.Token != "" {
		if err := tms.ValidateNewToken("", t.Token); err != nil {
			return err
		}
	}
	return tms.ValidateMetadata("metadata", t.Metadata)
}

// AssignRequest returns the request for the store, with its Count set, or refuses it naming the field.
func (r *AssignRequest) AssignRequest() (tms.AssignRequest, error) {
	request := tms.AssignRequest{ClientID: r.ClientID, Count: 1, Prefer: r.Prefer, Match: r.Match,
		RequestID: r.RequestID}
	if r.Count != nil {
		request.Count = *r.Count
	}
	if request.Count < 1 { // which the store would take for "not given"
		return request, tms.Invalid("count", "must be 1 to %d", tms.MaxAssignCount)
	}
	if r.Wait != nil {
		request.Wait = time.Duration(*r.Wait)
	}
	var err error
	if request.TTL, err = ttl(r.TTL); err != nil {
		return request, err
	}
	return request, request.Validate()
}

// Keys returns the keys of the request, and whether it is a batch, or refuses it naming the field.
func (r *KeepAliveRequest) Keys() (keys []tms.LeaseKey, batch bool, err error) {
	keys, batch, err = keysOf(r.KeepAliveKey, r.Leases)
	return r.Answer.apply(keys, batch, err)
}

// apply makes the keys of a batch brief where a short answer is asked for, or refuses what is no form of its answer.
func (f AnswerForm) apply(keys []tms.LeaseKey, batch bool, err error) ([]tms.LeaseKey, bool, error) {
	switch {
	case err != nil || f == "":
		return keys, batch, err
	case f != AnswerFull && f != AnswerShort:
		return nil, batch, tms.Invalid("answer", "must be %s or %s", AnswerFull, AnswerShort)
	case !batch:
		return nil, batch, tms.Invalid("answer", "must be given with leases only")
	}
	for i := range keys {
		keys[i].Brief = f == AnswerShort
	}
	return keys, batch, nil
}

// Keys returns the keys of the request, and whether it is a batch, or refuses it naming the field.
func (r *UnblockRequest) Keys() (keys []tms.LeaseKey, batch bool, err error) {
	keys, batch, err = keysOf(r.UnblockKey, r.Leases)
	return r.Answer.apply(keys, batch, err)
}

// Client returns the client all of whose leases are to be unblocked, and "" where the request is for others, or refuses
// it naming the field.
func (r *UnblockRequest) Client() (string, error) {
	if r.ClientID == "" {
		return "", nil
	}
	return r.ClientID, cmp.Or(r.alone("client_id"), tms.AssignRequest{ClientID: r.ClientID}.Validate())
}

// Request returns the request_id of the assign whose leases are to be unblocked, and "" where the request is for
// others, or refuses it naming the field.
func (r *UnblockRequest) Request() (string, error) {
	if r.RequestID == "" {
		return "", nil
	}
	return r.RequestID, cmp.Or(r.alone("request_id"), tms.ValidateRequestID("request_id", r.RequestID))
}

// alone refuses what is given beside a field that stands for many leases.
func (r *UnblockRequest) alone(name string) error {
	field := r.given()
	switch {
	case r.Leases != nil:
		field = "leases"
	case r.ClientID != "" && r.RequestID != "":
		field, name = "request_id", "client_id"
	case field == "" && r.Answer != "":
		field = "answer"
	}
	if field != "" {
		return tms.Invalid(field, "must not be given together with %s", name)
	}
	return nil
}

// Keys returns the keys of the request, and whether it is a batch, or refuses it naming the field.
func (r *DeleteRequest) Keys() (keys []tms.LeaseKey, batch bool, err error) {
	return keysOf(r.Key, r.Leases)
}

// Values returns the tokens of the request, and whether it is a batch, or refuses it naming the field.
func (r *RestoreRequest) Values() (values []string, batch bool, err error) {
	if r.Tokens == nil {
		return []string{r.Token}, false, tms.ValidateToken("token", r.Token)
	}
	if r.Token != "" {
		return nil, true, tms.Invalid("token", "must not be given together with tokens")
	}
	if err := checkBatch("tokens", len(r.Tokens)); err != nil {
		return nil, true, err
	}
	for i, value := range r.Tokens {
		if err := tms.ValidateToken("", value); err != nil {
			return nil, true, at("tokens", i, err)
		}
	}
	return r.Tokens, true, nil
}

type wireKey interface {
	leaseKey() (tms.LeaseKey, error)
	given() string // the first field that has a value
}

func keysOf[K wireKey](single K, leases []K) ([]tms.LeaseKey, bool, error) {
	if leases == nil {
		key, err := single.leaseKey()
		return []tms.LeaseKey{key}, false, err
	}
	if field := single.given(); field != "" {
		return nil, true, tms.Invalid(field, "must not be given together with leases")
	}
	if err := checkBatch("leases", len(leases)); err != nil {
		return nil, true, err
	}
	keys := make([]tms.LeaseKey, len(leases))
	for i, lease := range leases {
		var err error
		if keys[i], err = lease.leaseKey(); err != nil {
			return nil, true, at("leases", i, err)
		}
	}
	return keys, true, nil
}

func (k Key) leaseKey() (tms.LeaseKey, error) {
	key := tms.LeaseKey{Token: k.Token, LeaseID: k.LeaseID}
	return key, key.Validate()
}

func (k KeepAliveKey) leaseKey() (tms.LeaseKey, error) {
	key := tms.LeaseKey{Token: k.Token, LeaseID: k.LeaseID}
	var err error
	if key.TTL, err = ttl(k.TTL); err != nil {
		return key, err
	}
	return key, key.Validate()
}

func (k UnblockKey) leaseKey() (tms.LeaseKey, error) {
	key := tms.LeaseKey{Token: k.Token, LeaseID: k.LeaseID, Quarantine: k.Outcome == OutcomeQuarantine,
		Cooldown: (*time.Duration)(k.Cooldown)}
	return key, key.Validate()
}

func (k Key) given() string {
	switch {
	case k.Token != "":
		return "token"
	case k.LeaseID != "":
		return "lease_id"
	}
	return ""
}

func (k KeepAliveKey) given() string {
	if k.TTL != nil {
		return "ttl"
	}
	return Key{k.Token, k.LeaseID}.given()
}

func (k UnblockKey) given() string {
	switch {
	case k.Outcome != "":
		return "outcome"
	case k.Cooldown != nil:
		return "cooldown"
	}
	return Key{k.Token, k.LeaseID}.given()
}

// ttl refuses a zero that was given, because the store takes zero for "not given". It leaves all else to Validate.
func ttl(d *Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if *d == 0 {
		return 0, tms.ValidateTTL("ttl", 0)
	}
	return time.Duration(*d), nil
}

func checkBatch(field string, n int) error {
	if n > tms.MaxBatch { // of which not all were read
		return tms.Invalid(field, "must have 1 to %d entries, has more", tms.MaxBatch)
	}
	if n < 1 {
		return tms.Invalid(field, "must have 1 to %d entries, has 0", tms.MaxBatch)
	}
	return nil
}

// at says in which entry of a batch the field is.
func at(batch string, i int, err error) error {
	refusal, ok := err.(*tms.Refusal)
	if !ok {
		return err
	}
	entry := fmt.Sprintf("%s[%d]", batch, i)
	if refusal.Field != "" {
		entry += "." + refusal.Field
	}
	refusal.Field = entry
	return refusal
}

// What follows is for clients: requests made of the types of package tms, and answers turned back into them.

// GenerateRequestOf returns the request on the wire.
func GenerateRequestOf(pool string, r tms.GenerateRequest) *GenerateRequest {
	request := &GenerateRequest{Pool: pool, Update: r.Update, RequestID: r.RequestID}
	if allDrawn(r.Tokens) {
		request.Count = new(len(r.Tokens))
		return request
	}
	request.Tokens = make([]NewToken, len(r.Tokens))
	for i, t := range r.Tokens {
		request.Tokens[i] = NewToken{t.Value, t.Metadata}
	}
	return request
}

func allDrawn(tokens []tms.NewToken) bool {
	for _, t := range tokens {
		if t.Value != "" || t.Metadata != nil {
			return false
		}
	}
	return true
}

// AssignRequestOf returns the request on the wire, which has no Ticket.
func AssignRequestOf(pool string, r tms.AssignRequest) *AssignRequest {
	request := &AssignRequest{
		Pool:      pool,
		ClientID:  r.ClientID,
		TTL:       given(r.TTL),
		Wait:      given(r.Wait),
		Prefer:    r.Prefer,
		Match:     r.Match,
		RequestID: r.RequestID,
	}
	if r.Count != 0 {
		request.Count = &r.Count
	}
	return request
}

// given returns nil for zero, which means "not given".
func given(d time.Duration) *Duration {
	if d == 0 {
		return nil
	}
	return new(Duration(d))
}

// KeepAliveRequestOf returns the keys as a batch.
func KeepAliveRequestOf(pool string, keys []tms.LeaseKey) *KeepAliveRequest {
	list := wireKeys(keys, func(k tms.LeaseKey) KeepAliveKey { return KeepAliveKey{k.Token, k.LeaseID, given(k.TTL)} })
	return &KeepAliveRequest{Pool: pool, Answer: formOf(keys), Leases: list}
}

// formOf returns the form that suits the keys: the short one where all are brief.
func formOf(keys []tms.LeaseKey) AnswerForm {
	if slices.ContainsFunc(keys, func(k tms.LeaseKey) bool { return !k.Brief }) {
		return ""
	}
	return AnswerShort
}

// UnblockRequestOf returns the keys as a batch.
func UnblockRequestOf(pool string, keys []tms.LeaseKey) *UnblockRequest {
	return &UnblockRequest{Pool: pool, Answer: formOf(keys), Leases: wireKeys(keys, func(k tms.LeaseKey) UnblockKey {
		key := UnblockKey{Token: k.Token, LeaseID: k.LeaseID, Cooldown: (*Duration)(k.Cooldown)}
		if k.Quarantine {
			key.Outcome = OutcomeQuarantine
		}
		return key
	})}
}

// DeleteRequestOf returns the keys as a batch.
func DeleteRequestOf(pool string, keys []tms.LeaseKey) *DeleteRequest {
	return &DeleteRequest{Pool: pool, Leases: wireKeys(keys, func(k tms.LeaseKey) Key {
		return Key{k.Token, k.LeaseID}
	})}
}

func wireKeys[K any](keys []tms.LeaseKey, wire func(tms.LeaseKey) K) []K {
	out := make([]K, len(keys))
	for i, key := range keys {
		out[i] = wire(key)
	}
	return out
}
