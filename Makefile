# Targets of TMS. `make` alone lists them.

GO      ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
BENCHTIME ?= 3s
SOAK     ?= 5m
EVIDENCE ?= 1m
ATTACK   ?= 5s
BASE     ?= HEAD
LDFLAGS   = -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help run build test tools check unit release soak evidence attacks mutants bench compare cover

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## serve on 127.0.0.1:8080 with the tokens in ./data
	$(GO) run ./cmd/tms serve

build: ## build the binary for this machine: bin/tms
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o bin/tms ./cmd/tms

test: tools check unit ## everything that tests TMS: formatting, vet, all tests with the race detector

tools:
	@./.ci/tools

check:
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "gofmt would change:" $$files; exit 1; }
	$(GO) vet ./...

unit: # those that take longest first, so that none of them runs alone in the end
	$(GO) test -race -p 2 -timeout 20m ./cmd/tms ./internal/store/redis ./client ./...

release: ## build for every platform, with checksums, into dist, and see that a second build is the same, as CI does
	GO="$(GO)" scripts/release "$(VERSION)" dist
	GO="$(GO)" scripts/reproduce "$(VERSION)" dist linux/amd64

soak: tools ## three servers and one Redis under random faults, for SOAK=5m
	$(GO) test -race ./cmd/tms -run 'TestSoak$$' -v -timeout 2h -soak $(SOAK)

evidence: tools ## what each way to keep tokens promises, under faults, for EVIDENCE=1m each
	$(GO) test ./cmd/tms -run 'TestEvidence$$' -v -timeout 60m -evidence $(EVIDENCE)
	$(GO) test ./internal/store/embedded -run 'TestTheMachine|TestTheDisk' -timeout 10m -all-operations

attacks: ## attack a server in each of the ways of docs/security.md, for ATTACK=5s, and print what others feel of it
	$(GO) test ./cmd/tms -run 'TestAttacks$$' -v -timeout 60m -attacks $(ATTACK) | grep '^|'
	$(GO) test ./internal/server -run 'TestGeneratedRequests$$' -timeout 60m -generated 100000

mutants: tools ## plant one fault at a time, and print which test catches it, in about ten minutes
	$(GO) test ./internal/mutants -run 'TestMutants$$' -v -mutants -timeout 60m
	$(GO) test ./internal/store/storetest -run 'Mutants$$' -v

bench: tools ## run the benchmarks, in about three minutes
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -p 1 -timeout 30m ./...

compare: tools ## compare this tree with BASE=rev, and with what net/http can do, in turn: two minutes on two idle cores
	$(GO) test ./cmd/tms -run 'TestCompare$$' -v -timeout 60m -compare $(BASE)

cover: tools ## run the tests and write what they cover: bin/cover.html
	@mkdir -p bin
	$(GO) test -p 2 -timeout 10m -coverpkg=./... -coverprofile=bin/cover.out ./...
	$(GO) tool cover -html=bin/cover.out -o bin/cover.html
