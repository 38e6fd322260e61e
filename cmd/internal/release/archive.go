package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// zipped is data compressed, with nothing of the time or the machine in it.
func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data) // into memory
	w.Close()
	return b.Bytes()
}

// A file is an entry of a tar archive; a path that ends in a slash is a folder.
type tarred struct {
	path string
	data []byte
	mode os.FileMode
	uid  int
}

// tarOf is an archive of files, ordered by path, all with one time.
func tarOf(entries []tarred, at time.Time) []byte {
	slices.SortFunc(entries, func(a, b tarred) int { return strings.Compare(a.path, b.path) })
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.path, Mode: int64(e.mode), Size: int64(len(e.data)), ModTime: at, Uid: e.uid, Gid: e.uid, Format: tar.FormatPAX}
		if strings.HasSuffix(e.path, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err) // of a header that this program made
		}
		w.Write(e.data)
	}
	w.Close()
	return b.Bytes()
}

// archive writes NAME_linux_ARCH.tar.gz: the program and what a package would install.
func (r *release) archive(p program, a arch, c contents) error {
	var entries []tarred
	for _, f := range c {
		at := map[string]string{
			"/usr/bin/": "", "/usr/share/doc/": "", "/usr/share/man/man1/": "",
			"/usr/share/bash-completion/completions/": "completions/bash/", "/usr/share/fish/vendor_completions.d/": "completions/fish/",
			"/usr/share/zsh/vendor-completions/": "completions/zsh/",
			"/usr/lib/systemd/system/":           "systemd/", "/usr/lib/sysusers.d/": "systemd/sysusers.d/", "/etc/default/": "systemd/default/",
		}
		for from, to := range at {
			rest, ok := strings.CutPrefix(f.path, from)
			if !ok || f.only == "rpm" {
				continue
			}
			name := strings.Replace(strings.TrimPrefix(rest, p.Name+"/"), "copyright", "LICENSE", 1)
			entries = append(entries, tarred{path.Join(p.Name, to, name), f.data, f.mode, 0})
		}
	}
	return r.write(p.Name+"_linux_"+a.name+".tar.gz", zipped(tarOf(entries, r.date)))
}
