package integration

import (
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/template"
)

// Templates are those that notifications are made of: Alertmanager's, ours, and those of
// the files, each of which may replace one of those before it.
func Templates(files []string) (*template.Template, error) {
	t, err := template.FromGlobs(nil)
	if err != nil {
		return nil, err
	}
	if err := t.Parse(strings.NewReader(ours())); err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := t.FromGlob(f); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// common texts. A link to one alert has more than its fingerprint, so that the page can
// say which one it was after it has ended. Alerts that the server makes itself, such as
// a test, are not on a page: they name one.
const commonTexts = `
{{ define "clanmon.link" -}}
{{ if .ExternalURL }}{{ .ExternalURL }}{{ if .CommonAnnotations.clanmon_page }}{{ .CommonAnnotations.clanmon_page }}
{{- else if eq (len .Alerts) 1 }}{{ with index .Alerts 0 }}/alerts?alert={{ printf "%s %s %s" .Fingerprint .Labels.alertname (or .Labels.machine .Labels.instance) | urlquery }}{{ end }}
{{- else }}/alerts{{ with or .GroupLabels.machine .GroupLabels.alertname }}?q={{ . | urlquery }}{{ end }}{{ end }}{{ end }}
{{- end }}
{{ define "__alertmanagerURL" }}{{ template "clanmon.link" . }}{{ end }}

{{ define "clanmon.sign" -}}
{{ $sign := "✅" }}{{ range .Alerts.Firing }}{{ if eq .Labels.severity "critical" }}{{ $sign = "🚨" -}}
{{ else if ne $sign "🚨" }}{{ if eq .Labels.severity "warning" }}{{ $sign = "⚠️" -}}
{{ else if ne $sign "⚠️" }}{{ $sign = "ℹ️" }}{{ end }}{{ end }}{{ end }}{{ $sign }}
{{- end }}

{{ define "clanmon.priority" -}}
{{ if ne .Status "firing" }}-1{{ else }}{{ $p := "-1" }}{{ range .Alerts.Firing }}{{ if eq .Labels.severity "critical" }}{{ $p = "1" -}}
{{ else if and (eq .Labels.severity "warning") (ne $p "1") }}{{ $p = "0" }}{{ end }}{{ end }}{{ $p }}{{ end }}
{{- end }}
`

// A style is how the texts are written for a kind of service. They are bounded so that
// with all escapes they are shorter than the service allows: it would refuse more, or more
// would be cut in the middle of markup, without the link.
type style struct {
	name      string // of the templates, after "clanmon."
	escape    string // what a pipeline needs so that a text is no markup
	on, off   string // of bold text
	lineBreak string // within a text
	link      string // with LINK for the address; "" for none
	most      int    // how many alerts are named
	long      int    // characters of the description of one alert
	short     int    // of the summary, and of the description, of one of many
}

// Services that take a title and a link apart from the text get plain texts; the others
// are here.
var styles = []style{
	{lineBreak: "\n", most: 100, long: 4000, short: 200}, // plain
	{name: ".telegram", on: "<b>", off: "</b>", lineBreak: "\n", // html/template escapes
		link: `<a href="LINK">Open in clanmon</a>`, most: 10, long: 2500, short: 110},
	{name: ".discord", escape: markdown, on: "**", off: "**", lineBreak: "\n",
		link: "[Open in clanmon](LINK)", most: 7, long: 1600, short: 80},
	{name: ".msteams", escape: markdown + ` | reReplaceAll "\n+" "\n\n"`, on: "**", off: "**", lineBreak: "\n\n",
		link: "[Open in clanmon](LINK)", most: 20, long: 4000, short: 200},
	{name: ".slack", escape: ` | reReplaceAll "&" "&amp;" | reReplaceAll "<" "&lt;" | reReplaceAll ">" "&gt;"`, on: "*", off: "*", lineBreak: "\n",
		most: 20, long: 2500, short: 200},
}

// markdown escapes by a backslash, which nobody shows before punctuation.
const markdown = " | reReplaceAll `([\\\\\\x60*_~|<>\\[\\]()#])` `\\$1`"

// styleTexts are the title and the text of a style.
const styleTexts = `
{{ define "clanmon.whatSTYLE" }}{{ printf "%.200s" (or .Annotations.summary .Labels.alertname)ESCAPE }}{{ end }}
{{ define "clanmon.oneOfManySTYLE" }}{{ printf "%.SHORTs" (or .Annotations.summary .Labels.alertname)ESCAPE }}{{ end }}

{{ define "clanmon.titleSTYLE" -}}
{{ if eq .Status "resolved" }}Resolved: {{ else if eq .CommonLabels.severity "critical" }}Critical: {{ end -}}
{{ if eq (len .Alerts) 1 }}{{ template "clanmon.whatSTYLE" (index .Alerts 0) }}{{ else -}}
{{ with .GroupLabels.machine }}{{ printf "%.100s" .ESCAPE }}: {{ end -}}
{{ if eq .Status "firing" }}{{ len .Alerts.Firing }}{{ else }}{{ len .Alerts }}{{ end }} × {{ printf "%.100s" (or .CommonLabels.alertname "alerts")ESCAPE }}{{ end }}
{{- end }}

{{ define "clanmon.textSTYLE" -}}
{{ $many := gt (len .Alerts) 1 }}{{ $long := LONG }}{{ if $many }}{{ $long = SHORT }}{{ end -}}
{{ range $i, $a := .Alerts.Firing }}{{ if lt $i MOST }}{{ if $many }}ON{{ template "clanmon.oneOfManySTYLE" . }}OFFBREAK{{ end -}}
{{ with or .Annotations.description .Annotations.message }}{{ printf "%.*s" $long .ESCAPE }}BREAK{{ end -}}
{{ if not $many }}{{ with .Annotations.runbook_url }}{{ printf "%.500s" . }}BREAK{{ end }}{{ end }}{{ end }}{{ end -}}
{{ if gt (len .Alerts.Firing) MOST }}Showing MOST of {{ len .Alerts.Firing }} firing alerts.BREAK{{ end -}}
{{ $firing := gt (len .Alerts.Firing) 0 -}}
{{ if or $firing $many }}{{ range $i, $a := .Alerts.Resolved }}{{ if lt $i MOST }}{{ if $firing }}Resolved: {{ end }}{{ template "clanmon.oneOfManySTYLE" . }}BREAK{{ end }}{{ end -}}
{{ if gt (len .Alerts.Resolved) MOST }}Showing MOST of {{ len .Alerts.Resolved }} resolved alerts.BREAK{{ end }}{{ end -}}
OPEN
{{- end }}
`

// ours are our templates. "clanmon.title" and "clanmon.text" are plain.
func ours() string {
	all := commonTexts
	for _, s := range styles {
		open := ""
		if s.link != "" {
			link := strings.ReplaceAll(s.link, "LINK", `{{ template "clanmon.link" . }}`)
			open = `{{ if .ExternalURL }}` + link + `{{ end }}`
		}
		all += strings.NewReplacer("STYLE", s.name, "ESCAPE", s.escape, "ON", s.on, "OFF", s.off, "BREAK", s.lineBreak, "OPEN", open,
			"MOST", strconv.Itoa(s.most), "LONG", strconv.Itoa(s.long), "SHORT", strconv.Itoa(s.short)).Replace(styleTexts)
	}
	return all
}
