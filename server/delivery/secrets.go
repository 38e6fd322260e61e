package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
)

// A receiver whose file of a secret is missing does not stop the server: it would take the
// monitoring of everything else away for one password that was not deployed yet. Its
// notifications fail, the others leave, an alert names the number of such files, and the file
// is looked for again.

// missingEvery is how often files that were missing are looked for.
const missingEvery = 30 * time.Second

// secrets says what is done where the file of a secret cannot be read.
type secrets int

const (
	secretsRequired secrets = iota // it is an error
	secretsIgnored                 // only the syntax is checked
	secretsLate                    // it is noted, and looked for again
)

// errEmpty is what is wrong with a file that has nothing but white space.
var errEmpty = errors.New("the file is empty")

// hasSecret returns why file holds no secret, nil if it does. An empty file is as good as none:
// systemd passes one where it may do without a credential (SetCredential=).
func hasSecret(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, 512))
	if err == nil && len(bytes.TrimSpace(start)) == 0 {
		err = &fs.PathError{Op: "read", Path: file, Err: errEmpty}
	}
	return err
}

// cannotRead reports whether err is only that files are not here, or not for us.
func cannotRead(err error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			if !cannotRead(e) {
				return false
			}
		}
		return true
	}
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errEmpty)
}

// excused reports whether err is no error for this configuration, and notes it if it is to be
// looked at again.
func (b *built) excused(err error) bool {
	if b.secrets == secretsRequired || !cannotRead(err) {
		return false
	}
	same := func(other error) bool { return fileOf(other) == fileOf(err) }
	if b.secrets == secretsLate && !slices.ContainsFunc(b.missing, same) {
		b.missing = append(b.missing, err)
	}
	return true
}

// fileOf is the file that an error of the file system is about.
func fileOf(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Path
	}
	return err.Error()
}

// unusable stands for receivers that could not be made.
type unusable struct{ err error }

func (u unusable) Notify(context.Context, ...*alert.Alert) notify.NotifyVerdict {
	return notify.Retry(0, u.err, notify.DefaultReason)
}

// noteMissing says what is missing in b, where that differs from before.
func (in *inside) noteMissing(b *built, before *built) {
	in.metrics.missing.Set(float64(len(b.missing)))
	for _, err := range b.missing {
		same := func(other error) bool { return fileOf(other) == fileOf(err) }
		if before == nil || !slices.ContainsFunc(before.missing, same) {
			in.log.Error("Secret file of a receiver cannot be read; its notifications fail until then", "err", err)
		}
	}
}

// findMissing looks for the missing files again, until ctx ends. The configuration takes
// effect again when one of them is there.
func (in *inside) findMissing(ctx context.Context) {
	tick := time.NewTicker(missingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		in.lookAgain()
	}
}

// lookAgain builds the receivers anew if other files are missing than before.
func (in *inside) lookAgain() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.running || len(in.config.missing) == 0 {
		return
	}
	// Of the configuration in force: its file may have changed since it was loaded.
	b, err := in.config.build(in.opts, in.log)
	same := func(a, b error) bool { return fileOf(a) == fileOf(b) }
	if err != nil || slices.EqualFunc(b.missing, in.config.missing, same) {
		return
	}
	in.log.Info("Other secret files of receivers are missing than before", "missing", len(b.missing))
	in.noteMissing(b, in.config)
	in.config = b
	in.restartPipeline()
	if in.rebuilt != nil {
		go in.rebuilt() // it takes in.mu
	}
}
