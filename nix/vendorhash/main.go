// Command vendorhash computes the vendorHash of nix/package.nix: the hash of what
// "go mod vendor" writes for the sources of the package. With -w it writes it
// there. Every change of imports may change it, also without one of go.mod.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const packageFile = "nix/package.nix"

var line = regexp.MustCompile(`vendorHash = "([^"]*)";`)

func main() {
	write := flag.Bool("w", false, "write it to "+packageFile)
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "vendorhash:", err)
		os.Exit(1)
	}
}

func run(write bool) error {
	hash, err := compute(".")
	if err != nil {
		return err
	}
	fmt.Println(hash)
	if !write {
		return nil
	}
	text, err := os.ReadFile(packageFile)
	if err != nil {
		return err
	}
	return os.WriteFile(packageFile, line.ReplaceAll(text, []byte(`vendorHash = "`+hash+`";`)), 0o644)
}

// compute does what Nix' buildGoModule does to the sources. repo is the root of
// the repository.
func compute(repo string) (string, error) {
	dir, err := os.MkdirTemp("", "vendorhash-")
	if err != nil {
		return "", err
	}
	defer func() {
		// A store is read-only.
		_ = exec.Command("chmod", "-R", "u+w", dir).Run()
		_ = os.RemoveAll(dir)
	}()
	work, err := sources(repo, dir)
	if err != nil {
		return "", err
	}
	vendor := filepath.Join(dir, "vendor")
	cmd := exec.Command("go", "mod", "vendor", "-o", vendor)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go mod vendor: %w: %s", err, out)
	}
	return nix(dir, "nix", "--extra-experimental-features", "nix-command", "hash", "path", vendor)
}

// sources copies what the package is built of below dir, where Nix has a store of
// its own, and returns the folder.
func sources(repo, dir string) (string, error) {
	repo, err := filepath.Abs(repo)
	if err != nil {
		return "", err
	}
	stored, err := nix(dir, "nix-instantiate", "--eval", "--read-write-mode", "--expr",
		fmt.Sprintf("(import %s/nix/source.nix { lib = import %s/nix/tests/standin.nix; }).outPath", repo, repo))
	if err != nil {
		return "", err
	}
	work := filepath.Join(dir, "source")
	return work, os.CopyFS(work, os.DirFS(strings.Trim(stored, `"`)))
}

// nix runs one of Nix' programs with a store below dir.
func nix(dir string, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	for name, folder := range map[string]string{
		"NIX_STORE_DIR": "store", "NIX_STATE_DIR": "state", "NIX_LOG_DIR": "log",
		"NIX_CONF_DIR": "conf", "NIX_LOCALSTATE_DIR": "var",
	} {
		cmd.Env = append(cmd.Env, name+"="+filepath.Join(dir, folder))
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s (Debian: nix-bin): %w: %s", args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
