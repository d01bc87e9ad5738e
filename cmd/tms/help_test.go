package main

import (
	"io"
	"net/http"
	"os/exec"
	"testing"

	"github.com/manankarani/token-manager/internal/store/storetest"
)

// slowBody sends a request to generate a token whose body comes from the writer, and later the status of its answer.
func slowBody(t *testing.T, p *process) (*io.PipeWriter, <-chan int) {
	t.Helper()
	reader, writer := io.Pipe()
	t.Cleanup(func() { writer.Close() })
	request, err := http.NewRequest(http.MethodPost, p.url+"/generate-token", reader)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	done := make(chan int, 1)
	go func() {
		response, err := p.client.Do(request)
		if err != nil {
			done <- 0
			return
		}
		response.Body.Close()
		done <- response.StatusCode
	}()
	return writer, done
}

// eventually is the helper of the other packages.
var eventually = storetest.Eventually

// failServe runs tms serve, which must end with an error, and returns what it said.
func failServe(t *testing.T, args ...string) string {
	t.Helper()
	return runTMS(t, false, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
}

// runTMS runs a command that ends by itself, well or not, and returns what it said.
func runTMS(t *testing.T, well bool, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "tms", args...).CombinedOutput()
	if (err == nil) != well {
		t.Fatalf("tms %v: %v\n%s", args, err, out)
	}
	return string(out)
}
