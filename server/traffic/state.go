package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// state is all that was counted, and how far.
type state struct {
	Version int `json:"version"`
	// Until is up to when samples were read, in Unix milliseconds, as all times here.
	Until    int64               `json:"until"`
	Machines map[string]*machine `json:"machines"`
}

const stateVersion = 1

// machine is what was counted of one, by what identity says.
type machine struct {
	Machine      string             `json:"machine,omitempty"` // the label
	Instance     string             `json:"instance,omitempty"`
	Availability string             `json:"availability,omitempty"`
	Since        int64              `json:"since"` // of its first sample
	Devices      map[string]*device `json:"devices"`
}

// device is an interface: bytes received and sent by day, and its counters.
type device struct {
	First    int                   `json:"first"` // day
	Days     [][2]int64            `json:"days"`
	Counters [2]map[uint64]counter `json:"counters"` // of each series, by its hash
}

type counter struct {
	At    int64   `json:"at"`
	Value float64 `json:"value"`
}

func (s *state) machine(id string) *machine {
	m := s.Machines[id]
	if m == nil {
		m = &machine{Devices: make(map[string]*device)}
		s.Machines[id] = m
	}
	return m
}

// meet learns from the labels of a series.
func (m *machine) meet(ls labels.Labels) {
	m.Machine, m.Instance, m.Availability = ls.Get("machine"), ls.Get("instance"), ls.Get("availability")
}

func (m *machine) device(name string) *device {
	d := m.Devices[name]
	if d == nil {
		d = &device{}
		m.Devices[name] = d
	}
	return d
}

func (d *device) count(day, direction int, bytes int64) {
	if len(d.Days) == 0 {
		d.First = day
	}
	for ; day < d.First; d.First-- {
		d.Days = append([][2]int64{{}}, d.Days...)
	}
	for len(d.Days) <= day-d.First {
		d.Days = append(d.Days, [2]int64{})
	}
	d.Days[day-d.First][direction] += bytes
}

// on is what was counted on a day.
func (d *device) on(day int) [2]int64 {
	if i := day - d.First; i >= 0 && i < len(d.Days) {
		return d.Days[i]
	}
	return [2]int64{}
}

// prune forgets what is older than a day.
func (s *state) prune(day int) {
	old := int64(day) * 24 * time.Hour.Milliseconds()
	for id, m := range s.Machines {
		for name, d := range m.Devices {
			if n := min(max(0, day-d.First), len(d.Days)); n > 0 {
				d.First, d.Days = d.First+n, append([][2]int64(nil), d.Days[n:]...)
			}
			for _, all := range d.Counters {
				for hash, c := range all {
					if c.At < old {
						delete(all, hash)
					}
				}
			}
			if len(d.Counters[received])+len(d.Counters[sent])+len(d.Days) == 0 {
				delete(m.Devices, name)
			}
		}
		if len(m.Devices) == 0 {
			delete(s.Machines, id)
		}
	}
}

// load reads the file. What a damaged one had is counted again, as far as it is stored. If it
// cannot be set aside, it is not overwritten.
func (t *Traffic) load() (*state, error) {
	atomicfile.Clean(t.file)
	fresh := &state{Version: stateVersion, Machines: make(map[string]*machine)}
	text, err := os.ReadFile(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return nil, err
	}
	var s state
	if err = json.Unmarshal(text, &s); err == nil {
		err = s.check()
	}
	if err != nil {
		t.opts.Logger.Warn("The traffic counts are damaged: counting again from stored samples", "file", t.file, "err", err)
		if err = t.opts.SetAside(t.file, "traffic of machines", "It was counted again from stored samples. What is older than the retention is missing.", err); err != nil {
			t.opts.Logger.Error("Could not move the damaged traffic counts away: new counts are not saved until the file is moved and the server restarted", "file", t.file, "err", err)
			t.unsaved = true
		}
		return fresh, nil
	}
	return &s, nil
}

func (s *state) check() error {
	if s.Version != stateVersion {
		return fmt.Errorf("version %d is not %d", s.Version, stateVersion)
	}
	if s.Machines == nil {
		return errors.New("it has no machines")
	}
	for id, m := range s.Machines {
		if m == nil || m.Devices == nil {
			return fmt.Errorf("machine %q has no devices", id)
		}
		for name, d := range m.Devices {
			if d == nil || len(d.Days) > 10*keptDays {
				return fmt.Errorf("machine %q has no days of %q", id, name)
			}
		}
	}
	return nil
}

// save writes the file, if there is something new and it is time to, or it has to be now. The
// caller holds the turn.
func (t *Traffic) save(now time.Time, must bool) {
	if t.state == nil || t.unsaved || !t.dirty || !must && now.Sub(t.saved) < saveEvery {
		return
	}
	t.saved = now
	err := atomicfile.Write(t.file, 0o600, func(w io.Writer) error { return json.NewEncoder(w).Encode(t.state) })
	if err != nil && !t.lost {
		t.opts.Logger.Warn("Could not save the traffic counts: after a restart they are counted again from stored samples", "file", t.file, "err", err)
	}
	t.dirty, t.lost = err != nil, err != nil
}
