# What a person and CI run. `make` alone lists the targets.

GO ?= go

# Narrow what runs: make test PKG=./ipam/... RUN=Lease, make bench BENCH=Filter, make fuzz PKG=./internal/packet FUZZTIME=5m.
PKG ?= ./...
RUN ?= .
BENCH ?= .
FUZZTIME ?= 10s

# How many peers bench-kernel measures beside. With 50000 it takes an hour and more.
PEERS ?= 0 100 1000 10000

# How many processes crash kills of each dataplane, and of waylumed, and the seed of what it does to them: 0 is another one each time.
N ?= 1000
SEED ?= 0

# Packages whose tests measure rates by the wall clock: they run one after the other, and share two cores with nobody better. The
# others run before, PARALLEL at a time.
TIMED = $(addprefix $(shell $(GO) list -m)/,cmd/waylumed cmd/waylumed/internal/crash cmd/waylumed/internal/demo examples/% shaping shaping/% \
	wgnode/crashtest wgnode/internal/wggo wgnode/kernel wgnode/userspace wgnode/wgnodetest wgnode/wgnodetest/%)
PARALLEL ?= 2

# The virtual machine, emulated on the same processors, comes last and alone, and only where neither PKG nor RUN leaves it out.
VM ?= $(and $(filter ./... ./wgnode/... ./wgnode/kernel/... ./wgnode/kernel,$(PKG)),$(filter .,$(RUN)))

# The race detector needs a C compiler.
RACE ?= $(if $(shell command -v $$($(GO) env CC)),-race)

# Systems, beside the one at hand, that everything must build for.
CROSS ?= linux/arm64 darwin/arm64 windows/amd64

GOLANGCI_VERSION := v2.15.0
GOLANGCI := bin/golangci-lint-$(GOLANGCI_VERSION)

DENO_VERSION := 2.9.6
DENO := bin/deno-$(DENO_VERSION)

# No build here needs the version control stamp, and a checkout of another user's cannot give it.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# What fails in a pipe fails.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help setup deno test vm crash bench bench-kernel fuzz lint fmt cross demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:
	@.ci/setup

deno: $(DENO) ## Deno under bin, for the test of examples/edge-function, by npm

$(DENO):
	@.ci/setup npm
	rm -rf $@.new
	npm install --ignore-scripts --no-audit --no-fund --no-save --prefix $@.new deno@$(DENO_VERSION)
	mv $@.new $@

test: packages = $(shell $(GO) list $(PKG))
test: gotest = $(GO) test -v $(RACE) -timeout 15m -run '$(RUN)' -skip '^TestVM$$'
test: setup $(if $(filter true,$(CI)),deno) ## go vet, then every test with the race detector; what is skipped, and why
	$(GO) vet $(PKG)
	$(GO) build $(RACE) $(PKG)
	$(if $(filter-out $(TIMED),$(packages)),@$(gotest) -p $(PARALLEL) $(filter-out $(TIMED),$(packages)) 2>&1 | .ci/brief)
	$(if $(filter $(TIMED),$(packages)),@$(gotest) -p 1 $(filter $(TIMED),$(packages)) 2>&1 | .ci/brief)
	$(if $(VM),@$(MAKE) --no-print-directory vm)

vm: setup ## the kernel dataplane in a virtual machine with the WireGuard module
	$(GO) test -v $(RACE) -timeout 20m -p 1 -run '^TestVM$$' ./wgnode/kernel ./wgnode/kernel/internal/wgdev ./wgnode/crashtest 2>&1 | .ci/brief

crash: setup ## kill N nodes of each dataplane, and N of waylumed, under load, and look whether anything is missing; SEED=...
	$(GO) test -v -count 1 -timeout 0 -p 1 -run '$(RUN)' -skip '^TestVM$$' ./wgnode/crashtest ./cmd/waylumed/internal/crash \
		-args -kills $(N) -seed $(SEED)

bench: ## every benchmark, with allocations
	$(GO) test -p 1 -timeout 60m -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

bench-kernel: ## the kernel dataplane beside shell tools, with ratios, beside PEERS others; as root, some 5 minutes
	@.ci/setup wg:wireguard-tools
	BENCH_PEERS='$(PEERS)' $(GO) test -v -timeout 3h -run '^$$' -bench '^Benchmark(Peer|Forward)$$' -benchtime 5s ./wgnode/kernel 2>&1 | .ci/bench-kernel

fuzz: ## every fuzz target, FUZZTIME each
	@GO='$(GO)' .ci/fuzz $(FUZZTIME) $(PKG)

lint: $(GOLANGCI) ## golangci-lint, which the first run builds
	$(GOLANGCI) run $(PKG)

fmt: $(GOLANGCI) ## format every Go file
	$(GOLANGCI) fmt

$(GOLANGCI):
	GOBIN='$(CURDIR)/bin' $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv bin/golangci-lint $@

cross: ## build and vet for other systems
	@set -e; for target in $(CROSS); do \
		echo "$$target"; \
		export GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0; \
		$(GO) build ./...; \
		$(GO) vet ./...; \
	done

demo: ## a node and its peers on the loopback, measured
	$(GO) run ./cmd/waylumed demo $(ARGS)
