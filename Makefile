# Everything a developer or the CI runs. `make` alone builds; `make check` is what a change has to pass.

TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/bin:$(TOOLS)/venv/bin:$(HOME)/.cargo/bin:$(PATH)

.PHONY: build quickstart test test-long check fmt clippy deny typos bench tools tools-test clean
.DEFAULT_GOAL := build

build: ## All programs, optimised, in target/release
	@.ci/install-tools build
	cargo build --release --workspace --bins

quickstart: ## A backup and a restore on this machine, from nothing
	@.ci/install-tools build
	@scripts/quickstart.sh

export PACKHORSE_SKIPPED := $(CURDIR)/target/skipped-tests

# Tests that are ignored are those that only the long suite has time for.
NEXTEST_LONG := $(if $(PACKHORSE_LONG),--run-ignored all)
CARGO_TEST_LONG := $(if $(PACKHORSE_LONG),-- --include-ignored)

test: tools-test ## All tests; servers are real and start by themselves
	@rm -f $(PACKHORSE_SKIPPED)
	cargo build --quiet --workspace --all-targets
	cargo test --quiet --doc --workspace
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo cargo nextest run --workspace $(NEXTEST_LONG) $(ARGS); \
		cargo nextest run --workspace $(NEXTEST_LONG) $(ARGS); \
	else \
		echo cargo test --workspace $(ARGS) $(CARGO_TEST_LONG); \
		cargo test --workspace --lib --bins --tests $(ARGS) $(CARGO_TEST_LONG); \
	fi
	@if [ -s $(PACKHORSE_SKIPPED) ]; then \
		echo "had nothing to do on this machine:" && sort -u $(PACKHORSE_SKIPPED); \
	fi

test-long: ## The same with the long random tests, and those that are ignored elsewhere
	PACKHORSE_LONG=1 NEXTEST_PROFILE=long $(MAKE) test

check: tools fmt clippy deny typos test ## What a change has to pass

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets -- -D warnings

deny: ## Layers, licences and sources of dependencies
	@cargo fetch --quiet --locked # crates of other systems too, which no build has fetched
	cargo deny --offline check --hide-inclusion-graph --allow unused-wrapper bans licenses sources

typos:
	typos

BENCH_TOOLS := build bench $(if $(findstring --rustic,$(ARGS)),rustic) $(if $(findstring --ceph,$(ARGS)),test)

bench: ## Measurements; for example make bench ARGS="--help"
	@.ci/install-tools $(BENCH_TOOLS)
	cargo build --release -p packhorse-ctl -p packhorse-agent -p packhorse-bench \
		--bin backupctl --bin packhorse-bench --example iterate-refs
	target/release/packhorse-bench $(ARGS)

tools: ## Everything that `check` needs, where missing
	@.ci/install-tools build test check

tools-test:
	@.ci/install-tools build test

clean:
	cargo clean
