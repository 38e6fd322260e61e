// Command notice writes NOTICE: the modules and, for its pages, the npm packages
// that the binary is made of, their licences, and the notices that the Apache
// licence asks to be passed on.
//
//	go run ./e2e/notice > NOTICE
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

type module struct{ Path, Version, Dir string }

func main() {
	log.SetFlags(0)
	modules, err := linked("github.com/clanmon/clanmon/cmd/clanmon")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(`clanmon
Copyright the clanmon authors. Licensed under the Apache License 2.0, see LICENSE.

The binary contains the modules below. Their licences are in their sources; what
their own NOTICE files say follows. Written by: go run ./e2e/notice > NOTICE

`)
	var notices []string
	for _, m := range modules {
		name, err := licence(m.Dir)
		if err != nil {
			log.Fatalf("%s: %v", m.Path, err)
		}
		fmt.Printf("%s %s: %s\n", m.Path, m.Version, name)
		for _, f := range []string{"NOTICE", "NOTICE.txt", "NOTICE.md"} {
			if text, err := os.ReadFile(filepath.Join(m.Dir, f)); err == nil {
				notices = append(notices, fmt.Sprintf("== %s\n\n%s\n", m.Path, strings.TrimSpace(string(text))))
			}
		}
	}
	pages, err := packages("web/ui/package-lock.json")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print("\nThe pages in it are built with these npm packages:\n\n", strings.Join(pages, "\n"), "\n")
	fmt.Print("\n", strings.Join(notices, "\n"))
}

// packages are the npm packages of a lock file that are not for development only,
// with their licences. The file is named from the root of the repository.
func packages(lock string) ([]string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), lock))
	if err != nil {
		return nil, err
	}
	var file struct {
		Packages map[string]struct {
			Version, License string
			Dev, Optional    bool
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", lock, err)
	}
	var all []string
	for path, p := range file.Packages {
		if path == "" || p.Dev || p.Optional {
			continue
		}
		if p.License == "" {
			return nil, fmt.Errorf("%s: %s names no licence", lock, path)
		}
		all = append(all, fmt.Sprintf("%s %s: %s", path[strings.LastIndex(path, "node_modules/")+len("node_modules/"):], p.Version, p.License))
	}
	slices.Sort(all)
	return all, nil
}

// linked are the modules that pkg is built from, sorted, without our own.
func linked(pkg string) ([]module, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=Module", pkg)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	found := map[string]module{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			Module *struct {
				module
				Main    bool
				Replace *module
			}
		}
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if p.Module != nil && !p.Module.Main {
			found[p.Module.Path] = p.Module.module
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b module) int { return strings.Compare(a.Path, b.Path) }), nil
}

// marks are words that only one licence has, in the order to look for them.
var marks = []struct{ text, name string }{
	{"Mozilla Public License", "MPL-2.0"},
	{"Apache License", "Apache-2.0"},
	{"Licensed under the Apache", "Apache-2.0"},
	{"Permission is hereby granted, free of charge", "MIT"},
	{"Permission to use, copy, modify, and/or distribute", "ISC"},
	{"Permission to use, copy, modify, and distribute", "ISC"},
	{"Neither the name", "BSD-3-Clause"},
	{"names of its contributors", "BSD-3-Clause"},
	{"Redistribution and use in source and binary forms", "BSD-2-Clause"},
	{"UNIVERSAL PERMISSIVE LICENSE", "UPL-1.0"},
	{"Universal Permissive License", "UPL-1.0"},
	{"This is free and unencumbered software", "Unlicense"},
	{"MIT License", "MIT"},
}

// licence names the licence of a module: that of its directory or, for a part
// of a larger repository, of one above it.
func licence(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		base := strings.ToUpper(filepath.Base(f))
		if !strings.HasPrefix(base, "LICEN") && !strings.HasPrefix(base, "COPYING") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			continue // a folder of licences
		}
		flat := strings.Join(strings.Fields(string(text)), " ")
		for _, m := range marks {
			if strings.Contains(flat, m.text) {
				return m.name, nil
			}
		}
	}
	return "", errors.New("no licence recognised; look at it and teach marks")
}
