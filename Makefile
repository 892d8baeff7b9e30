# make          lists what can be made
# make run      a whole grid on this machine
# make test     all tests
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

GO ?= go
TOOL := $(GO) tool -modfile=.tools/go.mod
# In a module of its own: the linters and the generators of Kubernetes ask for other versions of the same modules.
KUBETOOL := $(GO) tool -modfile=.tools/kube/go.mod
PACKAGES ?= ./...
FUZZTIME ?= 60s
BENCHTIME ?= 1s
BASE ?= HEAD~1
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## build the binaries into bin/
	@echo "building; where nothing has been compiled yet this takes some minutes, and each package is named"
	CGO_ENABLED=0 $(GO) build -v -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: slim
slim: ## build the binaries without Kubernetes into bin/slim: half as much to compile, and smaller routers (docs/adr/0020)
	@echo "building; where nothing has been compiled yet this takes some minutes, and each package is named"
	CGO_ENABLED=0 $(GO) build -v -tags slim -trimpath -ldflags '$(LDFLAGS)' -o bin/slim/ ./cmd/...

.PHONY: run
run: slim ## start a whole grid on loopback addresses and print a guided tour
	@exec ./bin/slim/griddev $(ARGS)

.PHONY: tour
tour: slim ## start a grid, run every line of the tour, and stop
	./bin/slim/griddev --tour $(ARGS)

# Those whose tests start whole clusters of etcd, and wait for members that end. They take minutes, and have a target of
# their own.
ETCD_CLUSTERS := deploy/(etcd/|operator/etcd/(pki|maintain)$$)

.PHONY: test
test: ## all tests but those of whole clusters and grids, with the race detector and in random order
	@echo "compiling and running the tests; where nothing has been compiled yet the first line takes some minutes"
	@GO="$(GO)" $(GO) run ./.ci/tests -again=$${TEST_AGAIN:-0} -- -race -shuffle=on -timeout=10m -skip=^TestE2E \
		$(if $(filter ./...,$(PACKAGES)),$$($(GO) list ./... | grep -vE '$(ETCD_CLUSTERS)'),$(PACKAGES))

.PHONY: test-etcd
test-etcd: ## the tests that start whole clusters of etcd: backups, inspection, certificates, maintenance
	@GO="$(GO)" $(GO) run ./.ci/tests -again=$${TEST_AGAIN:-0} -- -race -shuffle=on -timeout=10m $$($(GO) list ./... | grep -E '$(ETCD_CLUSTERS)')

.PHONY: race
race: ## the tests that start goroutines, several times over, to hunt for races
	$(GO) test -race -shuffle=on -short -count=5 -timeout 20m $(PACKAGES)

.PHONY: e2e
e2e: ## whole grids of real processes, driven by scenario files
	@GO="$(GO)" $(GO) run ./.ci/tests -live -again=$${TEST_AGAIN:-0} -- -race -shuffle=on -timeout=15m -run=^TestE2E '-skip=^TestE2ECampaign$$' ./bench/lab
	@GO="$(GO)" $(GO) run ./.ci/tests -live -again=$${TEST_AGAIN:-0} -- -timeout=5m -run=^TestE2EChange ./bench/lab
	@GRIDROUTER_CAMPAIGN_SEED=$${GRIDROUTER_CAMPAIGN_SEED:-51} GO="$(GO)" $(GO) run ./.ci/tests -live -again=$${TEST_AGAIN:-0} -- -timeout=10m '-run=^TestE2ECampaign$$' ./bench/lab

.PHONY: testbed
testbed: ## build the testbed: a real Kubernetes whose pods are processes; 5 to 15 minutes at the first time, seconds after
	@GO="$(GO)" bash deploy/testbed/build.sh

.PHONY: kube
kube: ## a Kubernetes to play with until Ctrl-C, as root; ARGS=--help lists what it takes
	@if [ "$$(uname)" != Linux ] || [ "$$(id -u)" != 0 ]; then echo "make kube makes network namespaces and mounts, which needs Linux and root" >&2; exit 1; fi
	@$(MAKE) build testbed
	@$(MAKE) image-root
	@mapfile -t images < <(VERSION="$(VERSION)" bash deploy/testbed/images.sh); exec ./bin/testbed/testbed up "$${images[@]}" $(ARGS)

.PHONY: kube-tour
kube-tour: ## start such a Kubernetes, show the operator and a fleet in it step by step, and stop; as root; ARGS=--stay lets it run
	@if [ "$$(uname)" != Linux ] || [ "$$(id -u)" != 0 ]; then echo "make kube-tour starts a Kubernetes in network namespaces of its own, which needs Linux and root: sudo make kube-tour" >&2; exit 1; fi
	@$(MAKE) build testbed
	@$(MAKE) image-root >/dev/null
	@mapfile -t images < <(VERSION="$(VERSION)" bash deploy/testbed/images.sh); \
		exec ./bin/testbed/testbed run "$${images[@]}" -- ./bin/griddev kube --tag "$(VERSION)" $(ARGS)

.PHONY: e2e-kube
e2e-kube: ## tests with a real Kubernetes; they need Linux and root, and say so where they are skipped
	@GO="$(GO)" VERSION="$(VERSION)" bash deploy/testbed/e2e.sh $(ARGS)

.PHONY: campaign
campaign: ## about an hour of random faults with traffic; GRIDROUTER_CAMPAIGN_ROUNDS and _SEED choose which
	GRIDROUTER_CAMPAIGN_ROUNDS=$${GRIDROUTER_CAMPAIGN_ROUNDS:-450} $(GO) test -count=1 -timeout 120m -v -run '^TestE2ECampaign$$' ./bench/lab

.PHONY: conformance
conformance: ## the data path against raw cases, varnishtest and real servers
	@missing=(); for tool in varnishtest nginx apache2 lighttpd node python3; do \
		command -v "$$tool" >/dev/null || test -x "/usr/sbin/$$tool" || missing+=("$$tool"); done; \
		if [ $${#missing[@]} -gt 0 ]; then echo "missing: $${missing[*]}; as root: apt-get install varnish nginx-light apache2 lighttpd nodejs python3" >&2; exit 1; fi
	GRIDROUTER_CONFORMANCE=1 $(GO) test -count=1 -timeout 15m -v -run '^TestConformance' ./router/... ./bench/conformance | grep -vE '^(=== |\s+---|---|PASS|\s+\S+_test.go)' 

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (60s) each
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

.PHONY: bench
bench: build bench-peers ## the whole table of goals beside HAProxy, nginx, Caddy and Traefik: about 15 minutes, and 5 more at the first time
	@mkdir -p dist
	./bin/gridbench compare --html dist/bench.html $(ARGS)
	@echo "the same with plots: dist/bench.html"

.PHONY: bench-short
bench-short: build ## a minute of it, which fails only by what does not depend on the machine
	./bin/gridbench compare --short --only small,calls,connections,tls,websocket,idle --peers haproxy,nginx $(ARGS)

# Traefik is built from source, in a module of its own; the others come from the distribution.
.PHONY: bench-peers
bench-peers: bin/traefik
	@missing=(); for tool in haproxy nginx caddy perf; do \
		command -v "$$tool" >/dev/null || test -x "/usr/sbin/$$tool" || missing+=("$$tool"); done; \
		packages="haproxy nginx-light caddy linux-perf"; \
		if [ $${#missing[@]} -gt 0 ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing $$packages"; apt-get update -q >/dev/null && \
			RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$packages >/dev/null; \
		elif [ $${#missing[@]} -gt 0 ]; then echo "not installed, and left out: $${missing[*]}; as root: apt-get install $$packages" >&2; fi

bin/traefik: .tools/traefik/go.mod
	@echo "building Traefik, about 5 minutes"
	CGO_ENABLED=0 $(GO) build -modfile=.tools/traefik/go.mod -trimpath -ldflags '-s -w' -o $@ github.com/traefik/traefik/v3/cmd/traefik

.PHONY: bench-micro
bench-micro: ## micro-benchmarks of all packages
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PACKAGES)

.PHONY: bench-gate
bench-gate: ## micro-benchmarks of this tree and of BASE (default HEAD~1) in turns, compared by benchstat; more allocations fail
	BASE="$(BASE)" bash .ci/bench-gate $(ARGS)

.PHONY: pgo
pgo: build ## refresh the profile that the router is optimised by, from the load of make bench
	./bin/gridbench compare --only small --peers haproxy --rounds 1 --profile cmd/gridrouter/default.pgo
	$(MAKE) build

.PHONY: bench-table
bench-table: build ## measure the table against what is promised; ARGS=--short for less
	./bin/gridbench table $(ARGS)

.PHONY: lint
lint: ## formatting and static checks, with pinned tools
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | while read -r file; do test ! -f "$$file" || echo "$$file"; done | xargs gofmt -l); \
		if [ -n "$$unformatted" ]; then echo "run gofmt -w on: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags slim ./cmd/...
	$(TOOL) golangci-lint run ./...
	@if [ "$$(uname)" = Linux ]; then $(MAKE) lint-testbed; fi

# The testbed is a module of its own. Its cmd/kubernetes has all of Kubernetes below it, for which
# the linters would need 3 GB and many minutes, so make e2e-kube has go vet look at it.
.PHONY: lint-testbed
lint-testbed:
	cd deploy/testbed && export CGO_ENABLED=0 GOFLAGS=-trimpath && \
		$(GO) tool -modfile=../../.tools/go.mod golangci-lint run --config ../../.golangci.yml \
		$$($(GO) list ./... | grep -v '/cmd/kubernetes$$' | sed 's#^gridrouter.io/deploy/testbed#.#')

# What is removed first holds a file for each type: those of types that are gone would stay. Rights (RBAC) come
# from the markers in deploy/operator.
.PHONY: generate
generate: ## make CRDs, rights, deep copies, apply configurations and docs/API.md anew from the kinds in deploy/api
	rm -rf deploy/api/applyconfiguration
	$(KUBETOOL) controller-gen object crd:allowDangerousTypes=true applyconfiguration:omitToolVersion=true \
		paths=./deploy/api/v1alpha1 output:crd:dir=deploy/manifests/crds
	$(KUBETOOL) controller-gen rbac:roleName=gridrouter-operator paths=./deploy/operator/... paths=./deploy/clusters output:rbac:dir=deploy/manifests/rbac
	$(GO) test -count=1 -run '^TestTheAPIPageIsGenerated$$' ./docs -update

.PHONY: generated
generated: ## fail if make generate would change anything
	@bash .ci/generated

.PHONY: tidy
tidy: ## fail if go.mod or go.sum would change
	$(GO) mod tidy -diff
	$(GO) mod verify
	cd deploy/testbed && $(GO) mod tidy -diff && $(GO) mod verify
	for module in deploy/testbed/etcd/*/; do (cd $$module && $(GO) mod tidy -diff && $(GO) mod verify) || exit 1; done

.PHONY: check
check: tidy lint generated test test-etcd e2e ## all that must be green before a change is offered

.PHONY: image
image: build slim ## the container images VERSION and VERSION-slim, from scratch: one static binary, not root; by docker, podman or buildah
	@GO="$(GO)" VERSION="$(VERSION)" bash deploy/image/build.sh
	@GO="$(GO)" VERSION="$(VERSION)-slim" PROGRAM=bin/slim/gridrouter bash deploy/image/build.sh

.PHONY: image-root
image-root: build slim ## what is in the images, as folders and tar files in bin/image; needs no container engine
	@GO="$(GO)" VERSION="$(VERSION)" bash deploy/image/root.sh
	@GO="$(GO)" VERSION="$(VERSION)-slim" PROGRAM=bin/slim/gridrouter bash deploy/image/root.sh

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
