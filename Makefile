# trike's doors. `make help` lists them.
export CGO_ENABLED = 0
export GOFLAGS     = -trimpath

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BIN       := $(CURDIR)/bin
PROGRAMS  := trike triked ikeproc authproc xfrmproc
FUZZTIME  ?= 30s
PREFIX    ?= /usr/local
# The kernel bed runs a command in a real kernel with ESP; it is needed only where this kernel has none.
KERNELBED ?= $(CURDIR)/../shared/kernelbed
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help build demo test check interop bench fuzz golden generate install setup clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## the five programs, in bin/, and the EAP plugins, in bin/plugins/
	@mkdir -p $(BIN)
	@for p in $(PROGRAMS); do \
	  go build -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/$$p ./cmd/$$p || exit 1; done
	@mkdir -p $(BIN)/plugins && go build -ldflags "-s -w" -o $(BIN)/plugins/ ./plugins/eap-...

demo: setup build ## two gateways, a policy, a live tunnel; KEEP=1 leaves it running
	@go run ./test/demo -bin $(BIN)

test: setup build ## all tests that need no peer
	@TRIKE_BIN=$(BIN) go test -json -timeout 10m ./... | go run ./test/report

check: setup build ## format, vet, staticcheck, the import law, examples, goldens, sizes
	@out=$$(gofmt -l . ); [ -z "$$out" ] || { echo "gofmt these: $$out"; exit 1; }
	go mod tidy -diff
	go vet ./...
	go vet -tags interop ./test/...
	go run $(STATICCHECK) ./...
	go test -count=1 ./test/arch
	@set -e; for d in examples/*/; do [ ! -e $$d/cue.mod ] && ! ls $$d*.cue >/dev/null 2>&1 || $(BIN)/trike vet $$d; done
	@before=$$(test/report/tree-hash); $(MAKE) --no-print-directory golden generate; \
	  [ "$$before" = "$$(test/report/tree-hash)" ] || { echo "goldens or generated files are stale: run make golden generate"; git status --short; exit 1; }
	@go run ./test/size $(BIN)

interop: setup build ## against peers from Debian, in namespaces and in the kernel bed
	@TRIKE_BIN=$(BIN) KERNELBED=$(KERNELBED) test/interop/run

bench: build ## benchmarks beside known figures and, where they can be had, peers in the same run
	@TRIKE_BIN=$(BIN) test/bench/run

fuzz: ## every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) test/report/fuzz

golden: build ## rewrite the goldens
	@go test -count=1 ./compiler ./internal/plan ./cmd/trike -update >/dev/null

generate: ## rewrite generated files
	@go generate ./...

install: build ## into PREFIX, with the three users
	@test/setup users
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/trike
	install -m 755 $(BIN)/trike $(BIN)/triked $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/ikeproc $(BIN)/authproc $(BIN)/xfrmproc $(DESTDIR)$(PREFIX)/libexec/trike
	install -d $(DESTDIR)$(PREFIX)/libexec/trike/plugins && install -m 755 $(BIN)/plugins/eap-* $(DESTDIR)$(PREFIX)/libexec/trike/plugins/

setup: ## what the tests and the demo need of Debian
	@test/setup packages

clean: ## what was built
	rm -rf $(BIN)
