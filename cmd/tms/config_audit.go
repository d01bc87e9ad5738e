package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/manankarani/token-manager/internal/audit"
)

const (
	auditOff      = "off"
	auditOn       = "on"
	auditRequired = "required"
)

// auditSettings are the settings of the audit.
type auditSettings struct {
	Audit     string
	AuditFile string
}

func (a *auditSettings) add(fs *pflag.FlagSet) {
	fs.StringVar(&a.Audit, "audit", auditOff,
		"`whether` changes, and what is refused for want of rights, are written down: off, on, or required (nothing "+
			"is changed that cannot be written down before)")
	fs.StringVar(&a.AuditFile, "audit-file", audit.Stdout,
		"`file` for that, a line of JSON for each change, which SIGHUP has opened anew; without one the standard "+
			"output")
}

func (a *auditSettings) validate() error {
	return oneOf("audit", a.Audit, auditOff, auditOn, auditRequired)
}

// openAudit opens the audit, which is opened anew on SIGHUP until it is ended; nil: there is none.
func (a *auditSettings) open(logger *slog.Logger) (log *audit.Log, end func(), err error) {
	if a.Audit == auditOff {
		return nil, func() {}, nil
	}
	log, err = audit.Open(a.AuditFile, audit.Options{Logger: logger})
	if err != nil {
		return nil, nil, fmt.Errorf("audit_file: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if a.AuditFile != audit.Stdout { // whose terminal says with the signal that it has gone
		go reopens(ctx, log)
	}
	return log, func() { cancel(); log.Close() }, nil
}

// reopens opens the log anew with each SIGHUP, until ctx ends.
func reopens(ctx context.Context, log *audit.Log) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
			log.Reopen()
		case <-ctx.Done():
			return
		}
	}
}

// describe says for a person whether changes are written down, and where.
func (a *auditSettings) describe() string {
	where := a.AuditFile
	if where == audit.Stdout {
		where = "standard output"
	}
	return fmt.Sprintf("%s, to %s", a.Audit, where)
}
