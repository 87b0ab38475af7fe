.DEFAULT_GOAL := help
.PHONY: help test lint

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

test: toolchain ## Run all tests (installs the Rust toolchain through rustup if it is missing)
	cargo test --locked --no-default-features
	cargo test --locked

lint: toolchain ## Check the format and run the lints, with and without the default features
	cargo fmt --check
	cargo clippy --locked --no-default-features --all-targets -- -D warnings
	cargo clippy --locked --all-targets -- -D warnings

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo 'Rust is required. To install it: curl https://sh.rustup.rs -sSf | sh' >&2; exit 1; }
	@rustup show active-toolchain >/dev/null 2>&1 || rustup toolchain install

.PHONY: demo
demo: toolchain ## Build, add a sidecar with the webhook and with the inject command, and show the changes
	@cargo build --locked --quiet --bin sidecar-injector --example demo
	@"$${CARGO_TARGET_DIR:-target}/debug/examples/demo" "$${CARGO_TARGET_DIR:-target}/debug/sidecar-injector"

.PHONY: e2e
e2e: toolchain ## Run only the tests against a real API server
	cargo test --locked --test apiserver

.PHONY: bench
bench: toolchain ## Measure instructions, allocations and times of the engine
	benches/instructions.sh
	cargo bench --locked --no-default-features --bench inject

.PHONY: bench-check bench-baseline valgrind
bench-check: toolchain valgrind ## Fail if a review costs over 3 % more instructions or allocations than benches/baseline.txt
	benches/check.sh
bench-baseline: toolchain valgrind ## Write benches/baseline.txt (give the reason in the commit)
	benches/check.sh --update

# Debian: installs valgrind if it is missing.
valgrind:
	@command -v valgrind >/dev/null || { root=$$([ "$$(id -u)" = 0 ] || echo sudo); $$root apt-get update -qq \
	    && $$root apt-get install -qq -y --no-install-recommends valgrind >/dev/null; } \
	  || { echo 'valgrind is required (Debian: apt-get install valgrind)' >&2; exit 1; }

.PHONY: wasm
wasm: toolchain ## Build the core for wasm32-unknown-unknown
	rustup target add wasm32-unknown-unknown
	cargo build --locked --lib --no-default-features --target wasm32-unknown-unknown

.PHONY: generate golden
# Tests check that every generated file is current, so CI fails when one is not.
generate: golden ## Write every generated file: references, chart README, golden corpus, manifests, table of Pod fields
	UPDATE_DOCS=1 cargo test --locked --test docs
	$(MAKE) --no-print-directory manifests
	UPDATE_POD_TYPES=1 cargo test --locked --test apiserver -- pod_types_are_current
golden: toolchain ## Update the expected files in tests/golden
	UPDATE_GOLDEN=1 cargo test --locked --no-default-features --test golden

.PHONY: fuzz
FUZZ_SECONDS ?= 60
fuzz: toolchain ## Fuzz templates, reviews, annotations, expressions, FUZZ_SECONDS (60) each (installs nightly, cargo-fuzz)
	@rustup toolchain list | grep -q nightly || rustup toolchain install nightly --profile minimal
	@command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	@mkdir -p fuzz/corpus/template fuzz/corpus/review fuzz/corpus/annotations
	cargo +nightly fuzz run template fuzz/corpus/template tests/golden -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=4096
	cargo +nightly fuzz run review fuzz/corpus/review tests/reviews -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=16384
	cargo +nightly fuzz run annotations fuzz/corpus/annotations -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=2048
	cargo +nightly fuzz run expression fuzz/corpus/expression -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=512

.PHONY: manifests
# Helm 4: on PATH, or the one that the API-server tests build.
HELM ?= $(or $(shell command -v helm 2>/dev/null),$(lastword $(sort $(wildcard $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sidecar-injector/helm/4.*/helm))))
manifests: ## Render manifests/ from the chart (needs Helm 4: HELM=...)
	for name in base cert-manager policy ha; do \
	  $(HELM) template sidecar-injector charts/sidecar-injector --namespace sidecar-injector --no-hooks \
	    --values charts/sidecar-injector/ci/$$name-values.yaml > manifests/$$name/sidecar-injector.yaml || exit 1; \
	done

.PHONY: static
TARGET ?= x86_64-unknown-linux-musl
# The remapped prefixes keep paths of the build machine out of the binary.
# TARGET=aarch64-unknown-linux-musl needs aarch64-linux-gnu-gcc instead of musl-gcc.
static: toolchain cargo-auditable ## Build the static binary for the image (needs musl-gcc; TARGET=...)
	rustup target add $(TARGET)
	cargo auditable build --locked --release --target $(TARGET) --bin sidecar-injector --config 'target.$(TARGET).rustflags=["--remap-path-prefix=$(CURDIR)=/source", "--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo"]'
	@echo "docker build --build-arg FROM=prebuilt --build-arg BINARY=sidecar-injector $${CARGO_TARGET_DIR:-target}/$(TARGET)/release -f Dockerfile"

# The C compiler builds only the C and assembly code of ring. Rust's own linker links the binary, with the C library
# that is part of the Rust target.
static: export CC_aarch64_unknown_linux_musl = aarch64-linux-gnu-gcc
static: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER = rust-lld

.PHONY: cargo-auditable cargo-cyclonedx cargo-deny
cargo-auditable cargo-cyclonedx cargo-deny: toolchain
	@command -v $@ >/dev/null || cargo install --locked --quiet $@

.PHONY: sbom
SBOM ?= sidecar-injector.cdx.json
sbom: cargo-cyclonedx ## Write the SBOM of the program, from the lock file, as CycloneDX JSON
	cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename sbom
	@mv sbom.json $(SBOM)

.PHONY: deny advisories
deny: cargo-deny ## Check licenses, sources and banned crates
	cargo deny --all-features --locked check bans licenses sources
advisories: cargo-deny ## Check for known vulnerabilities (downloads the advisory database)
	cargo deny --all-features --locked check advisories

.PHONY: alerts
PROMTOOL ?= promtool
alerts: ## Test the alerts of the chart (needs promtool, in Debian's package prometheus)
	$(PROMTOOL) check rules charts/sidecar-injector/files/alerts.yaml
	$(PROMTOOL) test rules tests/alerts/alerts.yaml

.PHONY: e2e-full
# The node test runs the image on a one-node cluster. Licenses and reproducible builds are checked too.
e2e-full: toolchain ## Run the long tests: Helm 3, cert-manager, the next Kubernetes, alerts, a one-node cluster, a release (root, Debian)
	tests/full.sh

.PHONY: release release-check dist reproducible
release: ## Set the version of the next release in all files: VERSION=0.2.0 HELM=...
	release/bump.sh $(VERSION)
release-check: ## Check that all files have the version VERSION: VERSION=...
	release/check.sh $(VERSION)
dist: ## Build the files of a release in dist/: VERSION=... HELM=...
	release/dist.sh $(VERSION)
reproducible: ## Build the static binary twice and compare the results
	release/reproducible.sh
