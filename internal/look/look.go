// Package look is what a server asks a machine when somebody looks at it, and what the
// machine responds: the journal of a unit, or the processes that run now. Both ends
// check with it, so that neither has to trust the other.
//
// A request is one line of JSON, a Request. The response is lines of JSON, each a
// Message; the last one is an End. A response without one was cut off.
package look

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits of a request and of its response. Following has its own: who follows goes on
// after the last line with another request.
const (
	MaxLines       = 2000
	MaxBytes       = 1 << 20
	MaxTime        = 10 * time.Second
	MaxFollowBytes = 8 << 20
	MaxFollowTime  = 10 * time.Minute
	// MaxMessage is how much of the text of one line is kept, in bytes.
	MaxMessage = 16 << 10
	// MaxRequest is the length of a request, in bytes.
	MaxRequest = 16 << 10

	maxUnit = 255 // as in systemd
	// maxUnits is the length of all patterns, which are part of a request.
	maxUnits = 8 << 10
	maxGrep  = 1000
	maxBy    = 320
)

// Path is where an exporter takes requests, by POST.
const Path = "/look"

// Kinds of requests.
const (
	Journal   = "journal"
	Processes = "processes"
)

// A Request asks for one look. All fields but Kind, By and Units are for the journal.
type Request struct {
	Kind string `json:"kind"`
	// By is who asks, for the log of the machine. The server says it.
	By string `json:"by"`
	// Units are those of which processes are shown. The exporter says it, whatever the server does.
	Units Units `json:"units,omitempty"`

	Unit     string  `json:"unit,omitempty"`     // with its type: nginx.service; "" for all messages of the machine
	Lines    int     `json:"lines,omitempty"`    // the newest ones that match; has no meaning with Follow
	Since    float64 `json:"since,omitempty"`    // Unix seconds, 0 for no limit
	Until    float64 `json:"until,omitempty"`    // likewise
	Priority *int    `json:"priority,omitempty"` // this one and those more important, 0 (emergency) to 7 (debug)
	Grep     string  `json:"grep,omitempty"`     // RE2, on the message
	Boot     string  `json:"boot,omitempty"`     // 0 is this one, -1 the one before it; or its ID
	Follow   bool    `json:"follow,omitempty"`   // everything after After, or since Since, and go on with new lines
	After    string  `json:"after,omitempty"`    // the cursor of a line
}

var (
	unitName = regexp.MustCompile(`^(-|[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*)\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$`)
	bootID   = regexp.MustCompile(`^(0|-[1-9][0-9]{0,3}|[0-9a-f]{32})$`)
	cursor   = regexp.MustCompile(`^[a-z]=[0-9a-f]{1,32}(;[a-z]=[0-9a-f]{1,32}){0,7}$`)
)

// maxTime keeps times within what every systemd can read, in Unix seconds.
const maxTime = 1e10

// Check says which field of a request cannot be used, and why.
func (r *Request) Check() error {
	switch {
	case r.Kind != Journal && r.Kind != Processes:
		return fmt.Errorf("kind %.40q: it must be %s or %s", r.Kind, Journal, Processes)
	case len(r.By) > maxBy:
		return fmt.Errorf("by: %d bytes are more than %d", len(r.By), maxBy)
	case r.Kind == Processes:
		if !reflect.DeepEqual(*r, Request{Kind: r.Kind, By: r.By, Units: r.Units}) {
			return fmt.Errorf("kind %s takes no other field than by", r.Kind)
		}
		return r.Units.Check()
	case len(r.Unit) > maxUnit:
		return fmt.Errorf("unit: %d bytes are more than the %d of a unit's name", len(r.Unit), maxUnit)
	case r.Unit != "" && !unitName.MatchString(r.Unit):
		return fmt.Errorf("unit %q: it must be the name of a unit with its type, such as nginx.service", r.Unit)
	case !r.Follow && (r.Lines < 1 || r.Lines > MaxLines):
		return fmt.Errorf("lines %d: it must be from 1 to %d", r.Lines, MaxLines)
	case !(r.Since >= 0 && r.Since <= maxTime):
		return fmt.Errorf("since %v: it must be a time in Unix seconds", r.Since)
	case !(r.Until >= 0 && r.Until <= maxTime):
		return fmt.Errorf("until %v: it must be a time in Unix seconds", r.Until)
	case r.Until > 0 && r.Until < r.Since:
		return errors.New("until is before since")
	case r.Follow && (r.After == "") == (r.Since == 0) || r.Follow && r.Until > 0:
		return errors.New("follow takes the cursor of a line in after, or a time in since, and no until")
	case r.After != "" && !r.Follow:
		return errors.New("after needs follow")
	case r.Priority != nil && (*r.Priority < 0 || *r.Priority > 7):
		return fmt.Errorf("priority %d: it must be from 0 (emergency) to 7 (debug)", *r.Priority)
	case r.Boot != "" && !bootID.MatchString(r.Boot):
		return fmt.Errorf("boot %.40q: it must be 0 for this boot, -1 for the one before it, or the ID of a boot", r.Boot)
	case r.After != "" && !cursor.MatchString(r.After):
		return fmt.Errorf("after %.40q: it must be the cursor of a line", r.After)
	}
	_, err := r.Matcher()
	return err
}

// Matcher is the regular expression that messages have to match; nil if any will do.
func (r *Request) Matcher() (*regexp.Regexp, error) {
	if r.Grep == "" {
		return nil, nil
	}
	if len(r.Grep) > maxGrep {
		return nil, fmt.Errorf("grep: %d bytes are more than %d", len(r.Grep), maxGrep)
	}
	re, err := regexp.Compile(r.Grep)
	if err != nil {
		return nil, fmt.Errorf("grep: %w", err)
	}
	return re, nil
}

// ReadRequest reads one line, and no more than MaxRequest bytes, and checks it.
func ReadRequest(from io.Reader) (Request, error) {
	var r Request
	line, err := bufio.NewReaderSize(io.LimitReader(from, MaxRequest), MaxRequest).ReadSlice('\n')
	switch {
	case err != nil && len(line) == MaxRequest:
		return r, fmt.Errorf("the request is longer than %d bytes", MaxRequest)
	case err != nil && !errors.Is(err, io.EOF):
		return r, fmt.Errorf("read the request: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields() // a filter that is not understood must not be ignored
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("the request is not JSON as expected: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("the request has more than one JSON value")
	}
	return r, r.Check()
}

// A Message is a line of a response: one of its fields is set.
type Message struct {
	Entry   *Entry   `json:"entry,omitempty"`
	Process *Process `json:"process,omitempty"`
	End     *End     `json:"end,omitempty"`
}

// An Entry is a line of the journal, with journald's names and units.
type Entry struct {
	Cursor     string `json:"__CURSOR,omitempty"`
	Time       string `json:"__REALTIME_TIMESTAMP,omitempty"` // microseconds since 1970
	Boot       string `json:"_BOOT_ID,omitempty"`
	Priority   string `json:"PRIORITY,omitempty"` // 0 to 7
	Identifier string `json:"SYSLOG_IDENTIFIER,omitempty"`
	PID        string `json:"_PID,omitempty"`
	Unit       string `json:"_SYSTEMD_UNIT,omitempty"`
	Message    string `json:"MESSAGE"`
	// Length is that of the whole message, in bytes, where Message is only its begin.
	Length int `json:"length,omitempty"`
}

// A Process is one that runs now.
type Process struct {
	PID     int     `json:"pid"`
	Name    string  `json:"name"`
	Command string  `json:"command,omitempty"` // the program and its first argument
	Unit    string  `json:"unit,omitempty"`
	CPU     float64 `json:"cpu"`    // processors that it uses: 0.5 is half of one
	Memory  uint64  `json:"memory"` // resident, in bytes
	// IO is what the process reads from and writes to disks, in bytes a second; nil where
	// the kernel does not let the machine's look see it. UnitIO is that of its whole unit.
	IO     *float64 `json:"io,omitempty"`
	UnitIO *float64 `json:"unitIO,omitempty"`
}

// Reasons why a response ends before everything was said.
const (
	EndLines = "lines" // as many as were asked for, and there may be more
	EndBytes = "bytes"
	EndTime  = "time"
)

// An End is the last line of a response.
type End struct {
	Reason string `json:"reason,omitempty"` // "" where there is no more
	Error  string `json:"error,omitempty"`  // for who asks; then nothing else counts
	// Incomplete is why there are fewer entries than there should be, "" if there are not.
	Incomplete string `json:"incomplete,omitempty"`
	Total      int    `json:"total,omitempty"` // processes of the machine
}

// Units are patterns of the units that may be looked at, as path.Match has them; none
// is all units.
type Units []string

// Check says which pattern cannot be used.
func (u Units) Check() error {
	if size := len(strings.Join(u, " ")); size > maxUnits {
		return fmt.Errorf("patterns of units have %d bytes: they must have no more than %d", size, maxUnits)
	}
	for _, p := range u {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return fmt.Errorf("%q: it must be the name of a unit or a pattern such as postgresql*", p)
		}
	}
	return nil
}

// Allow reports whether a unit may be looked at. A pattern without a type is one of
// services.
func (u Units) Allow(unit string) bool {
	return len(u) == 0 || slices.ContainsFunc(u, func(p string) bool {
		whole, _ := path.Match(p, unit)
		service, _ := path.Match(p, strings.TrimSuffix(unit, ".service"))
		return whole || service && strings.HasSuffix(unit, ".service")
	})
}

// Refusal says why a request is outside of the units; "" if it is not.
func (u Units) Refusal(r Request) string {
	switch {
	case r.Kind != Journal || u.Allow(r.Unit) && (r.Unit != "" || len(u) == 0):
		return ""
	case r.Unit == "":
		return fmt.Sprintf("only these units of this machine may be looked at, so a unit must be named: %s", strings.Join(u, ", "))
	}
	return fmt.Sprintf("the unit %s may not be looked at: this machine allows only %s (--look.units)", r.Unit, strings.Join(u, ", "))
}
