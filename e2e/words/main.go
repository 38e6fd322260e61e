// Command words looks for phrases that readers stumble over, in documents, in the
// strings of the code, and in the texts of rules, pages and Nix options. It prints each
// with what to write instead, and exits with 1 if it finds one. It does not read
// comments and tests.
//
// A line that means a phrase has "words: meant" in a comment, in Markdown
// <!-- words: meant -->.
package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A phrase is what not to write, and what to write instead.
type phrase struct {
	pattern *regexp.Regexp
	write   string
}

var phrases = []phrase{
	{phraseOf(`(?:\b[A-Za-z_]+[^ a-z]* (?:is|are) no) (?:[a-z]+)`), `"is not a …": "tags are not labels"`},
	{phraseOf(`^(?:Most|Longest|Shortest|Highest) [a-z ]+ (?:that|at one)\b`), `"Maximum number of …", "Minimum time …"`},
	{phraseOf(`\b(?:has|have) to be\b(?: able)?`), `"must be"`},
	{phraseOf(`\bat one time\b|\bat the same time\b`), `"concurrent", "simultaneous", "at once"`},
	{phraseOf(`\bfor ever\b|\bmeanwhile\b|\bever more (?:rarely|slowly)\b|\bhas not got\b|\bhave not got\b`), `"indefinitely", "until then", "with back-off", "lacks"`},
	{phraseOf(`\b[Bb]eside (?:it|them|this|that|these|those|the|its|their|what)\b`), `"in addition to", "next to"`},
	{phraseOf(`\b(?:is|are|was|were|be|being|been) told\b|\btells (?:people|somebody|you)\b`), `"is notified", "is not sent"`},
	{phraseOf(`\brules? in the binary\b|\brules? of the binary\b|\bthe shipped rules?\b`), `"built-in rule"`},
	{phraseOf(`\b(?:is|are|was|were) asked\b|\bno answer\b|\b(?:does|do|did) not answer\b`), `"is scraped", "is queried", "does not respond"`},
	{phraseOf(`\bkinds? (?:node|systemd|nginx|postgres|redis)\b`), `"the node exporter"`},
	{phraseOf(`\b[Ff]igures of\b|\bthe begin\b|\banswer of now\b`), `"values", "the start", "the current value"`},
	{phraseOf(`, for (?:it|they|he|there|this|nobody|no|every|each) [a-z]+`), `"because"`},
	{phraseOf(`\bon the disk\b`), `"persisted", "stored"`},
	{phraseOf(`\bfor want of\b`), `"out of"`},
}

func phraseOf(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

// fine are matches that are English: "there is no", "is no longer", "has to be able".
var fine = regexp.MustCompile(`^(?:there|There|it|which) |no (?:longer|more|such)$|able$`)

// find returns the phrases of a text, each with what to write instead.
func find(text string) []string {
	var found []string
	for _, p := range phrases {
		for _, m := range p.pattern.FindAllString(text, -1) {
			if !fine.MatchString(m) {
				found = append(found, fmt.Sprintf("%q: write %s", m, p.write))
			}
		}
	}
	return found
}

// A line is text for readers.
type line struct {
	number int
	text   string
}

var marked = regexp.MustCompile(`words: meant`)

// linesOf returns what readers see of a file; nothing where nobody does.
func linesOf(path string, text []byte) ([]line, error) {
	switch ext := filepath.Ext(path); {
	case strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".test.yml") || strings.HasSuffix(path, ".test.ts"):
		return nil, nil
	case ext == ".go" && !strings.HasPrefix(path, "e2e"):
		return literalsOf(path, text)
	case ext == ".md":
		return split(text), nil
	case ext == ".yml" && strings.HasPrefix(path, "server/ruler/rules"), ext == ".nix" && strings.HasPrefix(path, "nix") && !strings.HasPrefix(path, "nix/tests"):
		return split(text, "#"), nil
	case (ext == ".ts" || ext == ".tsx") && strings.HasPrefix(path, "web/ui/src"):
		return split(text, "//", "/*", "*"), nil
	}
	return nil, nil
}

// split returns the lines of a text that do not begin with a comment.
func split(text []byte, comments ...string) []line {
	var all []line
	for at, l := range strings.Split(string(text), "\n") {
		meant := marked.MatchString(l)
		if i := strings.Index(l, " // "); i >= 0 && slices.Contains(comments, "//") {
			l = l[:i]
		}
		comment := slices.ContainsFunc(comments, func(c string) bool { return strings.HasPrefix(strings.TrimSpace(l), c) })
		if !comment && !meant {
			all = append(all, line{at + 1, l})
		}
	}
	return all
}

// literalsOf returns the string literals of a Go file, but for import paths.
func literalsOf(path string, text []byte) ([]line, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		return nil, err
	}
	source := strings.Split(string(text), "\n")
	var all []line
	ast.Inspect(tree, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		s, err := strconv.Unquote(lit.Value)
		at := set.Position(lit.Pos()).Line
		if err == nil && strings.Contains(s, " ") && !marked.MatchString(source[at-1]) {
			all = append(all, line{at, s})
		}
		return true
	})
	return all, nil
}

func check(root string) (found []string, _ error) {
	return found, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"node_modules", "dist", "bin"}, d.Name())) {
				return filepath.SkipDir
			}
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines, err := linesOf(filepath.ToSlash(name), text)
		for _, l := range lines {
			for _, f := range find(l.text) {
				found = append(found, fmt.Sprintf("%s:%d: %s", name, l.number, f))
			}
		}
		return err
	})
}

func main() {
	found, err := check(".")
	for _, f := range found {
		fmt.Println(f)
	}
	if len(found) > 0 {
		err = errors.Join(err, fmt.Errorf("%d phrases to rewrite; a line that means one has the comment \"words: meant\"", len(found)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
		os.Exit(1)
	}
}
