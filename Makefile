.DEFAULT_GOAL := help
.PHONY: help test lint

help: ## Show this help
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

test: toolchain ## Run all tests (installs the Rust toolchain if rustup has not yet)
	cargo test --locked --no-default-features
	cargo test --locked

lint: toolchain ## Check formatting and lints, with and without the default features
	cargo fmt --check
	cargo clippy --locked --no-default-features --all-targets -- -D warnings
	cargo clippy --locked --all-targets -- -D warnings

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo 'Rust is needed: curl https://sh.rustup.rs -sSf | sh' >&2; exit 1; }
	@rustup show active-toolchain >/dev/null 2>&1 || rustup toolchain install

.PHONY: demo
demo: toolchain ## Build, then let the webhook and the command add a sidecar, and show what changed
	@cargo build --locked --quiet --bin sidecar-injector --example demo
	@"$${CARGO_TARGET_DIR:-target}/debug/examples/demo" "$${CARGO_TARGET_DIR:-target}/debug/sidecar-injector"

.PHONY: e2e
e2e: toolchain ## Run the scenarios against a real API server alone
	cargo test --locked --test apiserver

.PHONY: bench
bench: toolchain ## Instructions, allocations and times of the engine
	benches/instructions.sh
	cargo bench --locked --no-default-features --bench inject

.PHONY: golden
golden: ## Write the expected files of the golden corpus anew
	UPDATE_GOLDEN=1 cargo test --locked --no-default-features --test golden

.PHONY: fuzz
FUZZ_SECONDS ?= 60
fuzz: toolchain ## Fuzz template text, reviews, annotations and expressions, a minute each (installs a nightly compiler and cargo-fuzz)
	@rustup toolchain list | grep -q nightly || rustup toolchain install nightly --profile minimal
	@command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	@mkdir -p fuzz/corpus/template fuzz/corpus/review fuzz/corpus/annotations
	cargo +nightly fuzz run template fuzz/corpus/template tests/golden -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=4096
	cargo +nightly fuzz run review fuzz/corpus/review tests/reviews -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=16384
	cargo +nightly fuzz run annotations fuzz/corpus/annotations -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=2048
	cargo +nightly fuzz run expression fuzz/corpus/expression -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=512

.PHONY: manifests
HELM ?= helm
manifests: ## Render manifests/ from the chart anew (needs Helm 4: HELM=...)
	for name in base cert-manager policy ha; do \
	  $(HELM) template sidecar-injector charts/sidecar-injector --namespace sidecar-injector --no-hooks \
	    --values charts/sidecar-injector/ci/$$name-values.yaml > manifests/$$name/sidecar-injector.yaml || exit 1; \
	done

.PHONY: static
static: toolchain ## Build a static binary for the image (needs musl-gcc: Debian's musl-tools)
	rustup target add x86_64-unknown-linux-musl
	cargo build --locked --release --target x86_64-unknown-linux-musl --bin sidecar-injector
	@echo "docker build --build-arg FROM=prebuilt --build-arg BINARY=sidecar-injector $${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-musl/release -f Dockerfile"
