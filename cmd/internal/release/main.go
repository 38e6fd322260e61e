// Command release makes what is released of clanmon: for each architecture archives,
// Debian and RPM packages and container images of both programs, with lists of what
// is in them and of their checksums. The same source gives the same bytes.
//
// "make release" runs it. Packages are made by nfpm, which Go runs at a fixed version
// of its own: none of its modules is one of clanmon's. Everything else is here. Only the
// Go toolchain and its module proxy are needed.
package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed files
var files embed.FS

// An arch is a machine that is released for, by its names in the world.
type arch struct {
	name       string // of archives and images
	goarch     string
	goarm      string
	deb, rpm   string
	nfpm       string
	ociVariant string
}

var arches = []arch{
	{name: "amd64", goarch: "amd64", deb: "amd64", rpm: "x86_64", nfpm: "amd64"},
	{name: "arm64", goarch: "arm64", deb: "arm64", rpm: "aarch64", nfpm: "arm64", ociVariant: "v8"},
	{name: "armv7", goarch: "arm", goarm: "7", deb: "armhf", rpm: "armv7hl", nfpm: "arm7", ociVariant: "v7"},
	{name: "riscv64", goarch: "riscv64", deb: "riscv64", rpm: "riscv64", nfpm: "riscv64"},
}

// A program is one of the two that are released.
type program struct {
	Name, Summary, Description string

	Server  bool
	Home    string // of its user, where there is no systemd-sysusers
	ByHand  string // how it is started without systemd
	Port    int
	Rival   string // the service of Debian that has the port
	Keeps   string // of the rival, when it is taken over
	Sockets []string
	Units   []string // that nobody enables
}

var programs = []program{
	{
		Name: "clanmon", Summary: "monitoring for a fleet of Linux machines",
		Description: "Finds machines, scrapes them, stores, queries and alerts: a drop-in for\nPrometheus, with pages of its own. Includes the exporter.",
		Server:      true, Home: "/var/lib/clanmon", ByHand: "clanmon server --storage.tsdb.path=/var/lib/clanmon",
		Port: 9090, Rival: "prometheus", Keeps: "history, settings and port",
		Sockets: []string{"clanmon.socket"},
	},
	{
		Name: "clanmon-exporter", Summary: "metrics of a Linux machine and its systemd units",
		Description: "node_exporter's collectors and systemd's units in one process, and if asked\nfor those of nginx, PostgreSQL and Redis.",
		Home:        "/nonexistent", ByHand: "clanmon-exporter",
		Port: 9100, Rival: "prometheus-node-exporter", Keeps: "flags and port",
		Sockets: []string{"clanmon-exporter.socket", "clanmon-exporter-systemd.socket", "clanmon-look.socket"},
		Units:   []string{"clanmon-look.service"},
	},
}

// A release is one run of this program.
type release struct {
	version, out, source, ldflags string
	date                          time.Time
	work                          string // folder of what is not released
	written                       []string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	r := &release{}
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	f.StringVar(&r.version, "version", "", "version, as git describe says it")
	date := f.String("date", "", "time of the commit, RFC 3339; all files have it")
	f.StringVar(&r.ldflags, "ldflags", "", "flags for the linker")
	f.StringVar(&r.source, "source", ".", "the project's folder")
	f.StringVar(&r.out, "out", "bin/release", "folder for what is made; it is emptied")
	archList := f.String("arch", "amd64,arm64,armv7,riscv64", "architectures")
	programList := f.String("programs", "clanmon,clanmon-exporter", "programs")
	kindList := f.String("kinds", "archive,deb,rpm,image", "what to make")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	if r.date, err = time.Parse(time.RFC3339, *date); err != nil {
		return fmt.Errorf("-date: %w", err)
	}
	r.date = r.date.UTC()
	var wanted []arch
	for name := range strings.SplitSeq(*archList, ",") {
		i := slices.IndexFunc(arches, func(a arch) bool { return a.name == name })
		if i < 0 {
			return fmt.Errorf("-arch %q: one of amd64, arm64, armv7, riscv64", name)
		}
		wanted = append(wanted, arches[i])
	}
	made := strings.Split(*programList, ",")
	for _, name := range made {
		if !slices.ContainsFunc(programs, func(p program) bool { return p.Name == name }) {
			return fmt.Errorf("-programs %q: one of clanmon, clanmon-exporter", name)
		}
	}
	kinds := strings.Split(*kindList, ",")
	for _, kind := range kinds {
		if !slices.Contains([]string{"archive", "deb", "rpm", "image"}, kind) {
			return fmt.Errorf("-kinds %q: one of archive, deb, rpm, image", kind)
		}
	}
	if r.work, err = os.MkdirTemp("", "release-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	if err := errors.Join(os.RemoveAll(r.out), os.MkdirAll(r.out, 0o755)); err != nil {
		return err
	}
	for _, p := range programs {
		if !slices.Contains(made, p.Name) {
			continue
		}
		if err := r.program(p, wanted, kinds); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	if slices.Contains(kinds, "image") {
		compose, err := files.ReadFile("files/compose.yaml")
		if err != nil {
			return err
		}
		if err := r.write("compose.yaml", compose); err != nil {
			return err
		}
	}
	return r.checksums()
}

// program makes everything of one program.
func (r *release) program(p program, wanted []arch, kinds []string) error {
	// Pages and scripts are the same everywhere; this machine's build prints them.
	native, err := r.build(p, arch{name: "native", goarch: runtime.GOARCH})
	if err != nil {
		return err
	}
	texts, err := r.texts(p, native)
	if err != nil {
		return err
	}
	for _, a := range wanted {
		binary, err := r.build(p, a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		contents := texts.and(content{"/usr/bin/" + p.Name, binary, 0o755, ""})
		for _, k := range kinds {
			switch k {
			case "archive":
				err = r.archive(p, a, contents)
			case "deb", "rpm":
				err = r.pack(k, p, a, contents)
			case "image":
				err = r.image(p, a, contents)
			}
			if err != nil {
				return fmt.Errorf("%s for %s: %w", k, a.name, err)
			}
		}
		if err := r.sbom(p, a, binary); err != nil {
			return err
		}
	}
	return nil
}

// build returns the program for one architecture.
func (r *release) build(p program, a arch) ([]byte, error) {
	out := filepath.Join(r.work, p.Name+"_"+a.name)
	cmd := exec.Command("go", "build", "-ldflags", r.ldflags, "-o", out, "./cmd/"+p.Name)
	cmd.Dir = r.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false", "GOOS=linux", "GOARCH="+a.goarch, "GOARM="+a.goarm)
	if err := quiet(cmd); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// quiet runs a command whose output matters only if it fails.
func quiet(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// A content is a file of a package. only is "deb" or "rpm" where the others have it
// elsewhere or not at all, and "config" where a user's changes are kept.
type content struct {
	path string
	data []byte
	mode os.FileMode
	only string
}

type contents []content

func (c contents) and(more ...content) contents { return append(slices.Clone(c), more...) }

func (c contents) get(path string) []byte {
	i := slices.IndexFunc(c, func(f content) bool { return f.path == path })
	return c[i].data
}

// texts are the files of a package other than its program.
func (r *release) texts(p program, native []byte) (contents, error) {
	var c contents
	says := func(args ...string) []byte {
		var out bytes.Buffer
		cmd := exec.Command(filepath.Join(r.work, p.Name+"_native"), args...)
		cmd.Stdout = &out
		if err := cmd.Run(); err != nil {
			panic(fmt.Errorf("%s %v: %w", p.Name, args, err))
		}
		return out.Bytes()
	}
	add := func(path string, data []byte, only string) { c = append(c, content{path, data, 0o644, only}) }
	add("/usr/share/man/man1/"+p.Name+".1.gz", zipped(says("man")), "")
	add("/usr/share/bash-completion/completions/"+p.Name, says("completion", "bash"), "")
	add("/usr/share/fish/vendor_completions.d/"+p.Name+".fish", says("completion", "fish"), "")
	add("/usr/share/zsh/vendor-completions/_"+p.Name, says("completion", "zsh"), "deb")
	add("/usr/share/zsh/site-functions/_"+p.Name, says("completion", "zsh"), "rpm")
	for _, name := range []string{"LICENSE", "NOTICE"} {
		text, err := os.ReadFile(filepath.Join(r.source, name))
		if err != nil {
			return nil, err
		}
		add("/usr/share/doc/"+p.Name+"/"+strings.Replace(name, "LICENSE", "copyright", 1), text, "")
	}
	for _, f := range slices.Concat([]string{p.Name + ".service"}, p.Sockets, p.Units) {
		add("/usr/lib/systemd/system/"+f, file(f), "")
	}
	add("/usr/lib/sysusers.d/"+p.Name+".conf", file(p.Name+".sysusers"), "")
	add("/etc/default/"+p.Name, file(p.Name+".default"), "config")
	c = append(c, content{"/usr/sbin/" + p.Name + "-takeover", file(p.Name + "-takeover"), 0o755, ""})
	return c, nil
}

// file is one of the files that are embedded; a missing one is a mistake in here.
func file(name string) []byte {
	data, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err)
	}
	return data
}

// script is one of the maintainer scripts for a program.
func script(name string, p program) []byte {
	var b bytes.Buffer
	if err := template.Must(template.New(name).Parse(string(file(name)))).Execute(&b, p); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (r *release) write(name string, data []byte) error {
	r.written = append(r.written, name)
	return os.WriteFile(filepath.Join(r.out, name), data, 0o644)
}

// checksums writes SHA256SUMS, as sha256sum --check reads it.
func (r *release) checksums() error {
	slices.Sort(r.written)
	var b strings.Builder
	for _, name := range r.written {
		data, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), name)
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(b.String()), 0o644)
}

var (
	tagged   = regexp.MustCompile(`^v(\d+(?:\.\d+)*)(?:-(rc|beta|alpha)\.?(\d+))?$`)
	describe = regexp.MustCompile(`^(v.*)-(\d+)-g([0-9a-f]+)$`)
)

// packageVersion is a version of git describe as packages order it: a build after
// v1.2.3 is 1.2.3+5.gabc, a release candidate comes before its release, and a build of
// a commit without any tag is ordered by its date.
func packageVersion(described string, date time.Time) string {
	described = strings.TrimSuffix(described, "-dirty")
	if m := describe.FindStringSubmatch(described); m != nil {
		return packageVersion(m[1], date) + "+" + m[2] + ".g" + m[3]
	}
	m := tagged.FindStringSubmatch(described)
	switch {
	case m == nil:
		return "0~" + date.Format("20060102150405") + ".g" + strings.TrimPrefix(described, "v")
	case m[2] != "":
		return m[1] + "~" + m[2] + m[3]
	default:
		return m[1]
	}
}
