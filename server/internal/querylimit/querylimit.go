// Package querylimit refuses PromQL that would take too long to read, before anybody
// reads it. Parsing, printing and formatting take time and memory by the square or
// the cube of how deeply an expression nests, and know no timeout.
package querylimit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/clanmon/clanmon/server/internal/pattern"
)

// Limits of what clients ask for. Rules are the operator's and are not limited. Safe
// for concurrent use.
type Limits struct {
	// Length is the size of an expression in bytes, with repetitions in regular
	// expressions written out. 0 sets no limit.
	Length int
	// Nesting is how many operators, functions and brackets may be within each other;
	// in a chain such as a + b + c each operator is within the next one. 0 sets no limit.
	Nesting int
}

// The flags that set the limits.
const (
	lengthFlag  = "--query.max-length"
	nestingFlag = "--query.max-nesting"
)

// Check returns an error that names the flag if the expressions of one request,
// taken together, are over a limit. Whether they are correct is for others to say.
func (l Limits) Check(exprs ...string) error {
	length := 0
	for _, e := range exprs {
		length += len(e)
	}
	if l.Length > 0 && length > l.Length {
		return fmt.Errorf("the query has %d bytes; %s allows %d", length, lengthFlag, l.Length)
	}
	if l.Nesting > 0 && len(exprs) > l.Nesting {
		return fmt.Errorf("%d selectors in one request; %s allows %d", len(exprs), nestingFlag, l.Nesting)
	}
	patterns := 0
	for _, e := range exprs {
		if err := l.scan(e, &patterns); err != nil {
			return err
		}
	}
	return nil
}

// scan looks at the words of an expression. patterns counts, over all expressions,
// the bytes that regular expressions take.
func (l Limits) scan(expr string, patterns *int) error {
	var item parser.Item
	levels := []level{{}}
	for lex := parser.Lex(expr); ; {
		lex.NextItem(&item)
		top := &levels[len(levels)-1]
		switch {
		case item.Typ == parser.EOF || item.Typ == parser.ERROR:
			// Brackets that are still open are the parser's to complain about.
			return nil
		case item.Typ == parser.STRING:
			*patterns += patternSize(item.Val)
		case item.Typ == parser.EQL_REGEX || item.Typ == parser.NEQ_REGEX:
			*patterns += pattern.Least
		case item.Typ == parser.LEFT_PAREN || item.Typ == parser.LEFT_BRACE:
			levels = append(levels, level{})
		case item.Typ == parser.LEFT_BRACKET:
			top.operator() // a range or subquery is around what it is behind
			levels = append(levels, level{})
		case item.Typ == parser.RIGHT_PAREN || item.Typ == parser.RIGHT_BRACE || item.Typ == parser.RIGHT_BRACKET:
			if len(levels) > 1 {
				levels = levels[:len(levels)-1]
				levels[len(levels)-1].operand(top.closed())
			}
		case item.Typ == parser.COMMA:
			top.comma()
		case item.Typ.IsOperator():
			top.operator()
		}
		if l.Length > 0 && *patterns > l.Length*pattern.PerByte {
			return fmt.Errorf("the query's regular expressions take %d KiB of memory or more; %s allows %d", *patterns>>10, lengthFlag, l.Length*pattern.PerByte>>10)
		}
		if l.Nesting <= 0 {
			continue
		}
		if now := levels[len(levels)-1].tree(); max(len(levels)-1, now.height) > l.Nesting || now.depths > l.Nesting*l.Nesting {
			return fmt.Errorf("the query has too many operators, functions or brackets within each other; %s allows %d", nestingFlag, l.Nesting)
		}
	}
}

// patternSize is how many bytes a string of the query takes if it is a regular
// expression, as the argument of a function may be, too.
func patternSize(quoted string) int {
	if !strings.ContainsAny(quoted, `{[\`) {
		return 0 // takes no more than its length allows
	}
	text, err := strutil.Unquote(quoted)
	if err != nil {
		return 0
	}
	return pattern.Size(text)
}

// tree is what is known of an expression: how many nodes it has, the sum of their
// depths, and an upper bound of its height. Nodes are operators and brackets.
type tree struct{ nodes, depths, height int }

// level is what is within the same brackets.
type level struct {
	done      tree // arguments before the last comma
	now       tree // the operands so far; its height is that of the highest
	operators int
}

// operator puts what was before it one deeper, as with operators of equal precedence.
// With others the sum of depths is less and the height at most the same.
func (l *level) operator() {
	l.now.nodes++
	l.now.depths += l.now.nodes
	l.operators++
}

func (l *level) operand(t tree) {
	deeper := min(l.operators, 1)
	l.now.nodes += t.nodes
	l.now.depths += t.depths + deeper*t.nodes
	l.now.height = max(l.now.height, t.height)
}

func (l *level) comma() {
	l.done = l.tree()
	l.now, l.operators = tree{}, 0
}

func (l *level) tree() tree {
	return tree{
		nodes:  l.done.nodes + l.now.nodes,
		depths: l.done.depths + l.now.depths,
		height: max(l.done.height, l.now.height+l.operators),
	}
}

// closed is the level as an operand of what is around it.
func (l *level) closed() tree {
	t := l.tree()
	return tree{t.nodes + 1, t.depths + t.nodes + 1, t.height + 1}
}

// Parser returns p, which checks before it parses.
func (l Limits) Parser(p parser.Parser) parser.Parser { return limitedParser{p, l} }

type limitedParser struct {
	parser.Parser
	limits Limits
}

func (p limitedParser) ParseExpr(input string) (parser.Expr, error) {
	if err := p.limits.Check(input); err != nil {
		return nil, err
	}
	return p.Parser.ParseExpr(input)
}

func (p limitedParser) ParseMetric(input string) (labels.Labels, error) {
	if err := p.limits.Check(input); err != nil {
		return labels.EmptyLabels(), err
	}
	return p.Parser.ParseMetric(input)
}

func (p limitedParser) ParseMetricSelector(input string) ([]*labels.Matcher, error) {
	if err := p.limits.Check(input); err != nil {
		return nil, err
	}
	return p.Parser.ParseMetricSelector(input)
}

func (p limitedParser) ParseMetricSelectors(inputs []string) ([][]*labels.Matcher, error) {
	if err := p.limits.Check(inputs...); err != nil {
		return nil, err
	}
	return p.Parser.ParseMetricSelectors(inputs)
}

// Engine returns e, which checks before it takes a query.
func (l Limits) Engine(e promql.QueryEngine) promql.QueryEngine { return limitedEngine{e, l} }

type limitedEngine struct {
	promql.QueryEngine
	limits Limits
}

func (e limitedEngine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	if err := e.limits.Check(qs); err != nil {
		return nil, err
	}
	return e.QueryEngine.NewInstantQuery(ctx, q, opts, qs, ts)
}

func (e limitedEngine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error) {
	if err := e.limits.Check(qs); err != nil {
		return nil, err
	}
	return e.QueryEngine.NewRangeQuery(ctx, q, opts, qs, start, end, interval)
}
