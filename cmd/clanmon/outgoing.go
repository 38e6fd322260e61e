package main

import (
	"strings"

	"github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/engine"
)

// receivers is a repeatable flag of URLs that samples are sent to.
type receivers []config.Receiver

func (r *receivers) IsCumulative() bool { return true }

func (r *receivers) String() string {
	var all []string
	for _, one := range *r {
		all = append(all, one.Redacted())
	}
	return strings.Join(all, ",")
}

func (r *receivers) Set(text string) error {
	one, err := config.ParseReceiver(text)
	if err != nil {
		return err
	}
	*r = append(*r, one)
	return nil
}

// externalLabels is a repeatable flag of labels.
type externalLabels []config.Label

func (l *externalLabels) IsCumulative() bool { return true }

func (l *externalLabels) String() string {
	var all []string
	for _, one := range *l {
		all = append(all, one.Name+"="+one.Value)
	}
	return strings.Join(all, ",")
}

func (l *externalLabels) Set(text string) error {
	one, err := config.ParseLabel(text)
	if err != nil {
		return err
	}
	*l = append(*l, one)
	return nil
}

// engineURL is --query.url.
type engineURL engine.Settings

func (u *engineURL) String() string {
	if u.URL == nil {
		return ""
	}
	return u.URL.Redacted()
}

func (u *engineURL) Set(text string) (err error) {
	u.URL, err = engine.ParseURL(text)
	return err
}
