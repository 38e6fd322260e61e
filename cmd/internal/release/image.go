package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// rootsModule has the certificates of Mozilla's root store; Go verifies its checksum.
const rootsModule = "golang.org/x/crypto/x509roots/fallback@v0.0.0-20261030153154-30a33513ff6d"

// Nobody: so runs the image of Prometheus too, whose volume can be taken as it is.
const imageUser = 65534

// image writes NAME_linux_ARCH.oci.tar: an image in OCI's layout, with what older
// versions of "docker load" want besides.
func (r *release) image(p program, a arch, c contents) error {
	layer, err := r.layer(p, c)
	if err != nil {
		return err
	}
	compressed := zipped(layer)
	created := r.date.Format("2006-01-02T15:04:05Z")
	labels := map[string]string{
		"org.opencontainers.image.title": p.Name, "org.opencontainers.image.description": p.Summary,
		"org.opencontainers.image.version": r.version, "org.opencontainers.image.created": created,
		"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.source": "https://github.com/clanmon/clanmon",
	}
	run := map[string]any{
		"User": fmt.Sprint(imageUser), "Entrypoint": []string{"/usr/bin/" + p.Name}, "WorkingDir": "/", "Labels": labels,
		"Env":         []string{"PATH=/usr/bin", "ZONEINFO=/usr/share/zoneinfo.zip"},
		"Healthcheck": map[string]any{"Test": []string{"CMD", "/usr/bin/" + p.Name, "healthy"}, "Interval": 30e9, "Timeout": 10e9, "StartPeriod": 300e9},
	}
	if p.Server {
		// data/ is the default: in / it is /data.
		run["Cmd"] = []string{"server"}
		run["Env"] = append(run["Env"].([]string), "CLANMON_WEB_WRITES=identified")
		run["Healthcheck"].(map[string]any)["Test"] = []string{"CMD", "/usr/bin/clanmon", "check", "healthy"}
		run["Volumes"] = map[string]any{"/data": struct{}{}}
		run["ExposedPorts"] = map[string]any{"9090/tcp": struct{}{}}
	} else {
		run["Cmd"] = []string{"--path.rootfs=/host"}
		run["Env"] = append(run["Env"].([]string), "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket") // /var/run is not there
		run["ExposedPorts"] = map[string]any{"9100/tcp": struct{}{}, "9558/tcp": struct{}{}}
	}
	platform := map[string]any{"architecture": a.goarch, "os": "linux"}
	if a.ociVariant != "" {
		platform["variant"] = a.ociVariant
	}
	config := map[string]any{
		"created": created, "config": run, "rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
		"history": []any{map[string]any{"created": created, "created_by": "make release"}},
	}
	for k, v := range platform {
		config[k] = v
	}

	var entries []tarred
	blob := func(mediaType string, data []byte) map[string]any {
		entries = append(entries, tarred{"blobs/sha256/" + digest(data)[len("sha256:"):], data, 0o644, 0})
		return map[string]any{"mediaType": mediaType, "digest": digest(data), "size": len(data)}
	}
	const oci = "application/vnd.oci.image."
	configBlob, layerBlob := blob(oci+"config.v1+json", marshal(config)), blob(oci+"layer.v1.tar+gzip", compressed)
	manifest := blob(oci+"manifest.v1+json", marshal(map[string]any{
		"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": configBlob, "layers": []any{layerBlob}, "annotations": labels,
	}))
	manifest["platform"] = platform
	name := "clanmon/" + p.Name + ":latest"
	manifest["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": "docker.io/" + name}
	path := func(b map[string]any) string {
		return "blobs/" + strings.Replace(b["digest"].(string), ":", "/", 1)
	}
	entries = append(entries,
		tarred{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644, 0},
		tarred{"index.json", marshal(map[string]any{"schemaVersion": 2, "mediaType": oci + "index.v1+json", "manifests": []any{manifest}}), 0o644, 0},
		tarred{"manifest.json", marshal([]any{map[string]any{"Config": path(configBlob), "RepoTags": []string{name}, "Layers": []string{path(layerBlob)}}}), 0o644, 0},
		tarred{"blobs/", nil, 0o755, 0}, tarred{"blobs/sha256/", nil, 0o755, 0},
	)
	return r.write(p.Name+"_linux_"+a.name+".oci.tar", tarOf(entries, r.date))
}

// layer is the only one of an image: the program, and what it reads of a system.
func (r *release) layer(p program, c contents) ([]byte, error) {
	roots, err := certificates()
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	zones, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "lib/time/zoneinfo.zip"))
	if err != nil {
		return nil, err
	}
	user := fmt.Sprintf("nobody:x:%d:%d:nobody:/:/sbin/nologin\n", imageUser, imageUser)
	entries := []tarred{
		{"etc/passwd", []byte("root:x:0:0:root:/:/sbin/nologin\n" + user), 0o644, 0},
		{"etc/group", []byte(fmt.Sprintf("root:x:0:\nnobody:x:%d:\n", imageUser)), 0o644, 0},
		{"etc/hosts", []byte("127.0.0.1 localhost\n::1 localhost\n"), 0o644, 0}, // engines put theirs over it
		{"etc/ssl/certs/ca-certificates.crt", roots, 0o644, 0},
		{"usr/share/zoneinfo.zip", zones, 0o644, 0},
		{"usr/share/doc/LICENSE", c.get("/usr/share/doc/" + p.Name + "/copyright"), 0o644, 0},
		{"usr/share/doc/NOTICE", c.get("/usr/share/doc/" + p.Name + "/NOTICE"), 0o644, 0},
		{"usr/bin/" + p.Name, c.get("/usr/bin/" + p.Name), 0o755, 0},
		{"tmp/", nil, 0o777 | 0o1000, 0},
	}
	if p.Server {
		entries = append(entries, tarred{"data/", nil, 0o755, imageUser})
	} else {
		entries = append(entries, tarred{"host/", nil, 0o755, 0})
	}
	for _, e := range slices.Clone(entries) {
		for dir := filepath.Dir(strings.TrimSuffix(e.path, "/")); dir != "."; dir = filepath.Dir(dir) {
			if !slices.ContainsFunc(entries, func(e tarred) bool { return e.path == dir+"/" }) {
				entries = append(entries, tarred{dir + "/", nil, 0o755, 0})
			}
		}
	}
	return tarOf(entries, r.date), nil
}

// certificates are the authorities that browsers trust, as PEM.
func certificates() ([]byte, error) {
	cmd := exec.Command("go", "mod", "download", "-json", rootsModule)
	cmd.Dir = os.TempDir() // outside of clanmon's module, which does not need it
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return nil, err
	}
	der, err := os.ReadFile(filepath.Join(module.Dir, "bundle/bundle.der"))
	if err != nil {
		return nil, err
	}
	all, err := x509.ParseCertificates(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rootsModule, err)
	}
	var b bytes.Buffer
	for _, c := range all {
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps and strings
	}
	return data
}
