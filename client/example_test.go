package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/node"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// running is a TMS server with the tokens KEY-1 and KEY-2 in the pool "licences".
type running struct {
	*httptest.Server
	*node.Node
}

func startServer() running {
	memory, err := embedded.Open(embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	n := node.New(memory, node.Options{})
	store := n.Store()
	store.PutPool(context.Background(), "licences", tms.PolicyChange{Selection: new(tms.SelectFIFO)})
	store.Generate(context.Background(), "licences", tms.GenerateRequest{Tokens: []tms.NewToken{
		{Value: "KEY-1"}, {Value: "KEY-2"},
	}})
	return running{httptest.NewServer(n.Handler()), n}
}

func (r running) stop() {
	r.Server.Close()
	r.Node.Close()
}

// work stands for what a program does with a token.
func work(ctx context.Context, token string) error {
	select {
	case <-ctx.Done(): // the token is, or may soon be, somebody else's
		return context.Cause(ctx)
	case <-time.After(time.Millisecond):
		fmt.Println("worked with", token)
		return nil
	}
}

// Take a token, work while it is held, give it back.
func Example() {
	server := startServer()
	defer server.stop()

	c, err := client.New(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	held, err := c.Acquire(context.Background(), "licences", client.ClientID("build-7"))
	if errors.Is(err, tms.ErrNoTokenAvailable) {
		log.Fatal("all licences are in use")
	} else if err != nil {
		log.Fatal(err)
	}
	if err := work(held.Context(), held.Token()); err != nil {
		log.Print(err)
	}
	if err := held.Close(); err != nil {
		log.Print(err) // nobody can be sure that the work was done while the token was held
	}
	// Output: worked with KEY-1
}

// Wait for up to a minute where all tokens are taken. Who came first is served first, whatever server was asked.
func ExampleWait() {
	server := startServer()
	defer server.stop()
	c, _ := client.New(server.URL)
	defer c.Close()

	both, _ := c.AcquireN(context.Background(), "licences", 2)
	time.AfterFunc(100*time.Millisecond, func() { both[1].Close() })

	var once sync.Once
	held, err := c.Acquire(context.Background(), "licences", client.Wait(time.Minute),
		client.OnWait(func(r tms.Refusal) {
			once.Do(func() { log.Printf("%d are waiting, and this is number %d", r.Waiting, r.Place) })
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer held.Close()
	fmt.Println("got", held.Token())
	// Output: got KEY-2
}

// Take several tokens, all or none.
func ExampleClient_AcquireN() {
	server := startServer()
	defer server.stop()
	c, _ := client.New(server.URL)
	defer c.Close() // gives back what is held

	helds, err := c.AcquireN(context.Background(), "licences", 2)
	fmt.Println(len(helds), "held,", err)
	helds, err = c.AcquireN(context.Background(), "licences", 2)
	fmt.Println(len(helds), "held,", tms.CodeOf(err))
	// Output:
	// 2 held, <nil>
	// 0 held, no_token_available
}

// A program that was stopped between looking at its context and writing may write too late. What it writes to can see
// that, because the next holder has a greater fence.
func ExampleHeld_Fence() {
	server := startServer()
	defer server.stop()
	c, _ := client.New(server.URL)
	defer c.Close()

	var newest int64 // is kept by what the token protects, with its data
	write := func(fence int64, text string) {
		if fence < newest {
			fmt.Println("refused:", text)
			return
		}
		newest = fence
		fmt.Println("written:", text)
	}

	early, _ := c.Acquire(context.Background(), "licences", client.Prefer("KEY-1"))
	early.Close()
	late, _ := c.Acquire(context.Background(), "licences", client.Prefer("KEY-1"))
	defer late.Close()

	write(late.Fence(), "by the holder")
	write(early.Fence(), "by one that held it before")
	// Output:
	// written: by the holder
	// refused: by one that held it before
}

// A worker that hangs loses its token although its program lives.
func ExampleRequireProgress() {
	server := startServer()
	defer server.stop()
	c, _ := client.New(server.URL)
	defer c.Close()

	held, err := c.Acquire(context.Background(), "licences", client.RequireProgress(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer held.Close()
	for step := range 3 {
		held.Progress()
		fmt.Println("step", step)
	}
	// Output:
	// step 0
	// step 1
	// step 2
}

// A Client is a tms.Store, for programs that keep their leases alive themselves, or manage pools.
func ExampleClient() {
	server := startServer()
	defer server.stop()
	c, _ := client.New(server.URL)
	defer c.Close()
	ctx := context.Background()

	c.PutPool(ctx, "seats", tms.PolicyChange{LeaseTTL: new(30 * time.Second)})
	c.Generate(ctx, "seats", tms.GenerateRequest{Tokens: []tms.NewToken{
		{Value: "A1", Metadata: map[string]string{"room": "Oslo"}},
	}})
	results, err := c.Assign(ctx, "seats", []tms.AssignRequest{{ClientID: "ada"}})
	if err != nil {
		log.Fatal(err)
	}
	seat := results[0].Tokens[0]
	fmt.Println(seat.Value, seat.Metadata["room"], seat.Lease.TTL)

	_, err = c.Token(ctx, "seats", tms.LeaseKey{Token: "B2"})
	fmt.Println(errors.Is(err, tms.ErrTokenNotFound))
	// Output:
	// A1 Oslo 30s
	// true
}

// A batch is one request, and has a result for each key.
func ExampleClient_KeepAlive() {
	server := startServer()
	defer server.stop()
	c, _ := client.New(server.URL)
	defer c.Close()
	ctx := context.Background()

	results, _ := c.Assign(ctx, "licences", []tms.AssignRequest{{Count: 2}})
	var keys []tms.LeaseKey
	for _, token := range results[0].Tokens {
		keys = append(keys, tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID})
	}
	c.Unblock(ctx, "licences", keys[:1])

	renewed, err := c.KeepAlive(ctx, "licences", keys)
	if err != nil {
		log.Fatal(err)
	}
	for i, r := range renewed {
		fmt.Println(keys[i].Token, tms.CodeOf(r.Err))
	}
	// Output:
	// KEY-1 lease_lost
	// KEY-2
}
