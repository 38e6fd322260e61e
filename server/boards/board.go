package boards

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Version is that of the files which this program writes, and the newest that it reads.
const Version = 1

// Limits of a board.
const (
	MaxBytes     = 1 << 20
	MaxPanels    = 250
	maxVariables = 50
	maxQueries   = 26
	maxText      = 20_000 // bytes of a query or a text
	maxTitle     = 200    // bytes
	columns      = 24
	maxRows      = 100_000
	maxHeight    = 200
)

// Board is the content of a board's file.
type Board struct {
	Version     int        `json:"version"`
	Title       string     `json:"title"`
	Description string     `json:"description,omitempty"`
	Variables   []Variable `json:"variables,omitempty"`
	Panels      []Panel    `json:"panels"`
}

// Kinds of a Variable.
const (
	KindMachine  = "machine"  // one or all machines
	KindTag      = "tag"      // the machines that have a tag
	KindQuery    = "query"    // what a query of labels or series finds
	KindCustom   = "custom"   // one of Values
	KindInterval = "interval" // a duration out of Values
	KindText     = "text"     // what a person enters
	KindConstant = "constant" // always Value
)

var variableKinds = []string{KindMachine, KindTag, KindQuery, KindCustom, KindInterval, KindText, KindConstant}

// Variable stands for a text in queries, as $name or ${name}.
type Variable struct {
	Name  string `json:"name"`
	Label string `json:"label,omitempty"`
	Kind  string `json:"kind"`
	// Query of KindQuery is label_values(…), label_names(), metrics(…), query_result(…) or a
	// selector, as in Grafana.
	Query string `json:"query,omitempty"`
	// Regex selects values, and a part of them by a group, as in Grafana.
	Regex string `json:"regex,omitempty"`
	// Values of KindCustom and KindInterval; "name : value" shows another name.
	Values []string `json:"values,omitempty"`
	// Value is what is chosen at first; more than one only with Multi.
	Value []string `json:"value,omitempty"`
	Multi bool     `json:"multi,omitempty"`
	// All adds the choice of all values, for which AllValue stands, or all of them.
	All      bool   `json:"all,omitempty"`
	AllValue string `json:"allValue,omitempty"`
	Hidden   bool   `json:"hidden,omitempty"`
}

// Types of a Panel.
const (
	TypeChart = "chart"
	TypeStat  = "stat"
	TypeGauge = "gauge"
	TypeBars  = "bars"
	TypeTable = "table"
	TypeText  = "text"
	TypeRow   = "row" // a heading of what is below it, up to the next one
)

var panelTypes = []string{TypeChart, TypeStat, TypeGauge, TypeBars, TypeTable, TypeText, TypeRow}

// Panel is a rectangle of a board. Its place is in a grid of 24 columns.
type Panel struct {
	Type        string  `json:"type"`
	Title       string  `json:"title,omitempty"`
	Description string  `json:"description,omitempty"`
	X           int     `json:"x"`
	Y           int     `json:"y"`
	W           int     `json:"w"`
	H           int     `json:"h"`
	Unit        string  `json:"unit,omitempty"`
	Queries     []Query `json:"queries,omitempty"`
	// Kind of a chart is line, area or stacked; "" is line.
	Kind string   `json:"kind,omitempty"`
	Min  *float64 `json:"min,omitempty"`
	Max  *float64 `json:"max,omitempty"`
	// Thresholds are lines of a chart, and from where on a value has a colour elsewhere.
	Thresholds []Threshold `json:"thresholds,omitempty"`
	// Base is the level below all thresholds, one of Levels.
	Base string `json:"base,omitempty"`
	// Calc makes one value of a series: one of Calcs, "" is last.
	Calc     string    `json:"calc,omitempty"`
	Mappings []Mapping `json:"mappings,omitempty"`
	// Text of a text panel, in a small part of Markdown.
	Text string `json:"text,omitempty"`
	// Collapsed hides what is below a row until somebody opens it.
	Collapsed bool `json:"collapsed,omitempty"`
	// Repeat names a variable: the panel, or a row with what is below it, is shown once for each
	// value that is selected.
	Repeat string `json:"repeat,omitempty"`
	// Down puts repeated panels below each other, else there are PerLine, or 4, side by side.
	Down    bool `json:"down,omitempty"`
	PerLine int  `json:"perLine,omitempty"`
}

// Query is what a panel shows.
type Query struct {
	Expr string `json:"expr"`
	// Legend names a series, with {{label}} for its labels; "" is what distinguishes it.
	Legend string `json:"legend,omitempty"`
	// Negate draws a series below zero, and Line does not stack it.
	Negate bool `json:"negate,omitempty"`
	Line   bool `json:"line,omitempty"`
}

// Threshold is a value from which on something else is true.
type Threshold struct {
	Value float64 `json:"value"`
	Label string  `json:"label,omitempty"`
	Kind  string  `json:"kind"` // one of Levels
}

// Mapping shows a text in place of values. A missing end is open.
type Mapping struct {
	From *float64 `json:"from,omitempty"`
	To   *float64 `json:"to,omitempty"`
	Text string   `json:"text"`
	Kind string   `json:"kind,omitempty"` // one of Levels; "" is that of the threshold
}

var (
	levels = []string{"none", "ok", "warn", "crit"}
	calcs  = []string{"last", "mean", "min", "max", "sum"}
	kinds  = []string{"line", "area", "stacked"}
	// Units are those of web/ui/src/lib/format.ts.
	Units = []string{
		"none", "count", "ratio", "percent", "bytes", "bytesps", "bitsps", "seconds", "milliseconds", "celsius",
		"perSecond", "hertz", "volts", "watts", "rpm",
	}
)

// Parse reads the content of a file. An error names the field and what would be right.
func Parse(text []byte) (*Board, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%.1f MiB; a board has at most %d MiB", float64(len(text))/(1<<20), MaxBytes>>20)
	}
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, readable(text, err)
	}
	switch {
	case head.Version == nil:
		return nil, fmt.Errorf("version is missing; it must be %d", Version)
	case *head.Version > Version:
		return nil, fmt.Errorf("version %d was written by a newer clanmon; this one reads up to version %d", *head.Version, Version)
	case *head.Version < 1:
		return nil, fmt.Errorf("version %d: it must be %d", *head.Version, Version)
	}
	// Lists are decoded entry by entry: an error then says which one is wrong.
	var raw struct {
		Board
		Variables []json.RawMessage `json:"variables"`
		Panels    []json.RawMessage `json:"panels"`
	}
	if err := strict(text, &raw); err != nil {
		return nil, readable(text, err)
	}
	b := raw.Board
	b.Panels = make([]Panel, 0, len(raw.Panels)) // never null
	if len(raw.Panels) > MaxPanels {
		return nil, fmt.Errorf("panels: %d; a board has at most %d", len(raw.Panels), MaxPanels)
	}
	if err := each(raw.Variables, &b.Variables, "variables"); err != nil {
		return nil, err
	}
	if err := each(raw.Panels, &b.Panels, "panels"); err != nil {
		return nil, err
	}
	return &b, b.Check()
}

// each decodes a list.
func each[T any](raw []json.RawMessage, into *[]T, key string) error {
	for i, text := range raw {
		var v T
		if err := strict(text, &v); err != nil {
			return fmt.Errorf("%s[%d]: %w", key, i, readable(nil, err))
		}
		*into = append(*into, v)
	}
	return nil
}

func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// readable takes the names of Go types out of an error of encoding/json. text is what was
// decoded, nil where its lines are not those of the file.
func readable(text []byte, err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok && text != nil {
		before := text[:min(int(e.Offset), len(text))]
		return fmt.Errorf("line %d is not JSON: %s", bytes.Count(before, []byte("\n"))+1, e)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return fmt.Errorf("it must be %s, and is a %s", jsonKind(e.Type.Kind().String()), e.Value)
		}
		return fmt.Errorf("%s must be %s, and is a %s", strings.TrimPrefix(e.Field, "Board."), jsonKind(e.Type.Kind().String()), e.Value)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown field %s", field)
	}
	return err
}

func jsonKind(goKind string) string {
	switch goKind {
	case "int":
		return "a whole number"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "slice":
		return "a list"
	case "string":
		return "a string"
	}
	return "an object"
}

// Encode returns the content of b's file: fields in a fixed order, one to a line.
func (b *Board) Encode() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(b); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// variableName is what PromQL cannot have in it: $name is unambiguous.
var variableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,62}$`)

// Check returns the first thing that is wrong with b, by its field.
func (b *Board) Check() error {
	switch {
	case strings.TrimSpace(b.Title) == "":
		return errors.New("title is missing")
	case len(b.Title) > maxTitle:
		return fmt.Errorf("title has %d bytes, the maximum is %d", len(b.Title), maxTitle)
	case len(b.Description) > maxText:
		return fmt.Errorf("description has %d bytes, the maximum is %d", len(b.Description), maxText)
	case len(b.Variables) > maxVariables:
		return fmt.Errorf("variables: %d; a board has at most %d", len(b.Variables), maxVariables)
	case len(b.Panels) > MaxPanels:
		return fmt.Errorf("panels: %d; a board has at most %d", len(b.Panels), MaxPanels)
	}
	seen := make(map[string]bool)
	for i := range b.Variables {
		v := &b.Variables[i]
		where := fmt.Sprintf("variables[%d]", i)
		if v.Name != "" {
			where += " (" + v.Name + ")"
		}
		if err := v.check(); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if seen[v.Name] {
			return fmt.Errorf("%s: there are two of this name", where)
		}
		seen[v.Name] = true
	}
	if c := cycle(b.Variables); c != nil {
		return fmt.Errorf("variables: %s use each other in a circle", strings.Join(c, ", "))
	}
	for i := range b.Panels {
		p := &b.Panels[i]
		err := p.check()
		if err == nil && p.Repeat != "" && !seen[p.Repeat] {
			err = fmt.Errorf("repeat %q: the board has no variable of this name", p.Repeat)
		}
		if err != nil {
			where := fmt.Sprintf("panels[%d]", i)
			if p.Title != "" {
				where += fmt.Sprintf(" (%.60s)", p.Title)
			}
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	return nil
}

func (v *Variable) check() error {
	switch {
	case !variableName.MatchString(v.Name):
		return fmt.Errorf("name %q must have at most 63 letters, digits and '_', and begin with a letter", v.Name)
	case !slices.Contains(variableKinds, v.Kind):
		return fmt.Errorf("kind %q: use %s", v.Kind, strings.Join(variableKinds, ", "))
	case v.Kind == KindQuery && v.Query == "":
		return errors.New("query is missing")
	case (v.Kind == KindCustom || v.Kind == KindInterval) && len(v.Values) == 0:
		return errors.New("values is empty")
	case v.Kind == KindConstant && len(v.Value) != 1:
		return errors.New("value must be a list with the constant")
	case len(v.Value) > 1 && !v.Multi:
		return errors.New("value has more than one entry, which needs multi")
	case len(v.Values) > 1000:
		return fmt.Errorf("values: %d, the maximum is 1000", len(v.Values))
	case len(v.Query) > maxText:
		return fmt.Errorf("query has %d bytes, the maximum is %d", len(v.Query), maxText)
	}
	return nil
}

func (p *Panel) check() error {
	if !slices.Contains(panelTypes, p.Type) {
		return fmt.Errorf("type %q: use %s", p.Type, strings.Join(panelTypes, ", "))
	}
	switch {
	case p.W < 1 || p.W > columns:
		return fmt.Errorf("w %d must be from 1 to %d columns", p.W, columns)
	case p.X < 0 || p.X+p.W > columns:
		return fmt.Errorf("x %d and w %d must end within %d columns", p.X, p.W, columns)
	case p.Y < 0 || p.Y > maxRows:
		return fmt.Errorf("y %d must be from 0 to %d", p.Y, maxRows)
	case p.H < 1 || p.H > maxHeight:
		return fmt.Errorf("h %d must be from 1 to %d", p.H, maxHeight)
	case len(p.Title) > maxTitle:
		return fmt.Errorf("title has %d bytes, the maximum is %d", len(p.Title), maxTitle)
	case len(p.Description) > maxText:
		return fmt.Errorf("description has %d bytes, the maximum is %d", len(p.Description), maxText)
	case len(p.Text) > maxText:
		return fmt.Errorf("text has %d bytes, the maximum is %d", len(p.Text), maxText)
	case p.Min != nil && p.Max != nil && *p.Min >= *p.Max:
		return fmt.Errorf("min %v must be less than max %v", *p.Min, *p.Max)
	}
	if p.PerLine < 0 || p.PerLine > columns {
		return fmt.Errorf("perLine %d must be from 1 to %d, or left out", p.PerLine, columns)
	}
	for _, f := range []struct {
		key, value string
		of         []string
	}{{"unit", p.Unit, Units}, {"kind", p.Kind, kinds}, {"base", p.Base, levels}, {"calc", p.Calc, calcs}} {
		if f.value != "" && !slices.Contains(f.of, f.value) {
			return fmt.Errorf("%s %q: use %s", f.key, f.value, strings.Join(f.of, ", "))
		}
	}
	if p.Type == TypeText || p.Type == TypeRow {
		if len(p.Queries) > 0 {
			return fmt.Errorf("queries: a %s has none", p.Type)
		}
	} else if len(p.Queries) == 0 || len(p.Queries) > maxQueries {
		return fmt.Errorf("queries: %d; there must be from 1 to %d", len(p.Queries), maxQueries)
	}
	for i, q := range p.Queries {
		switch {
		case strings.TrimSpace(q.Expr) == "":
			return fmt.Errorf("queries[%d].expr is missing", i)
		case len(q.Expr) > maxText:
			return fmt.Errorf("queries[%d].expr has %d bytes, the maximum is %d", i, len(q.Expr), maxText)
		case len(q.Legend) > maxTitle:
			return fmt.Errorf("queries[%d].legend has %d bytes, the maximum is %d", i, len(q.Legend), maxTitle)
		}
	}
	for i, t := range p.Thresholds {
		if !slices.Contains(levels, t.Kind) {
			return fmt.Errorf("thresholds[%d].kind %q: use %s", i, t.Kind, strings.Join(levels, ", "))
		}
		if i > 0 && t.Value < p.Thresholds[i-1].Value {
			return fmt.Errorf("thresholds[%d].value %v is less than the one before it", i, t.Value)
		}
	}
	for i, m := range p.Mappings {
		if m.Kind != "" && !slices.Contains(levels, m.Kind) {
			return fmt.Errorf("mappings[%d].kind %q: use %s", i, m.Kind, strings.Join(levels, ", "))
		}
		if m.From != nil && m.To != nil && *m.From > *m.To {
			return fmt.Errorf("mappings[%d]: from %v is more than to %v", i, *m.From, *m.To)
		}
	}
	return nil
}

// reference is how variables are used: $name, ${name}, ${name:format} and [[name]].
var reference = regexp.MustCompile(`\$\{(\w+)(?:[.:][^}]*)?\}|\$(\w+)|\[\[(\w+)(?:[.:][^\]]*)?\]\]`)

// References are the names of the variables that text uses.
func References(text string) []string {
	var names []string
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1]+m[2]+m[3])
	}
	return names
}

// cycle returns the names of variables whose queries need each other; nil if there are none.
func cycle(all []Variable) []string {
	needs := make(map[string][]string)
	for _, v := range all {
		if v.Kind == KindQuery {
			needs[v.Name] = References(v.Query + " " + v.Regex)
		}
	}
	done := make(map[string]bool)
	var walk func(name string, path []string) []string
	walk = func(name string, path []string) []string {
		if i := slices.Index(path, name); i >= 0 {
			return path[i:]
		}
		if done[name] {
			return nil
		}
		done[name] = true
		for _, n := range needs[name] {
			if c := walk(n, append(path, name)); c != nil {
				return c
			}
		}
		return nil
	}
	for _, v := range all {
		if c := walk(v.Name, nil); c != nil {
			return c
		}
	}
	return nil
}
