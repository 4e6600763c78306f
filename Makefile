# `make` lists the targets. Every recipe can be run by hand, too: nothing here
# sets more than it says.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# What is built once and kept outside the work tree, as tests/parts/fetch does.
CACHE := $(or $(FHIR_EXPORT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fhir-export-operator)
TARGET := $(or $(CARGO_TARGET_DIR),target)
OPERATOR := $(TARGET)/debug/fhir-export-operator
DENY_VERSION := 0.20.2
DENY := $(CACHE)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
FUZZ_VERSION := 0.13.1
FUZZ := $(CACHE)/cargo-fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz
FUZZ_TARGETS := content_location manifest outcome retry_after type_filter
# How long `make fuzz` feeds each target.
SECONDS ?= 60
IMAGE ?= localhost/fhir-export-operator
TAG ?= $(shell sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$$/\1/p' charts/fhir-export-operator/Chart.yaml)
ENGINE ?= $(notdir $(firstword $(foreach engine,buildah podman docker,$(shell command -v $(engine)))))
# The certificate authorities that the program in the image trusts: CA_BUNDLE=file, or those that tests/parts/authorities locks.
CA_BUNDLE ?=

include tests/parts/parts.mk

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Show a live export, a crash and a cancel. STORE=s3|volume: there. CLUSTER=1: on a control plane; HOLD=1: stays up; KUBE_CONTEXT=name
	@tests/tools/demo/run

.PHONY: demo-picture
demo-picture: ## Draw docs/demo.svg, the picture in the README, from what `make demo` shows
	@cargo build --quiet --locked --workspace --bin fhir-export-operator --bin bulk-fhir --bin picture
	@shown=$$(mktemp); trap 'rm -f "$$shown"' EXIT; \
	DEMO_BUILT=1 tests/tools/demo/local/run >"$$shown"; \
	$(TARGET)/debug/picture <"$$shown" >docs/demo.svg

.PHONY: interop
interop: ## Run exports and schedules of HAPI FHIR and sekmet-fhir through the operator, and compare what landed with what they hold
	@tests/proofs/interop/run

.PHONY: chaos
chaos: ## Run 200 exports while everything breaks, and audit what became of them: SEED=n, EXPORTS=n
	@SEED='$(SEED)' EXPORTS='$(EXPORTS)' tests/proofs/chaos/run

.PHONY: upgrade
upgrade: ## Replace the version of commit FROM by this one and go back, with exports in every phase; RECORD=1 records that version
	@FROM='$(or $(FROM),df878be)' RECORD='$(RECORD)' tests/e2e/upgrades/run

# What to run all day. It builds the library, its tests, the operator and the small targets repo_*, and no other test crate; the
# tests of the others are in `make test`. CONTRIBUTING.md says what it costs.
.PHONY: check
check: lint check-unit ## Check format, lints, layers, generated files, unit and property tests: under 3 minutes
	@$(MAKE) check-generated

.PHONY: check-unit
check-unit:
	cargo test -p fhir-export-operator --locked --no-fail-fast --lib --test 'repo_*'

# About 45 minutes on two cores when everything was built before; `make check` runs first, so that cheap checks fail first.
.PHONY: test
test: ## Run everything, with one summary: 45 minutes
	@tests/all

.PHONY: tools
tools: ## Say which tool is missing or too old
	@tests/parts/tools

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: lint
lint: ## Check the format, and run clippy on everything
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: layers
layers: ## Print which folder of src/ uses which, and the number of circles
	@cargo test --quiet --locked --test repo_layers the_graph -- --nocapture --quiet

.PHONY: unit
unit: ## Run the unit and property tests of all packages, and the examples in the documentation
	cargo test --workspace --locked --no-fail-fast --lib --bins
	cargo test --workspace --locked --no-fail-fast --doc

.PHONY: e2e
e2e: ## Run the targets of tests/ and of the fixtures: on the real parts, end to end
	cargo test --workspace --locked --no-fail-fast --test '*'

.PHONY: sim
sim: ## Simulate the operator with faults: SEEDS=10000, SEED=x replays one, PROFILE=release for many seeds
	@cargo build --quiet --locked --workspace $(if $(filter release,$(PROFILE)),--release) --bin sim
	@$(TARGET)/$(if $(filter release,$(PROFILE)),release,debug)/sim \
	  $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),10000) --from $(or $(FROM),0))

.PHONY: sim-planted
sim-planted: ## Plant nineteen faults in the operator, and show that the simulation finds each: FAULTS="token-elsewhere"
	@cargo build --quiet --locked --workspace --bin planted --test replay --features sim/planted
	@$(TARGET)/debug/planted $(FAULTS)

.PHONY: bench
bench: ## Measure how files land beside a plain program, and small figures: SHAPES="large 1x5000000000", ROUNDS=n, COMPARE=old.json
	cargo build --release --locked --workspace --bin fhir-export-operator --bin bench
	$(TARGET)/release/bench $(SHAPES) --rounds $(or $(ROUNDS),3) --json $(or $(JSON),$(TARGET)/bench.json) \
	  $(if $(COMPARE),--compare '$(COMPARE)') $(BENCH_ARGS)

# With --workspace, here and below: so programs are built with the features of the tests, and share what these built.
.PHONY: operator
operator:
	@cargo build --quiet --locked --workspace --bin fhir-export-operator

.PHONY: generate
generate: operator ## Write what is made from the code: definitions, their copies in the charts, the charts' READMEs, pages of reasons, states, kinds and flags
	$(OPERATOR) crds --write crds
	$(OPERATOR) reasons --write docs/reasons.md
	$(OPERATOR) states --write docs/states.md
	$(OPERATOR) kinds --write docs/reference/kinds.md
	$(OPERATOR) flags --write docs/reference/flags.md
	charts/readme
	charts/sync

.PHONY: check-generated
check-generated: operator ## Fail if `make generate` would change anything
	@made=$$(mktemp -d); trap 'rm -rf "$$made"' EXIT; \
	$(OPERATOR) crds --write "$$made/crds"; \
	$(OPERATOR) reasons --write "$$made/reasons.md"; \
	$(OPERATOR) states --write "$$made/states.md"; \
	$(OPERATOR) kinds --write "$$made/kinds.md"; \
	$(OPERATOR) flags --write "$$made/flags.md"; \
	status=0; \
	diff -ru crds "$$made/crds" || status=1; \
	diff -u docs/reasons.md "$$made/reasons.md" || status=1; \
	diff -u docs/states.md "$$made/states.md" || status=1; \
	diff -u docs/reference/kinds.md "$$made/kinds.md" || status=1; \
	diff -u docs/reference/flags.md "$$made/flags.md" || status=1; \
	charts/readme --check || status=1; \
	charts/sync --check || status=1; \
	if ((status)); then echo 'The above is not current: run make generate.' >&2; fi; \
	exit "$$status"

# The pages with what they link to, in the same places as in the repository.
.PHONY: book
book: ## Build the documentation as a book, in target/book/html: needs mdbook (cargo install mdbook --locked)
	@rm -rf target/book; mkdir -p target/book/src
	@git ls-files -z '*.md' docs examples charts crds tests/chart_e2e .github deny.toml LICENSE | \
	  xargs -0 cp --parents -t target/book/src
	@sed -i 's|\[The table of contents\](docs/SUMMARY.md)|The table of contents|' target/book/src/README.md
	@sed -E 's|\]\(([^.])|](docs/\1|; s|\]\(\.\./|](|' docs/SUMMARY.md >target/book/src/SUMMARY.md
	@mdbook build
	@echo 'built target/book/html/index.html'

.PHONY: dashboard-picture
dashboard-picture: ## Draw docs/dashboard.svg: the dashboard of the chart, with the metrics of a live operator
	FHIR_EXPORT_PICTURE='$(abspath docs/dashboard.svg)' \
	  cargo test --quiet --locked --test e2e every_query_of_the_dashboard -- --nocapture

.PHONY: deny
deny: $(DENY) ## Check licences, sources, bans and doubles of the dependencies
	"$(DENY)" --workspace --locked check --hide-inclusion-graph licenses sources bans

$(DENY):
	@echo 'building cargo-deny $(DENY_VERSION), once, about 5 minutes on two cores, into $(CACHE)'
	cargo install cargo-deny --quiet --locked --version $(DENY_VERSION) --root '$(CACHE)/cargo-deny-$(DENY_VERSION)'

.PHONY: advisories
advisories: $(DENY) ## Check the dependencies for known flaws. With CI_RELEASE set it fails if the database is not reached
	@if "$(DENY)" --workspace --locked fetch db; then \
	  "$(DENY)" --workspace --locked check --disable-fetch --hide-inclusion-graph advisories; \
	elif [[ -n "$${CI_RELEASE:-}" ]]; then \
	  echo 'advisories: the database could not be fetched, so nothing was checked: no release without it' >&2; exit 1; \
	else \
	  echo 'advisories: NOT CHECKED: the database (github.com/RustSec/advisory-db) cannot be reached from here'; \
	fi

.PHONY: fuzz
fuzz: $(FUZZ) ## Feed each fuzz target for SECONDS (60), or TARGETS="manifest outcome" only
	@for target in $(or $(TARGETS),$(FUZZ_TARGETS)); do \
	  found='$(abspath $(TARGET))/fuzz/'$$target; mkdir -p "$$found"; \
	  echo "== $$target: $(SECONDS) seconds; what is found beyond fuzz/corpus/$$target lies in $$found"; \
	  RUSTC_BOOTSTRAP=1 PATH='$(dir $(FUZZ))':"$$PATH" cargo fuzz run --sanitizer none "$$target" \
	    "$$found" "fuzz/corpus/$$target" -- \
	    -max_total_time=$(SECONDS) -max_len=32768 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1; \
	done

$(FUZZ):
	@echo 'building cargo-fuzz $(FUZZ_VERSION), once, about a minute on two cores, into $(CACHE)'
	cargo install cargo-fuzz --quiet --locked --version $(FUZZ_VERSION) --root '$(CACHE)/cargo-fuzz-$(FUZZ_VERSION)'

.PHONY: image
image: ## Build the container image: IMAGE=name, TAG=tag, ENGINE=buildah, podman or docker
	@if [[ -z '$(ENGINE)' ]]; then echo 'image: buildah, podman or docker is needed, and none is here' >&2; exit 1; fi
	@echo 'building a static program, optimised: 5 minutes from nothing on two cores'
	@triple=$$(rustc -vV | sed -n 's/^host: //p'); \
	RUSTFLAGS='-C target-feature=+crt-static' \
	  cargo build --release --locked --bin fhir-export-operator --target "$$triple"; \
	case $$triple in x86_64-*) arch=amd64 ;; aarch64-*) arch=arm64 ;; *) echo "image: no image for $$triple" >&2; exit 1 ;; esac; \
	context='$(TARGET)/image'; rm -rf "$$context"; mkdir -p "$$context/$$arch"; \
	cp "$(TARGET)/$$triple/release/fhir-export-operator" "$$context/$$arch/"; \
	authorities='$(CA_BUNDLE)'; \
	if [[ -z $$authorities ]]; then authorities=$$(tests/parts/fetch authorities); fi; \
	cp "$${authorities#AUTHORITIES=}" "$$context/ca-certificates.crt"; \
	$(ENGINE) build -f Dockerfile --build-arg TARGETARCH="$$arch" --build-arg VERSION='$(TAG)' \
	  --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || true)" -t '$(IMAGE):$(TAG)' "$$context"
	@echo 'built $(IMAGE):$(TAG)'

.PHONY: clean
clean: ## Remove what was built in the work tree; parts-clean removes the rest
	cargo clean
