// Command retest runs go test, and each test that failed once more, alone. Tests with real
// browsers, service managers and networks, side by side on two cores, sometimes fail because
// of each other. A test that passes alone is called unsteady, with what it printed the first
// time; it is to be mended, but does not stop a landing.
//
//	go run ./e2e/retest FLAGS... -- PACKAGES...
//
// It runs again at most three tests. A data race, a panic, a timeout, and a package that does not
// build or fails outside its tests, are final.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

const most = 3

func main() {
	flags, packages := os.Args[1:], []string(nil)
	if i := slices.Index(flags, "--"); i >= 0 {
		flags, packages = flags[:i], flags[i+1:]
	}
	if len(packages) == 0 {
		fmt.Fprintln(os.Stderr, "usage: retest FLAGS... -- PACKAGES...")
		os.Exit(2)
	}
	if !passed(os.Stdout, flags, packages) {
		os.Exit(1)
	}
}

// passed runs the tests, and those that failed again, and writes what go test writes.
func passed(out io.Writer, flags, packages []string) bool {
	first, err := run(out, flags, packages)
	if err == nil {
		return true
	}
	if first.final != "" {
		fmt.Fprintf(out, "retest: nothing is run again: %s\n", first.final)
		return false
	}
	if n := len(first.failed); n == 0 || n > most {
		fmt.Fprintf(out, "retest: nothing is run again: %d tests failed, and %v\n", n, err)
		return false
	}
	for _, f := range first.failed {
		fmt.Fprintf(out, "retest: %s of %s once more, alone\n", f.test, f.pkg)
		again := append(slices.Clone(flags), "-count=1", "-run=^"+regexp.QuoteMeta(f.test)+"$", f.pkg)
		if _, err := run(out, again, nil); err != nil {
			return false
		}
	}
	for _, f := range first.failed {
		fmt.Fprintf(out, "retest: UNSTEADY: %s of %s failed among the others and passed alone\n", f.test, f.pkg)
	}
	return true
}

type failure struct{ pkg, test string }

type result struct {
	failed []failure
	final  string // why running again would hide something
}

// run runs go test. Its error is that of the command.
func run(out io.Writer, flags, packages []string) (result, error) {
	cmd := exec.Command("go", slices.Concat([]string{"test"}, flags, packages)...)
	r, w, err := os.Pipe()
	if err != nil {
		return result{}, err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		w.Close()
		return result{}, err
	}
	w.Close()
	read := parse(io.TeeReader(r, out))
	return read, cmd.Wait()
}

var (
	failedTest    = regexp.MustCompile(`^--- FAIL: (\S+) \(`)
	failedPackage = regexp.MustCompile(`^FAIL\t(\S+)`)
	finals        = regexp.MustCompile(`^(panic: |fatal error: |WARNING: DATA RACE|\s+testing\.go:\d+: race detected|FAIL\t.*\[(build|setup) failed\])`)
)

// parse reads what go test printed. It prints one package after the other, and the name of a
// package after its tests.
func parse(text io.Reader) (r result) {
	var tests []string
	lines := bufio.NewReader(text)
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimSuffix(line, "\n")
		if finals.MatchString(line) && r.final == "" {
			r.final = strings.TrimSpace(line)
		}
		if m := failedTest.FindStringSubmatch(line); m != nil {
			tests = append(tests, m[1])
		}
		if m := failedPackage.FindStringSubmatch(line); m != nil {
			if len(tests) == 0 && r.final == "" {
				r.final = m[1] + " failed outside its tests"
			}
			for _, test := range tests {
				r.failed = append(r.failed, failure{m[1], test})
			}
			tests = nil
		}
		if err != nil {
			return r
		}
	}
}
