package server

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/loopback"
)

// secure is a server that speaks TLS, and what is needed to speak with it.
type secure struct {
	*serving
	*testing.T
	authority   *loopback.Authority
	dir         string
	certificate *Certificate
}

func serveTLS(t *testing.T, config Config) *secure {
	t.Helper()
	s := &secure{T: t, authority: loopback.NewAuthority(t), dir: t.TempDir()}
	files := CertificateFiles{ClientCA: s.authority.File}
	files.Cert, files.Key = s.authority.Issue(s.dir, 2)
	certificate, err := LoadCertificate(files)
	if err != nil {
		t.Fatal(err)
	}
	s.certificate, config.Certificate = certificate, certificate
	s.serving = serve(t, config)
	return s
}

// dial opens a connection, which the test reads and writes itself.
func (s *secure) dial(change func(*tls.Config)) (*tls.Conn, error) {
	s.Helper()
	text, err := os.ReadFile(s.authority.File)
	if err != nil {
		s.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	config.RootCAs.AppendCertsFromPEM(text)
	change(config)
	conn, err := tls.Dial("tcp", s.addr, config)
	if err == nil {
		s.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return conn, err
}

func asItIs(*tls.Config) {}

// live asks over the connection whether the server lives.
func (s *secure) live(conn net.Conn) {
	s.Helper()
	fmt.Fprint(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		s.Fatalf("the answer is %+v, error %v", response, err)
	}
	response.Body.Close()
}

// serial returns that of the server's certificate.
func serial(conn *tls.Conn) int64 {
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// A certificate that is replaced is that of new connections, and drops none of those that stand.
func TestACertificateIsReplacedWithoutDroppingAConnection(t *testing.T) {
	s := serveTLS(t, Config{})
	before, err := s.dial(asItIs)
	if err != nil {
		t.Fatal(err)
	}
	s.live(before)
	s.authority.Issue(s.dir, 3)
	if changed, err := s.certificate.Reread(); !changed || err != nil {
		t.Fatalf("changed %v, error %v", changed, err)
	}
	after, err := s.dial(asItIs)
	if err != nil {
		t.Fatal(err)
	}
	s.live(after)
	s.live(before)
	if serial(before) != 2 || serial(after) != 3 {
		t.Errorf("the certificates are %d and %d, want 2 and 3", serial(before), serial(after))
	}
	if changed, err := s.certificate.Reread(); changed || err != nil {
		t.Errorf("changed %v again, error %v", changed, err)
	}
}

// Files that do not fit together, or are gone, leave what there was.
func TestACertificateThatIsBrokenChangesNothing(t *testing.T) {
	s := serveTLS(t, Config{})
	for what, spoil := range map[string]func(cert, key string){
		"another key":   func(_, key string) { os.Rename(s.dir+"/other/key.pem", key) },
		"no key":        func(_, key string) { os.Remove(key) },
		"no cert":       func(cert, _ string) { os.Remove(cert) },
		"half a cert":   func(cert, _ string) { os.Truncate(cert, 100) },
		"an empty cert": func(cert, _ string) { os.Truncate(cert, 0) },
	} {
		os.MkdirAll(s.dir+"/other", 0o700)
		s.authority.Issue(s.dir+"/other", 9)
		s.authority.Issue(s.dir, 4)
		s.certificate.Reread()
		spoil(s.dir+"/cert.pem", s.dir+"/key.pem")
		if changed, err := s.certificate.Reread(); changed || err == nil || !strings.Contains(err.Error(), "tls_") {
			t.Errorf("%s: changed %v, error %v", what, changed, err)
		}
		conn, err := s.dial(asItIs)
		if err != nil || serial(conn) != 4 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TLS is 1.2 or later, and neither plain text nor a stranger's trust gets through.
func TestWhoDoesNotSpeakTLSProperlyIsKeptOut(t *testing.T) {
	s := serveTLS(t, Config{})
	if _, err := s.dial(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }); err == nil {
		t.Error("the server speaks TLS 1.1")
	}
	if _, err := s.dial(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }); err == nil {
		t.Error("a certificate is trusted that nobody vouches for")
	}
	conn, err := s.dial(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	if err != nil {
		t.Fatal(err)
	}
	s.live(conn)
	if status, text := get("http://" + s.addr + "/livez"); status != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered %d %s", status, text)
	}
}

// The places of connections hold under TLS as without: those that do not even greet give way.
func TestConnectionsThatDoNotGreetGiveWayUnderTLS(t *testing.T) {
	s := serveTLS(t, Config{Limits: Limits{MaxConnections: 4, HeaderTimeout: time.Minute}})
	for range 4 + ReservedConnections {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for range 8 {
		conn, err := s.dial(asItIs)
		if err != nil {
			t.Fatal(err)
		}
		s.live(conn)
		conn.Close()
	}
}

// A server that speaks TLS ends as any other: what is under way is answered.
func TestShutdownUnderTLS(t *testing.T) {
	s := serveTLS(t, Config{})
	conn, err := s.dial(asItIs)
	if err != nil {
		t.Fatal(err)
	}
	s.live(conn)
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server does not end")
	}
}
