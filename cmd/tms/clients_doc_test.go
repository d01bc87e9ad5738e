package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The clients that docs/http.md shows do what it says: they wait for a token, hold it for longer than a lease lasts,
// and give it back.
func TestTheClientsOfTheReference(t *testing.T) {
	text, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, interpreter := range map[string]string{"sh": "sh", "python": "python3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			block := regexp.MustCompile("(?s)```" + name + "\n((?:#!/bin/sh|import json).*?)```").FindSubmatch(text)
			if block == nil {
				t.Fatal("docs/http.md has no such client")
			}
			file := filepath.Join(t.TempDir(), "client")
			if err := os.WriteFile(file, block[1], 0o600); err != nil {
				t.Fatal(err)
			}
			holdsAToken(t, interpreter, file)
		})
	}
}

func holdsAToken(t *testing.T, interpreter, file string) {
	p := startServe(t, "--store", "memory:", "--log-level", "debug")
	p.must(200, http.MethodPut, "/pools/default", object{"lease_ttl": "4s"})
	cmd := exec.Command(interpreter, file)
	cmd.Env = append(os.Environ(), "TMS_SERVER="+p.url, "WORK=5")
	said := &output{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = said, said, 10*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	p.untilQueued(t, 1)
	p.must(201, http.MethodPost, "/generate-token", object{"tokens": []string{"KEY-1"}})
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "working with KEY-1") {
		t.Errorf("it ended with %v and said %s", err, said)
	}
	r := p.must(200, http.MethodPost, "/lookup-token", object{"token": "KEY-1"})
	var known struct {
		Tokens []struct {
			Assigned int `json:"assigned_count"`
			Expired  int `json:"expired_count"`
		}
	}
	p.get(t, "/pools/default/tokens", &known)
	if r.State != "available" || known.Tokens[0].Assigned != 1 || known.Tokens[0].Expired != 0 {
		t.Errorf("the token is then %s, %+v", r.State, known.Tokens)
	}
}
