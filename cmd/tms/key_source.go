package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/manankarani/token-manager/internal/access"
)

// keySource is where commands have the key from: the file, or where no flag names one, TMS_KEY, or else what
// TMS_KEY_COMMAND prints, or there is none. It is safe for concurrent use.
type keySource struct {
	file string

	mu    sync.Mutex
	last  string    // what the command has printed
	since time.Time // it was asked
}

const (
	keyCommandVariable = envPrefix + "KEY_COMMAND"
	keyCommandEvery    = time.Minute // tokens of a CI are good for some minutes only
	keyCommandTimeout  = 10 * time.Second
)

// key returns the key as it is now.
func (k *keySource) key() (string, error) {
	command := os.Getenv(keyCommandVariable)
	switch key := strings.TrimSpace(os.Getenv(keyVariable)); {
	case k.file != "":
		return k.ofFile()
	case key != "" || command == "":
		return key, nil
	}
	return k.ofCommand(command)
}

// ofFile reads the file, which may change.
func (k *keySource) ofFile() (string, error) {
	text, err := os.ReadFile(k.file)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(text))
	return key, access.ValidateBearer(key)
}

// ofCommand runs the command, again once in a while. Where it fails, what it printed before goes on as long as the
// server takes it.
func (k *keySource) ofCommand(command string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last != "" && time.Since(k.since) < keyCommandEvery {
		return k.last, nil
	}
	key, err := printed(command)
	switch {
	case err == nil:
		k.last, k.since = key, time.Now()
	case k.last == "":
		return "", fmt.Errorf("%s: %w", keyCommandVariable, err)
	}
	return k.last, nil
}

// printed returns the key that a command prints.
func printed(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keyCommandTimeout)
	defer cancel()
	shell := []string{"sh", "-c", command}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C", command}
	}
	cmd := exec.CommandContext(ctx, shell[0], shell[1:]...)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	key := strings.TrimSpace(string(out))
	if err == nil && key == "" {
		err = errors.New("it printed nothing")
	}
	if err == nil {
		err = access.ValidateBearer(key)
	}
	return key, err
}
