package server_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/ruler"
	"github.com/clanmon/clanmon/server/servertest"
)

// runbooks are the sections of docs/runbooks.md by the alert that they are of.
func runbooks(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/runbooks.md")
	require.NoError(t, err)
	all := make(map[string]string)
	for _, part := range regexp.MustCompile(`(?m)^##+ `).Split(string(text), -1) {
		name, section, _ := strings.Cut(part, "\n")
		if regexp.MustCompile(`^[A-Z]\w+$`).MatchString(name) && strings.Contains(section, "Severity `") {
			require.NotContains(t, all, name, "twice")
			all[name] = section
		}
	}
	return all
}

// Every alert that is built in has a section, every section is of such an alert, and
// says its severity, how long it takes to fire, its settings and how to disable it, as
// they are now.
func TestEveryAlertHasARunbook(t *testing.T) {
	sections := runbooks(t)
	shipped, err := ruler.NewShipped(ruler.ShippedOptions{})
	require.NoError(t, err)
	flag := regexp.MustCompile(`--rules\.(?:set|disable)=(\w+)`)
	for _, r := range shipped.Info() {
		if r.Type != "alerting" {
			continue
		}
		text, ok := sections[r.Name]
		if !ok {
			t.Errorf("docs/runbooks.md has no section %s", r.Name)
			continue
		}
		delete(sections, r.Name)
		for _, s := range r.Settings {
			value := fmt.Sprintf("%s=%v", s.Name, s.Default)
			switch {
			case s.Name == "severity":
				require.Contains(t, text, fmt.Sprintf("Severity `%v`", s.Default), r.Name)
			case s.Name == "for" && s.Default != "0s":
				require.Contains(t, text, fmt.Sprintf("fires after `%v`", s.Default), r.Name)
				require.Contains(t, text, value, r.Name)
			case s.Name == "for":
				require.NotContains(t, text, "fires after", r.Name)
			case s.Name == "keep_firing_for": // of every rule, see the first section
			default:
				if _, pattern := s.Default.(string); pattern {
					value = fmt.Sprintf("%s.%s=", r.Name, s.Name)
				}
				require.Contains(t, text, value, r.Name)
			}
		}
		require.Contains(t, text, r.Disable+"`")
		for _, f := range flag.FindAllStringSubmatch(text, -1) {
			require.Equal(t, r.Name, f[1], "a flag of another rule")
		}
		// Every flag that a section gives as an example is one that works.
		for _, f := range regexp.MustCompile("`--rules\\.set=([^`]+)`").FindAllStringSubmatch(text, -1) {
			_, err := ruler.NewShipped(ruler.ShippedOptions{Set: []string{strings.ReplaceAll(f[1], "'", "")}})
			require.NoError(t, err)
		}
	}
	source, err := os.ReadFile("vitals.go")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`"alertname", "(\w+)"`).FindAllSubmatch(source, -1) {
		name := string(m[1])
		if name == "MachineDown" { // raised by a rule too
			continue
		}
		require.Contains(t, sections, name, "an alert of this process without a runbook")
		require.Contains(t, sections[name], "It cannot be disabled")
		delete(sections, name)
	}
	require.Empty(t, sections, "runbooks of alerts that do not exist")
}

// The link of an alert leads to a page of this server, behind a prefix too.
func TestRunbookLinkWorks(t *testing.T) {
	s := servertest.Start(t, "{}", func(o *server.Options) {
		o.Web.ExternalURL.Path = "/mon"
		o.Web.RoutePrefix = "/mon"
	})
	shipped, err := ruler.NewShipped(ruler.ShippedOptions{})
	require.NoError(t, err)
	n := 0
	for _, g := range shipped.Groups().Groups {
		for _, r := range g.Rules {
			link, ok := r.Annotations["runbook_url"]
			require.Equal(t, r.Alert != "", ok, r.Record)
			if !ok {
				continue
			}
			path, found := strings.CutPrefix(link, "{{ externalURL }}")
			require.True(t, found, link)
			require.Equal(t, "/runbooks/"+r.Alert, path)
			n++
			if n > 3 {
				continue
			}
			res, err := http.Get(s.URL("/mon" + path))
			require.NoError(t, err)
			res.Body.Close()
			require.Equal(t, http.StatusOK, res.StatusCode, link)
			require.Contains(t, res.Header.Get("Content-Type"), "text/html")
		}
	}
	require.Greater(t, n, 50)
}
