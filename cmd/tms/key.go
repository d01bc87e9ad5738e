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
	cmd := &cobra.Command{Use: "key", Short: "Make and remove keys for a server with auth: keys"}
	return withCommands(cmd, newKeyNew(), newKeyList(), newKeyRemove())
}

func newKeyNew() *cobra.Command {
	var may []string
	var expires string
	var store bool
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Draw a key, and print what the server's configuration needs to know of it, or put it into its store",
		Long: "Draw a key. The key goes to standard output, once: TMS keeps it nowhere. What the server's file " +
			"needs goes to standard error: its hash, which is no secret, and what it may. No server is asked.\n" +
			"\n" +
			"With --store the hash goes into the store of a server instead, and counts there at once. That takes a " +
			"key that may run all pools.",
		Example: "  tms key new ci --may hold@ci-*,watch --expires 90d > ci.key\n" +
			"  tms key new ci --may hold@ci-* --store --key-file boss.key > ci.key",
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&may, "may", nil,
		"`rights` of the key: hold, fill, watch, run or all, each on all pools or on those of a glob, as hold@ci-*")
	flags.StringVar(&expires, "expires", "",
		"`time` after which the key ends, as 90d or 12h, or the day, as 2027-01-31; never if it is left out")
	flags.BoolVar(&store, "store", false, "put the key into the store of the server")
	asksServer(cmd, nil, func(r *remote, args []string) error {
		key := access.NewKey()
		made, err := makeKey(args[0], may, expires, time.Now())
		if err == nil {
			err = r.keep(key, made)
		}
		if err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), key)
		}
		return err
	})
	kept := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if store {
			return kept(cmd, args)
		}
		key := access.NewKey()
		made, err := makeKey(args[0], may, expires, time.Now())
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), key)
		fmt.Fprint(cmd.ErrOrStderr(), made.entry(access.HashOf(key)))
		return nil
	}
	return cmd
}

// madeKey is what is to be known of a key that is made.
type madeKey struct {
	name    string
	may     []tms.Grant
	expires time.Time // zero: never
}

// makeKey reads what a key is to be, or returns how the command is used.
func makeKey(name string, may []string, expires string, now time.Time) (madeKey, error) {
	made := madeKey{name: name}
	if err := tms.ValidatePoolName("NAME", name); err != nil {
		return made, usage("NAME: %v", detailOf(err))
	}
	if len(may) == 0 {
		return made, usage("--may: must say what the key may, as --may hold@licences,watch")
	}
	for _, text := range may {
		grant, err := tms.ParseGrant(text)
		if err != nil {
			return made, usage("--may: %v", detailOf(err))
		}
		made.may = append(made.may, grant)
	}
	if expires != "" {
		at, err := endOf(expires, now)
		if err != nil {
			return made, usage("--expires: %v", err)
		}
		made.expires = at
	}
	return made, nil
}

// entry returns the lines of the file for the key.
func (k madeKey) entry(hash access.Hash) string {
	may := make([]string, len(k.may))
	for i, grant := range k.may {
		may[i] = asYAML(grant.String())
	}
	lines := []string{"auth: " + authKeys, "keys:", "  " + k.name + ":", "    hash: " + hash.String(),
		"    may: [" + strings.Join(may, ", ") + "]"}
	if !k.expires.IsZero() {
		lines = append(lines, "    expires: "+k.expires.UTC().Format(time.RFC3339))
	}
	return strings.Join(lines, "\n") + "\n"
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
