package server

import (
	"context"
	"net/http"
	"strconv"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// live says that the process answers. It does not ask the store: restarting the server would not mend that.
func (s *Server) live(*call) (reply, error) {
	return reply{body: api.Health{Status: "ok", Version: s.config.Version}}, nil
}

// ready reports whether load balancers should send requests here.
func (s *Server) ready(c *call) (reply, error) {
	if s.stopping.Load() {
		return reply{}, tms.Refuse(tms.ErrStoreUnavailable, "the server is stopping")
	}
	err := s.askStore(c.Context())
	if err != nil && tms.CodeOf(err) == "" {
		err = tms.Refuse(tms.ErrStoreUnavailable, "%v", err)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{body: api.Health{Status: "ok", Durability: s.config.Durability}}, nil
}

func (s *Server) askStore(ctx context.Context) error {
	store, ok := s.store.(tms.Readier)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.ReadyTimeout)
	defer cancel()
	return store.Ready(ctx)
}

func (s *Server) metrics(c *call) (reply, error) {
	if err := s.everywhere(c, api.PathMetrics, tms.Watch); err != nil {
		return reply{}, err
	}
	if s.config.Metrics == nil {
		return reply{}, tms.Refuse(tms.ErrNotFound, "this server keeps no metrics")
	}
	return reply{body: s.config.Metrics}, nil
}

// whoami says to a caller what its key is and may.
func (s *Server) whoami(c *call) (reply, error) {
	if err := noQuery(c); err != nil {
		return reply{}, err
	}
	if s.config.Access == nil {
		return reply{body: api.CallerOf(tms.Caller{May: []tms.Grant{{Right: tms.Run, Pools: "*"}}})}, nil
	}
	caller, err := s.config.Access.Who(c.Context())
	return reply{body: api.CallerOf(caller)}, err
}

func (s *Server) openAPI(*call) (reply, error) {
	return reply{body: http.HandlerFunc(writeOpenAPI)}, nil
}

func writeOpenAPI(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h["Content-Type"] = []string{api.YAML}
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(api.OpenAPI))}
	w.Write(api.OpenAPI)
}
