package server

import (
	"log/slog"
	"net/http"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// keyring returns the keys that the store keeps. There are none where nobody is asked for one.
func (s *Server) keyring() (tms.Keyring, error) {
	if ring, ok := s.store.(tms.Keyring); ok && s.config.Access != nil {
		return ring, nil
	}
	return nil, tms.Refuse(tms.ErrNotFound, "the server asks nobody for a key")
}

func (s *Server) keys(c *call) (reply, error) {
	ring, err := s.keyring()
	if err != nil {
		return reply{}, err
	}
	if err := noQuery(c); err != nil {
		return reply{}, err
	}
	list, err := ring.Keys(c.Context(), nil)
	if err != nil {
		return reply{}, err
	}
	answer := api.KeysOf(list)
	return reply{body: &answer}, nil
}

func (s *Server) putKey(c *call) (reply, error) {
	ring, err := s.keyring()
	if err != nil {
		return reply{}, err
	}
	var r api.PutKeyRequest
	if err := c.decode(&r); err != nil {
		return reply{}, err
	}
	key, err := r.TMS()
	if err != nil {
		return reply{}, err
	}
	if err := ring.PutKey(c.Context(), key); err != nil {
		return reply{}, err
	}
	s.tell(c, "a key was made", slog.String("name", key.Name), slog.String("id", key.ID))
	answer := api.KeyOf(key)
	return reply{status: http.StatusCreated, body: &answer}, nil
}

func (s *Server) deleteKey(c *call) (reply, error) {
	ring, err := s.keyring()
	if err != nil {
		return reply{}, err
	}
	name, id, err := c.readKey()
	if err != nil {
		return reply{}, err
	}
	deleted, err := ring.DeleteKey(c.Context(), name, id)
	if err != nil {
		return reply{}, err
	}
	if deleted > 0 {
		s.tell(c, "keys were deleted", slog.String("name", name), slog.Int("keys", deleted))
	}
	return reply{body: &api.KeysDeleted{Name: name, Deleted: deleted}}, nil
}

// readKey returns the name of the path, and the ID of the query, which may be left out.
func (c *call) readKey() (name, id string, err error) {
	if len(c.body) > 0 {
		return "", "", tms.Invalid("", "the route takes no body")
	}
	query, err := queryOf(c, "id")
	if err != nil {
		return "", "", err
	}
	if id = query["id"]; id != "" {
		if err := tms.ValidateKeyID("id", id); err != nil {
			return "", "", err
		}
	}
	name = c.PathValue("name")
	return name, id, tms.ValidatePoolName("name", name)
}
