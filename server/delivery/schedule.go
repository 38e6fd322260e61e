package delivery

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clanmon/clanmon/internal/calendar"
)

// quietHours is the time interval in which only critical alerts are sent.
const quietHours = "quiet hours"

func (o Options) plan() calendar.Plan {
	if o.Plan == nil {
		return calendar.Plan{}
	}
	return o.Plan()
}

// loadFile reads the configuration file. Its routes say when who is notified, so quiet
// hours that are set elsewhere would be ignored or contradict them.
func (o Options) loadFile() (*Config, error) {
	plan := o.plan()
	if len(plan.Quiet) > 0 {
		return nil, errors.New("quiet hours (--notify.quiet, or notifications.quiet in --clan.settings) cannot be combined with --alertmanager.config.file; write time_intervals, and mute_time_intervals in its routes")
	}
	c, err := LoadConfig(o.ConfigFile)
	if err == nil {
		c.plan = plan
	}
	return c, err
}

// quietIntervals are the quiet hours as Alertmanager has them.
func quietIntervals(p calendar.Plan) []map[string]any {
	at := func(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }
	var all []map[string]any
	for _, h := range p.Quiet {
		for _, s := range h.Spans() {
			one := map[string]any{
				"times":    []map[string]string{{"start_time": at(s.From), "end_time": at(s.To)}},
				"location": p.Location().String(),
			}
			var days []string
			for _, d := range s.Days {
				days = append(days, strings.ToLower(d.String()))
			}
			if days != nil {
				one["weekdays"] = days
			}
			all = append(all, one)
		}
	}
	return all
}

// Schedule says when people are notified. Quiet and Digest are nil where there is none.
type Schedule struct {
	TimeZone string          `json:"timeZone"`
	Quiet    *QuietSchedule  `json:"quiet,omitempty"`
	Digest   *DigestSchedule `json:"digest,omitempty"`
}

// QuietSchedule says when only critical alerts are sent.
type QuietSchedule struct {
	Hours  []string   `json:"hours"`
	Active bool       `json:"active"`          // now
	Until  *time.Time `json:"until,omitempty"` // if Active, in TimeZone; missing if they do not end within a week
}

// DigestSchedule says when the digest is sent.
type DigestSchedule struct {
	Every string    `json:"every"` // "daily" or "weekly"
	Next  time.Time `json:"next"`
}

// Schedule is that of the configuration in force. Safe for concurrent use.
func (d *Delivery) Schedule(now time.Time) Schedule {
	if d.inside == nil {
		return Schedule{}
	}
	in := d.inside
	in.mu.Lock()
	config := in.config
	in.mu.Unlock()
	p := config.plan
	s := Schedule{TimeZone: p.Location().String()}
	if len(p.Quiet) > 0 {
		s.Quiet = &QuietSchedule{Active: config.isQuiet(now)}
		for _, h := range p.Quiet {
			s.Quiet.Hours = append(s.Quiet.Hours, h.String())
		}
		if s.Quiet.Active {
			s.Quiet.Until = config.quietUntil(now)
		}
	}
	if p.Digest != "" {
		s.Digest = &DigestSchedule{Every: p.Digest, Next: p.Next(now)}
	}
	return s
}

func (b *built) isQuiet(t time.Time) bool {
	for _, interval := range b.TimeIntervals {
		if interval.Name != quietHours {
			continue
		}
		for _, ti := range interval.TimeIntervals {
			if ti.ContainsTime(t) {
				return true
			}
		}
	}
	return false
}

// quietUntil is the first minute that is not quiet, nil where a week has none.
func (b *built) quietUntil(now time.Time) *time.Time {
	for t := now.In(b.plan.Location()).Truncate(time.Minute); t.Sub(now) < 7*24*time.Hour; t = t.Add(time.Minute) {
		if !b.isQuiet(t) {
			return &t
		}
	}
	return nil
}
