package boards

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// Report is what became of a dashboard.
type Report struct {
	Board *Board `json:"board"`
	// Panels is how many the dashboard has, rows included, and Imported how many became panels
	// of the board, also with a Problem.
	Panels   int       `json:"panels"`
	Imported int       `json:"imported"`
	Problems []Problem `json:"problems"`
}

// Problem is something of a dashboard that the board lacks.
type Problem struct {
	// Where is the panel by its title, or the variable; "" is the dashboard.
	Where string `json:"where"`
	// Missing reports whether the board has nothing of it; else it has a part.
	Missing bool   `json:"missing"`
	Why     string `json:"why"`
}

// Import reads a dashboard of Grafana, or a board as it is. An error says that nothing of text
// can be read. Queries stay as they are; pages fill in variables.
func Import(text []byte) (*Report, error) {
	if isBoard(text) {
		b, err := Parse(text)
		if err != nil {
			return nil, err
		}
		return &Report{Board: b, Panels: len(b.Panels), Imported: len(b.Panels), Problems: []Problem{}}, nil
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, readable(text, err)
	}
	if len(d.Dashboard) > 0 && string(d.Dashboard) != "null" { // as Grafana's API has it
		text = d.Dashboard
		d = dashboard{}
		if err := json.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("dashboard: %w", readable(nil, err))
		}
	}
	switch {
	case d.APIVersion != "" || d.Elements != nil:
		return nil, errors.New("this is a dashboard in Grafana's new schema (v2): export it with the model \"Classic\"")
	case d.Panels == nil && d.Rows == nil:
		return nil, errors.New("this is neither a dashboard of Grafana nor a board: it has no panels")
	}
	im := importer{sources: make(map[string]string), defined: make(map[string]string)}
	im.board = Board{Version: Version, Title: truncated(cmp.Or(strings.TrimSpace(d.Title), "Imported dashboard"), maxTitle), Description: truncated(d.Description, maxText)}
	for _, in := range d.Inputs {
		if in.Type == "datasource" {
			im.sources[in.Name] = in.PluginID
		}
	}
	im.variables(d.Templating.List)
	im.panels(&d)
	for _, a := range d.Annotations.List {
		if builtIn(a.BuiltIn) || a.Name == "" {
			continue
		}
		im.problem(a.Name, true, "annotations are not imported: charts have marks of clanmon's own events")
	}
	report := &Report{Board: &im.board, Panels: im.total, Imported: len(im.board.Panels), Problems: append([]Problem{}, im.problems...)}
	return report, im.board.Check()
}

// dashboard is a dashboard in the JSON of Grafana 4 to 12. What differs between versions stays raw.
type dashboard struct {
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Panels      []json.RawMessage `json:"panels"`
	Rows        []oldRow          `json:"rows"` // until Grafana 4
	Templating  struct {
		List []json.RawMessage `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			BuiltIn json.RawMessage `json:"builtIn"`
			Name    string          `json:"name"`
		} `json:"list"`
	} `json:"annotations"`
	Inputs []struct {
		Name     string `json:"name"`
		Type     string `json:"type"`
		PluginID string `json:"pluginId"`
	} `json:"__inputs"`

	Dashboard  json.RawMessage `json:"dashboard"`
	APIVersion string          `json:"apiVersion"`
	Elements   json.RawMessage `json:"elements"`
}

type oldRow struct {
	Title     string            `json:"title"`
	ShowTitle *bool             `json:"showTitle"`
	Collapse  bool              `json:"collapse"`
	Height    json.RawMessage   `json:"height"` // "250px" or 250
	Panels    []json.RawMessage `json:"panels"`
	Repeat    *string           `json:"repeat"`
}

func builtIn(raw json.RawMessage) bool { return string(raw) == "1" || string(raw) == "true" }

// importer is a dashboard while it is read.
type importer struct {
	board    Board
	problems []Problem
	total    int
	sources  map[string]string // types of data sources by the variable that names them
	defined  map[string]string // an example of each variable's value
}

func (im *importer) problem(where string, missing bool, format string, args ...any) {
	p := Problem{Where: where, Missing: missing, Why: fmt.Sprintf(format, args...)}
	if !slices.Contains(im.problems, p) {
		im.problems = append(im.problems, p)
	}
}

// builtins are Grafana's variables that pages fill in, with examples.
var builtins = map[string]string{
	"__interval": "1m", "__interval_ms": "60000", "__rate_interval": "5m", "__rate_interval_ms": "300000",
	"__range": "1h", "__range_s": "3600", "__range_ms": "3600000", "__from": "0", "__to": "3600000",
	"__auto_interval_interval": "1m",
}

// grafanaVariable is an entry of templating.list.
type grafanaVariable struct {
	Name       string          `json:"name"`
	Label      *string         `json:"label"`
	Type       string          `json:"type"`
	Query      json.RawMessage `json:"query"`
	Definition string          `json:"definition"`
	Datasource json.RawMessage `json:"datasource"`
	Regex      string          `json:"regex"`
	Multi      bool            `json:"multi"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   *string         `json:"allValue"`
	Hide       json.RawMessage `json:"hide"`
	Auto       bool            `json:"auto"`
	Current    struct {
		Value json.RawMessage `json:"value"`
	} `json:"current"`
}

// valuesQuery is a query of Grafana's Prometheus data source for the values of a variable.
var valuesQuery = regexp.MustCompile(`^\s*(?:(?:label_values|label_names|metrics|query_result)\s*\([\s\S]*\)|[A-Za-z_:$[{][\s\S]*)\s*$`)

func (im *importer) variables(raw []json.RawMessage) {
	var all []grafanaVariable
	for i, text := range raw {
		var g grafanaVariable
		if err := json.Unmarshal(text, &g); err != nil {
			im.problem(fmt.Sprintf("variable %d", i+1), true, "%v", readable(nil, err))
			continue
		}
		if g.Type == "datasource" { // ignored: there is one
			im.sources[g.Name] = plain(g.Query)
			continue
		}
		all = append(all, g)
	}
	for _, g := range all {
		im.variable(g)
	}
	// What goes around in a circle has no values to choose from.
	for {
		c := cycle(im.board.Variables)
		if c == nil {
			break
		}
		for i := range im.board.Variables {
			v := &im.board.Variables[i]
			if !slices.Contains(c, v.Name) {
				continue
			}
			if len(v.Value) == 0 {
				v.Value = []string{cmp.Or(v.AllValue, ".*")}
			}
			*v = Variable{Name: v.Name, Label: v.Label, Kind: KindCustom, Values: v.Value, Value: v.Value, Multi: v.Multi}
			im.problem("variable "+v.Name, false, "the queries of %s need each other, so they have no values: it stays %s", strings.Join(c, ", "), strings.Join(v.Value, ", "))
		}
	}
}

func (im *importer) variable(g grafanaVariable) {
	where := "variable " + g.Name
	v := Variable{Name: g.Name, Multi: g.Multi, All: g.IncludeAll, Hidden: hiddenVariable(g.Hide)}
	if g.Label != nil {
		v.Label = *g.Label
	}
	if g.AllValue != nil {
		v.AllValue = *g.AllValue
	}
	for _, value := range listOf(g.Current.Value) {
		if value != "$__all" && value != "" && !strings.HasPrefix(value, "$__auto") {
			v.Value = append(v.Value, rewritten(value))
		}
	}
	if !v.Multi {
		v.Value = v.Value[:min(len(v.Value), 1)]
	}
	query := plain(g.Query)
	switch g.Type {
	case "query":
		v.Kind, v.Query, v.Regex = KindQuery, rewritten(cmp.Or(queryOf(g.Query), g.Definition)), rewritten(g.Regex)
		if why := im.foreign(g.Datasource); why != "" {
			im.lost(v, where, why)
			return
		}
		if v.Query == "" || !valuesQuery.MatchString(v.Query) {
			im.lost(v, where, fmt.Sprintf("its query %q is not one of Prometheus' data source", truncated(v.Query, 60)))
			return
		}
	case "custom", "interval":
		v.Kind = KindCustom
		v.Values = split(query)
		if g.Type == "interval" {
			v.Kind, v.Multi, v.All = KindInterval, false, false
			if g.Auto {
				v.Values = append([]string{"auto"}, v.Values...)
			}
		}
		if len(v.Values) == 0 {
			im.problem(where, true, "it has no values")
			return
		}
	case "constant":
		v = Variable{Name: v.Name, Label: v.Label, Kind: KindConstant, Value: []string{query}, Hidden: true}
	case "textbox":
		v.Kind, v.Multi, v.All = KindText, false, false
		if len(v.Value) == 0 && query != "" {
			v.Value = []string{query}
		}
	case "adhoc":
		im.problem(where, true, "ad hoc filters are not supported; use the matchers of a query")
		return
	default:
		im.problem(where, true, "variables of the type %q are not supported", g.Type)
		return
	}
	im.add(v, where)
}

// lost adds a variable whose values cannot be queried with the value that it has.
func (im *importer) lost(v Variable, where, why string) {
	if len(v.Value) == 0 {
		im.problem(where, true, "%s", why)
		return
	}
	im.problem(where, false, "%s: it stays %s", why, strings.Join(v.Value, ", "))
	im.add(Variable{Name: v.Name, Label: v.Label, Kind: KindCustom, Values: v.Value, Value: v.Value, Multi: v.Multi, Hidden: v.Hidden}, where)
}

func (im *importer) add(v Variable, where string) {
	err := v.check()
	switch {
	case err != nil:
	case len(im.board.Variables) >= maxVariables:
		err = fmt.Errorf("a board has at most %d variables", maxVariables)
	case slices.ContainsFunc(im.board.Variables, func(o Variable) bool { return o.Name == v.Name }):
		err = errors.New("there are two of this name")
	}
	if err != nil {
		im.problem(where, true, "%v", err)
		return
	}
	im.board.Variables = append(im.board.Variables, v)
	example := "x"
	switch {
	case v.Kind == KindInterval:
		example = "5m"
	case len(v.Value) > 0:
		example = v.Value[0]
	case len(v.Values) > 0:
		example = v.Values[0]
	}
	im.defined[v.Name] = example
}

// foreign says that a data source is not Prometheus; "" if it is, or is not known.
func (im *importer) foreign(raw json.RawMessage) string {
	var object struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	name := plain(raw)
	if json.Unmarshal(raw, &object) == nil && object.Type+object.UID != "" {
		name = cmp.Or(object.Type, object.UID)
		if name == "datasource" {
			name = object.UID
		}
	}
	if refs := References(name); len(refs) == 1 {
		name = im.sources[refs[0]]
	}
	name = strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(name), "-- "), " --")
	switch {
	case name == "", name == "mixed", name == "default", strings.Contains(name, "prom"), strings.Contains(name, "mimir"), strings.Contains(name, "thanos"), strings.Contains(name, "victoria"):
		return ""
	case name == "__expr__":
		return "it is an expression of Grafana over other queries"
	case name == "grafana", name == "dashboard":
		return fmt.Sprintf("its data source %q is Grafana itself", name)
	case slices.ContainsFunc([]string{"loki", "influx", "elastic", "graphite", "tempo", "jaeger", "zabbix", "testdata", "cloudwatch", "azure", "stackdriver", "opentsdb", "opensearch", "clickhouse", "sql", "infinity", "alertmanager", "json", "csv"}, func(s string) bool { return strings.Contains(name, s) }):
		return fmt.Sprintf("its data source is %s, and only Prometheus' queries can be imported", name)
	}
	return "" // a name that somebody gave to a data source
}

// grafanaPanel is a panel. Fields of several versions are next to each other.
type grafanaPanel struct {
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	GridPos     *gridPos          `json:"gridPos"`
	Span        float64           `json:"span"` // of 12, until Grafana 4
	Collapsed   bool              `json:"collapsed"`
	Panels      []json.RawMessage `json:"panels"`
	Datasource  json.RawMessage   `json:"datasource"`
	Targets     []target          `json:"targets"`
	Repeat      *string           `json:"repeat"`

	RepeatDirection string          `json:"repeatDirection"`
	MaxPerRow       int             `json:"maxPerRow"`
	RepeatOf        json.RawMessage `json:"repeatPanelId"` // of a copy that Grafana has made

	TimeFrom    *string         `json:"timeFrom"`
	TimeShift   *string         `json:"timeShift"`
	Library     json.RawMessage `json:"libraryPanel"`
	Content     string          `json:"content"` // of old text panels
	Mode        string          `json:"mode"`
	FieldConfig struct {
		Defaults  fieldDefaults `json:"defaults"`
		Overrides []struct {
			Matcher struct {
				ID      string          `json:"id"`
				Options json.RawMessage `json:"options"`
			} `json:"matcher"`
			Properties []struct {
				ID    string          `json:"id"`
				Value json.RawMessage `json:"value"`
			} `json:"properties"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
	Options struct {
		Content       string `json:"content"`
		Mode          string `json:"mode"`
		TextMode      string `json:"textMode"`
		ColorMode     string `json:"colorMode"`
		ReduceOptions struct {
			Calcs  []string `json:"calcs"`
			Values bool     `json:"values"`
		} `json:"reduceOptions"`
	} `json:"options"`
	Transformations []struct {
		ID       string `json:"id"`
		Disabled bool   `json:"disabled"`
	} `json:"transformations"`

	// Of graph, singlestat and the old table.
	Yaxes []struct {
		Format string          `json:"format"`
		Min    json.RawMessage `json:"min"`
		Max    json.RawMessage `json:"max"`
	} `json:"yaxes"`
	Stack         bool            `json:"stack"`
	Fill          float64         `json:"fill"`
	Format        string          `json:"format"`
	ValueName     string          `json:"valueName"`
	OldThresholds json.RawMessage `json:"thresholds"` // "1,2" of singlestat, a list of graph
	Colors        []string        `json:"colors"`
	ValueMaps     []oldMapping    `json:"valueMaps"`
	Gauge         struct {
		Show bool     `json:"show"`
		Min  *float64 `json:"minValue"`
		Max  *float64 `json:"maxValue"`
	} `json:"gauge"`
	SeriesOverrides []struct {
		Alias     string `json:"alias"`
		Transform string `json:"transform"`
	} `json:"seriesOverrides"`
}

type gridPos struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

type target struct {
	Expr         string          `json:"expr"`
	LegendFormat string          `json:"legendFormat"`
	RefID        string          `json:"refId"`
	Hide         bool            `json:"hide"`
	Datasource   json.RawMessage `json:"datasource"`
	Type         string          `json:"type"` // math, reduce, … of __expr__
}

type fieldDefaults struct {
	Unit  string   `json:"unit"`
	Min   *float64 `json:"min"`
	Max   *float64 `json:"max"`
	Color struct {
		Mode string `json:"mode"`
	} `json:"color"`
	Thresholds struct {
		Mode  string `json:"mode"`
		Steps []struct {
			Color string   `json:"color"`
			Value *float64 `json:"value"`
		} `json:"steps"`
	} `json:"thresholds"`
	Mappings []json.RawMessage `json:"mappings"`
	Custom   struct {
		FillOpacity float64 `json:"fillOpacity"`
		Stacking    struct {
			Mode string `json:"mode"`
		} `json:"stacking"`
		ThresholdsStyle struct {
			Mode string `json:"mode"`
		} `json:"thresholdsStyle"`
	} `json:"custom"`
}

// panels reads all panels in the order in which they are seen.
func (im *importer) panels(d *dashboard) {
	if d.Panels == nil {
		im.oldRows(d.Rows)
		return
	}
	type placed struct {
		g     grafanaPanel
		where string
	}
	decode := func(raw []json.RawMessage) []placed {
		var out []placed
		for i, text := range raw {
			im.total++
			p := placed{where: fmt.Sprintf("panel %d", im.total)}
			if err := json.Unmarshal(text, &p.g); err != nil {
				var title struct{ Title any }
				if _ = json.Unmarshal(text, &title); title.Title != nil {
					p.where = fmt.Sprint(title.Title)
				}
				im.problem(p.where, true, "%v", readable(nil, err))
				continue
			}
			if plain(p.g.RepeatOf) != "" && plain(p.g.RepeatOf) != "null" {
				im.total--
				continue
			}
			p.where = cmp.Or(strings.TrimSpace(p.g.Title), fmt.Sprintf("panel %d (%s)", im.total, p.g.Type))
			if p.g.GridPos == nil {
				p.g.GridPos = &gridPos{W: columns / 2, H: 8, Y: 1000 + 8*i}
			}
			out = append(out, p)
		}
		slices.SortStableFunc(out, func(a, b placed) int {
			return cmp.Or(cmp.Compare(a.g.GridPos.Y, b.g.GridPos.Y), cmp.Compare(a.g.GridPos.X, b.g.GridPos.X))
		})
		return out
	}
	down := 0 // by how much panels of collapsed rows move what is below
	for _, p := range decode(d.Panels) {
		p.g.GridPos.Y += down
		im.panel(&p.g, p.where)
		if p.g.Type != "row" || len(p.g.Panels) == 0 {
			continue
		}
		inside := decode(p.g.Panels)
		if len(inside) == 0 {
			continue
		}
		top, bottom := inside[0].g.GridPos.Y, 0
		for _, c := range inside {
			bottom = max(bottom, c.g.GridPos.Y+c.g.GridPos.H)
			c.g.GridPos.Y += p.g.GridPos.Y + 1 - top
			im.panel(&c.g, c.where)
		}
		down += bottom - top
	}
}

// oldRows reads the rows of which dashboards consisted until Grafana 4: panels have widths of
// twelve columns, and flow.
func (im *importer) oldRows(rows []oldRow) {
	y := 0
	for _, r := range rows {
		repeated := r.Repeat != nil && *r.Repeat != ""
		if r.Title != "" && (r.ShowTitle == nil || *r.ShowTitle || r.Collapse) || repeated {
			im.total++
			im.panel(&grafanaPanel{Type: "row", Title: r.Title, Collapsed: r.Collapse, Repeat: r.Repeat, GridPos: &gridPos{Y: y, W: columns, H: 1}}, r.Title)
			y++
		}
		height := 7
		if px, err := strconv.ParseFloat(strings.TrimSuffix(plain(r.Height), "px"), 64); err == nil && px >= 38 && px < 4000 {
			height = int(math.Round(px / 38)) // Grafana's height of a row of the grid
		}
		x := 0
		for _, text := range r.Panels {
			im.total++
			var g grafanaPanel
			if err := json.Unmarshal(text, &g); err != nil {
				im.problem(fmt.Sprintf("panel %d", im.total), true, "%v", readable(nil, err))
				continue
			}
			w := min(columns, max(2, int(math.Round(2*cmp.Or(g.Span, 12)))))
			if x+w > columns {
				x, y = 0, y+height
			}
			g.GridPos = &gridPos{X: x, Y: y, W: w, H: height}
			x += w
			im.panel(&g, cmp.Or(strings.TrimSpace(g.Title), fmt.Sprintf("panel %d (%s)", im.total, g.Type)))
		}
		if x > 0 {
			y += height
		}
	}
}

// typesOf are types of panels of Grafana, and what they become.
var typesOf = map[string]string{
	"timeseries": TypeChart, "graph": TypeChart, "graph-old": TypeChart, "stat": TypeStat, "singlestat": TypeStat, "gauge": TypeGauge,
	"bargauge": TypeBars, "piechart": TypeBars, "grafana-piechart-panel": TypeBars, "barchart": TypeBars, "table": TypeTable, "table-old": TypeTable,
	"text": TypeText, "row": TypeRow,
}

func (im *importer) panel(g *grafanaPanel, where string) {
	if g.Library != nil && string(g.Library) != "null" && len(g.Targets) == 0 {
		im.problem(where, true, "it is in Grafana's library of panels, and the file has only its name")
		return
	}
	kind := typesOf[g.Type]
	if kind == "" {
		im.problem(where, true, "panels of the type %q are not supported", g.Type)
		return
	}
	if len(im.board.Panels) >= MaxPanels {
		im.problem(where, true, "a board has at most %d panels", MaxPanels)
		return
	}
	p := Panel{Type: kind, Title: truncated(g.Title, maxTitle), Description: truncated(g.Description, maxText)}
	p.place(g.GridPos)
	note := func(format string, args ...any) { im.problem(where, false, format, args...) }
	switch kind {
	case TypeRow:
		p.X, p.W, p.H, p.Collapsed = 0, columns, 1, g.Collapsed
		im.repeat(g, &p, note)
		im.board.Panels = append(im.board.Panels, p)
		return
	case TypeText:
		im.text(g, &p, note)
		im.repeat(g, &p, note)
		im.board.Panels = append(im.board.Panels, p)
		return
	}
	if g.Type == "singlestat" && g.Gauge.Show {
		p.Type, p.Min, p.Max = TypeGauge, g.Gauge.Min, g.Gauge.Max
	}
	if why := im.queries(g, &p, note); why != "" {
		im.problem(where, true, "%s", why)
		return
	}
	im.look(g, &p, note)
	if err := p.check(); err != nil {
		im.problem(where, true, "%v", err)
		return
	}
	im.board.Panels = append(im.board.Panels, p)
}

// place puts p where g is, within what a board has.
func (p *Panel) place(g *gridPos) {
	p.W = min(max(g.W, 1), columns)
	p.X = min(max(g.X, 0), columns-p.W)
	p.H = min(max(g.H, 1), maxHeight)
	p.Y = min(max(g.Y, 0), maxRows)
}

var tag = regexp.MustCompile(`<[a-zA-Z/!][^>]*>`)

func (im *importer) text(g *grafanaPanel, p *Panel, note func(string, ...any)) {
	p.Text = cmp.Or(g.Options.Content, g.Content)
	if cmp.Or(g.Options.Mode, g.Mode) == "html" || tag.MatchString(p.Text) {
		p.Text = strings.TrimSpace(tag.ReplaceAllString(p.Text, ""))
		note("HTML is not shown: only its text is")
	}
	if len(p.Text) > maxText {
		p.Text = truncated(p.Text, maxText)
		note("the text is cut after %d bytes", maxText)
	}
	p.Text = rewritten(p.Text)
	im.uses(p.Title+p.Text, note)
}

// queries takes the queries of g; why says that there are none.
func (im *importer) queries(g *grafanaPanel, p *Panel, note func(string, ...any)) (why string) {
	var reasons []string
	ofPanel := im.foreign(g.Datasource)
	for i, t := range g.Targets {
		name := cmp.Or(t.RefID, strconv.Itoa(i+1))
		reason := ofPanel
		if t.Datasource != nil && string(t.Datasource) != "null" {
			reason = im.foreign(t.Datasource)
		}
		switch {
		case t.Hide:
			continue
		case reason == "" && strings.TrimSpace(t.Expr) == "":
			reason = "it has no PromQL"
		}
		if reason != "" {
			reasons = append(reasons, fmt.Sprintf("query %s: %s", name, reason))
			continue
		}
		if len(p.Queries) == maxQueries {
			reasons = append(reasons, fmt.Sprintf("query %s: a panel has at most %d", name, maxQueries))
			continue
		}
		q := Query{Expr: rewritten(strings.TrimSpace(t.Expr)), Legend: rewritten(t.LegendFormat)}
		if q.Legend == "__auto" {
			q.Legend = ""
		}
		im.uses(q.Expr+q.Legend, note)
		if err := im.parses(q.Expr); err != nil {
			note("query %s is not PromQL: %v", name, err)
		}
		p.Queries = append(p.Queries, q)
	}
	if len(p.Queries) > 0 {
		for _, r := range reasons {
			note("%s", r)
		}
		return ""
	}
	if len(reasons) > 0 {
		return strings.Join(reasons, "; ")
	}
	return cmp.Or(ofPanel, "it has no query")
}

// uses says which variables of text nobody defines.
func (im *importer) uses(text string, note func(string, ...any)) {
	for _, name := range References(text) {
		if name == "" || im.defined[name] != "" || builtins[name] != "" || name[0] >= '0' && name[0] <= '9' {
			continue
		}
		if _, source := im.sources[name]; !source {
			note("$%s is used, and no variable of the board has this name", name)
		}
	}
}

var promQL = parser.NewParser(parser.Options{EnableExperimentalFunctions: true})

// parses reports what is wrong with a query once it has values for its variables.
func (im *importer) parses(expr string) error {
	filled := reference.ReplaceAllStringFunc(expr, func(r string) string {
		name := References(r)[0]
		return cmp.Or(builtins[name], im.defined[name], "x")
	})
	_, err := promQL.ParseExpr(filled)
	return err
}

// look takes units, limits and colours.
func (im *importer) look(g *grafanaPanel, p *Panel, note func(string, ...any)) {
	d := &g.FieldConfig.Defaults
	unit := cmp.Or(d.Unit, g.Format)
	p.Min, p.Max = cmp.Or(d.Min, p.Min), cmp.Or(d.Max, p.Max)
	if g.Type == "graph" && len(g.Yaxes) > 0 {
		unit = cmp.Or(d.Unit, g.Yaxes[0].Format)
		p.Min, p.Max = cmp.Or(p.Min, number(g.Yaxes[0].Min)), cmp.Or(p.Max, number(g.Yaxes[0].Max))
	}
	if p.Min != nil && p.Max != nil && *p.Min >= *p.Max {
		p.Min, p.Max = nil, nil
	}
	switch {
	case strings.HasPrefix(unit, "bool"):
		if p.Type == TypeChart {
			break
		}
		zero, one := new(float64), new(float64)
		*one = 1
		p.Mappings = []Mapping{{From: zero, To: zero, Text: "No"}, {From: one, To: one, Text: "Yes"}}
	case unit != "" && unitOf[unit] == "":
		note("the unit %q is left out: values are plain numbers", unit)
	default:
		p.Unit = unitOf[unit]
	}
	switch p.Type {
	case TypeChart:
		stacked := g.Stack
		switch d.Custom.Stacking.Mode {
		case "normal":
			stacked = true
		case "percent":
			stacked = true
			note("it is stacked, but not to 100 %%")
		}
		switch {
		case stacked:
			p.Kind = "stacked"
		case d.Custom.FillOpacity >= 5:
			p.Kind = "area"
		}
		p.negated(g)
		if mode := d.Custom.ThresholdsStyle.Mode; mode != "" && mode != "off" {
			p.steps(d)
			p.Base = ""
		}
		p.graphThresholds(g)
	case TypeStat, TypeGauge, TypeBars, TypeTable:
		im.calc(g, p, note)
		if g.Options.ColorMode != "none" && (d.Color.Mode == "" || d.Color.Mode == "thresholds") {
			p.steps(d)
		}
		p.oldSteps(g)
		im.mappings(g, p, note)
	}
	if g.Type == "piechart" || g.Type == "grafana-piechart-panel" || g.Type == "barchart" {
		note("it is shown as horizontal bars")
	}
	im.repeat(g, p, note)
	for what, text := range map[string]*string{"relative time": g.TimeFrom, "time shift": g.TimeShift} {
		if text != nil && *text != "" {
			note("its %s %s is left out: it shows the range of the page", what, *text)
		}
	}
	var changed []string
	for _, t := range g.Transformations {
		if !t.Disabled && !(p.Type == TypeTable && (t.ID == "merge" || t.ID == "joinByField")) { // which tables do anyway
			changed = append(changed, t.ID)
		}
	}
	if len(changed) > 0 {
		note("transformations are left out: %s", strings.Join(changed, ", "))
	}
	im.uses(p.Title, note)
	p.Title = rewritten(p.Title)
}

// repeat takes that a panel or row is shown once for each value of a variable.
func (im *importer) repeat(g *grafanaPanel, p *Panel, note func(string, ...any)) {
	if g.Repeat == nil || *g.Repeat == "" {
		return
	}
	if im.defined[*g.Repeat] == "" {
		note("it is repeated for each value of $%s, and no variable of the board has this name: it is shown once", *g.Repeat)
		return
	}
	p.Repeat = *g.Repeat
	if p.Type != TypeRow {
		p.Down, p.PerLine = g.RepeatDirection == "v", min(max(g.MaxPerRow, 0), columns)
	}
}

// negated finds the queries that are drawn below zero.
func (p *Panel) negated(g *grafanaPanel) {
	negate := func(fits func(legend string) bool) {
		for i := range p.Queries {
			if fits(p.Queries[i].Legend) {
				p.Queries[i].Negate = true
			}
		}
	}
	for _, o := range g.SeriesOverrides {
		if o.Transform == "negative-Y" {
			negate(named(o.Alias))
		}
	}
	for _, o := range g.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "custom.transform" || plain(property.Value) != "negative-Y" {
				continue
			}
			option := plain(o.Matcher.Options)
			switch o.Matcher.ID {
			case "byRegexp":
				if !strings.HasPrefix(option, "/") {
					option = "/" + option + "/"
				}
				negate(named(option))
			case "byName":
				negate(named(option))
			case "byFrameRefID":
				var ids []string
				for _, t := range g.Targets {
					if !t.Hide {
						ids = append(ids, t.RefID)
					}
				}
				if i := slices.Index(ids, option); i >= 0 && i < len(p.Queries) {
					p.Queries[i].Negate = true
				}
			}
		}
	}
}

// named returns what fits an alias: a name, or a regular expression between slashes.
func named(alias string) func(string) bool {
	if text, ok := strings.CutPrefix(alias, "/"); ok {
		end := max(strings.LastIndex(text, "/"), 0)
		if re, err := regexp.Compile(strings.ReplaceAll(text[:end], `\/`, "/")); err == nil && end > 0 {
			return re.MatchString
		}
	}
	return func(name string) bool { return name == alias }
}

var calcOf = map[string]string{
	"": "", "lastNotNull": "", "last": "", "current": "", "first": "", "firstNotNull": "", "mean": "mean", "avg": "mean",
	"max": "max", "min": "min", "sum": "sum", "total": "sum",
}

// calc takes how one value is made of a series.
func (im *importer) calc(g *grafanaPanel, p *Panel, note func(string, ...any)) {
	name := g.ValueName
	if len(g.Options.ReduceOptions.Calcs) > 0 {
		name = g.Options.ReduceOptions.Calcs[0]
	}
	calc, known := calcOf[name]
	if !known {
		note("its value is the last one: the calculation %q is not supported", name)
	}
	if p.Type != TypeTable {
		p.Calc = calc
	}
	if g.Options.TextMode == "name" {
		note("it shows the value, not only the name")
	}
}

// steps takes the thresholds of Grafana 7 and later.
func (p *Panel) steps(d *fieldDefaults) {
	for _, s := range d.Thresholds.Steps {
		if s.Value == nil {
			p.Base = levelOf(s.Color)
			continue
		}
		value := *s.Value
		if d.Thresholds.Mode == "percentage" {
			low, high := 0.0, 100.0
			if p.Unit == "ratio" {
				high = 1
			}
			if p.Min != nil {
				low = *p.Min
			}
			if p.Max != nil {
				high = *p.Max
			}
			value = low + (high-low)*value/100
		}
		p.Thresholds = append(p.Thresholds, Threshold{Value: value, Kind: levelOf(s.Color)})
	}
	p.sortThresholds()
	if p.plainLevels() {
		p.Base, p.Thresholds = "", nil
	}
}

func (p *Panel) sortThresholds() {
	slices.SortStableFunc(p.Thresholds, func(a, b Threshold) int { return cmp.Compare(a.Value, b.Value) })
}

// plainLevels reports whether no level of p says that something is wrong: colours alone.
func (p *Panel) plainLevels() bool {
	bad := func(kind string) bool { return kind == "warn" || kind == "crit" }
	return !bad(p.Base) && !slices.ContainsFunc(p.Thresholds, func(t Threshold) bool { return bad(t.Kind) })
}

// oldSteps takes those of singlestat: "80,90" and three colours.
func (p *Panel) oldSteps(g *grafanaPanel) {
	parts := strings.Split(plain(g.OldThresholds), ",")
	if g.Type != "singlestat" || len(parts)+1 != len(g.Colors) {
		return
	}
	p.Base, p.Thresholds = levelOf(g.Colors[0]), nil
	for i, text := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			p.Base, p.Thresholds = "", nil
			return
		}
		p.Thresholds = append(p.Thresholds, Threshold{Value: v, Kind: levelOf(g.Colors[i+1])})
	}
	p.sortThresholds()
}

// graphThresholds takes those of the old graph.
func (p *Panel) graphThresholds(g *grafanaPanel) {
	var old []struct {
		Value     *float64 `json:"value"`
		ColorMode string   `json:"colorMode"`
	}
	if g.Type != "graph" || json.Unmarshal(g.OldThresholds, &old) != nil {
		return
	}
	for _, t := range old {
		if t.Value == nil {
			continue
		}
		kind := map[string]string{"critical": "crit", "ok": "ok"}[t.ColorMode]
		p.Thresholds = append(p.Thresholds, Threshold{Value: *t.Value, Kind: cmp.Or(kind, "warn")})
	}
	p.sortThresholds()
}

type oldMapping struct {
	Value json.RawMessage `json:"value"`
	Text  string          `json:"text"`
}

// mappings takes texts in place of values.
func (im *importer) mappings(g *grafanaPanel, p *Panel, note func(string, ...any)) {
	add := func(from, to *float64, text, color string) {
		m := Mapping{From: from, To: to, Text: text}
		if color != "" {
			m.Kind = levelOf(color)
		}
		p.Mappings = append(p.Mappings, m)
	}
	for _, m := range g.ValueMaps {
		if v := number(m.Value); v != nil {
			add(v, v, m.Text, "")
		}
	}
	for _, raw := range g.FieldConfig.Defaults.Mappings {
		var m struct {
			Type    json.RawMessage            `json:"type"`
			Options map[string]json.RawMessage `json:"options"`
			Value   json.RawMessage            `json:"value"` // Grafana 7
			From    json.RawMessage            `json:"from"`
			To      json.RawMessage            `json:"to"`
			Text    string                     `json:"text"`
		}
		if json.Unmarshal(raw, &m) != nil {
			note("a mapping of values is left out")
			continue
		}
		type shown struct {
			Text  string `json:"text"`
			Color string `json:"color"`
			Index int    `json:"index"`
		}
		switch kind := plain(m.Type); kind {
		case "value":
			type entry struct {
				value *float64
				shown
			}
			var all []entry
			for key, text := range m.Options {
				e := entry{value: number(json.RawMessage(strconv.Quote(key)))}
				if json.Unmarshal(text, &e.shown) == nil && e.value != nil {
					all = append(all, e)
				}
			}
			slices.SortFunc(all, func(a, b entry) int {
				return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(*a.value, *b.value))
			})
			for _, e := range all {
				if e.Text != "" || e.Color != "" {
					add(e.value, e.value, e.Text, e.Color)
				}
			}
		case "range":
			var r shown
			_ = json.Unmarshal(m.Options["result"], &r)
			add(number(m.Options["from"]), number(m.Options["to"]), r.Text, r.Color)
		case "1":
			if v := number(m.Value); v != nil {
				add(v, v, m.Text, "")
			}
		case "2":
			add(number(m.From), number(m.To), m.Text, "")
		case "special": // of null and NaN, for which there is a dash
		default:
			note("mappings of the type %q are left out", kind)
		}
	}
	if len(p.Mappings) > 100 {
		p.Mappings = p.Mappings[:100]
		note("only the first 100 mappings are imported")
	}
}

// unitOf are units of Grafana and ours.
var unitOf = map[string]string{
	"none": "none", "short": "none", "string": "none", "locale": "none", "sci": "none", "": "",
	"percent": "percent", "percentunit": "ratio", "humidity": "percent",
	"bytes": "bytes", "decbytes": "bytes", "Bps": "bytesps", "binBps": "bytesps", "bps": "bitsps", "binbps": "bitsps",
	"s": "seconds", "ms": "milliseconds", "dtdurations": "seconds", "dtdurationms": "milliseconds", "clocks": "seconds",
	"celsius": "celsius", "hertz": "hertz", "volt": "volts", "watt": "watts", "rotrpm": "rpm",
	"pps": "perSecond", "cps": "perSecond", "ops": "perSecond", "reqps": "perSecond", "rps": "perSecond", "wps": "perSecond",
	"iops": "perSecond", "eps": "perSecond", "mps": "perSecond", "recps": "perSecond", "rowsps": "perSecond",
}

var rgb = regexp.MustCompile(`^rgba?\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)`)

// levelOf is what a colour says: red that something is wrong, orange and yellow that it may
// become so.
func levelOf(color string) string {
	name := strings.ToLower(color)
	switch {
	case strings.Contains(name, "red"):
		return "crit"
	case strings.Contains(name, "orange"), strings.Contains(name, "yellow"):
		return "warn"
	case name == "", name == "transparent", name == "text":
		return "none"
	}
	var r, g, b float64
	if m := rgb.FindStringSubmatch(name); m != nil {
		r, _ = strconv.ParseFloat(m[1], 64)
		g, _ = strconv.ParseFloat(m[2], 64)
		b, _ = strconv.ParseFloat(m[3], 64)
	} else if v, err := strconv.ParseUint(strings.TrimPrefix(name, "#"), 16, 32); err == nil && len(name) == 7 {
		r, g, b = float64(v>>16&255), float64(v>>8&255), float64(v&255)
	} else {
		return "ok"
	}
	switch {
	case r > 1.2*max(g, b) && g < 0.45*r:
		return "crit"
	case r > 1.2*b && g >= 0.45*r && r >= 0.9*g:
		return "warn"
	case max(r, g, b)-min(r, g, b) < 20:
		return "none"
	}
	return "ok"
}

// plain is a JSON string without its quotes, or a number or so as it is; "" for what is not one value.
func plain(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' {
		return ""
	}
	return string(raw)
}

// queryOf is the query of a variable, which newer versions have in an object.
func queryOf(raw json.RawMessage) string {
	var object struct {
		Query string `json:"query"`
	}
	if json.Unmarshal(raw, &object) == nil {
		return object.Query
	}
	return plain(raw)
}

// listOf is a string, or a list of them.
func listOf(raw json.RawMessage) []string {
	var list []any
	if json.Unmarshal(raw, &list) != nil {
		if one := plain(raw); one != "" && one != "null" {
			return []string{one}
		}
		return nil
	}
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// hiddenVariable reports whether a variable is not shown at all: 2; with 1 it lacks its name.
func hiddenVariable(raw json.RawMessage) bool {
	return string(raw) == "2" || plain(raw) == "hideVariable"
}

// number is a number, also within quotes; nil if there is none.
func number(raw json.RawMessage) *float64 {
	v, err := strconv.ParseFloat(plain(raw), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// split splits the values of a custom variable at commas; "\," is one within a value.
func split(query string) []string {
	var out []string
	for part := range strings.SplitSeq(strings.ReplaceAll(query, `\,`, "\x00"), ",") {
		if part = strings.TrimSpace(strings.ReplaceAll(part, "\x00", ",")); part != "" {
			out = append(out, part)
		}
	}
	return out
}

var brackets = regexp.MustCompile(`\[\[(\w+)((?:[.:]\w+)?)\]\]`)

// rewritten writes [[name]] as ${name}.
func rewritten(text string) string { return brackets.ReplaceAllString(text, "$${$1$2}") }

// truncated cuts s after at most n bytes, at the end of a character.
func truncated(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
