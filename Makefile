# What a person and CI run. `make` alone lists the targets.

GO ?= go

# Narrow what runs: make test PKG=./ipam/... RUN=Lease, make bench BENCH=Latency/path=kernel, make bench-go PKG=./isolation BENCH=Filter,
# make fuzz PKG=./internal/packet FUZZTIME=5m.
PKG ?= ./...
RUN ?= .
BENCH ?= .
FUZZTIME ?= 10s

# How often bench measures what it compares: ratios are of one round each. bench-compare runs each side COUNT times, and fails when
# something is slower by more than THRESHOLD percent.
ROUNDS ?= 3
COUNT ?= 6
THRESHOLD ?= 10

# How many peers bench-kernel measures beside. With 50000 it takes an hour and more.
PEERS ?= 0 100 1000 10000

# How many processes crash kills of each dataplane, and of waylumed, and the seed of what it does to them: 0 is another one each time.
N ?= 1000
SEED ?= 0

# The module and its packages that are wanted, which are asked for once, by whoever needs them first.
module = $(eval module := $(shell $(GO) list -m))$(module)
packages = $(eval packages := $(shell $(GO) list $(PKG)))$(packages)

# Packages whose tests measure rates by the wall clock: they run one after the other, and share two cores with nobody better. The
# others run before, PARALLEL at a time, as most of them wait more than they compute. So do those of MIXED but for TIMED_TESTS.
TIMED = $(addprefix $(module)/,cmd/waylumed/internal/demo examples/limits shaping shaping/% \
	wgnode/internal/wggo wgnode/userspace wgnode/wgnodetest wgnode/wgnodetest/%)
MIXED = $(addprefix $(module)/,cmd/waylumed wgnode/kernel)
TIMED_TESTS = ^TestDemo$$|^TestConformance$$/^(TUN|module)$$
PARALLEL ?= 3

# The virtual machine, emulated on the same processors, comes last and alone, and only where neither PKG nor RUN leaves it out.
VM ?= $(and $(filter ./... ./wgnode/... ./wgnode/kernel/... ./wgnode/kernel,$(PKG)),$(filter .,$(RUN)))

# Tests that the race detector rules out, as it allocates, has memory of its own, or fails: they run once more, without it.
UNRACED = TestBusyMemory|TestNoAllocations|TestPathAllocatesNothing|TestAThousandNodesDoNotStampede

# The race detector needs a C compiler.
RACE ?= $(if $(shell command -v $$($(GO) env CC)),-race)

# Systems, beside the one at hand, that everything must build for.
CROSS ?= linux/arm64 darwin/arm64 windows/amd64

GOLANGCI_VERSION := v2.15.0
GOLANGCI := bin/golangci-lint-$(GOLANGCI_VERSION)

DENO_VERSION := 2.9.6
DENO := bin/deno-$(DENO_VERSION)
FUNCTIONS := examples/supabase/harness

# No build here needs the version control stamp, and a checkout of another user's cannot give it.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# What fails in a pipe fails.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help setup deno test vm crash bench bench-full bench-kernel bench-vm bench-go bench-compare fuzz lint fmt cross demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:
	@.ci/setup

deno: $(DENO) $(FUNCTIONS)/node_modules ## Deno under bin, and what the functions of examples/supabase import, by npm

$(DENO):
	@.ci/setup npm
	rm -rf $@.new
	npm install --ignore-scripts --no-audit --no-fund --no-save --prefix $@.new deno@$(DENO_VERSION)
	mv $@.new $@

$(FUNCTIONS)/node_modules: $(FUNCTIONS)/package-lock.json
	@.ci/setup npm
	npm ci --ignore-scripts --no-audit --no-fund --prefix $(FUNCTIONS)
	touch $@

test: timed = $(filter $(TIMED) $(if $(filter .,$(RUN)),,$(MIXED)),$(packages))
test: mixed = $(if $(filter .,$(RUN)),$(filter $(MIXED),$(packages)))
test: long = $(filter $(module)/wgnode $(module)/wgnode/crashtest,$(packages)) $(mixed)
test: others = $(long) $(filter-out $(timed) $(long),$(packages))
test: gotest = $(GO) test -v $(RACE) -timeout 15m
test: setup $(if $(filter true,$(CI)),deno) ## go vet, then every test with the race detector; what is skipped, and why
	$(GO) vet $(PKG)
	$(GO) build $(RACE) $(PKG)
	$(if $(strip $(others)),@$(gotest) -p $(PARALLEL) -run '$(RUN)' -skip '^TestVM$$$(if $(mixed),|$(TIMED_TESTS))' $(others) 2>&1 \
		| .ci/brief)
	$(if $(timed),@$(gotest) -p 1 -run '$(RUN)' -skip '^TestVM$$' $(timed) 2>&1 | .ci/brief)
	$(if $(mixed),@$(gotest) -p 1 -run '$(TIMED_TESTS)' $(mixed) 2>&1 | .ci/brief)
	$(if $(and $(RACE),$(filter ./...,$(PKG)),$(filter .,$(RUN))),@$(GO) test -v -timeout 10m -p 1 -run '^($(UNRACED))$$' \
		./shaping ./wgnode/internal/path ./wgnode/userspace ./registry/membership 2>&1 | .ci/brief)
	$(if $(VM),@$(MAKE) --no-print-directory vm)

vm: setup ## the kernel dataplane in a virtual machine with the WireGuard module
	$(GO) test -v $(RACE) -timeout 40m -p 1 -run '^TestVM$$' ./wgnode/kernel ./wgnode/kernel/internal/wgdev ./wgnode/crashtest \
		./registry/load/hostload 2>&1 | .ci/brief

crash: setup ## kill N nodes of each dataplane, and N of waylumed, under load, and look whether anything is missing; SEED=...
	$(GO) test -v -count 1 -timeout 0 -p 1 -run '$(RUN)' -skip '^TestVM$$' ./wgnode/crashtest ./cmd/waylumed/internal/crash \
		-args -kills $(N) -seed $(SEED)

# What the report of a target's figures says of them. Git may not know whose checkout this is.
report = $(GO) run ./bench/report -raw bin/bench/$@.txt -json bin/bench/$@.json -command 'make $@ $(MAKEOVERRIDES)' \
	-commit "$$(git describe --always --dirty --abbrev=12 2>/dev/null)"

bench: ## speed, latency, accuracy, memory and control path beside baselines, as ratios, and what is aimed at; as root
	@.ci/setup wg:wireguard-tools
	@mkdir -p bin/bench
	@GO='$(GO)' ROUNDS='$(ROUNDS)' BENCH='$(BENCH)' .ci/bench | $(report)

bench-full: ## the same with more cases, and each for longer: an hour
	@.ci/setup wg:wireguard-tools
	@mkdir -p bin/bench
	@GO='$(GO)' ROUNDS='$(ROUNDS)' BENCH='$(BENCH)' PEERS='$(PEERS)' .ci/bench full | $(report)

bench-kernel: ## of bench, the kernel dataplane beside shell tools, beside PEERS others
	@.ci/setup wg:wireguard-tools
	@mkdir -p bin/bench
	@GO='$(GO)' ROUNDS=1 BENCH='$(BENCH)' PEERS='$(PEERS)' .ci/bench kernel | $(report)

bench-vm: ## of bench, the kernel dataplane's latency and accuracy in a virtual machine with fq_codel; QUEUES=plain: without
	@.ci/setup
	@mkdir -p bin/bench
	@GO='$(GO)' ROUNDS='$(ROUNDS)' BENCH='$(BENCH)' QUEUES='$(QUEUES)' .ci/bench vm | $(report)

bench-go: packages = $(if $(filter ./...,$(PKG)),$(filter-out %/bench,$(shell $(GO) list ./...)),$(PKG))
bench-go: ## the packages' own benchmarks, with allocations
	$(GO) test -p 1 -timeout 60m -run '^$$' -bench '$(BENCH)' -benchmem $(packages)

bench-compare: ## those of the working tree and of the commit BASE by turns; fails when something became slower
	@GO='$(GO)' PKG='$(PKG)' BENCH='$(BENCH)' COUNT='$(COUNT)' THRESHOLD='$(THRESHOLD)' .ci/bench-compare '$(BASE)'

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
