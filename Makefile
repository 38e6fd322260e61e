# One static binary; the same flags for build and test, so that both use the
# same build cache.
export CGO_ENABLED ?= 0
export GOFLAGS ?= -trimpath

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
DATE    := $(shell git log -1 --format=%cI 2>/dev/null)
CLI     := github.com/clanmon/clanmon/cmd/internal/cli
LDFLAGS := -s -w -X $(CLI).BuildVersion=$(VERSION) -X $(CLI).BuildCommit=$(COMMIT) -X $(CLI).BuildDate=$(DATE)

# Upstream's own programs, with which the tests compare.
export CLANMON_ORACLE_DIR := $(CURDIR)/bin/oracle
export CLANMON_BIN := $(CURDIR)/bin/clanmon
export CLANMON_EXPORTER_BIN := $(CURDIR)/bin/clanmon-exporter
ORACLES := github.com/prometheus/prometheus/cmd/prometheus \
	github.com/prometheus/prometheus/cmd/promtool \
	github.com/prometheus/alertmanager/cmd/amtool \
	github.com/prometheus/node_exporter \
	github.com/prometheus-community/systemd_exporter \
	github.com/nginx/nginx-prometheus-exporter \
	github.com/prometheus-community/postgres_exporter/cmd/postgres_exporter \
	github.com/oliver006/redis_exporter \
	github.com/prometheus/blackbox_exporter

# Builds without the cloud providers' service discoveries: the race detector
# needs everything compiled anew, and they are most of it.
SLIM := remove_all_sd,enable_dns_sd

# Without tables for debuggers: a dozen tests link all of Prometheus. Without vet,
# which make lint runs: it reads every dependency once more, for each set of checks
# and tags.
TESTFLAGS := -vet=off -ldflags='-s -w'
GOTEST := go test $(TESTFLAGS)
RETEST := go run ./e2e/retest $(TESTFLAGS)

.DEFAULT_GOAL := help

.PHONY: build run test test-binary test-unit test-race test-long test-upstream fuzz oracle ui ui-check lint vuln fmt nix release publish bench help

build: ## build bin/clanmon, and bin/clanmon-exporter, which is its role exporter alone
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/clanmon ./cmd/clanmon-exporter

# Two thirds of a first build are for the cloud providers' service discoveries,
# which nobody needs for a first look.
run: ## build bin/clanmon-quick and start the server on :9090, with no configuration at all
	@echo 'bin/clanmon-quick is without the service discoveries of cloud providers; make build has them.'
	go build -tags $(SLIM) -ldflags '$(LDFLAGS)' -o bin/clanmon-quick ./cmd/clanmon
	bin/clanmon-quick server

ui: ## build the pages from web/ui into web/dist, which is committed (needs Node 18)
	cd web/ui && npm ci --no-audit --no-fund && npm run build
	go run ./web/pack web/ui/dist web/dist

ui-check: ## check types, lint and format of the pages, run their tests, and compare web/dist with a new build
	cd web/ui && npm ci --no-audit --no-fund && npm run check && npm test && npm run build
	go run ./web/pack -check web/ui/dist web/dist

oracle:
	mkdir -p bin/oracle
	go build -o bin/oracle/ $(ORACLES)
	e2e/tailnet/build-tools.sh bin/oracle

test: ## install what the tests need (as root with apt), and run every test
	e2e/deps.sh
	cd e2e/browser && npm ci --no-audit --no-fund
	$(MAKE) ui-check build oracle
	$(MAKE) test-binary
	$(MAKE) test-race

# What the race detector sees is not run a second time without it, but where the two builds have different files.
FILES := '{{.ImportPath}} {{.GoFiles}} {{.TestGoFiles}} {{.XTestGoFiles}}'
test-binary:
	$(RETEST) -timeout 20m -- $$({ go list ./... | grep -E '/(e2e|nix)(/|$$)'; \
		{ go list -f $(FILES) ./...; go list -tags $(SLIM) -f $(FILES) ./...; } | sort | uniq -u | cut -d' ' -f1; } | sort -u)

test-unit: oracle ## run the tests that need neither root nor packages
	$(GOTEST) $$(go list ./... | grep -Ev '/(e2e(/browser)?|nix/.*)$$')

test-race: ## run our own packages under the race detector
	CGO_ENABLED=1 $(RETEST) -timeout 20m -race -tags $(SLIM) -- $$(go list ./... | grep -Ev '/(e2e|nix)(/|$$)')

test-long: test-upstream ## run the tests that take long: the suites of upstream, a disk that stays full, a soak of 30 minutes, many kills, other engines, the fuzz targets
	$(GOTEST) -tags long -timeout 90m -count 1 -run "TestSoak|ManyKills|TestBlindServerTells|TestPackage|TestImage|TestInstall|TestHistoryOf|TestDigest" ./e2e
	$(GOTEST) -tags long -timeout 60m -count 1 -run TestManyKillsAndStops ./server/store
	$(MAKE) fuzz

FUZZTIME ?= 10s
fuzz: ## run every fuzz target for FUZZTIME (10s)
	TAGS=$(SLIM) .ci/fuzz $(FUZZTIME)

test-upstream: build ## run the suites of Prometheus, Alertmanager and node_exporter against bin/clanmon
	$(RETEST) -tags long -timeout 40m -count 1 -- ./e2e/upstream

vuln: build ## look for known vulnerabilities in what is linked, if the database can be reached
	.ci/vuln

lint: ## gofmt, go vet, go mod tidy, staticcheck, and the word list (e2e/words)
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run make fmt'; exit 1; }
	go vet ./...
	go vet -tags long ./e2e ./e2e/upstream ./server/store
	go mod tidy -diff
	go tool staticcheck ./...
	go run ./e2e/words

fmt: ## format the code
	gofmt -w .
	cd web/ui && npm ci --no-audit --no-fund && npm run format

nix: ## write what nix/ has to know of the code: vendor hash, vocabulary, table of options
	go run ./nix/vendorhash -w
	go test ./nix/tests -run Current -update

# Less of it: make release RELEASE='-arch amd64 -programs clanmon-exporter -kinds deb'
release: ## make packages, archives and images of all architectures in bin/release
	go run ./cmd/internal/release -version '$(VERSION)' -date '$(DATE)' -ldflags '$(LDFLAGS)' $(RELEASE)

publish: ## publish bin/release on GitHub, as a release of the tag that is checked out (needs gh)
	git describe --exact-match --tags
	gh release create '$(VERSION)' --verify-tag --generate-notes bin/release/*

bench: build oracle ## measure, and compare with the peers
	e2e/bench/run.sh $(BENCH)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' Makefile
