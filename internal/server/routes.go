package server

import (
	"net/http"
	"path"
	"slices"
	"strings"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// route is one method of one path.
type route struct {
	method, pattern string
	endpoint        endpoint
	first           bool // it watches the server, or keeps or ends a lease: it gets through when others do not
}

// routes is the one list of what the server answers.
func (s *Server) routes() []route {
	return []route{
		{http.MethodPost, api.PathGenerate, s.generate, false},
		{http.MethodPost, api.PathAssign, s.assign, false},
		{http.MethodPost, api.PathKeepAlive, s.keepAlive, true},
		{http.MethodPost, api.PathUnblock, s.unblock, true},
		{http.MethodDelete, api.PathDelete, s.delete, true},
		{http.MethodPost, api.PathRestore, s.restore, false},
		{http.MethodPost, api.PathLookup, s.lookup, false},
		{http.MethodPost, api.PathHistory, s.history, false},
		{http.MethodGet, api.PathPools, s.pools, false},
		{http.MethodGet, api.PathPool, s.pool, false},
		{http.MethodPut, api.PathPool, s.putPool, false},
		{http.MethodDelete, api.PathPool, s.deletePool, false},
		{http.MethodGet, api.PathTokens, s.tokens, false},
		{http.MethodGet, api.PathWaiters, s.waiters, false},
		{http.MethodGet, api.PathWhoami, s.whoami, false},
		{http.MethodGet, api.PathKeys, s.keys, false},
		{http.MethodPost, api.PathKeys, s.putKey, false},
		{http.MethodDelete, api.PathKey, s.deleteKey, false},
		{http.MethodGet, api.PathLive, s.live, true},
		{http.MethodGet, api.PathReady, s.ready, true},
		{http.MethodGet, api.PathMetrics, s.metrics, true},
		{http.MethodGet, api.PathBackup, s.backup, false},
		{http.MethodGet, api.PathOpenAPI, s.openAPI, false},
	}
}

const otherRoute = "other" // for paths and methods that are none of ours, so that nobody can invent metrics labels

// mux registers the routes, and below them what refuses every other method and every other path. A path such as
// /pools//tokens is another one: left to net/http, it would be redirected to a pool called "tokens", before anybody
// asked where the request comes from.
func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range s.routes() {
		mux.Handle(r.method+" "+r.pattern, s.serve(r))
		methods[r.pattern] = append(methods[r.pattern], r.method)
	}
	for pattern, allowed := range methods {
		mux.Handle(pattern, s.serve(route{"", pattern, wrongMethod(allowed), false}))
	}
	other := s.serve(route{"", otherRoute, noRoute, false})
	mux.Handle("/", other)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isShortest(r.URL.EscapedPath()) {
			mux.ServeHTTP(w, r)
		} else {
			other(w, r)
		}
	})
}

// isShortest reports whether the path has no parts that are empty, "." or "..".
func isShortest(p string) bool {
	clean := path.Clean(p)
	return p == clean || p == clean+"/" && clean != "/"
}

func noRoute(*call) (reply, error) { return reply{}, tms.ErrNotFound }

func wrongMethod(allowed []string) endpoint {
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	return func(c *call) (reply, error) {
		c.writer.Header().Set("Allow", list)
		return reply{}, tms.Refuse(tms.ErrMethodNotAllowed, "the route takes %s", list)
	}
}
