package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/manankarani/token-manager/api"
)

func newHealthcheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the server on the configured address whether it is ready; exit 1 if not",
		Args:  cobra.NoArgs,
	}
	return withConfig(cmd, func(cmd *cobra.Command, c *config) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
		defer cancel()
		return healthcheck(ctx, c)
	})
}

func healthcheck(ctx context.Context, c *config) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(address)+api.PathReady, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Transport{}).RoundTrip(request) // unlike the default one, it goes through no proxy
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	reason, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	return fmt.Errorf("not ready: %s: %s", response.Status, strings.TrimSpace(string(reason)))
}
