package redis_test

import (
	"strings"
	"testing"

	"github.com/manankarani/token-manager/internal/store/redis"
)

// A URL that cannot be taken is refused with what is wrong, and never shows a password.
func TestURLsThatAreRefused(t *testing.T) {
	for url, says := range map[string]string{
		"redis+sentinel://user:secret@a,b,c":               "redis+sentinel://host,host,host/master-set",
		"redis+sentinel://user:secret@a,,c/m":              "redis+sentinel://host,host,host/master-set",
		"redis+cluster://user:secret@a,b/1":                "a cluster has one database",
		"redis+other://user:secret@a":                      "redis+sentinel://",
		"redis://user:secret@a?ca=/none":                   "rediss",
		"rediss://user:secret@a?ca=/none":                  "/none",
		"rediss://user:secret@a?cert=/none&key=/none":      "/none",
		"rediss+sentinel://user:secret@a/m?ca=/secret":     "the certificates to trust",
		"redis://user@a?password_file=/none":               "the password: open /none",
		"redis+sentinel://a,b,c/m?password_file=/dev/null": "not for Sentinels",
	} {
		s, err := redis.Open(redis.Options{URL: url})
		if err == nil {
			s.Close()
			t.Errorf("%s is taken", url)
			continue
		}
		if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "user:secret") {
			t.Errorf("%s: it says %q, want %q in it, and no password", url, err, says)
		}
	}
}

func TestURLsThatAreTaken(t *testing.T) {
	for _, url := range []string{
		"redis+sentinel://a,b:1/m", "redis+sentinel://[::1]/m",
		"redis+sentinel://u:p@a/m/3?sentinel_user=s&sentinel_password=p",
		"redis+cluster://a,b:7000", "rediss+cluster://a,b", "rediss+sentinel://a,b,c/m", "unix:///tmp/redis.sock",
	} {
		s, err := redis.Open(redis.Options{URL: url})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		s.Close()
	}
}
