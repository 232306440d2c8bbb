# Tests and the demo are compiled with the same flags, so that the plugin
# engine is compiled once for them; what is installed has a profile of its own.
CARGO ?= cargo
FLAGS := --release --workspace --locked
# What failed is said in words; a backtrace would only hide it.
export RUST_BACKTRACE ?= 0

.DEFAULT_GOAL := help
.PHONY: help plugins tools build dist programs demo test examples interop interop-cluster crash fuzz check bench chaos soak

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

plugins: ## Build the core plugins and the test guests to WebAssembly
	plugins/build.sh

tools: ## Install what the tests use and this machine lacks, where allowed
	tests/install-tools.sh

build: plugins ## Build the binary that is installed: target/dist/opencenter-airgap
	$(CARGO) build --profile dist --locked -p opencenter-airgap

programs: plugins ## Build the binary and everything around it for tests: target/release
	$(CARGO) build $(FLAGS)

dist: tools programs ## Build the static program that travels, pack and try it: target/packages
	host/packaging/dist.sh
	AIRGAP_DIST=$(CURDIR)/target/packages $(CARGO) test $(FLAGS) --test suite -- travels

demo: programs ## Build a small package from a registry and a file server on loopback
	target/release/demo

test: tools programs ## Everything that CI runs after the checks of the source
	$(CARGO) test $(FLAGS)

interop: tools programs ## Try packages with the real Zarf, helm, cosign, crane and oras; needs Go
	tests/interop/build.sh
	$(CARGO) test $(FLAGS) --test interop

interop-cluster: tools programs ## Deploy packages into a real Kubernetes API server; needs Go
	tests/install-tools.sh etcd=etcd-server
	tests/interop/build.sh cluster
	$(CARGO) test $(FLAGS) --test interop -- cluster

examples: tools programs ## Write, build, try and pin plugins as an outsider does; needs registries
	$(CARGO) test $(FLAGS) --test examples

crash: tools programs ## Kill at every visit of every checkpoint, try more sequences of faults
	AIRGAP_THOROUGH=1 $(CARGO) test $(FLAGS) --test crash

fuzz: ## Look for inputs that break the host, for AIRGAP_FUZZ_SECONDS (120), from AIRGAP_FUZZ_SEED
	tests/fuzz/run.sh

check: ## Formatting, lints, licences and sources of dependencies
	$(CARGO) fmt --all --check
	rustfmt --check examples/plugins/apt/src/lib.rs
	$(CARGO) clippy $(FLAGS) --all-targets -- -D warnings
	$(CARGO) clippy $(FLAGS) --test interop --test examples -- -D warnings
	$(CARGO) deny --locked check bans licenses sources

bench: tools plugins ## Time builds against skopeo and tar; BENCH="3 growth" for ten times the data
	$(CARGO) build --profile dist --workspace --locked
	target/dist/bench $(BENCH)

chaos: programs ## Serve a registry that fails in every way it can, to try builds by hand
	target/release/chaos

soak: tools programs ## Kill builds at random moments, compare the packages; SOAK="<kills> <seed>" repeats one
	target/release/soak $(SOAK)
