# vidmill's front door. `make help` lists what there is.

PYTHON := .venv/bin/python
VIDMILL := $(or $(CARGO_TARGET_DIR),target)/release/vidmill
DEMO := out/demo

# tools/setup explains how to get Rust where cargo is on no path at all.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help demo test python bench bench-pool release clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || grep '##' Makefile

demo: release ## run a real detector over a real clip; ends with an annotated video
	@$(PYTHON) tools/assets.py
	@mkdir -p $(DEMO)
	$(VIDMILL) run .assets/bikes.mp4 --model .assets/centernet.onnx \
	    --out $(DEMO)/bikes.jsonl --annotate $(DEMO)/bikes.mp4
	@echo
	@echo "annotated video: $(CURDIR)/$(DEMO)/bikes.mp4"
	@echo "records:         $(CURDIR)/$(DEMO)/bikes.jsonl ($$(wc -l < $(DEMO)/bikes.jsonl) frames)"
	@echo "manifest:        $(CURDIR)/$(DEMO)/bikes.jsonl.manifest.json"

test: ## format, lints, unit tests and the end-to-end tests against oracles
	@tools/setup test
	@$(PYTHON) tools/assets.py --test
	@$(PYTHON) tools/run_tests.py

python: ## build the optimised Python package and install it into .venv
	@tools/setup test
	VIRTUAL_ENV=$(CURDIR)/.venv $(PYTHON) -m maturin develop --release --manifest-path crates/vidmill-python/Cargo.toml

bench: release ## vidmill beside Python pipelines, Ultralytics, a Rust tool, and the limit
	@tools/setup bench
	cargo build --release --locked -p vidmill-image --example preprocess_raw
	cargo build --release --locked -p vidmill-infer --example predict_raw
	cargo build --release --locked -p vidmill-video --example decode
	@$(PYTHON) tools/assets.py
	@$(PYTHON) bench/run.py $(BENCH)
	@$(PYTHON) bench/preprocess.py

bench-pool: ## hand-over to worker processes, beside Python's usual means and iceoryx2
	@tools/setup bench
	cargo build --release --locked -p vidmill-pool --example hand_over
	@$(PYTHON) bench/pool.py
	@$(MAKE) --no-print-directory python
	@$(PYTHON) bench/python_pool.py

release: ## build the optimised command
	@tools/setup run
	cargo build --release --locked -p vidmill-cli

clean: ## remove what was built and made; downloads and environments stay
	cargo clean
	rm -rf out bench/results .pytest_cache
