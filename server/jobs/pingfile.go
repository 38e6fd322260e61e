package jobs

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/yamlerror"
)

// hash is what is known of a token: to find a ping by it, no token is compared.
type hash [sha256.Size]byte

// ping is an entry of the file.
type ping struct {
	name    string
	token   hash
	every   time.Duration // 0 is whenever it comes
	grace   time.Duration
	machine string
	backup  bool
}

const (
	maxPings     = 1000
	defaultGrace = model.Duration(time.Hour)
)

// strong is what has 128 bits if it was made at random: 22 characters of base64, 32 of
// hexadecimal, a UUID.
var strong = regexp.MustCompile(`^[A-Za-z0-9_-]{22,128}$`)

// pingFile is the content of --ping.file, YAML or JSON.
type pingFile struct {
	Pings map[string]struct {
		Token     string          `yaml:"token"`
		TokenFile string          `yaml:"tokenFile"`
		Every     *model.Duration `yaml:"every"`
		Grace     *model.Duration `yaml:"grace"`
		Machine   string          `yaml:"machine"`
		Backup    bool            `yaml:"backup"`
	} `yaml:"pings"`
}

// PingSource is where pings are written down: in the file of --ping.file, or in the section
// of another file.
type PingSource struct {
	File    string // --ping.file, "" for none
	Section []byte // YAML with the key pings; empty for none
	Where   string // the file of Section
}

// Any reports whether pings are written down at all.
func (s PingSource) Any() bool { return s.File != "" || len(s.Section) > 0 }

// Check reads the pings as the server does, without files of tokens if syntaxOnly. An error
// names the ping and the key, and what would be right; it has no token.
func (s PingSource) Check(syntaxOnly bool) error {
	_, err := s.read(syntaxOnly)
	return err
}

func (s PingSource) read(syntaxOnly bool) ([]ping, error) {
	switch {
	case s.File != "" && len(s.Section) > 0:
		return nil, fmt.Errorf("--ping.file %q and the section pings of --clan.settings %q exclude each other: write all pings into one of them", s.File, s.Where)
	case s.File != "":
		text, err := os.ReadFile(s.File)
		if err != nil {
			return nil, fmt.Errorf("--ping.file: %w", err)
		}
		return readPings(text, s.File, "--ping.file", syntaxOnly)
	}
	return readPings(s.Section, s.Where, "--clan.settings", syntaxOnly)
}

// readPings reads the text of a file, or of a part of it; flag names the file in errors.
func readPings(text []byte, file, flag string, syntaxOnly bool) ([]ping, error) {
	var f pingFile
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		return nil, fmt.Errorf("%s %q: %w", flag, file, yamlerror.Readable(err, "pings.<name>.{token,tokenFile,every,grace,machine,backup}"))
	}
	if len(f.Pings) > maxPings {
		return nil, fmt.Errorf("%s %q: %d pings; one server takes at most %d", flag, file, len(f.Pings), maxPings)
	}
	owner := make(map[hash]string)
	var all []ping
	for _, name := range slices.Sorted(maps.Keys(f.Pings)) {
		e := f.Pings[name]
		p := ping{name: name, machine: e.Machine, backup: e.Backup, grace: time.Duration(defaultGrace)}
		fail := func(format string, args ...any) ([]ping, error) {
			return nil, fmt.Errorf("%s %q: pings.%s: %w", flag, file, name, fmt.Errorf(format, args...))
		}
		if contract.CheckMachine(name) != nil {
			return fail("a name must have at most 63 letters, digits, '_', '-', '.' and ':', and begin and end with a letter or digit")
		}
		token := e.Token
		switch {
		case e.Token == "" && e.TokenFile == "":
			return fail("token is missing: openssl rand -hex 16 makes one; or name a file with it in tokenFile")
		case e.Token != "" && e.TokenFile != "":
			return fail("token and tokenFile exclude each other")
		case e.TokenFile != "" && syntaxOnly:
			token = e.TokenFile // which is of one job too
		case e.TokenFile != "":
			if !filepath.IsAbs(e.TokenFile) {
				e.TokenFile = filepath.Join(filepath.Dir(file), e.TokenFile)
			}
			text, err := os.ReadFile(e.TokenFile)
			if err != nil {
				return fail("tokenFile: %w", err)
			}
			token = strings.TrimSpace(string(text))
		}
		if unread := syntaxOnly && e.TokenFile != ""; !unread && !strong.MatchString(token) {
			return fail("the token must be 22 to 128 letters, digits, '-' and '_', made at random: openssl rand -hex 16 makes one")
		}
		p.token = sha256.Sum256([]byte(token))
		if other, taken := owner[p.token]; taken {
			return fail("has the same token as pings.%s; a token is of one job", other)
		}
		owner[p.token] = name
		if e.Every != nil {
			if p.every = time.Duration(*e.Every); p.every < time.Minute || p.every > 366*24*time.Hour {
				return fail("every: %s must be between 1m and 1y", *e.Every)
			}
		}
		if e.Grace != nil {
			if p.grace = time.Duration(*e.Grace); p.grace < time.Minute || p.grace > 366*24*time.Hour {
				return fail("grace: %s must be between 1m and 1y", *e.Grace)
			}
		}
		if e.Machine != "" {
			if err := contract.CheckMachine(e.Machine); err != nil {
				return fail("machine: %w", err)
			}
		}
		all = append(all, p)
	}
	return all, nil
}
