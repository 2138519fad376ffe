# The targets below are all that a day's work needs; each is a thin call of go or of
# a script in scripts/. Bare `make` lists those with a "##" remark.

BIN := bin/metaq
# test/bench and test/interop are modules of their own; go.work joins them.
PKG := ./... ./test/bench/... ./test/interop/...
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)

# Settings, for example: make fuzz FUZZTIME=1m, make crash SEEDS=100000, make bench
# QUICK=1, make micro BENCH=Append, make test RUN=TestFiftyKills
FUZZTIME ?= 10s
SEEDS    ?= 20000
BENCH    ?= .
COUNT    ?= 6

# One build without cgo serves every step but the race detector, which needs it.
export CGO_ENABLED ?= 0
race: export CGO_ENABLED = 1
ifdef RUN
test: export CGO_ENABLED = 1
endif

.DEFAULT_GOAL := help
.PHONY: help build demo tutorial run test unit race interop fuzz crash soak lint fmt golden docs bench release ci micro services vet cross

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## build the one binary, bin/metaq
	@echo building $(BIN)
	@go build -trimpath -ldflags "-X main.described=$(VERSION)" -o $(BIN) ./cmd/metaq

demo: build ## send a whole book through a broker and prove that nothing was lost
	$(BIN) demo

tutorial: build ## MetaQ's tutorial: three ZooKeeper servers, two brokers, one server killed
	@servers=$$(bash test/tutorial/zookeeper.sh) && go run ./test/tutorial -zookeeper $$servers

run: build ## start a broker to play with, in a fresh ./metaq-data
	@scripts/run.sh $(BIN)

test: ## the whole suite; installs what it needs. RUN=NAME runs the tests that match, alone
ifdef RUN
	@scripts/test.sh '$(RUN)'
else
	@MAKE="$(MAKE)" scripts/steps.sh services lint vet race cross crash
endif

unit: ## tests that need no service and no network
	go test -short $(PKG)

race: ## unit and integration tests with the race detector
	@scripts/race.sh $(PKG)

interop: ## publish with the official clients of Go, JavaScript, Python and Java, and run the Go client's own tests
	@test/interop/install.sh
	go test -count=1 -v ./test/interop
	@test/interop/natsgo/run.sh

fuzz: ## every fuzz target for FUZZTIME (default 10s) each
	@scripts/fuzz.sh $(FUZZTIME)

crash: ## crash the log SEEDS times (default 20000) and judge what is recovered
	@scripts/crash.sh $(SEEDS)

soak: ## a consumer group and two brokers under fire for METAQ_SOAK (default 5m)
	@bash test/zk/install.sh
	METAQ_SOAK=$${METAQ_SOAK:-5m} go test -count=1 -v -timeout 0 -run '^TestMembersAndAClusterUnderFire$$' ./test/groups

lint: ## linters, formatting and words, no change made
	@scripts/golangci-lint.sh run $(PKG)
	@scripts/words.sh

fmt: ## format all code
	@scripts/golangci-lint.sh fmt $(PKG)

golden: ## rewrite the golden files; read the diff before committing it
	@scripts/with-flag.sh update -count=1 -update

docs: golden ## rewrite the generated documents and check all of them against the code
	go test -count=1 ./internal/arch

bench: build ## measure the broker beside its peers; QUICK=1 takes a minute, see docs/performance.md
	go build -trimpath -o bin/bench ./test/bench
	bin/bench $(if $(QUICK),-quick) $(if $(PROFILE),-profile) $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(DURATION),-duration $(DURATION)) \
		-rows '$(ROWS)' -systems '$(SYSTEMS)' -peers '$(PEERS)' -dir '$(DIR)' -doc '$(DOC)'

release: ## static binaries for all platforms, checksums and bills of materials, in dist/
	@scripts/release.sh $(or $(VERSION),v0.0.0-untagged)

ci: ## what CI runs
	@.ci/run

# Parts of `test` that are seldom wanted alone.

micro: # the functions' own benchmarks matching BENCH, COUNT runs each, for benchstat
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG)

services:
	@scripts/services.sh

vet:
	go vet $(PKG)
	go vet -tags planted ./persistence

cross:
	@scripts/cross.sh
