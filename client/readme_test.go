package client_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/tmstest"
)

// The README shows this function's lines, with another address.
func TestTheExampleOfTheReadme(t *testing.T) {
	server := tmstest.New(t, tmstest.WithPool("licences", tms.PolicyChange{}, "KEY-1"))
	var worked string
	work := func(ctx context.Context, token string, fence int64) error {
		worked = fmt.Sprint(token, " ", fence > 0)
		return ctx.Err()
	}
	if err := readme(t.Context(), server.URL, work); err != nil || worked != "KEY-1 true" {
		t.Errorf("worked with %q, error %v", worked, err)
	}
}

func readme(ctx context.Context, url string, work func(context.Context, string, int64) error) error {
	c, err := client.New(url) // such as http://127.0.0.1:8080
	if err != nil {
		return err
	}
	defer c.Close()

	held, err := c.Acquire(ctx, "licences", client.Wait(time.Minute), client.ClientID("build-7"))
	if err != nil {
		return err
	}
	defer held.Close()
	return work(held.Context(), held.Token(), held.Fence())
}
