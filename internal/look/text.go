package look

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible is text in which nothing acts on who shows it: escapes of terminals, other
// control characters and marks that turn the direction of the text around are
// written out, as are bytes that are no UTF-8. Tabs and the ends of lines stay.
func Visible(text string) string {
	if !strings.ContainsFunc(text, acts) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !acts(r):
			b.WriteRune(r)
		case r < ' ':
			b.WriteRune('\u2400' + r) // ␛ for an escape
		default:
			fmt.Fprintf(&b, "<U+%04X>", r)
		}
	}
	return b.String()
}

// acts reports whether a character does something instead of being shown.
func acts(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) || r == '\uFEFF')
}
