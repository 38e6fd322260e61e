package checks

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"https://cloud.example.org":             "cloud.example.org https://cloud.example.org cloud.example.org:443",
		"cloud=https://cloud.example.org/x?y=1": "cloud https://cloud.example.org/x?y=1 cloud.example.org:443",
		"https://example.org/?a=b":              "example.org https://example.org/?a=b example.org:443",
		"mail=smtp+starttls://mail":             "mail smtp+starttls://mail mail:25",
		"nas=ping://10.0.0.9":                   "nas ping://10.0.0.9 10.0.0.9",
		"v6=ping://[fd00::1]":                   "v6 ping://[fd00::1] fd00::1",
		"dns://10.0.0.1/example.org":            "10.0.0.1 dns://10.0.0.1/example.org 10.0.0.1:53",
		"ssh=tcp://hub:22":                      "ssh tcp://hub:22 hub:22",
		"https://[fd00::1]:8443":                "fd00::1:8443 https://[fd00::1]:8443 [fd00::1]:8443",
	} {
		c, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, fmt.Sprintf("%s %s %s", c.Name, c.Instance(), c.HostPort()), text)
		require.Equal(t, time.Minute, c.Every)
		require.Equal(t, 10*time.Second, c.Timeout)
		require.Equal(t, "warning", c.Severity)
	}
}

func TestWrongChecksAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "url is missing",
		"cloud.example.org":     "must be SCHEME://HOST with a scheme of https",
		"x=cloud":               "must be SCHEME://HOST",
		"ftp://example.org":     `unknown scheme "ftp"; one of https`,
		"file:///etc/passwd":    `unknown scheme "file"`,
		"https://alice:pw@host": "has a password, which would be shown",
		"https://al:x/pw@ho":    "not a URL",
		"https://":              "has no host",
		"tcp://hub":             "has no port",
		"ping://hub:7":          "ping has none",
		"dns://10.0.0.1":        "dns://SERVER/NAME",
		"tcp://hub:22/x":        "has a path; tcp has none",
		"https://host:0":        "port 0",
		"https://ho st":         "must be SCHEME://HOST",
		"a b=https://host":      `name "a b"`,
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "pw@")
	}
	seconds := func(n int) *model.Duration { d := model.Duration(time.Duration(n) * time.Second); return &d }
	number := func(n int) *int { return &n }
	for want, change := range map[string]func(*Section){
		"every: 1s must be between 5s and 2m":                        func(s *Section) { s.Every = seconds(1) },
		"every: 1h must be between 5s and 2m":                        func(s *Section) { s.Every = seconds(3600) },
		"timeout: 2m must be between 100ms and 59s":                  func(s *Section) { s.Timeout = seconds(120) },
		"expect.status: 42 is not an HTTP status code":               func(s *Section) { s.Expect.Status = []int{42} },
		"expect.body: \"(\" is not a regular expression":             func(s *Section) { s.Expect.Body = "(" },
		"expect.certificateDays: 400 must be between 0 and 365":      func(s *Section) { s.Expect.CertificateDays = number(400) },
		`severity: "loud" must be warning or critical`:               func(s *Section) { s.Severity = "loud" },
		"machine: machine name":                                      func(s *Section) { s.Machine = "a b" },
		"expect.status and expect.body are for http:// and https://": func(s *Section) { s.URL, s.Expect.Status = "ping://h", []int{200} },
	} {
		s := Section{URL: "https://host"}
		change(&s)
		_, err := s.Complete("x")
		require.ErrorContains(t, err, want)
	}
	one, _ := Parse("x=https://a")
	all, err := Add(nil, one)
	require.NoError(t, err)
	_, err = Add(all, one)
	require.ErrorContains(t, err, `check "x" exists twice`)
	for i := range maxChecks - 1 {
		c := one
		c.Name = fmt.Sprint(i)
		all, err = Add(all, c)
		require.NoError(t, err)
	}
	one.Name = "more"
	_, err = Add(all, one)
	require.ErrorContains(t, err, "more than 1000 checks")
}
