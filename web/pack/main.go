// Command pack copies what "npm run build" made into the folder that is embedded
// in the binary: index.html as it is, for the server fills it in, and all other
// files compressed by gzip.
//
// With -check it changes nothing and fails if the folder holds something else.
// It compares what is inside the compressed files, so another version of Go or
// Node does not matter.
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	check := flag.Bool("check", false, "compare instead of write")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: pack [-check] FROM TO")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *check); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(from, to string, check bool) error {
	files, err := read(from)
	if err != nil {
		return err
	}
	if len(files["index.html"]) == 0 {
		return fmt.Errorf("%q has no index.html; run npm run build in web/ui first", from)
	}
	if check {
		return compare(files, to)
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	for name, content := range files {
		if err := write(filepath.Join(to, name), content); err != nil {
			return err
		}
	}
	return nil
}

// read returns the files below dir by their path in it; compressed ones as what
// is inside, without the .gz of their name.
func read(dir string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if plain, ok := strings.CutSuffix(name, ".gz"); ok {
			name = plain
			r, err := gzip.NewReader(bytes.NewReader(content))
			if err != nil {
				return fmt.Errorf("%q: %w", path, err)
			}
			if content, err = io.ReadAll(r); err != nil {
				return fmt.Errorf("%q: %w", path, err)
			}
		}
		files[filepath.ToSlash(name)] = content
		return nil
	})
	return files, err
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if filepath.Base(path) == "index.html" {
		return os.WriteFile(path, content, 0o644)
	}
	var b bytes.Buffer
	// No name and no time in its header, so the same content gives the same file.
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path+".gz", b.Bytes(), 0o644)
}

// compare fails unless dir holds exactly files.
func compare(files map[string][]byte, dir string) error {
	there, err := read(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content, ok := there[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%s: missing", name))
		case !bytes.Equal(content, files[name]):
			errs = append(errs, fmt.Errorf("%s: differs", name))
		}
		delete(there, name)
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		errs = append(errs, fmt.Errorf("%s: not built any more", name))
	}
	if len(errs) > 0 {
		return fmt.Errorf("%q is not what web/ui builds; run make ui and commit it:\n%w", dir, errors.Join(errs...))
	}
	return nil
}
