package boards

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// object is JSON that only Grafana reads.
type object = map[string]any

// source is the variable by which a person chooses the data source in Grafana.
const source = "datasource"

// Export returns b as a dashboard of Grafana 10 and later. Importing the result gives b again,
// except for what Grafana lacks: variables of the kinds machine and tag become queries.
func Export(b *Board) ([]byte, error) {
	use := object{"type": "prometheus", "uid": "${" + source + "}"}
	variables := []object{{"name": source, "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}}
	for _, v := range b.Variables {
		variables = append(variables, grafanaVariableOf(v, use))
	}
	var panels []object
	id := 0
	down := 0 // panels of collapsed rows do not take up room in Grafana
	sorted := slices.Clone(b.Panels)
	slices.SortStableFunc(sorted, func(a, b Panel) int { return cmp.Or(cmp.Compare(a.Y, b.Y), cmp.Compare(a.X, b.X)) })
	for i := 0; i < len(sorted); i++ {
		p := sorted[i]
		id++
		out := grafanaPanelOf(p, id, down, use)
		if p.Type == TypeRow && p.Collapsed {
			inside, bottom := []object{}, p.Y+1
			for i+1 < len(sorted) && sorted[i+1].Type != TypeRow {
				i++
				id++
				inside = append(inside, grafanaPanelOf(sorted[i], id, down, use))
				bottom = max(bottom, sorted[i].Y+sorted[i].H)
			}
			out["panels"] = inside
			down += bottom - p.Y - 1
		}
		panels = append(panels, out)
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(object{
		"title": b.Title, "description": b.Description, "schemaVersion": 39, "editable": true, "graphTooltip": 1,
		"time": object{"from": "now-1h", "to": "now"}, "refresh": "30s", "tags": []string{"clanmon"},
		"templating": object{"list": variables}, "annotations": object{"list": []object{}}, "panels": append([]object{}, panels...),
	})
	return text.Bytes(), err
}

func grafanaVariableOf(v Variable, use object) object {
	out := object{"name": v.Name, "multi": v.Multi, "includeAll": v.All, "hide": 0, "skipUrlSync": false}
	if v.Label != "" {
		out["label"] = v.Label
	}
	if v.Hidden {
		out["hide"] = 2
	}
	if v.AllValue != "" {
		out["allValue"] = v.AllValue
	}
	if len(v.Value) > 0 {
		value := any(v.Value[0])
		if v.Multi {
			value = v.Value
		}
		out["current"] = object{"text": value, "value": value}
	}
	query := func(text string) {
		out["type"], out["datasource"], out["refresh"], out["regex"] = "query", use, 2, v.Regex
		out["definition"], out["query"] = text, object{"query": text, "refId": "StandardVariableQuery"}
	}
	switch v.Kind {
	case KindMachine:
		query("label_values(clanmon_machine_info, machine)")
		out["includeAll"], out["allValue"] = true, ".+"
	case KindTag: // a tag stands for the machines that have it
		query("label_values(clanmon_machine_info, machine)")
		out["includeAll"], out["allValue"], out["multi"] = true, ".+", true
	case KindQuery:
		query(v.Query)
	case KindCustom, KindInterval:
		var values []string
		for _, value := range v.Values {
			if v.Kind == KindInterval && value == "auto" {
				out["auto"], out["auto_count"], out["auto_min"] = true, 30, "10s"
				continue
			}
			values = append(values, strings.ReplaceAll(value, ",", `\,`))
		}
		out["type"], out["query"] = v.Kind, strings.Join(values, ",")
	case KindText:
		out["type"], out["query"] = "textbox", strings.Join(v.Value, "")
	case KindConstant:
		out["type"], out["query"] = "constant", strings.Join(v.Value, "")
	}
	return out
}

// The type of a panel in Grafana.
var grafanaTypes = map[string]string{
	TypeChart: "timeseries", TypeStat: "stat", TypeGauge: "gauge", TypeBars: "bargauge", TypeTable: "table", TypeText: "text", TypeRow: "row",
}

var grafanaUnits = map[string]string{
	"none": "short", "count": "short", "ratio": "percentunit", "percent": "percent", "bytes": "bytes", "bytesps": "Bps", "bitsps": "bps",
	"seconds": "s", "milliseconds": "ms", "celsius": "celsius", "perSecond": "ops", "hertz": "hertz", "volts": "volt", "watts": "watt", "rpm": "rotrpm",
}

var grafanaColors = map[string]string{"none": "text", "ok": "green", "warn": "orange", "crit": "red", "": "text"}

// ownRate and ownStep are what clanmon's own charts have in place of Grafana's variables.
var (
	ownRate = regexp.MustCompile(`\$rate\b`)
	ownStep = regexp.MustCompile(`\$step\b`)
)

func grafanaPanelOf(p Panel, id, down int, use object) object {
	out := object{
		"id": id, "type": grafanaTypes[p.Type], "title": p.Title,
		"gridPos": gridPos{X: p.X, Y: p.Y - down, W: p.W, H: p.H},
	}
	if p.Description != "" {
		out["description"] = p.Description
	}
	if p.Repeat != "" {
		out["repeat"] = p.Repeat
		if p.Type != TypeRow {
			out["repeatDirection"] = "h"
			if p.Down {
				out["repeatDirection"] = "v"
			}
		}
		if p.PerLine > 0 {
			out["maxPerRow"] = p.PerLine
		}
	}
	switch p.Type {
	case TypeRow:
		out["collapsed"], out["panels"] = p.Collapsed, []object{}
		return out
	case TypeText:
		out["options"] = object{"mode": "markdown", "content": p.Text}
		return out
	}
	out["datasource"] = use
	var targets, overrides []object
	for i, q := range p.Queries {
		ref := string(rune('A' + i))
		t := object{"refId": ref, "datasource": use, "expr": ownStep.ReplaceAllString(ownRate.ReplaceAllString(q.Expr, "$$__rate_interval"), "$$__interval"), "legendFormat": cmp.Or(q.Legend, "__auto")}
		if p.Type == TypeTable {
			t["format"], t["instant"] = "table", true
		}
		targets = append(targets, t)
		if q.Negate {
			overrides = append(overrides, object{
				"matcher":    object{"id": "byFrameRefID", "options": ref},
				"properties": []object{{"id": "custom.transform", "value": "negative-Y"}},
			})
		}
	}
	out["targets"] = targets
	defaults := object{"custom": object{}}
	if u := grafanaUnits[p.Unit]; u != "" {
		defaults["unit"] = u
	}
	if p.Min != nil {
		defaults["min"] = *p.Min
	}
	if p.Max != nil {
		defaults["max"] = *p.Max
	}
	steps := []object{{"color": grafanaColors[p.Base], "value": nil}}
	for _, t := range p.Thresholds {
		steps = append(steps, object{"color": grafanaColors[t.Kind], "value": t.Value})
	}
	defaults["thresholds"] = object{"mode": "absolute", "steps": steps}
	if m := grafanaMappings(p.Mappings); len(m) > 0 {
		defaults["mappings"] = m
	}
	if p.Type == TypeChart {
		custom := object{"showPoints": "never"}
		switch p.Kind {
		case "area":
			custom["fillOpacity"] = 20
		case "stacked":
			custom["fillOpacity"], custom["stacking"] = 40, object{"mode": "normal", "group": "A"}
		}
		if len(p.Thresholds) > 0 {
			custom["thresholdsStyle"] = object{"mode": "line"}
		}
		defaults["custom"] = custom
	} else {
		out["options"] = object{"reduceOptions": object{"calcs": []string{cmp.Or(grafanaCalcs[p.Calc], "lastNotNull")}, "values": false}}
	}
	out["fieldConfig"] = object{"defaults": defaults, "overrides": append([]object{}, overrides...)}
	return out
}

var grafanaCalcs = map[string]string{"mean": "mean", "min": "min", "max": "max", "sum": "sum"}

func grafanaMappings(all []Mapping) []object {
	var out []object
	for i, m := range all {
		result := object{"text": m.Text, "index": i}
		if m.Kind != "" {
			result["color"] = grafanaColors[m.Kind]
		}
		if m.From != nil && m.To != nil && *m.From == *m.To {
			out = append(out, object{"type": "value", "options": object{strconv.FormatFloat(*m.From, 'g', -1, 64): result}})
			continue
		}
		limits := object{"from": nil, "to": nil, "result": result}
		for key, v := range map[string]*float64{"from": m.From, "to": m.To} {
			if v != nil {
				limits[key] = *v
			}
		}
		out = append(out, object{"type": "range", "options": limits})
	}
	return out
}

// String shortens an import's result for a terminal.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d panels imported\n", r.Imported, r.Panels)
	for _, p := range r.Problems {
		what := "changed"
		if p.Missing {
			what = "left out"
		}
		fmt.Fprintf(&b, "%s: %s: %s\n", what, cmp.Or(p.Where, "dashboard"), p.Why)
	}
	return b.String()
}
