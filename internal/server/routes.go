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
	answer          endpoint
}

// routes is the one list of what the server answers.
func (s *Server) routes() []route {
	return []route{
		{http.MethodPost, api.PathGenerate, with(generateBody, s.generate)},
		{http.MethodPost, api.PathAssign, s.assign},
		{http.MethodPost, api.PathKeepAlive, with(fromBody[api.KeepAliveRequest], s.keepAlive)},
		{http.MethodPost, api.PathUnblock, with(fromBody[api.UnblockRequest], s.unblock)},
		{http.MethodDelete, api.PathDelete, with(fromBodyOrQuery, s.delete)},
		{http.MethodPost, api.PathRestore, with(fromBody[api.RestoreRequest], s.restore)},
		{http.MethodPost, api.PathLookup, with(fromBody[api.LookupRequest], s.lookup)},
		{http.MethodGet, api.PathPools, with(fromPageQuery, s.pools)},
		{http.MethodGet, api.PathPool, with(fromPath, s.pool)},
		{http.MethodPut, api.PathPool, with(fromPathAndBody, s.putPool)},
		{http.MethodDelete, api.PathPool, with(fromPath, s.deletePool)},
		{http.MethodGet, api.PathTokens, with(fromTokensQuery, s.tokens)},
		{http.MethodGet, api.PathLive, s.live},
		{http.MethodGet, api.PathReady, s.ready},
		{http.MethodGet, api.PathMetrics, s.metrics},
		{http.MethodGet, api.PathOpenAPI, s.openAPI},
	}
}

const otherRoute = "other" // for paths and methods that are none of ours, so that nobody can invent metrics labels

// mux registers the routes, and below them what refuses every other method and every other path. A path such as
// /pools//tokens is another one: left to net/http, it would be redirected to a pool called "tokens", before anybody asked
// where the request comes from.
func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range s.routes() {
		mux.Handle(r.method+" "+r.pattern, s.serve(r))
		methods[r.pattern] = append(methods[r.pattern], r.method)
	}
	for pattern, allowed := range methods {
		mux.Handle(pattern, s.serve(route{"", pattern, wrongMethod(allowed)}))
	}
	other := s.serve(route{"", otherRoute, noRoute})
	mux.Handle("/", other)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isShortest(r.URL.EscapedPath()) {
			mux.ServeHTTP(w, r)
		} else {
			other(w, r)
		}
	})
}

// isShortest says whether the path has no parts that are empty, "." or "..".
func isShortest(p string) bool {
	clean := path.Clean(p)
	return p == clean || p == clean+"/" && clean != "/"
}

func noRoute(*call) (int, any, error) { return 0, nil, tms.ErrNotFound }

func wrongMethod(allowed []string) endpoint {
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	return func(c *call) (int, any, error) {
		c.writer.Header().Set("Allow", list)
		return 0, nil, tms.Refuse(tms.ErrMethodNotAllowed, "the route takes %s", list)
	}
}
