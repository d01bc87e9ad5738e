package main

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/access"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make a key for a server with auth: keys"}
	return withCommands(cmd, newKeyNew())
}

func newKeyNew() *cobra.Command {
	var may []string
	var expires string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Draw a key, and print what the server's configuration needs to know of it",
		Long: "Draw a key. The key goes to standard output, once: TMS keeps it nowhere. What the server's file needs " +
			"goes to\n" +
			"standard error: its hash, which is no secret, and what it may. No server is asked.",
		Example: "  tms key new ci --may hold@ci-*,watch --expires 90d > ci.key",
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&may, "may", nil,
		"`rights` of the key: hold, fill, watch, run or all, each on all pools or on those of a glob, as hold@ci-*")
	flags.StringVar(&expires, "expires", "",
		"`time` after which the key ends, as 90d or 12h, or the day, as 2027-01-31; never if it is left out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key := access.NewKey()
		entry, err := keyEntry(args[0], access.HashOf(key), may, expires, time.Now())
		if err != nil {
			return usage("%v", err)
		}
		fmt.Fprintln(cmd.OutOrStdout(), key)
		fmt.Fprint(cmd.ErrOrStderr(), entry)
		return nil
	}
	return cmd
}

// keyEntry returns the lines of the file for a key.
func keyEntry(name string, hash access.Hash, may []string, expires string, now time.Time) (string, error) {
	if err := tms.ValidatePoolName("NAME", name); err != nil {
		return "", fmt.Errorf("NAME: %w", detailOf(err))
	}
	if len(may) == 0 {
		return "", fmt.Errorf("--may: must say what the key may, as --may hold@licences,watch")
	}
	for i, text := range may {
		grant, err := tms.ParseGrant(text)
		if err != nil {
			return "", fmt.Errorf("--may: %w", detailOf(err))
		}
		may[i] = asYAML(grant.String())
	}
	lines := []string{"auth: " + authKeys, "keys:", "  " + name + ":", "    hash: " + hash.String(),
		"    may: [" + strings.Join(may, ", ") + "]"}
	if expires != "" {
		at, err := endOf(expires, now)
		if err != nil {
			return "", fmt.Errorf("--expires: %w", err)
		}
		lines = append(lines, "    expires: "+at.UTC().Format(time.RFC3339))
	}
	return strings.Join(lines, "\n") + "\n", nil
}

var plainYAML = regexp.MustCompile(`^[a-z0-9@._-]+$`)

// asYAML returns a right as YAML: a glob may hold what means something there.
func asYAML(text string) string {
	if plainYAML.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// endOf reads when a key ends: after a time, or on a day, which must be to come.
func endOf(text string, now time.Time) (time.Time, error) {
	at, err := endsAt(text, now)
	if err == nil && !at.After(now) {
		err = fmt.Errorf("must be in the future, is %q", text)
	}
	return at, err
}

func endsAt(text string, now time.Time) (time.Time, error) {
	days, hours := 0, text
	if n, err := fmt.Sscanf(text, "%dd", &days); err == nil && n == 1 {
		_, hours, _ = strings.Cut(text, "d")
	}
	after := time.Duration(days) * 24 * time.Hour
	if hours != "" {
		d, err := time.ParseDuration(hours)
		if err != nil {
			return decodeInstant(text)
		}
		after += d
	}
	return now.Add(after), nil
}

func newWhoami() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Ask the server what the key is called, and what it may",
		Args:  cobra.NoArgs,
	}
	return asksServer(cmd, everyForm, func(r *remote, _ []string) error {
		who, err := r.Whoami(r.Context())
		if err != nil {
			return r.asked(err, "ask who this is")
		}
		return r.writeCaller(api.CallerOf(who))
	})
}

// writeCaller shows who the server takes the command for.
func (r *remote) writeCaller(who api.Caller) error {
	t := table{header: []string{"KEY", "MAY", "EXPIRES"}}
	t.rows = [][]string{{cmp.Or(who.Key, "none"), strings.Join(who.May, ","), r.instant(who.Expires)}}
	return r.write(who, t, []string{cmp.Or(who.Key, "none")})
}
