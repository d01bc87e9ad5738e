package server

import (
	"context"
	"net/http"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// live says that the process answers. It does not ask the store: restarting the server would not mend that.
func (s *Server) live(*call) (int, any, error) {
	return http.StatusOK, api.Health{Status: "ok", Version: s.config.Version}, nil
}

// ready says whether load balancers should send requests here.
func (s *Server) ready(c *call) (int, any, error) {
	if s.stopping.Load() {
		return 0, nil, tms.Refuse(tms.ErrStoreUnavailable, "the server is stopping")
	}
	err := s.askStore(c.Context())
	if err != nil && tms.CodeOf(err) == "" {
		err = tms.Refuse(tms.ErrStoreUnavailable, "%v", err)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, api.Health{Status: "ok"}, nil
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

func (s *Server) metrics(*call) (int, any, error) {
	if s.config.Metrics == nil {
		return 0, nil, tms.Refuse(tms.ErrNotFound, "this server keeps no metrics")
	}
	return http.StatusOK, streamed{s.config.Metrics}, nil
}

func (s *Server) openAPI(*call) (int, any, error) {
	return http.StatusOK, verbatim{api.YAML, api.OpenAPI}, nil
}
