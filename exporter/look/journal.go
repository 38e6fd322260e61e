package look

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	wire "github.com/clanmon/clanmon/internal/look"
)

const (
	// maxLine is how long a line of journalctl may be, in bytes: one byte of a message
	// that is not text takes up to four.
	maxLine = 4 << 20
	// journalFields are those of an Entry; journalctl adds those that begin with __.
	journalFields = "_BOOT_ID,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_PID,_SYSTEMD_UNIT,MESSAGE"
)

// arguments are those of journalctl. Each value is part of its flag's argument, so
// that none can be a flag itself, and was checked.
func arguments(r wire.Request) []string {
	// --all: without it, messages of more than 4 KiB are missing.
	args := []string{"--no-pager", "--all", "--output=json", "--output-fields=" + journalFields}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag+"="+value)
		}
	}
	add("--unit", r.Unit)
	add("--boot", r.Boot)
	add("--since", timestamp(r.Since))
	add("--until", timestamp(r.Until))
	add("--after-cursor", r.After)
	if r.Priority != nil {
		add("--priority", strconv.Itoa(*r.Priority))
	}
	if r.Follow {
		return append(args, "--follow", "--no-tail")
	}
	// Newest first: what a limit cuts off is what is oldest.
	args = append(args, "--reverse")
	if r.Grep == "" {
		add("--lines", strconv.Itoa(r.Lines))
	}
	return args
}

func timestamp(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return "@" + strconv.FormatFloat(seconds, 'f', 6, 64)
}

// journal runs journalctl and writes the entries that match, the oldest first.
func journal(ctx context.Context, w *writer, r wire.Request) wire.End {
	match, err := r.Matcher()
	if err != nil {
		return wire.End{Error: err.Error()}
	}
	program, err := exec.LookPath("journalctl")
	if err != nil {
		return wire.End{Error: "this machine has no journalctl, so it keeps no journal of systemd"}
	}
	running, kill := context.WithCancel(ctx)
	defer kill()
	said := &head{limit: 4 << 10}
	cmd := exec.CommandContext(running, program, arguments(r)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	cmd.Stderr, cmd.WaitDelay = said, time.Second
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return wire.End{Error: "start journalctl: " + err.Error()}
	}
	if err := cmd.Start(); err != nil {
		return wire.End{Error: "start journalctl: " + err.Error()}
	}
	c := &collected{w: w, match: match, follow: r.Follow, lines: r.Lines}
	end := c.read(bufio.NewReaderSize(lines, 64<<10))
	if end.Reason != "" { // else it ends by itself, and what it ends with counts
		kill()
	}
	_, _ = io.Copy(io.Discard, lines)
	failed := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		end.Reason = wire.EndTime
	case end.Reason == "":
		why := complaint(string(said.text), failed)
		switch {
		case c.count == 0 && why != "":
			return wire.End{Error: why}
		case c.count == 0 && !anyJournal():
			return wire.End{Error: "this machine keeps no journal: there are no files in /var/log/journal and /run/log/journal"}
		case failed != nil: // what it complains about otherwise, such as a damaged file, it went past
			end.Incomplete = why
		case r.Follow:
			end.Incomplete = "journalctl ended"
		}
	}
	c.writeAll()
	return end
}

// collected are entries on their way from journalctl to the writer.
type collected struct {
	w      *writer
	match  *regexp.Regexp
	follow bool
	lines  int

	count, size int
	newest      []wire.Message // first, if it does not follow
}

// read takes lines until there are no more, or a limit is reached.
func (c *collected) read(from *bufio.Reader) wire.End {
	for {
		line, err := readLine(from)
		if len(line) == 0 && err != nil {
			return wire.End{}
		}
		entry, ok := parse(line)
		if !ok || c.match != nil && !c.match.MatchString(entry.Message) {
			continue
		}
		c.count++
		c.size += len(entry.Message) + 300 // of the other fields
		switch {
		case c.follow:
			c.w.write(wire.Message{Entry: &entry})
			if from.Buffered() == 0 {
				c.w.flush()
			}
			if c.size > wire.MaxFollowBytes || c.w.err != nil {
				return wire.End{Reason: wire.EndBytes}
			}
		case c.size > wire.MaxBytes:
			return wire.End{Reason: wire.EndBytes}
		default:
			c.newest = append(c.newest, wire.Message{Entry: &entry})
			if c.count == c.lines {
				return wire.End{Reason: wire.EndLines}
			}
		}
	}
}

func (c *collected) writeAll() {
	for _, m := range slices.Backward(c.newest) {
		c.w.write(m)
	}
}

// readLine reads a line; of one that is longer than maxLine, what JSON is not.
func readLine(from *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := from.ReadSlice('\n')
		if len(line)+len(part) <= maxLine {
			line = append(line, part...)
		} else {
			line = append(line[:0], tooLong...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

var tooLong = []byte("too long")

// parse is an entry of a line of journalctl; false if it is none.
func parse(line []byte) (wire.Entry, bool) {
	if bytes.HasPrefix(line, tooLong) {
		return wire.Entry{Message: "(a message that is too long to show)"}, true
	}
	var raw struct {
		Cursor     field `json:"__CURSOR"`
		Time       field `json:"__REALTIME_TIMESTAMP"`
		Boot       field `json:"_BOOT_ID"`
		Priority   field `json:"PRIORITY"`
		Identifier field `json:"SYSLOG_IDENTIFIER"`
		Comm       field `json:"_COMM"`
		PID        field `json:"_PID"`
		Unit       field `json:"_SYSTEMD_UNIT"`
		Message    field `json:"MESSAGE"`
	}
	if json.Unmarshal(line, &raw) != nil {
		return wire.Entry{}, false
	}
	e := wire.Entry{
		Cursor: string(raw.Cursor), Time: string(raw.Time), Boot: string(raw.Boot), Priority: string(raw.Priority),
		Identifier: string(raw.Identifier), PID: string(raw.PID), Unit: string(raw.Unit), Message: string(raw.Message),
	}
	if e.Identifier == "" {
		e.Identifier = string(raw.Comm)
	}
	if len(e.Message) > wire.MaxMessage {
		e.Length = len(e.Message)
		e.Message = strings.Clone(e.Message[:wire.MaxMessage]) // so that the rest is freed
	}
	e.Message = wire.Visible(e.Message)
	return e, true
}

// field is a value in journalctl's JSON: text, null, the bytes of what is not text as
// numbers, or a list of these if the field is there several times.
type field string

func (f *field) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) == nil { // null as well
		*f = field(s)
		return nil
	}
	var numbers []uint16 // not []byte, which is base64
	if json.Unmarshal(text, &numbers) == nil {
		b := make([]byte, len(numbers))
		for i, n := range numbers {
			b[i] = byte(n)
		}
		*f = field(b)
		return nil
	}
	var several []field
	if err := json.Unmarshal(text, &several); err != nil {
		return err
	}
	all := make([]string, len(several))
	for i, one := range several {
		all[i] = string(one)
	}
	*f = field(strings.Join(all, "\n"))
	return nil
}

// complaint is why journalctl has no or no more entries, where that is not because none
// match; "" if it does not say. It says little of that in JSON.
func complaint(stderr string, failed error) string {
	first, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	switch {
	case strings.Contains(stderr, "insufficient permissions"):
		return "the user of clanmon-look.service may not read the journal: it must be in the group systemd-journal"
	case failed != nil && first != "":
		return "journalctl: " + wire.Visible(first)
	case failed != nil:
		return fmt.Sprintf("journalctl failed: %v", failed)
	}
	return ""
}

func anyJournal() bool {
	for _, pattern := range []string{"/var/log/journal/*/*.journal*", "/run/log/journal/*/*.journal*"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return true
		}
	}
	return false
}

// head keeps the first bytes of what is written to it.
type head struct {
	text  []byte
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), h.limit-len(h.text))]...)
	return len(p), nil
}
