package boards

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func ptr(v float64) *float64 { return &v }

// dashboardOf is a dashboard with one panel beside variables that its queries use.
func dashboardOf(panel string) string {
	return `{"title":"T","schemaVersion":39,"templating":{"list":[
		{"type":"datasource","name":"ds","query":"prometheus"},
		{"type":"datasource","name":"logs","query":"loki"},
		{"type":"query","name":"node","query":"label_values(node_uname_info, instance)","multi":true,"includeAll":true},
		{"type":"interval","name":"window","query":"1m,5m"}]},"panels":[` + panel + `]}`
}

// Each kind of panel, next to the PromQL that it comes from and has to keep.
func TestImportPanelByPanel(t *testing.T) {
	at := Panel{X: 12, Y: 0, W: 12, H: 8}
	const grid = `"gridPos":{"x":12,"y":3,"w":12,"h":8}`
	for name, c := range map[string]struct {
		panel string
		want  func(p *Panel)
		says  string // "" for nothing
	}{
		"time series": {
			`{"type":"timeseries","title":"CPU",` + grid + `,"datasource":{"type":"prometheus","uid":"${ds}"},
			"fieldConfig":{"defaults":{"unit":"percentunit","min":0,"max":1,"custom":{"fillOpacity":20,"stacking":{"mode":"normal"},"thresholdsStyle":{"mode":"line"}},
				"thresholds":{"mode":"absolute","steps":[{"color":"green","value":null},{"color":"#EAB839","value":0.8},{"color":"red","value":0.9}]}}},
			"targets":[{"refId":"A","expr":"sum by (mode) (rate(node_cpu_seconds_total{instance=~\"$node\"}[$__rate_interval]))","legendFormat":"{{mode}}"},
				{"refId":"B","hide":true,"expr":"up"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Unit, p.Kind, p.Min, p.Max = TypeChart, "CPU", "ratio", "stacked", ptr(0), ptr(1)
				p.Queries = []Query{{Expr: `sum by (mode) (rate(node_cpu_seconds_total{instance=~"$node"}[$__rate_interval]))`, Legend: "{{mode}}"}}
				p.Thresholds = []Threshold{{Value: 0.8, Kind: "warn"}, {Value: 0.9, Kind: "crit"}}
			}, "",
		},
		"both directions": {
			`{"type":"timeseries","title":"Traffic",` + grid + `,"fieldConfig":{"defaults":{"unit":"bps"},"overrides":[
				{"matcher":{"id":"byRegexp","options":"/.*Trans.*/"},"properties":[{"id":"custom.transform","value":"negative-Y"},{"id":"color","value":{"mode":"fixed"}}]}]},
			"targets":[{"refId":"A","expr":"rate(node_network_receive_bytes_total[$window]) * 8","legendFormat":"{{device}} - Received"},
				{"refId":"B","expr":"rate(node_network_transmit_bytes_total[${window}]) * 8","legendFormat":"{{device}} - Transmitted"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Unit = TypeChart, "Traffic", "bitsps"
				p.Queries = []Query{
					{Expr: "rate(node_network_receive_bytes_total[$window]) * 8", Legend: "{{device}} - Received"},
					{Expr: "rate(node_network_transmit_bytes_total[${window}]) * 8", Legend: "{{device}} - Transmitted", Negate: true},
				}
			}, "",
		},
		"graph of Grafana 6": {
			`{"type":"graph","title":"Load",` + grid + `,"datasource":"Prometheus","stack":true,"yaxes":[{"format":"short","min":"0","max":null}],
			"thresholds":[{"value":8,"op":"gt","colorMode":"critical"}],"seriesOverrides":[{"alias":"out","transform":"negative-Y"}],
			"targets":[{"refId":"A","expr":"node_load1{instance=\"[[node]]\"}"},{"refId":"B","expr":"node_load5","legendFormat":"out"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Unit, p.Kind, p.Min = TypeChart, "Load", "none", "stacked", ptr(0)
				p.Queries = []Query{{Expr: `node_load1{instance="${node}"}`}, {Expr: "node_load5", Legend: "out", Negate: true}}
				p.Thresholds = []Threshold{{Value: 8, Kind: "crit"}}
			}, "",
		},
		"stat": {
			`{"type":"stat","title":"State","description":"Up or down",` + grid + `,"options":{"reduceOptions":{"calcs":["mean"]}},
			"fieldConfig":{"defaults":{"thresholds":{"mode":"absolute","steps":[{"color":"red","value":null},{"color":"green","value":1}]},
				"mappings":[{"type":"value","options":{"0":{"text":"DOWN","index":0,"color":"red"},"1":{"text":"UP","index":1}}},{"type":"range","options":{"from":2,"to":null,"result":{"text":"many"}}},{"type":"special","options":{"match":"null","result":{"text":"?"}}}]}},
			"targets":[{"refId":"A","expr":"up{instance=~\"$node\"}","legendFormat":"__auto","instant":true}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Description, p.Calc, p.Base = TypeStat, "State", "Up or down", "mean", "crit"
				p.Queries = []Query{{Expr: `up{instance=~"$node"}`}}
				p.Thresholds = []Threshold{{Value: 1, Kind: "ok"}}
				p.Mappings = []Mapping{{From: ptr(0), To: ptr(0), Text: "DOWN", Kind: "crit"}, {From: ptr(1), To: ptr(1), Text: "UP"}, {From: ptr(2), Text: "many"}}
			}, "",
		},
		"stat without colours": {
			`{"type":"stat","title":"Cores",` + grid + `,"options":{"colorMode":"none"},"fieldConfig":{"defaults":{"thresholds":{"steps":[{"color":"green","value":null},{"color":"red","value":80}]}}},"targets":[{"refId":"A","expr":"count(node_cpu_info)"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Queries = TypeStat, "Cores", []Query{{Expr: "count(node_cpu_info)"}}
			}, "",
		},
		"singlestat of Grafana 6": {
			`{"type":"singlestat","title":"Memory",` + grid + `,"format":"percent","valueName":"avg","thresholds":"80,90","colors":["rgba(50, 172, 45, 0.97)","rgba(237, 129, 40, 0.89)","rgba(245, 54, 54, 0.9)"],
			"gauge":{"show":true,"minValue":0,"maxValue":100},"valueMaps":[{"op":"=","value":"null","text":"N/A"},{"op":"=","value":"0","text":"none"}],
			"targets":[{"refId":"A","expr":"100 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Unit, p.Calc, p.Base, p.Min, p.Max = TypeGauge, "Memory", "percent", "mean", "ok", ptr(0), ptr(100)
				p.Queries = []Query{{Expr: "100 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100"}}
				p.Thresholds = []Threshold{{Value: 80, Kind: "warn"}, {Value: 90, Kind: "crit"}}
				p.Mappings = []Mapping{{From: ptr(0), To: ptr(0), Text: "none"}}
			}, "",
		},
		"gauge with percentages": {
			`{"type":"gauge","title":"Full",` + grid + `,"fieldConfig":{"defaults":{"unit":"bytes","max":1000,"thresholds":{"mode":"percentage","steps":[{"color":"green","value":null},{"color":"orange","value":80}]}}},
			"targets":[{"refId":"A","expr":"node_filesystem_size_bytes - node_filesystem_avail_bytes"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Unit, p.Base, p.Max = TypeGauge, "Full", "bytes", "ok", ptr(1000)
				p.Queries = []Query{{Expr: "node_filesystem_size_bytes - node_filesystem_avail_bytes"}}
				p.Thresholds = []Threshold{{Value: 800, Kind: "warn"}}
			}, "",
		},
		"bar gauge": {
			`{"type":"bargauge","title":"Pressure",` + grid + `,"fieldConfig":{"defaults":{"unit":"percentunit","thresholds":{"mode":"absolute","steps":[{"color":"green","value":null},{"color":"blue","value":1}]}}},
			"targets":[{"refId":"A","expr":"topk(5, rate(node_pressure_cpu_waiting_seconds_total[$__interval]))","legendFormat":"{{instance}}"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Unit = TypeBars, "Pressure", "ratio"
				p.Queries = []Query{{Expr: "topk(5, rate(node_pressure_cpu_waiting_seconds_total[$__interval]))", Legend: "{{instance}}"}}
			}, "",
		},
		"table": {
			`{"type":"table","title":"Targets",` + grid + `,"transformations":[{"id":"merge"},{"id":"organize"},{"id":"sortBy","disabled":true}],
			"targets":[{"refId":"A","expr":"max_over_time(up[$__range])","format":"table","instant":true}]}`,
			func(p *Panel) {
				p.Type, p.Title = TypeTable, "Targets"
				p.Queries = []Query{{Expr: "max_over_time(up[$__range])"}}
			}, "transformations are left out: organize",
		},
		"text": {
			`{"type":"text","title":"",` + grid + `,"options":{"mode":"markdown","content":"**Read** [this](https://example.org), $node"}}`,
			func(p *Panel) { p.Type, p.Text = TypeText, "**Read** [this](https://example.org), $node" }, "",
		},
		"text with HTML": {
			`{"type":"text","title":"Note",` + grid + `,"mode":"html","content":"<b>Read</b> <script>alert(1)</script>this"}`,
			func(p *Panel) { p.Type, p.Title, p.Text = TypeText, "Note", "Read alert(1)this" }, "HTML is not shown",
		},
		"row": {
			`{"type":"row","title":"Disks",` + grid + `,"collapsed":true,"panels":[]}`,
			func(p *Panel) { p.Type, p.Title, p.X, p.W, p.H, p.Collapsed = TypeRow, "Disks", 0, 24, 1, true }, "",
		},
		"unknown type": {
			`{"type":"nodeGraph","title":"Graph",` + grid + `,"targets":[{"refId":"A","expr":"up"}]}`, nil,
			`Graph: left out: panels of the type "nodeGraph" are not supported`,
		},
		"Loki": {
			`{"type":"timeseries","title":"Logs",` + grid + `,"datasource":{"type":"loki","uid":"x"},"targets":[{"refId":"A","expr":"rate({job=\"a\"}[1m])"}]}`, nil,
			"Logs: left out: query A: its data source is loki",
		},
		"a variable data source": {
			`{"type":"timeseries","title":"Logs",` + grid + `,"datasource":{"uid":"${logs}"},"targets":[{"refId":"A","expr":"rate({job=\"a\"}[1m])"}]}`, nil,
			"Logs: left out: query A: its data source is loki",
		},
		"mixed": {
			`{"type":"timeseries","title":"M",` + grid + `,"datasource":{"type":"datasource","uid":"-- Mixed --"},"targets":[
				{"refId":"A","expr":"up","datasource":{"type":"prometheus","uid":"a"}},{"refId":"B","query":"SELECT 1","datasource":{"type":"influxdb","uid":"b"}},{"refId":"C","type":"math","expression":"$A * 2","datasource":{"type":"__expr__","uid":"__expr__"}}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Queries = TypeChart, "M", []Query{{Expr: "up"}}
			}, "M: changed: query B: its data source is influxdb",
		},
		"no PromQL": {
			`{"type":"timeseries","title":"Bad",` + grid + `,"targets":[{"refId":"A","expr":"rate(up[$window)"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Queries = TypeChart, "Bad", []Query{{Expr: "rate(up[$window)"}}
			}, "Bad: changed: query A is not PromQL",
		},
		"variable of nobody": {
			`{"type":"timeseries","title":"Lost",` + grid + `,"targets":[{"refId":"A","expr":"up{a=\"$gone\"}"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Queries = TypeChart, "Lost", []Query{{Expr: `up{a="$gone"}`}}
			}, "Lost: changed: $gone is used, and no variable",
		},
		"repeated": {
			`{"type":"gauge","title":"$node",` + grid + `,"repeat":"node","repeatDirection":"h","maxPerRow":6,"targets":[{"refId":"A","expr":"up{instance=~\"$node\"}"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Queries = TypeGauge, "$node", []Query{{Expr: `up{instance=~"$node"}`}}
				p.Repeat, p.PerLine = "node", 6
			}, "",
		},
		"repeated downwards": {
			`{"type":"graph","title":"R",` + grid + `,"repeat":"node","repeatDirection":"v","targets":[{"refId":"A","expr":"up{instance=\"$node\"}"}]}`,
			func(p *Panel) {
				p.Type, p.Title, p.Queries = TypeChart, "R", []Query{{Expr: `up{instance="$node"}`}}
				p.Repeat, p.Down = "node", true
			}, "",
		},
		"repeated row": {
			`{"type":"row","title":"$node",` + grid + `,"repeat":"node","panels":[]}`,
			func(p *Panel) { p.Type, p.Title, p.X, p.W, p.H, p.Repeat = TypeRow, "$node", 0, 24, 1, "node" }, "",
		},
		"repeated for nothing": {
			`{"type":"row","title":"R",` + grid + `,"repeat":"gone","panels":[]}`,
			func(p *Panel) { p.Type, p.Title, p.X, p.W, p.H = TypeRow, "R", 0, 24, 1 }, "R: changed: it is repeated for each value of $gone, and no variable",
		},
		"library": {
			`{"title":"Shared",` + grid + `,"libraryPanel":{"uid":"x","name":"Shared"}}`, nil, "it is in Grafana's library",
		},
		"broken": {
			`{"type":"stat","title":"Odd",` + grid + `,"fieldConfig":{"defaults":{"min":"low"}}}`, nil, "Odd: left out: fieldConfig.defaults.min must be a number, and is a string",
		},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := Import([]byte(dashboardOf(c.panel)))
			require.NoError(t, err)
			require.Equal(t, 1, report.Panels)
			if c.want == nil {
				require.Zero(t, report.Imported)
			} else {
				want := at
				want.Y = 3
				c.want(&want)
				require.Len(t, report.Board.Panels, 1, report.String())
				require.Equal(t, want, report.Board.Panels[0])
				again := exported(t, report.Board)
				require.Equal(t, report.Board, again)
			}
			var said []string
			for _, p := range report.Problems {
				what := "changed"
				if p.Missing {
					what = "left out"
				}
				said = append(said, p.Where+": "+what+": "+p.Why)
			}
			if c.says == "" {
				require.Empty(t, said)
			} else {
				require.Contains(t, strings.Join(said, "\n"), c.says)
			}
		})
	}
}

// exported is what b becomes by way of Grafana.
func exported(t *testing.T, b *Board) *Board {
	t.Helper()
	text, err := Export(b)
	require.NoError(t, err)
	again, err := Import(text)
	require.NoError(t, err, string(text))
	return again.Board
}

// A collapsed row has its panels in it, and is one line high in Grafana.
func TestRows(t *testing.T) {
	const text = `{"title":"Rows","panels":[
		{"type":"row","title":"First","collapsed":true,"gridPos":{"x":0,"y":0,"w":24,"h":1},"panels":[
			{"type":"stat","title":"a","gridPos":{"x":0,"y":1,"w":12,"h":4},"targets":[{"expr":"a"}]},
			{"type":"stat","title":"b","gridPos":{"x":0,"y":5,"w":12,"h":4},"targets":[{"expr":"b"}]}]},
		{"type":"row","title":"Second","collapsed":false,"gridPos":{"x":0,"y":1,"w":24,"h":1},"panels":[]},
		{"type":"stat","title":"c","gridPos":{"x":0,"y":2,"w":12,"h":4},"targets":[{"expr":"c"}]}]}`
	report, err := Import([]byte(text))
	require.NoError(t, err)
	var places []string
	for _, p := range report.Board.Panels {
		places = append(places, fmt.Sprintf("%s %d", p.Title, p.Y))
	}
	require.Equal(t, []string{"First 0", "a 1", "b 5", "Second 9", "c 10"}, places)
	require.Equal(t, report.Board, exported(t, report.Board))
	out, err := Export(report.Board)
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(out, &d))
	require.Len(t, d.Panels, 3, "the panels of a collapsed row are in it")
	require.Contains(t, string(d.Panels[1]), `"y": 1`)
}

// Dashboards of Grafana 4 have rows of twelve columns, in which panels flow.
func TestOldRows(t *testing.T) {
	report, err := Import([]byte(`{"title":"Old","rows":[
		{"title":"R","showTitle":true,"height":"304px","panels":[
			{"type":"graph","title":"a","span":6,"targets":[{"expr":"a"}]},{"type":"graph","title":"b","span":6,"targets":[{"expr":"b"}]},
			{"type":"graph","title":"c","span":12,"targets":[{"expr":"c"}]}]},
		{"title":"quiet","showTitle":false,"panels":[{"type":"graph","title":"d","span":4,"targets":[{"expr":"d"}]}]}]}`))
	require.NoError(t, err)
	var places []string
	for _, p := range report.Board.Panels {
		places = append(places, fmt.Sprintf("%s %d,%d %dx%d", p.Title, p.X, p.Y, p.W, p.H))
	}
	require.Equal(t, []string{"R 0,0 24x1", "a 0,1 12x8", "b 12,1 12x8", "c 0,9 24x8", "d 0,17 8x7"}, places)
}

func TestImportVariables(t *testing.T) {
	report, err := Import([]byte(`{"title":"V","panels":[],"templating":{"list":[
		{"type":"datasource","name":"ds","query":"prometheus"},
		{"type":"query","name":"job","label":"Job","datasource":{"uid":"${ds}"},"query":{"query":"label_values(up, job)","refId":"x"},"regex":"/^n/","multi":true,"includeAll":true,"allValue":".*","current":{"value":["$__all"]}},
		{"type":"query","name":"node","query":"label_values(up{job=~\"$job\"}, instance)","current":{"value":"a:9100"},"hide":2},
		{"type":"custom","name":"n","query":"1,5, ten : 10,a\\,b","current":{"value":"5"}},
		{"type":"interval","name":"i","query":"1m,5m","auto":true,"current":{"value":"$__auto_interval_i"}},
		{"type":"constant","name":"c","query":"prod"},
		{"type":"textbox","name":"t","query":"x"},
		{"type":"adhoc","name":"f"},
		{"type":"query","name":"sql","datasource":{"type":"mysql"},"query":"SELECT 1","current":{"value":"one"}},
		{"type":"query","name":"none","datasource":{"type":"loki"},"query":"x"},
		{"type":"query","name":"a","query":"label_values(up{x=\"$b\"}, y)","current":{"value":"1"}},
		{"type":"query","name":"b","query":"label_values(up{x=\"$a\"}, z)"},
		{"type":"query","name":"job","query":"label_values(job)"}]},
		"annotations":{"list":[{"builtIn":1,"name":"Annotations & Alerts"},{"name":"Deploys"}]}}`))
	require.NoError(t, err)
	require.Equal(t, []Variable{
		{Name: "job", Label: "Job", Kind: KindQuery, Query: "label_values(up, job)", Regex: "/^n/", Multi: true, All: true, AllValue: ".*"},
		{Name: "node", Kind: KindQuery, Query: `label_values(up{job=~"$job"}, instance)`, Value: []string{"a:9100"}, Hidden: true},
		{Name: "n", Kind: KindCustom, Values: []string{"1", "5", "ten : 10", "a,b"}, Value: []string{"5"}},
		{Name: "i", Kind: KindInterval, Values: []string{"auto", "1m", "5m"}},
		{Name: "c", Kind: KindConstant, Value: []string{"prod"}, Hidden: true},
		{Name: "t", Kind: KindText, Value: []string{"x"}},
		{Name: "sql", Kind: KindCustom, Values: []string{"one"}, Value: []string{"one"}},
		{Name: "a", Kind: KindCustom, Values: []string{"1"}, Value: []string{"1"}},
		{Name: "b", Kind: KindCustom, Values: []string{".*"}, Value: []string{".*"}},
	}, report.Board.Variables)
	text := report.String()
	for _, says := range []string{
		"variable f: ad hoc filters", "variable sql: its data source is mysql", "it stays one",
		"left out: variable none", "variable a: the queries of a, b need each other", "variable b: the queries of a, b need each other", "variable job: there are two", "left out: Deploys: annotations",
	} {
		assert.Contains(t, text, says)
	}
	require.Equal(t, report.Board, exported(t, report.Board))
}

// 300 panels are more than a board takes: the first ones are there, and the others are named.
func TestImportOfTooMany(t *testing.T) {
	var panels []string
	for i := range 300 {
		panels = append(panels, fmt.Sprintf(`{"type":"stat","title":"p%d","gridPos":{"x":0,"y":%d,"w":6,"h":2},"targets":[{"expr":"up"}]}`, i, 2*i))
	}
	report, err := Import([]byte(dashboardOf(strings.Join(panels, ","))))
	require.NoError(t, err)
	require.Equal(t, 300, report.Panels)
	require.Equal(t, MaxPanels, report.Imported)
	require.Len(t, report.Problems, 50)
	require.Equal(t, Problem{Where: "p299", Missing: true, Why: "a board has at most 250 panels"}, report.Problems[49])
}

func TestWhatIsNoDashboard(t *testing.T) {
	for text, says := range map[string]string{
		`{"a":1}`: "neither a dashboard of Grafana nor a board",
		`{`:       "is not JSON",
		`[]`:      "must be an object",
		`{"apiVersion":"dashboard.grafana.app/v2beta1","spec":{}}`: "Classic",
		`{"version":3,"title":"x","panels":[]}`:                    "newer clanmon",
	} {
		_, err := Import([]byte(text))
		require.ErrorContains(t, err, says, text)
	}
	report, err := Import([]byte(small)) // a board is one already
	require.NoError(t, err)
	require.Equal(t, "Disks <&>", report.Board.Title)
	report, err = Import([]byte(`{"meta":{},"dashboard":{"title":"By the API","panels":[]}}`))
	require.NoError(t, err)
	require.Equal(t, "By the API", report.Board.Title)
}

// What a chart of clanmon asks is asked in Grafana with Grafana's variables.
func TestExportOfOwnCharts(t *testing.T) {
	text, err := Export(&Board{
		Version: 1, Title: "Own",
		Variables: []Variable{{Name: "machine", Kind: KindMachine}, {Name: "tag", Kind: KindTag}},
		Panels:    []Panel{{Type: TypeChart, W: 12, H: 8, Queries: []Query{{Expr: `rate(x{machine=~"$machine"}[$rate])`}}}},
	})
	require.NoError(t, err)
	require.Contains(t, string(text), `rate(x{machine=~\"$machine\"}[$__rate_interval])`)
	report, err := Import(text)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.Equal(t, "label_values(clanmon_machine_info, machine)", report.Board.Variables[0].Query)
}
