package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Where Redis is, as a URL:
//
//	redis://[user:password@]host[:port][/db]                         one server, or any node of a cluster
//	redis+cluster://[user:password@]host[:port],host[:port]…         several nodes of a cluster
//	redis+sentinel://[user:password@]host[:port],…/master-set[/db]   Sentinels, which say who the master is
//	rediss…                                                          the same over TLS
//	unix:///path                                                     one server of this machine
//
// Parameters: password_file, a file with the password, which is read for each connection; sentinel_user and
// sentinel_password, where Sentinels ask for others; ca, cert and key, files in PEM, for TLS.

var errURL = errors.New("redis: the URL cannot be read; it has the form redis://user:password@host:port/db, " +
	"redis+sentinel://host,host,host/master-set or redis+cluster://host,host")

// clientOption returns what rueidis is to be told. Its errors do not show the URL, which may hold a password.
func clientOption(address string, timeout time.Duration) (rueidis.ClientOption, error) {
	u, err := url.Parse(address)
	if err != nil {
		return rueidis.ClientOption{}, errURL
	}
	plain, err := plainURL(*u)
	if err != nil {
		return rueidis.ClientOption{}, err
	}
	option, err := rueidis.ParseURL(plain)
	if err != nil {
		return option, err
	}
	option.Sentinel.Username, option.Sentinel.Password = u.Query().Get("sentinel_user"),
		u.Query().Get("sentinel_password")
	q := u.Query()
	if err := errors.Join(secure(&option, q), readPassword(&option, q.Get("password_file"))); err != nil {
		return option, err
	}
	option.Dialer.Timeout = timeout
	// a silent connection is given up after this and a ping's second
	option.ConnWriteTimeout = max(timeout, time.Second)
	option.Sentinel.Dialer.Timeout = timeout
	option.Sentinel.TopologyRefreshInterval = time.Second
	option.DisableRetry = true // nothing is sent twice
	option.DisableCache = true
	option.AlwaysPipelining = true // a call ends with its context, and the connection lives on
	option.PipelineMultiplex = -1  // one connection: the fuller the pipeline, the less each call costs
	option.RingScaleEachConn = 12
	return option, nil
}

// plainURL returns the URL as rueidis takes it: one host, and the others as parameters.
func plainURL(u url.URL) (string, error) {
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	if kind == "" {
		return u.String(), nil
	}
	q := u.Query()
	port := "6379"
	switch kind {
	case "sentinel":
		port = "26379"
		set, database, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		if set == "" {
			return "", errURL
		}
		q.Set("master_set", set)
		u.Path = "/" + database
	case "cluster":
		if strings.Trim(u.Path, "/") != "" {
			return "", errors.New("redis: a cluster has one database, which has no number")
		}
	default:
		return "", errURL
	}
	hosts := strings.Split(u.Host, ",")
	for i, host := range hosts {
		if hosts[i] = withPort(host, port); hosts[i] == "" {
			return "", errURL
		}
	}
	q["addr"] = append(q["addr"], hosts[1:]...)
	u.Scheme, u.Host, u.RawQuery = scheme, hosts[0], q.Encode()
	if u.Path == "/" {
		u.Path = ""
	}
	return u.String(), nil
}

// withPort returns the host with the port, unless it has one; "" where there is no host.
func withPort(host, port string) string {
	if name, own, err := net.SplitHostPort(host); err == nil {
		host, port = name, own
	}
	if host = strings.Trim(host, "[]"); host == "" {
		return ""
	}
	return net.JoinHostPort(host, port)
}

// secure adds the certificates of the URL's parameters to the option.
func secure(option *rueidis.ClientOption, q url.Values) error {
	config := option.TLSConfig
	if config == nil {
		for _, name := range []string{"ca", "cert", "key"} {
			if q.Has(name) {
				return fmt.Errorf("redis: %s is for TLS, which a URL that begins with rediss asks for", name)
			}
		}
		return nil
	}
	if len(option.InitAddress) > 1 || option.Sentinel.MasterSet != "" {
		config.ServerName = "" // that of each server
	}
	if err := trust(config, q.Get("ca")); err != nil {
		return err
	}
	if q.Get("cert") != "" || q.Get("key") != "" {
		pair, err := tls.LoadX509KeyPair(q.Get("cert"), q.Get("key"))
		if err != nil {
			return fmt.Errorf("redis: the certificate of this server: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if option.Sentinel.MasterSet != "" {
		option.Sentinel.TLSConfig = config
	}
	return nil
}

// readPassword lets the option take the password from a file whenever it connects, so that it can change while the
// server runs; "" leaves the option as it is.
func readPassword(option *rueidis.ClientOption, file string) error {
	if file == "" {
		return nil
	}
	if option.Sentinel.MasterSet != "" { // to which rueidis would say the same password
		return errors.New("redis: password_file is not for Sentinels")
	}
	user := option.Username
	option.AuthCredentialsFn = func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
		password, err := os.ReadFile(file)
		if err != nil {
			err = fmt.Errorf("redis: the password: %w", err)
		}
		return rueidis.AuthCredentials{Username: user, Password: strings.TrimSpace(string(password))}, err
	}
	_, err := option.AuthCredentialsFn(rueidis.AuthCredentialsContext{})
	return err
}

// trust lets the configuration trust the certificates in a file, and no others; "" leaves it as it is.
func trust(config *tls.Config, file string) error {
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("redis: the certificates to trust: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("redis: %s has no certificate in PEM", file)
	}
	return nil
}
