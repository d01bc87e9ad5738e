package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/limit"
)

const (
	rateAuto    = "auto"
	rateOff     = "off"
	rateOfKeys  = "200/s" // what auto is where the server asks for keys
	failedAuths = "10/s"
)

// limitSettings are the settings of rate limits.
type limitSettings struct {
	RateLimit       string
	RateBurst       int
	FailedAuthLimit string
	TrustedProxies  networks
}

func (l *limitSettings) add(fs *pflag.FlagSet) {
	fs.StringVar(&l.RateLimit, "rate-limit", rateAuto,
		"how `often` each key, or without keys each address, may ask, as 200/s, 600/m or off; auto: "+rateOfKeys+
			" with keys, else off")
	fs.IntVar(&l.RateBurst, "rate-burst", 0, "how many requests may come at once; 0: those of two seconds")
	fs.StringVar(&l.FailedAuthLimit, "failed-auth-limit", failedAuths,
		"how `often` requests of one address may fail to authenticate before they are refused as rate_limited, or off")
	fs.Var(&l.TrustedProxies, "trusted-proxies",
		"`networks` of the proxies whose X-Forwarded-For counts, as 10.0.0.0/8,192.168.1.7")
}

// rate returns how often a key, or without keys an address, may ask.
func (c *config) rate() (limit.Rate, error) {
	text := c.RateLimit
	switch {
	case text == rateAuto && c.Auth == authKeys:
		text = rateOfKeys
	case text == rateAuto:
		text = rateOff
	}
	rate, err := limit.ParseRate(text)
	if err != nil {
		return rate, fmt.Errorf("rate_limit: %w; or %s", err, rateAuto)
	}
	return withBurst(rate, c.RateBurst)
}

// withBurst returns the rate with another burst than its usual one; 0: with that.
func withBurst(rate limit.Rate, burst int) (limit.Rate, error) {
	switch {
	case burst < 0 || burst > limit.MostUnits:
		return rate, fmt.Errorf("rate_burst: must be from 0 to %d, is %d", limit.MostUnits, burst)
	case burst > 0 && !rate.IsZero():
		rate.Burst = burst
	}
	return rate, nil
}

// failedAuth returns how often authentication may fail.
func (c *config) failedAuth() (limit.Rate, error) {
	rate, err := limit.ParseRate(c.FailedAuthLimit)
	if err != nil {
		return rate, fmt.Errorf("failed_auth_limit: %w", err)
	}
	return rate, nil
}

func (c *config) validateLimits() error {
	_, err := c.rate()
	_, failed := c.failedAuth()
	return errors.Join(err, failed)
}

// decodeKeyRate reads the rate of a key, if it has one of its own.
func decodeKeyRate(key *access.Key, fields map[string]any) error {
	text, given := fields["rate_limit"]
	burst, some := fields["rate_burst"]
	if !given {
		if some {
			return errors.New("rate_burst: needs a rate_limit beside it")
		}
		return nil
	}
	rate, err := limit.ParseRate(fmt.Sprint(text))
	if err != nil {
		return fmt.Errorf("rate_limit: %w", err)
	}
	number, whole := burst.(int)
	if some && (!whole || number < 1) {
		return fmt.Errorf("rate_burst: must be a number from 1 to %d, is %v", limit.MostUnits, burst)
	}
	if rate, err = withBurst(rate, number); err == nil {
		key.Rate = &rate
	}
	return err
}

// networks are networks, or single addresses.
type networks []netip.Prefix

func (n *networks) String() string {
	texts := make([]string, len(*n))
	for i, network := range *n {
		texts[i] = network.String()
	}
	return strings.Join(texts, ",")
}

func (n *networks) Set(text string) error {
	var all networks
	if text == "" {
		*n = nil
		return nil
	}
	for _, one := range strings.Split(text, ",") {
		one = strings.TrimSpace(one)
		network, err := netip.ParsePrefix(one)
		if address, failed := netip.ParseAddr(one); failed == nil {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("must be networks or addresses, as 10.0.0.0/8,192.168.1.7, has %q", one)
		}
		all = append(all, network.Masked())
	}
	*n = all
	return nil
}

func (n *networks) Type() string { return "networks" }
