package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

func newBackup() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of a server's embedded store into a file",
		Long: "Write a backup of the embedded store of a server on this machine into a file, for tms restore FILE " +
			"DIR. The server\n" +
			"goes on meanwhile. The file is there when all of it is, and on the disk.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file")
	return asksServer(cmd, nil, func(r *remote, args []string) error {
		ctx, stop := interruptible(r.Context())
		defer stop()
		n, err := r.backUp(ctx, args[0], force)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return interrupted(ctx, r.asked(err, "back up the store of %s", r.server))
		}
		r.say("%s has the backup, %d bytes", args[0], n)
		return nil
	})
}

// backUp writes the backup beside the file, and puts it there when it is whole.
func (r *remote) backUp(ctx context.Context, path string, force bool) (n int64, err error) {
	if err := mayWrite(path, force); err != nil {
		return 0, err
	}
	answer, err := r.askBackup(ctx)
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.partial") // mode 0600: it holds secrets
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // which fails where it is done
	n, err = io.Copy(f, answer)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if err := errors.Join(embedded.CheckBackup(f.Name()), mayWrite(path, force)); err != nil {
		return 0, err
	}
	return n, errors.Join(os.Rename(f.Name(), path), syncDir(filepath.Dir(path)))
}

func mayWrite(path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return fmt.Errorf("%s is there already: --force overwrites it", path)
	}
	return nil
}

// syncDir makes a rename durable, where that takes something.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// askBackup asks for a backup. It waits as long as the server takes.
func (r *remote) askBackup(ctx context.Context) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(r.server, "/")+api.PathBackup,
		nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", client.ErrUnreachable, err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	problem := api.Problem{Status: response.StatusCode, Title: response.Status}
	// what is no problem stays without a code
	_ = json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&problem)
	return nil, problem.Err()
}

// backups returns what makes the backups of a store, or nil where it has none.
func backups(store tms.Store) func(context.Context) (server.Backup, error) {
	kept, ok := store.(*embedded.Store)
	if !ok {
		return nil
	}
	return func(ctx context.Context) (server.Backup, error) {
		b, err := kept.Backup(ctx)
		if err != nil {
			return nil, err
		}
		return b, nil
	}
}

// isBackup reports whether the arguments of tms restore are those for a backup: a file that is one, or is called like
// one, and a directory. Flags that are for tokens say that they are not.
func (r *remote) isBackup(args []string) bool {
	return len(args) == 2 && !r.Flags().Changed("pool") && !r.Flags().Changed("output") &&
		(strings.HasSuffix(args[0], ".tar") || embedded.IsBackup(args[0]))
}

// restoreBackup puts a backup into a directory, for a server that is started there.
func (r *remote) restoreBackup(file, dir string) error {
	if err := embedded.Restore(file, dir); err != nil {
		return err
	}
	r.say("%s is restored: tms serve --store embedded:%s", file, dir)
	return nil
}

// markPutBack says of a data directory that a copy was put back there.
func (r *remote) markPutBack(dir string) error {
	if err := embedded.MarkPutBack(dir); err != nil {
		return err
	}
	r.say("%s is marked: its pools settle when a server opens it", dir)
	return nil
}

func newRepair() *cobra.Command {
	return &cobra.Command{
		Use:   "repair DIR",
		Short: "Cut the log of a data directory off where it is damaged",
		Long: "Cut the log of a data directory off where it is damaged, so that tms serve opens it again. What was " +
			"done from\n" +
			"there on is forgotten. No server may be running on the directory; copy it before.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			did, err := embedded.Repair(args[0])
			if err != nil {
				return err
			}
			if len(did) == 0 {
				did = []string{"nothing is damaged, nothing was done"}
			}
			for _, line := range did {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
