// Package pattern tells how much memory a regular expression takes once it is
// compiled. A few characters are enough for a lot: a{1000} is a thousand
// instructions, \pL a table of all letters.
package pattern

import "regexp/syntax"

// PerByte is how many bytes at most one character of an expression without
// repetitions and named classes takes.
const PerByte = instruction + perRune

// Least is how many bytes the shortest expression takes.
const Least = 2 << 10

const (
	instruction = 40 // the size of syntax.Inst
	perRune     = 4
)

// Size returns about how many bytes expr takes, or 0 if it is not a regular
// expression. It reads expr as Prometheus does and compiles nothing.
func Size(expr string) int {
	re, err := syntax.Parse(expr, syntax.Perl|syntax.DotNL)
	if err != nil {
		return 0
	}
	return size(re)
}

func size(re *syntax.Regexp) int {
	total := instruction + perRune*len(re.Rune)
	if re.Op == syntax.OpLiteral {
		total = (instruction + perRune) * len(re.Rune)
	}
	for _, sub := range re.Sub {
		total += size(sub)
	}
	if re.Op == syntax.OpRepeat {
		// What may be repeated for ever is written out as often as it has to be there.
		total *= max(re.Min, re.Max, 1)
	}
	return total
}
