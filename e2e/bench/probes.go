package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
)

// probePeers are exporters whose scrapes are probes of site, over TLS and with a certificate that
// they verify.
func probePeers(bin, oracle string) (site *httptest.Server, peers []*exporterPeer, err error) {
	site = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10_000)) }))
	dir, err := os.MkdirTemp("", "clanmon-bench-probes-*")
	if err != nil {
		return nil, nil, err
	}
	authority, modules := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "blackbox.yml")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o644); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(modules, []byte("modules: {http_2xx: {prober: http, http: {preferred_ip_protocol: ip4}}}"), 0o644); err != nil {
		return nil, nil, err
	}
	if err := os.Setenv("SSL_CERT_FILE", authority); err != nil {
		return nil, nil, err
	}
	target := url.QueryEscape(site.URL)
	ours := bin + " exporter --exporter=blackbox --blackbox.config.file=" + modules + " --web.listen-address={ADDR}"
	return site, []*exporterPeer{
		{name: "blackbox_exporter", command: filepath.Join(oracle, "blackbox_exporter") + " --config.file=" + modules + " --web.listen-address={ADDR}", path: "/probe?module=http_2xx&target=" + target},
		{name: "clanmon exporter, /probe", command: ours, path: "/probe?module=http_2xx&target=" + target},
		{name: "clanmon exporter, /check", command: ours, path: "/check?timeout=5s&url=" + target},
	}, nil
}
