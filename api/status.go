package api

import (
	"net/http"

	tms "github.com/manankarani/token-manager"
)

// CodeFailed is the code on the wire of an operation that failed, which means that its outcome is unknown. It is no
// [tms.Code] of a refusal: an error without one becomes this on the wire, and becomes an error without one again in the
// client.
const CodeFailed = "failed"

// statuses is the one table of what each code is over HTTP.
var statuses = map[tms.Code]int{
	tms.ErrUnauthenticated:  http.StatusUnauthorized,
	tms.ErrNotPermitted:     http.StatusForbidden,
	tms.ErrInvalidRequest:   http.StatusBadRequest,
	tms.ErrForbidden:        http.StatusForbidden,
	tms.ErrNotFound:         http.StatusNotFound,
	tms.ErrMethodNotAllowed: http.StatusMethodNotAllowed,
	tms.ErrBodyTooLarge:     http.StatusRequestEntityTooLarge,
	tms.ErrUnsupportedMedia: http.StatusUnsupportedMediaType,
	tms.ErrPoolNotFound:     http.StatusNotFound,
	tms.ErrTokenNotFound:    http.StatusNotFound,
	tms.ErrNoTokenAvailable: http.StatusNotFound,
	tms.ErrPoolExists:       http.StatusPreconditionFailed,
	tms.ErrPoolFull:         http.StatusConflict,
	tms.ErrPoolPaused:       http.StatusServiceUnavailable,
	tms.ErrPoolSettling:     http.StatusServiceUnavailable,
	tms.ErrPoolInUse:        http.StatusConflict,
	tms.ErrQuotaExceeded:    http.StatusTooManyRequests,
	tms.ErrNotAssigned:      http.StatusConflict,
	tms.ErrNotQuarantined:   http.StatusConflict,
	tms.ErrNotHolder:        http.StatusConflict,
	tms.ErrLeaseLost:        http.StatusGone,
	tms.ErrMaxLeaseExceeded: http.StatusConflict,
	tms.ErrRequestIDReused:  http.StatusConflict,
	tms.ErrRateLimited:      http.StatusTooManyRequests,
	tms.ErrOverloaded:       http.StatusServiceUnavailable,
	tms.ErrStoreUnavailable: http.StatusServiceUnavailable,
	tms.ErrStoreReset:       http.StatusServiceUnavailable,
	CodeFailed:              http.StatusInternalServerError,
}

const failed = "the operation failed; its outcome is unknown"

// meaningOf returns what a person reads where an error has no sentence of its own.
func meaningOf(code tms.Code) string {
	if code == CodeFailed {
		return failed
	}
	return code.Meaning()
}

// Status returns the HTTP status of a code. A code that it does not know has 500, as [CodeFailed] has.
func Status(code tms.Code) int {
	if status, ok := statuses[code]; ok {
		return status
	}
	return http.StatusInternalServerError
}
