// Package badflag finds the flag whose value kingpin refused: its error is that
// of the value alone. It keeps nothing.
package badflag

import "github.com/alecthomas/kingpin/v2"

// Explain names the flag in front of err, which app.Parse(args) returned, where
// a value was the reason. It sets the values once more, so app must not be used
// after it.
func Explain(app *kingpin.Application, args []string, err error) string {
	given, parseErr := app.ParseContext(args)
	if parseErr != nil {
		return err.Error()
	}
	for _, e := range given.Elements {
		flag, ok := e.Clause.(*kingpin.FlagClause)
		if !ok || e.Value == nil {
			continue
		}
		m := flag.Model()
		if again := m.Value.Set(*e.Value); again != nil && again.Error() == err.Error() {
			return "--" + m.Name + ": " + err.Error()
		}
	}
	return err.Error()
}
