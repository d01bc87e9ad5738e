package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	tms "github.com/manankarani/token-manager"
)

// account counts and logs a request that has been answered. Of the request it names the route and the method only: the
// path of an unknown route, the query and the body may hold tokens.
func (s *Server) account(route route, r *http.Request, status int, elapsed time.Duration, err error) {
	method := knownMethod(r.Method)
	s.config.Observe(route.pattern, method, status, elapsed)
	level := slog.LevelDebug
	if status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", method),
		slog.String("route", route.pattern),
		slog.Int("status", status),
		slog.Float64("elapsed_ms", float64(elapsed.Microseconds())/1000),
	}
	s.log.LogAttrs(context.Background(), level, "request", append(attrs, why(err)...)...)
}

// why says what an operator may know of an error: the code and the field of a refusal, whose detail may quote the
// request; all of a failure.
func why(err error) []slog.Attr {
	var panicked *panicError
	var refusal *tms.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &panicked):
		return []slog.Attr{slog.String("error", panicked.Error()), slog.String("stack", string(panicked.stack))}
	case tms.CodeOf(err) == "":
		return []slog.Attr{slog.String("error", err.Error())}
	case errors.As(err, &refusal) && (refusal.Code == tms.ErrStoreUnavailable || refusal.Code == tms.ErrStoreReset):
		return []slog.Attr{slog.String("code", string(refusal.Code)), slog.String("error", refusal.Detail)}
	}
	return []slog.Attr{slog.String("code", string(tms.CodeOf(err)))}
}

// panicError is a panic of an endpoint. Of the panic's value its text holds the type only, unless it is an error of the
// runtime, because the value may hold a token.
type panicError struct {
	reason any
	stack  []byte
}

func panicked(reason any) error { return &panicError{reason, debug.Stack()} }

func (p *panicError) Error() string {
	if err, ok := p.reason.(runtime.Error); ok {
		return "panic: " + err.Error()
	}
	return fmt.Sprintf("panic with a %T", p.reason)
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return otherRoute
}
