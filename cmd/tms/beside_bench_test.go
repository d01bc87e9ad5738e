package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// BenchmarkBesideBatches is what the keep-alive of one client takes while 8 others keep 10,000 leases alive each, in
// one batch after the other. The batch clients share the machine with the server.
func BenchmarkBesideBatches(b *testing.B) {
	b.Run("embedded", func(b *testing.B) { besideBatches(b, "embedded:"+b.TempDir()) })
	b.Run("memory", func(b *testing.B) { besideBatches(b, "memory:") })
	b.Run("redis", func(b *testing.B) { besideBatches(b, redistest.New(b).URL()) })
}

func besideBatches(b *testing.B, store string) {
	p := startServe(b, "--store", store)
	alone := p.must(201, http.MethodPost, "/generate-token", nil).Token
	p.must(200, http.MethodPost, "/assign-token", object{"ttl": "10m"})
	one, _ := json.Marshal(object{"token": alone})
	before := percentile(b, p, one, 200)
	ctx, stop := context.WithCancel(b.Context())
	var clients sync.WaitGroup
	for range 8 {
		body := leases(b, p)
		clients.Go(func() {
			for ctx.Err() == nil {
				p.keepAlive(ctx, body)
			}
		})
	}
	time.Sleep(time.Second) // for the batches to be under way
	b.ResetTimer()
	beside := percentile(b, p, one, max(b.N, 100))
	b.ReportMetric(float64(before.Microseconds())/1000, "alone-p99-ms")
	b.ReportMetric(float64(beside.Microseconds())/1000, "beside-p99-ms")
	b.ReportMetric(0, "ns/op")
	stop()
	clients.Wait()
}

// leases makes a batch's worth of tokens, has them assigned, and returns the body of their keep-alive.
func leases(b *testing.B, p *process) []byte {
	p.must(201, http.MethodPost, "/generate-token", object{"count": tms.MaxBatch})
	var keys []object
	for range tms.MaxBatch / tms.MaxAssignCount {
		text, err := json.Marshal(object{"count": tms.MaxAssignCount, "ttl": "10m"})
		if err != nil {
			b.Fatal(err)
		}
		response, err := p.client.Post(p.url+"/assign-token", "application/json", bytes.NewReader(text))
		if err != nil {
			b.Fatal(err)
		}
		var answer struct{ Leases []reply }
		json.NewDecoder(response.Body).Decode(&answer)
		response.Body.Close()
		for _, lease := range answer.Leases {
			keys = append(keys, object{"token": lease.Token, "lease_id": lease.LeaseID})
		}
	}
	body, _ := json.Marshal(object{"leases": keys})
	return body
}

func (p *process) keepAlive(ctx context.Context, body []byte) int {
	request, _ := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/keep-alive", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func percentile(b *testing.B, p *process, body []byte, n int) time.Duration {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if status := p.keepAlive(b.Context(), body); status != 200 {
			b.Fatal(status)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[n*99/100]
}
