package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/access"
)

// keep puts a key into the store of the server, before anybody has it.
func (r *remote) keep(key string, made madeKey) error {
	stored := tms.StoredKey{Name: made.name, ID: access.IDOf(key), Hash: access.HashOf(key).String(), May: made.may,
		Expires: made.expires.UTC().Truncate(time.Millisecond)}
	if err := r.PutKey(r.Context(), stored); err != nil {
		return r.tried(err, "keep the key %q in the store", made.name)
	}
	r.say("the key %q is in the store, as %s", stored.Name, stored.ID)
	return nil
}

func newKeyList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"},
		Short: "List the keys of the server: what they may, when they end, and when they were last used",
		Args:  cobra.NoArgs,
	}
	return asksServer(cmd, everyForm, func(r *remote, _ []string) error {
		keys, err := r.Keys(r.Context(), nil)
		if err != nil {
			return r.asked(err, "list the keys")
		}
		answer := api.KeysOf(keys)
		t := table{header: []string{"KEY", "ID", "MAY", "EXPIRES", "MADE", "USED"}}
		var names []string
		for _, key := range answer.Keys {
			t.rows = append(t.rows, []string{key.Name, cmp.Or(key.ID, "in the file"), strings.Join(key.May, ","),
				r.instant(key.Expires), r.instant(key.MadeAt), r.instant(key.UsedAt)})
			names = append(names, key.Name)
		}
		return r.write(answer, t, names)
	})
}

func newKeyRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME [ID]",
		Short: "Remove the keys of a name from the server's store, or the one of an ID: they count no more within 5 s",
		Args:  cobra.RangeArgs(1, 2),
	}
	return asksServer(cmd, everyForm, func(r *remote, args []string) error {
		name, id := args[0], ""
		if len(args) > 1 {
			id = args[1]
			if err := tms.ValidateKeyID("ID", id); err != nil {
				return usage("ID: %v", detailOf(err))
			}
		}
		if err := tms.ValidatePoolName("NAME", name); err != nil {
			return usage("NAME: %v", detailOf(err))
		}
		deleted, err := r.DeleteKey(r.Context(), name, id)
		switch {
		case err != nil:
			return r.tried(err, "remove the key %q", name)
		case deleted == 0:
			return fmt.Errorf("the store has no key %s; one of the file is removed there",
				strings.TrimSpace(name+" "+id))
		}
		r.say("%s of %q removed", countOf(deleted, "key"), name)
		t := table{header: []string{"KEY", "REMOVED"}, rows: [][]string{{name, fmt.Sprint(deleted)}}}
		return r.write(api.KeysDeleted{Name: name, Deleted: deleted}, t, []string{name})
	})
}
