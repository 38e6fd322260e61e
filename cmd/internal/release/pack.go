package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// nfpmModule makes the packages. A new version is tried by "make release" twice and
// the tests of packages (go test ./e2e -run Package).
const nfpmModule = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4"

// pack writes NAME_ARCH.deb or NAME.ARCH.rpm.
func (r *release) pack(kind string, p program, a arch, c contents) error {
	dir := filepath.Join(r.work, p.Name+"_"+a.name+"_"+kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	type fileInfo struct {
		Mode  os.FileMode `json:"mode"`
		MTime string      `json:"mtime"`
		Owner string      `json:"owner"`
		Group string      `json:"group"`
	}
	type entry struct {
		Src      string   `json:"src,omitempty"`
		Dst      string   `json:"dst"`
		Type     string   `json:"type,omitempty"`
		FileInfo fileInfo `json:"file_info"`
	}
	at := r.date.Format("2006-01-02T15:04:05Z07:00")
	put := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			panic(err) // a full disk
		}
		return file
	}
	var list []entry
	for i, f := range c {
		e := entry{Dst: f.path, FileInfo: fileInfo{f.mode, at, "root", "root"}}
		switch f.only {
		case "deb", "rpm":
			if f.only != kind {
				continue
			}
		case "config":
			e.Type = "config|noreplace"
		}
		e.Src = put(fmt.Sprint("content", i), f.data)
		list = append(list, e)
	}
	folders := []string{"/usr/share/doc/" + p.Name} // that go with the package
	if p.Server {
		folders = append(folders, "/etc/clanmon")
	}
	for _, folder := range folders {
		list = append(list, entry{Dst: folder, Type: "dir", FileInfo: fileInfo{0o755, at, "root", "root"}})
	}
	config := map[string]any{
		"name": p.Name, "arch": a.nfpm, "platform": "linux", "section": "net", "priority": "optional",
		"version_schema": "none", "version": packageVersion(r.version, r.date), "release": "1",
		"maintainer": "clanmon <https://github.com/clanmon/clanmon/issues>", "vendor": "clanmon",
		"homepage": "https://github.com/clanmon/clanmon", "license": "Apache-2.0",
		"description": p.Summary + "\n" + p.Description, "mtime": at, "contents": list,
		"scripts": map[string]string{
			"postinstall": put("postinst", script("postinst.sh", p)), "preremove": put("prerm", script("prerm.sh", p)),
			"postremove": put("postrm", script("postrm.sh", p)),
		},
		"overrides": map[string]any{
			"deb": map[string]any{"recommends": []string{"systemd", "ca-certificates"}},
			"rpm": map[string]any{"recommends": []string{"systemd", "ca-certificates"}},
		},
		"rpm": map[string]string{"summary": p.Summary, "group": "System/Monitoring", "buildhost": "clanmon", "compression": "gzip"},
	}
	if p.Server && kind == "deb" {
		config["deb"] = map[string]any{"scripts": map[string]string{"templates": put("templates", file("templates"))}}
	}
	text, err := json.Marshal(config) // JSON is YAML
	if err != nil {
		return err
	}
	name := p.Name + "_" + a.deb + ".deb"
	if kind == "rpm" {
		name = p.Name + "." + a.rpm + ".rpm"
	}
	cmd := exec.Command("go", "run", nfpmModule, "package", "--packager", kind, "--config", put("nfpm.yaml", text), "--target", filepath.Join(r.out, name))
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOOS=", "GOARCH=", fmt.Sprint("SOURCE_DATE_EPOCH=", r.date.Unix()))
	r.written = append(r.written, name)
	return quiet(cmd)
}
