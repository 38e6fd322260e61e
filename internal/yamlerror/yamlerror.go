// Package yamlerror puts errors of the YAML library in the words of those who write YAML, without
// what their files contain: it may be a secret.
package yamlerror

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v2"
)

var (
	value   = regexp.MustCompile("(?s) `.*?` (into|as a) ")
	anchor  = regexp.MustCompile(`unknown anchor '.*' referenced`)
	unknown = regexp.MustCompile(`(?s)field (.*?) (not found|already set) in `)
	name    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	quoted  = regexp.MustCompile(`(?s) ".*"`)
)

// Hide takes values out of an error of a YAML file. Names of keys stay, unless they look as if they
// were a value too, such as "password:x" without a space.
func Hide(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok {
		text = strings.ReplaceAll(text, u.Error(), "not a URL: "+quoted.ReplaceAllString(u.Err.Error(), ""))
	}
	if text = hide(text); text == err.Error() {
		return err
	}
	return errors.New(text)
}

func hide(text string) string {
	text = value.ReplaceAllString(text, " $1 ")
	text = anchor.ReplaceAllString(text, "a value that begins with '*' must be quoted")
	return unknown.ReplaceAllStringFunc(text, func(found string) string {
		m := unknown.FindStringSubmatch(found)
		if name.MatchString(m[1]) {
			return found
		}
		return "field … (': ' is missing after its name) " + m[2] + " in "
	})
}

// Readable takes values and the names of Go types out of an error of
// yaml.UnmarshalStrict. The keys that a file may have are valid; a message about an
// unknown key ends with them.
func Readable(err error, valid string) error {
	e, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return Hide(err)
	}
	for i, text := range e.Errors {
		text = hide(text)
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
	case "uint":
		return "a number of 0 or more"
	case "string":
		return "a string"
	case "[]string":
		return "a list"
	}
	return "a map"
}
