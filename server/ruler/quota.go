package ruler

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/alecthomas/units"
)

// Quota is what the settings of TrafficQuota say. The server counts by them.
type Quota struct {
	Bytes int64 // 0 for none
	Day   int   // of the month, at which it begins
	// Devices, Directions and Machines are regular expressions of what counts.
	Devices, Directions, Machines string
}

const quotaRule = "TrafficQuota"

// quotaSettings check what the settings of TrafficQuota are set to. That texts are regular
// expressions is checked elsewhere.
var quotaSettings = map[string]func(string) error{
	quotaRule + ".bytes": func(value string) error {
		if n, err := quotaBytes(value); err != nil || n <= 0 {
			return fmt.Errorf("bytes: %q is not a size of more than 0, such as 500GB or 20TB", value)
		}
		return nil
	},
	quotaRule + ".day": func(value string) error {
		if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 28 {
			return fmt.Errorf("day: %q is not a day that every month has: 1 to 28", value)
		}
		return nil
	},
	quotaRule + ".directions": func(value string) error {
		re, err := regexp.Compile("^(?s:" + value + ")$")
		if err != nil {
			return nil // see above
		}
		if !slices.ContainsFunc([]string{"received", "sent"}, re.MatchString) {
			return fmt.Errorf("directions: %q is not received, sent, or received|sent", value)
		}
		return nil
	},
}

// quotaBytes reads a size as flags do: 1TB and 1TiB are 1024⁴ bytes. A number is one of bytes.
func quotaBytes(value string) (int64, error) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return n, nil
	}
	n, err := units.ParseBase2Bytes(value)
	return int64(n), err
}

// Quota is the one of TrafficQuota; none if the rule is disabled.
func (s *Shipped) Quota() Quota { return s.quota }

func quotaOf(all []RuleInfo) Quota {
	var q Quota
	for _, r := range all {
		if r.Name != quotaRule {
			continue
		}
		for _, s := range r.Settings {
			switch s.Name {
			case "bytes":
				if text := fmt.Sprint(s.Value); text != "" && r.State != stateDisabled {
					q.Bytes, _ = quotaBytes(text) // it was checked
				}
			case "day":
				n, _ := strconv.Atoi(fmt.Sprint(s.Value))
				q.Day = n
			case "devices":
				q.Devices = fmt.Sprint(s.Value)
			case "directions":
				q.Directions = fmt.Sprint(s.Value)
			case "machines":
				q.Machines = fmt.Sprint(s.Value)
			}
		}
	}
	return q
}
