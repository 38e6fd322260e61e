package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// token is a line of the file.
type token struct {
	name    string
	role    caller.Role
	machine bool // it is of the machine of that name, which has no role
	sum     [sha256.Size]byte
}

// machineWord is in place of a role in the line of a machine.
const machineWord = "machine"

func (t token) person() person {
	p := person{name: t.name, via: caller.ViaToken, role: t.role}
	if t.machine {
		p.machine = t.name
	}
	return p
}

// tokens are those of all files.
type tokens []*tokenFile

// tokenFile has tokens, and is read again when it changes.
type tokenFile struct {
	file string
	log  *slog.Logger

	mu     sync.Mutex
	read   os.FileInfo // what was read; nil if nothing could be
	failed bool        // and that has been logged
	list   []token
	// people: the file has had a token with a role. Roles then apply for good, whatever
	// becomes of the file.
	people bool
}

// newTokens reads the files, of which every line must be right.
func newTokens(files []string, log *slog.Logger) (all tokens, err error) {
	for _, file := range files {
		t, err := newTokenFile(file, log)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func newTokenFile(file string, log *slog.Logger) (*tokenFile, error) {
	t := &tokenFile{file: file, log: log}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("--web.token-file: %w", err)
	}
	t.read = info
	if t.list, err = readTokens(file); err != nil {
		return nil, fmt.Errorf("--web.token-file %q: %w", file, err)
	}
	t.people = len(t.list) == 0 // nobody is let in by an empty file
	t.note()
	return t, nil
}

// ofPeople reports whether the tokens give roles, and are not only those of machines.
func (all tokens) ofPeople() bool {
	return slices.ContainsFunc(all, func(t *tokenFile) bool {
		t.current()
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.people
	})
}

// note keeps in mind whether a token has a role. t.mu is held.
func (t *tokenFile) note() {
	t.people = t.people || slices.ContainsFunc(t.list, func(x token) bool { return !x.machine })
}

// find returns the token that r presents.
func (all tokens) find(r *http.Request) (token, bool) {
	text, ok := bearer(r)
	if !ok {
		return token{}, false
	}
	sum := sha256.Sum256([]byte(text))
	var found token
	matches, same := 0, true
	for _, t := range all {
		for _, known := range t.current() { // all of them, so that time says nothing
			if subtle.ConstantTimeCompare(sum[:], known.sum[:]) == 1 {
				same = same && (matches == 0 || found == known)
				found = known
				matches++
			}
		}
	}
	return found, matches > 0 && same // of two people it is nobody's
}

// unknown is why the token that r presents does not identify anybody; "" if r has none.
func (all tokens) unknown(r *http.Request) string {
	if _, ok := bearer(r); !ok || len(all) == 0 {
		return ""
	}
	return "the token in the header Authorization is not in --web.token-file"
}

// bearer is what r has in Authorization: Bearer.
func bearer(r *http.Request) (string, bool) {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(text), ok && strings.EqualFold(scheme, "Bearer")
}

// current are the tokens of the file as it is now. Lines that are wrong count for
// nothing, and neither does a file that is gone: it may revoke tokens.
func (t *tokenFile) current() []token {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.file)
	if err == nil && t.read != nil && unchanged(info, t.read) {
		return t.list
	}
	t.list, t.read = nil, nil
	if err == nil {
		t.list, err = readTokens(t.file)
		t.note()
	}
	// A file that cannot be read is tried again: who may read it changes without its time.
	_, unread := errors.AsType[*fs.PathError](err)
	if !unread {
		t.read = info
	}
	switch {
	case err != nil && !(unread && t.failed):
		t.log.Error("Tokens are not accepted", "file", t.file, "err", err)
	case err == nil:
		t.log.Info("Read tokens again", "file", t.file, "tokens", len(t.list))
	}
	t.failed = unread
	return t.list
}

// unchanged reports whether two looks at a path found the same file.
func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// readTokens returns the valid lines, and an error for the others.
func readTokens(file string) ([]token, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []token
	var wrong []error
	known := make(map[[sha256.Size]byte]bool)
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t, err := parseToken(line)
		if err == nil && known[t.sum] {
			err = errors.New("the same token as on a line before")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", n+1, err)) // without the line: it may be the token itself
			continue
		}
		known[t.sum] = true
		list = append(list, t)
	}
	return list, errors.Join(wrong...)
}

func parseToken(line string) (t token, err error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return t, fmt.Errorf("%d words: must be NAME ROLE SHA256", len(fields))
	}
	t.name = fields[0]
	if prefixed(t.name) || !printable(t.name) || len(t.name) > maxName {
		return t, errors.New("the first word is not a name")
	}
	switch fields[1] {
	case caller.Viewer.String():
		t.role = caller.Viewer
	case caller.Operator.String():
		t.role = caller.Operator
	case machineWord:
		t.machine = true
		if err := contract.CheckMachine(t.name); err != nil {
			return t, err
		}
	default:
		return t, errors.New("the second word must be viewer, operator or machine")
	}
	sum, err := hex.DecodeString(fields[2])
	if err != nil || len(sum) != sha256.Size {
		return t, errors.New("the third word must be the SHA-256 of the token as 64 hexadecimal digits: printf %s TOKEN | sha256sum")
	}
	if t.sum = [sha256.Size]byte(sum); t.sum == sha256.Sum256(nil) {
		return t, errors.New("the third word is the SHA-256 of an empty token")
	}
	return t, nil
}
