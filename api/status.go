package api

import (
	"net/http"

	tms "github.com/manankarani/token-manager"
)

// CodeFailed is the code on the wire of an operation that failed, which means that its outcome is unknown. It is no
// [tms.Code] of a refusal: an error without one becomes this on the wire, and becomes an error without one again in the
// client.
const CodeFailed = "failed"

type meaning struct {
	status int
	detail string // for a person, where the refusal has no sentence of its own
}

// meanings is the one table of what each code is over HTTP.
var meanings = map[tms.Code]meaning{
	tms.ErrInvalidRequest:   {http.StatusBadRequest, "the request is not valid"},
	tms.ErrForbidden:        {http.StatusForbidden, "a page of another origin may not change tokens through a browser"},
	tms.ErrNotFound:         {http.StatusNotFound, "there is no such route"},
	tms.ErrMethodNotAllowed: {http.StatusMethodNotAllowed, "the route does not take this method"},
	tms.ErrBodyTooLarge:     {http.StatusRequestEntityTooLarge, "the request's body is too large"},
	tms.ErrUnsupportedMedia: {http.StatusUnsupportedMediaType, "the request's body is not JSON"},
	tms.ErrPoolNotFound:     {http.StatusNotFound, "the pool does not exist; PUT /pools/{pool} makes it"},
	tms.ErrTokenNotFound:    {http.StatusNotFound, "the token does not exist, or its clock has run out"},
	tms.ErrNoTokenAvailable: {http.StatusNotFound, "the pool has fewer available tokens than were asked for"},
	tms.ErrPoolExists:       {http.StatusPreconditionFailed, "there is a pool of that name already"},
	tms.ErrPoolFull:         {http.StatusConflict, "the pool would exceed its max_tokens; nothing was created"},
	tms.ErrPoolPaused:       {http.StatusServiceUnavailable, "the pool is paused and gives no tokens for now"},
	tms.ErrPoolInUse:        {http.StatusConflict, "the pool holds tokens or leases that the change could not take along"},
	tms.ErrQuotaExceeded:    {http.StatusTooManyRequests, "the client holds as many leases as max_leases_per_client allows"},
	tms.ErrNotAssigned:      {http.StatusConflict, "nobody holds the token"},
	tms.ErrNotQuarantined:   {http.StatusConflict, "the token is not quarantined"},
	tms.ErrNotHolder:        {http.StatusConflict, "the pool requires the lease_id, and none was given"},
	tms.ErrLeaseLost:        {http.StatusGone, "the lease_id is not that of the token's present lease"},
	tms.ErrMaxLeaseExceeded: {http.StatusConflict, "the lease lasts as long as the pool's max_lease allows"},
	tms.ErrRequestIDReused:  {http.StatusConflict, "the request_id was used for another request before"},
	tms.ErrOverloaded:       {http.StatusServiceUnavailable, "the server has as much to do as it may; ask again a little later"},
	tms.ErrStoreUnavailable: {http.StatusServiceUnavailable, "the store cannot be asked for now; nothing changed"},
	tms.ErrStoreReset:       {http.StatusServiceUnavailable, "the store was emptied; nothing is changed until the server is restarted"},
	CodeFailed:              {http.StatusInternalServerError, "the operation failed; its outcome is unknown"},
}

// Status returns the HTTP status of a code. A code that it does not know has 500, as [CodeFailed] has.
func Status(code tms.Code) int {
	if m, ok := meanings[code]; ok {
		return m.status
	}
	return http.StatusInternalServerError
}
