# Everything is compiled with the same flags, so that the plugin engine is
# compiled once for the product, the tests, the demo and the bench.
CARGO ?= cargo
FLAGS := --release --workspace --locked
# What failed is said in words; a backtrace would only hide it.
export RUST_BACKTRACE ?= 0

.DEFAULT_GOAL := help
.PHONY: help plugins tools build faults demo test interop interop-cluster crash fuzz check bench chaos soak
# Both builds write target/release/opencenter-airgap.
.NOTPARALLEL:

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

plugins: ## Build the core plugins and the test guests to WebAssembly
	plugins/build.sh

tools: ## Install what the tests use and this machine lacks, where allowed
	tests/install-tools.sh

build: plugins ## Build the plugins and the binary: target/release/opencenter-airgap
	$(CARGO) build $(FLAGS)

faults: plugins ## Build the binary with the fault layer that the crash tests use
	$(CARGO) build $(FLAGS) --bin opencenter-airgap --features opencenter-airgap/faults
	mkdir -p target/faults
	cp target/release/opencenter-airgap target/faults/opencenter-airgap

demo: build ## Build a small package from a registry and a file server on loopback
	target/release/demo

test: tools faults build ## Everything that CI runs after the checks of the source
	$(CARGO) test $(FLAGS)

interop: tools build ## Try packages with the real Zarf, helm, cosign, crane and oras; needs Go
	tests/interop/build.sh
	$(CARGO) test $(FLAGS) --test interop

interop-cluster: tools build ## Deploy packages into a real Kubernetes API server; needs Go
	tests/install-tools.sh etcd=etcd-server
	tests/interop/build.sh cluster
	$(CARGO) test $(FLAGS) --test interop -- cluster

crash: tools faults build ## Kill at every visit of every checkpoint, try more sequences of faults
	AIRGAP_THOROUGH=1 $(CARGO) test $(FLAGS) --test crash

fuzz: ## Look for inputs that break the host, for AIRGAP_FUZZ_SECONDS (120), from AIRGAP_FUZZ_SEED
	tests/fuzz/run.sh

check: ## Formatting, lints, licences and sources of dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(FLAGS) --all-targets -- -D warnings
	$(CARGO) clippy $(FLAGS) --test interop -- -D warnings
	$(CARGO) clippy $(FLAGS) --bin opencenter-airgap --features opencenter-airgap/faults -- -D warnings
	$(CARGO) deny --locked check bans licenses sources

bench: tools build ## Time builds against skopeo and tar; BENCH="3 growth" for ten times the data
	target/release/bench $(BENCH)

chaos: build ## Serve a registry that fails in every way it can, to try builds by hand
	target/release/chaos

soak: tools build ## Kill builds at random moments, compare the packages; SOAK="<kills> <seed>" repeats one
	target/release/soak $(SOAK)
