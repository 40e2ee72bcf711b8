# Sluice: `make run` for the first five minutes, `make test` for everything that is tested.
SHELL := /bin/bash
RELEASE := swift build -c release --static-swift-stdlib --product
BINARY := .build/release/sluice

.PHONY: help setup build run test unit e2e budgets benchmarks thresholds layout bench sim fuzz sanitize floods soak conformance-h2 check format image-test real-vllm clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: ## Install the Debian packages that building and testing need
	@scripts/setup.sh

build: setup ## Build the release binary
	$(RELEASE) sluice

run: build ## Start the simulator and the gateway, and print a first curl
	@scripts/run.sh

test: setup unit e2e budgets ## Run every test

unit: setup
	swift build --build-tests
	swift test --skip-build --parallel

e2e: build
	@scripts/python.sh
	.venv/bin/python -m pytest -q Tests/EndToEnd --ignore Tests/EndToEnd/real_vllm.py

# Instructions and allocations, held against Benchmarks/thresholds.json; nothing is timed.
budgets: build benchmarks
	python3 Benchmarks/budgets.py check
	python3 Benchmarks/link_order.py check

thresholds: build benchmarks ## Write what instructions and allocations cost now into Benchmarks/thresholds.json
	python3 Benchmarks/budgets.py update

layout: build benchmarks ## Count what requests do and which functions they run through: the release is laid out for it
	python3 Benchmarks/request_profile.py
	rm .build/release/*.build/*.o # the compiler keeps them when only the profile is another
	$(RELEASE) sluice
	python3 Benchmarks/link_order.py update
	rm $(BINARY)
	$(RELEASE) sluice

benchmarks: setup
	$(RELEASE) MicroBenchmarks
	$(RELEASE) BenchLoad

bench: build benchmarks ## Compare with nginx, HAProxy, Envoy, LiteLLM and write docs/performance.md: ROUNDS=5 SCENARIOS="small stream" make bench
	@scripts/bench-setup.sh
	python3 Benchmarks/compare.py

sim: setup ## Play simulated worlds: SEEDS=100000 make sim, or one again: SEED=7 make sim
	SEEDS=$${SEEDS:-10000} swift test -c release -Xswiftc -enable-testing --scratch-path .build-sim --filter WorldTests

fuzz: setup ## Fuzz each reader of foreign bytes: FUZZ_SECONDS=600 make fuzz, TARGETS="sse yaml" for some
	@scripts/fuzz.sh $(TARGETS)

sanitize: setup ## Run the tests under AddressSanitizer and ThreadSanitizer
	@scripts/python.sh
	@scripts/sanitize.sh

floods: build ## Flood the binary with HTTP/2 while clients chat, and print figures
	@scripts/python.sh
	.venv/bin/python Tests/EndToEnd/floods.py

soak: build ## Ask for long with mixed faults, then compare the books (needs h2load): REQUESTS=1000000 make soak
	@scripts/python.sh
	.venv/bin/python Tests/EndToEnd/soak.py

conformance-h2: build ## Run a conformance suite over HTTP/2 (needs nghttp2-proxy): make conformance-h2 SUITE=PATH/run.py
	python3 Tests/EndToEnd/conformance_h2.py $(SUITE)

check: ## Lint the sources
	swift format lint --strict --recursive --parallel Sources Tests Fuzz Benchmarks Package.swift

format: ## Format the sources
	swift format --in-place --recursive --parallel Sources Tests Fuzz Benchmarks Package.swift

image-test: build ## Run the stripped binary in a bare Debian 12 root
	scripts/bare-root-test.sh

real-vllm: build ## Test against a real vLLM: SLUICE_REAL_VLLM_URL=http://127.0.0.1:8000/v1 make real-vllm
	@scripts/python.sh
	.venv/bin/python -m pytest -q Tests/EndToEnd/real_vllm.py

clean: ## Remove what was built
	rm -rf .build .build-bench .venv
