package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

var _ tms.Keyring = (*Client)(nil)

// PutKey keeps a key in the store of the server: see [tms.Keyring]. The server says when it was made.
func (c *Client) PutKey(ctx context.Context, key tms.StoredKey) error {
	a := ask{verb: "keep key", method: http.MethodPost, path: api.PathKeys, repeat: true}
	a.body = api.PutKeyRequestOf(key)
	_, _, err := c.do(ctx, a, &api.AccessKey{})
	return err
}

// DeleteKey deletes keys from the store of the server: see [tms.Keyring]. Where an answer was lost, it may have deleted
// more than it returns.
func (c *Client) DeleteKey(ctx context.Context, name, id string) (int, error) {
	if err := tms.ValidatePoolName("name", name); err != nil { // which would be another path
		return 0, err
	}
	a := ask{verb: "delete key", method: http.MethodDelete, repeat: true, query: url.Values{}}
	a.path = strings.Replace(api.PathKey, "{name}", name, 1)
	setQuery(a.query, "id", id)
	var answer api.KeysDeleted
	_, _, err := c.do(ctx, a, &answer)
	return answer.Deleted, err
}

// Keys returns all keys of the server, those of its configuration included, which have no ID, and of all no hashes. The
// server itself knows when they are used.
func (c *Client) Keys(ctx context.Context, _ map[string]time.Time) ([]tms.StoredKey, error) {
	var answer api.Keys
	_, _, err := c.do(ctx, ask{verb: "list keys", method: http.MethodGet, path: api.PathKeys, repeat: true}, &answer)
	return answer.TMS(), err
}
