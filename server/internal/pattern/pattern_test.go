package pattern

import (
	"regexp/syntax"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestSizeIsWhatCompilingTakes(t *testing.T) {
	for _, expr := range []string{
		"", "a", "abc|def", "a{1000}", "(ab{2,30}c?){10}", `\pL`, `[^\pL]{5}`, strings.Repeat("machine|", 500), ".*", "(?i)straße", "x{0}", "(a*)+",
	} {
		re, err := syntax.Parse(expr, syntax.Perl|syntax.DotNL)
		require.NoError(t, err)
		prog, err := syntax.Compile(re.Simplify())
		require.NoError(t, err)
		compiled := len(prog.Inst) * int(unsafe.Sizeof(syntax.Inst{}))
		seen := make(map[*rune]bool)
		for _, i := range prog.Inst {
			if len(i.Rune) > 0 && !seen[&i.Rune[0]] {
				seen[&i.Rune[0]] = true
				compiled += 4 * len(i.Rune)
			}
		}
		require.GreaterOrEqual(t, 3*Size(expr)+200, compiled, expr)
	}
	require.Equal(t, 0, Size("(")) // for others to complain about
}

func TestPerByte(t *testing.T) {
	for _, expr := range []string{strings.Repeat("a", 1000), strings.Repeat("name|", 1000), strings.Repeat("a.b", 100)} {
		require.LessOrEqual(t, Size(expr), PerByte*len(expr)+instruction, expr)
	}
}
