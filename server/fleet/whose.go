package fleet

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
)

// Whose returns what names the machine of a series, as machines are known now; "" if it is of
// none of them.
func (f *Fleet) Whose() func(labels.Labels) string {
	judged := f.refresh(context.Background(), never).machines
	subjects := make(map[string]*subject, len(judged))
	for name, j := range judged {
		subjects[name] = j.subject
	}
	return newFinder(subjects).machine
}
