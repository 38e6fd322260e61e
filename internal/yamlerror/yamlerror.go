// Package yamlerror puts errors of the YAML library in the words of those who write YAML.
package yamlerror

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v2"
)

// Readable takes the names of Go types out of an error of
// yaml.UnmarshalStrict. The keys that a file may have are valid; a message about an
// unknown key ends with them.
func Readable(err error, valid string) error {
	e, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	for i, text := range e.Errors {
		if before, _, ok := strings.Cut(text, " not found in type "); ok {
			text = before + " is unknown; valid are " + valid
		} else if before, typ, ok := strings.Cut(text, " into "); ok {
			text = before + ": it must be " + kind(typ)
		}
		e.Errors[i] = text
	}
	return e
}

// kind is what a Go type is to those who write YAML.
func kind(typ string) string {
	switch typ {
	case "bool":
		return "true or false"
	case "int":
		return "a number"
	case "string":
		return "a string"
	case "[]string":
		return "a list"
	}
	return "a map"
}
