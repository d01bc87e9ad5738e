package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// Generate puts tokens into the pool: see [tms.Store]. It is one request, of at most [tms.MaxBatch] tokens, so that it
// is all or nothing. Only in a pool with labels, whose server takes no more than [tms.MaxLabelledBatch] at once, more
// go in parts of that size, each all or nothing: an error then may carry no [tms.Code] and say how many were generated.
func (c *Client) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	if len(request.Tokens) == 0 {
		return tms.Generated{}, nil
	}
	request.RequestID = orDrawn(request.RequestID)
	made, err := c.generate(ctx, pool, request)
	if inParts(request, err) {
		return c.generateInParts(ctx, pool, request)
	}
	return made, err
}

func (c *Client) generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	a := ask{verb: "generate", method: http.MethodPost, path: api.PathGenerate, repeat: true}
	a.body = api.GenerateRequestOf(pool, request)
	var answer api.Generated
	if _, _, err := c.do(ctx, a, &answer); err != nil {
		return tms.Generated{}, err
	}
	return answer.TMS(), nil
}

// inParts reports whether the request was refused because it carries more than a pool with labels takes at once.
func inParts(request tms.GenerateRequest, err error) bool {
	var refusal *tms.Refusal
	return errors.As(err, &refusal) && refusal.Code == tms.ErrInvalidRequest &&
		(refusal.Field == "tokens" || refusal.Field == "count") &&
		len(request.Tokens) > tms.MaxLabelledBatch && len(request.Tokens) <= tms.MaxBatch
}

// generateInParts repeats safely as a whole: the name of each part follows from that of the request.
func (c *Client) generateInParts(
	ctx context.Context, pool string, request tms.GenerateRequest,
) (all tms.Generated, err error) {
	name := sha256.Sum256([]byte(request.RequestID))
	for tokens := range slices.Chunk(request.Tokens, tms.MaxLabelledBatch) {
		part := request
		part.Tokens, part.RequestID = tokens, fmt.Sprintf("%x.%d", name[:16], len(all.Tokens))
		made, err := c.generate(ctx, pool, part)
		if err != nil && len(all.Tokens) > 0 {
			return all, fmt.Errorf("%d of %d tokens were generated, and then: %v", len(all.Tokens),
				len(request.Tokens), err)
		}
		if err != nil {
			return tms.Generated{}, err
		}
		all.Tokens, all.ExpiresAt = append(all.Tokens, made.Tokens...), made.ExpiresAt
		all.Created, all.Existing = all.Created+made.Created, all.Existing+made.Existing
		all.Differing += made.Differing
	}
	return all, nil
}
