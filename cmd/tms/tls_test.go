package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/loopback"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// withKeys writes the file of a server that asks for keys, of which it has one, which may all.
func withKeys(t *testing.T) (file, key string) {
	t.Helper()
	file, key = filepath.Join(t.TempDir(), "tms.yaml"), access.NewKey()
	text := "auth: keys\nkeys:\n  boss:\n    hash: " + access.HashOf(key).String() + "\n    may: [all]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, key
}

// With a certificate and keys a server listens beyond loopback, for whoever trusts it and brings a key.
func TestServeBeyondLoopbackWithTLSAndKeys(t *testing.T) {
	authority, dir := loopback.NewAuthority(t), t.TempDir()
	cert, certKey := authority.Issue(dir, 2)
	file, key := withKeys(t)
	anywhere := exec.Command("tms", "config", "check", "--listen", "0.0.0.0:0", "--config", file,
		"--tls-cert", cert, "--tls-key", certKey)
	if out, err := anywhere.CombinedOutput(); err != nil {
		t.Errorf("listening anywhere: %q, error %v", out, err)
	}
	server := startServe(t, "--store", "memory:", "--config", file, "--tls-cert", cert, "--tls-key", certKey,
		"--log-level", "debug")
	url := server.url
	tms := func(environment []string, args ...string) (string, error) {
		cmd := exec.Command("tms", append(args, "--server", url)...)
		cmd.Env = append(os.Environ(), environment...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := tms([]string{"TMS_KEY=" + key}, "whoami", "--ca-file", authority.File); err != nil ||
		!strings.Contains(out, "boss") {
		t.Errorf("whoami says %q, error %v", out, err)
	}
	if out, err := tms([]string{"TMS_CA_FILE=" + authority.File}, "whoami"); err == nil ||
		!strings.Contains(out, "unauthenticated") {
		t.Errorf("without a key whoami says %q, error %v", out, err)
	}
	if out, err := tms([]string{"TMS_KEY=" + key}, "whoami"); err == nil || !strings.Contains(out, "certificate") {
		t.Errorf("who does not trust the server is told %q, error %v", out, err)
	}
	if out, err := tms(nil, "whoami", "--ca-file", file); err == nil ||
		!strings.Contains(out, "no certificate as PEM") {
		t.Errorf("a file without certificates is told as %q, error %v", out, err)
	}
	check := exec.Command("tms", "healthcheck", "--listen", strings.TrimPrefix(url, "https://"),
		"--tls-cert", cert, "--tls-key", certKey)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("healthcheck says %q, error %v", out, err)
	}
	os.Truncate(cert, 0)
	logs(t, server, "a file cannot be read again", "what=tls_cert")
	authority.Issue(dir, 3)
	logs(t, server, "a file has changed, and was read again", "what=tls_cert")
	secret := strings.Split(key, "_")[2]
	if strings.Contains(server.stderr.String()+server.stdout.String(), secret) {
		t.Error("the server says a key")
	}
}

// A certificate is a key, by its URI or its common name, where an authority of the server vouches for it.
func TestACertificateIsAKey(t *testing.T) {
	authority, stranger := loopback.NewAuthority(t), loopback.NewAuthority(t)
	file := filepath.Join(t.TempDir(), "tms.yaml")
	text := "auth: keys\nkeys:\n  by-uri: {certificate: 'spiffe://td/ci', may: [hold]}\n" +
		"  by-name: {certificate: build-7, may: [watch]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := authority.Issue(t.TempDir(), 2)
	server := startServe(t, "--store", "memory:", "--config", file, "--tls-cert", cert, "--tls-key", key,
		"--tls-client-ca", authority.File)
	for _, one := range []struct {
		what, says string
		authority  *loopback.Authority
		name       string
		uris       []string
	}{
		{"a URI", "by-uri", authority, "anything", []string{"spiffe://td/ci"}},
		{"the second URI", "by-uri", authority, "", []string{"spiffe://td/other", "spiffe://td/ci"}},
		{"a common name", "by-name", authority, "build-7", nil},
		{"a common name beside another URI", "by-name", authority, "build-7", []string{"spiffe://td/other"}},
		{"a common name that looks like a URI", "unauthenticated", authority, "spiffe://td/ci", nil},
		{"a name that is a URI", "unauthenticated", authority, "x", []string{"build-7"}},
		{"another name", "unauthenticated", authority, "build-8", nil},
		{"one of another authority", "unknown certificate authority", stranger, "build-7", []string{"spiffe://td/ci"}},
	} {
		certFile, certKeyFile := one.authority.IssueTo(one.name, one.uris...)
		whoami := exec.Command("tms", "whoami", "--server", server.url, "--ca-file", authority.File, "--retry-for", "0",
			"--cert-file", certFile, "--cert-key-file", certKeyFile)
		if out, _ := whoami.CombinedOutput(); !strings.Contains(string(out), one.says) {
			t.Errorf("%s: %q, want %q", one.what, out, one.says)
		}
	}
	half := exec.Command("tms", "whoami", "--server", server.url, "--cert-file", cert)
	out, err := half.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--cert-file, --cert-key-file: ") {
		t.Errorf("half a certificate: %q, error %v", out, err)
	}
}

func logs(t *testing.T, server *process, words ...string) {
	t.Helper()
	storetest.Eventually(t, "the server logs "+strings.Join(words, " "), func() bool {
		for line := range strings.Lines(server.stderr.String()) {
			all := true
			for _, word := range words {
				all = all && strings.Contains(line, word)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// A certificate without its key, and files that are none, are told before anything is served.
func TestServeRefusesHalfACertificate(t *testing.T) {
	cert, key := loopback.NewAuthority(t).Issue(t.TempDir(), 2)
	for _, one := range []struct {
		says string
		args []string
	}{
		{"tls_key: must be given", []string{"--tls-cert", cert}},
		{"tls_cert: must be given", []string{"--tls-key", cert}},
		{"tls_cert: must be given", []string{"--tls-client-ca", cert}},
		{"tls_client_ca: ", []string{"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", key}},
		{"tls_cert, tls_key: ", []string{"--tls-cert", cert, "--tls-key", cert}},
		{"tls_cert: open ", []string{"--tls-cert", "/none", "--tls-key", cert}},
	} {
		for _, command := range [][]string{{"serve"}, {"config", "check"}} {
			args := append(append(command, "--listen", "127.0.0.1:0", "--store", "memory:"), one.args...)
			out, err := exec.Command("tms", args...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), one.says) {
				t.Errorf("%v: %q, error %v, want %q", args, out, err, one.says)
			}
		}
	}
}
