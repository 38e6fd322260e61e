//go:build long

package e2e

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// An imageConfig is what a container engine reads of an image.
type imageConfig struct {
	Architecture, OS string
	Config           struct {
		User, WorkingDir     string
		Entrypoint, Cmd, Env []string
		Volumes              map[string]any
		Healthcheck          struct{ Test []string }
	}
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	}
}

// readImage reads an archive as an engine does: every blob by its digest. It returns the
// compressed layer's path in the archive.
func readImage(t *testing.T, archive string) (imageConfig, string) {
	t.Helper()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	blobs := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		blobs[h.Name] = data
		if sum, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && sum != "" {
			require.Equal(t, sum, fmt.Sprintf("%x", sha256.Sum256(data)))
		}
	}
	type descriptor struct {
		Digest string
		Size   int
	}
	blob := func(d descriptor, into any) string {
		path := "blobs/" + strings.Replace(d.Digest, ":", "/", 1)
		require.Contains(t, blobs, path)
		require.Len(t, blobs[path], d.Size)
		if into != nil {
			require.NoError(t, json.Unmarshal(blobs[path], into))
		}
		return path
	}
	require.JSONEq(t, `{"imageLayoutVersion":"1.0.0"}`, string(blobs["oci-layout"]))
	var index struct{ Manifests []descriptor }
	require.NoError(t, json.Unmarshal(blobs["index.json"], &index))
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	blob(index.Manifests[0], &manifest)
	var config imageConfig
	configPath := blob(manifest.Config, &config)
	require.Len(t, manifest.Layers, 1)
	layer := blob(manifest.Layers[0], nil)
	var docker []struct {
		Config string
		Layers []string
	}
	require.NoError(t, json.Unmarshal(blobs["manifest.json"], &docker))
	require.Equal(t, configPath, docker[0].Config, "as older versions of docker load read it")
	require.Equal(t, []string{layer}, docker[0].Layers)
	return config, layer
}

// startImage unpacks an image in a box and runs it as an engine would: its own root, its
// user, its environment. mounts are run with $R as its root.
func startImage(t *testing.T, b *harness.Box, program, mounts string, args ...string) imageConfig {
	t.Helper()
	archive := program + "_linux_amd64.oci.tar"
	c, layer := readImage(t, filepath.Join(packagesDir(t), "new", archive))
	require.Equal(t, "amd64", c.Architecture)
	require.Equal(t, "65534", c.Config.User, "not root")
	if len(args) == 0 {
		args = c.Config.Cmd
	}
	root := "/images/" + program
	sh(b, fmt.Sprintf("mkdir -p %[1]s; tar -xOf /packages/new/%[2]s %[3]s > /tmp/layer; [ sha256:$(gzip -dc /tmp/layer | sha256sum | cut -d' ' -f1) = %[4]s ]; tar -xzpf /tmp/layer -C %[1]s --same-owner", root, archive, layer, c.RootFS.DiffIDs[0]))
	run := fmt.Sprintf("R=%s; mkdir -p $R/proc $R/sys; mount --rbind /proc $R/proc; mount --rbind /sys $R/sys; %s; exec env -i %s /usr/sbin/chroot --userspec=65534:65534 $R %s %s",
		root, mounts, strings.Join(c.Config.Env, " "), c.Config.Entrypoint[0], strings.Join(args, " "))
	sh(b, "cat > "+root+".sh <<'EOF'\n"+run+"\nEOF")
	b.Exec("systemd-run", "--unit", "image-"+program, "-p", "PrivateMounts=yes", "sh", "-e", root+".sh")
	return c
}

// The exporter in a container tells of its host: file systems, processes, units.
func TestImageOfTheExporterScrapesItsHost(t *testing.T) {
	t.Parallel()
	b := newMachine(t)
	c := startImage(t, b, "clanmon-exporter", "mount --rbind -o ro / $R/host; mkdir -p $R/run/dbus; touch $R/run/dbus/system_bus_socket; mount --bind /run/dbus/system_bus_socket $R/run/dbus/system_bus_socket")
	b.WaitMetric("http://localhost:9558/metrics", `systemd_unit_state{name="image-clanmon-exporter.service",state="active",type="service"}`, 1)
	text, err := b.Get("http://localhost:9100/metrics")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^node_filesystem_size_bytes\{[^}]*mountpoint="/packages"[^}]*\} [1-9]`, text, "of the host, not of the container; its root is an overlay, which is left out by default")
	require.NotContains(t, text, `mountpoint="/host`)
	require.Contains(t, text, `node_scrape_collector_success{collector="filesystem"} 1`)
	health := "chroot --userspec=65534:65534 /images/clanmon-exporter " + strings.Join(c.Config.Healthcheck.Test[1:], " ")
	sh(b, health)
	sh(b, "systemctl stop image-clanmon-exporter")
	_, err = b.Try("sh", "-ec", health)
	require.Error(t, err, "a health check that is always good is none")
}

func TestImageOfTheServerStoresInItsVolume(t *testing.T) {
	t.Parallel()
	b := newMachine(t)
	startImage(t, b, "clanmon-exporter", "mount --rbind -o ro / $R/host")
	compose, err := os.ReadFile(filepath.Join(packagesDir(t), "new", "compose.yaml"))
	require.NoError(t, err)
	var args []string
	for line := range strings.Lines(string(compose)) {
		if word, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok && (word == "server" || strings.HasPrefix(word, "--discovery")) {
			args = append(args, word)
		}
	}
	require.Len(t, args, 3, "the command of compose.yaml")
	c := startImage(t, b, "clanmon", "true", args...)
	require.Contains(t, c.Config.Volumes, "/data")
	waitValue(t, b, 9090, `sum(up{job=~"node|systemd"}) >= bool 1`, "1")
	require.Contains(t, sh(b, "ls -ln /images/clanmon/data"), "65534")
	sh(b, "ls /images/clanmon/data/wal")
	sh(b, "chroot --userspec=65534:65534 /images/clanmon "+strings.Join(c.Config.Healthcheck.Test[1:], " "))
	// By default nobody unidentified may change anything, this machine included.
	code := sh(b, `curl -s -o /tmp/said -w '%{http_code}' -H 'Content-Type: application/json' -d '{"matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2099-01-01T00:00:00Z","createdBy":"x","comment":"y"}' localhost:9090/api/v2/silences; cat /tmp/said`)
	require.Equal(t, "403", code[:3], code)
	sh(b, "[ $(grep -c BEGIN.CERTIFICATE /images/clanmon/etc/ssl/certs/ca-certificates.crt) -gt 100 ]")
	sh(b, "systemctl stop image-clanmon; systemctl is-failed image-clanmon && exit 1 || true")
}

// The build for other machines, of which this one can emulate one.
func TestPackageForARM(t *testing.T) {
	t.Parallel()
	qemu := harness.Tool(t, "qemu-aarch64-static", "qemu-user-static")
	made := release(t, "v1.1.0", "2026-11-28T00:00:00Z", "-arch", "arm64", "-programs", "clanmon-exporter", "-kinds", "archive,deb")
	require.Equal(t, "arm64\n", output(t, "dpkg-deb", "--showformat=${Architecture}\n", "--show", filepath.Join(made, "clanmon-exporter_arm64.deb")))
	dir := t.TempDir()
	output(t, "tar", "-xzf", filepath.Join(made, "clanmon-exporter_linux_arm64.tar.gz"), "-C", dir)
	program := filepath.Join(dir, "clanmon-exporter", "clanmon-exporter")
	for _, f := range []string{"LICENSE", "NOTICE", "clanmon-exporter.1.gz", "completions/zsh/_clanmon-exporter", "systemd/clanmon-exporter.service"} {
		require.FileExists(t, filepath.Join(dir, "clanmon-exporter", f))
	}
	require.Contains(t, output(t, qemu, program, "version"), "v1.1.0 ")
	require.Contains(t, output(t, qemu, program, "version"), "linux/arm64")
	node, systemd := harness.Address(t), harness.Address(t)
	harness.Start(t, harness.Command{Path: qemu, Args: []string{program, "--node.listen-address=" + node, "--systemd.listen-address=" + systemd}})
	harness.Eventually(t, 2*harness.Patience, func() error {
		text, err := httpGet("http://" + node + "/metrics")
		if err == nil && !strings.Contains(text, `machine="aarch64"`) {
			err = errors.New("not scraped as arm64")
		}
		return err
	})
}
