# The two commands that matter: `make run` and `make test`. Both set up what they need.
.DEFAULT_GOAL := help
.PHONY: help setup run test test-kill test-pairs test-freeze test-damage test-fuzz test-image lint lint-deploy format docs bench image lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.txt
STAMP := $(VENV)/.set-up
# Linters of what is deployed, and the kubectl that tests/deploy renders manifests with, apart from the job's packages.
LINT_VENV := .venv-lint
LINT_BIN := $(LINT_VENV)/bin
LINT_LOCK := requirements/lint.txt
LINT_STAMP := $(LINT_VENV)/.set-up
# Arguments for the job, for example: make run ARGS='--set search.max_epochs=27'
ARGS ?=
# Arguments for pytest, for example: make test TESTS=tests/unit
TESTS ?= tests
# For `make test-kill`: how many kills, the seed that a former run has printed (SEED=…), and how many seconds of training
# may be repeated per kill (REPEATED=…).
N ?= 50
# Arguments for the benchmark, for example: make bench BENCH='--cases dense --repeat 3'
BENCH ?=
# For `make image`: cpu or gpu, and more arguments for the build, for example: make image BUILD='--network host'
VARIANT ?= cpu
BUILD ?=
ENGINE ?= $(firstword $(notdir $(shell command -v docker podman)))

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Create .venv from the lock file (TensorFlow for CPU, development tools)

# pip compiles the packages' bytecode as it installs; the package itself is compiled here, because some
# machines set PYTHONDONTWRITEBYTECODE and would then compile it again at every start.
$(STAMP): $(LOCK) pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	$(BIN)/python -m compileall -q job
	touch $@

$(LINT_STAMP): $(LINT_LOCK)
	$(PYTHON) -m venv $(LINT_VENV)
	$(LINT_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LINT_LOCK)
	touch $@

run: setup  ## Run the job on its embedded default: digits, offline, into ./runs
	$(BIN)/python -m job run $(ARGS)

# One process per core; a file's tests stay together, because they share servers and data.
test: lint $(LINT_STAMP)  ## Lint, type-check and run every test
	$(BIN)/python -m pytest -n auto --dist loadfile $(TESTS)

test-kill: setup  ## Kill a run N times at random moments and compare it with an uninterrupted one
	$(BIN)/python -m pytest tests/functional/test_kill.py --kills=$(N) $(addprefix --kill-seed=,$(SEED)) \
		$(addprefix --repeated-seconds=,$(REPEATED))

# Each row is a job of its own, in a quarter of a minute.
test-pairs: setup  ## Run a job for every pair of features that go together
	$(BIN)/python -m pytest -n auto --pairs=0 tests/functional/test_feature_pairs.py

test-damage: setup  ## Start a run again with every damage of every object
	$(BIN)/python -m pytest --damages=0 tests/functional/test_damaged_objects.py

# Each place costs a run and the patience of a newcomer, a minute together.
test-freeze: setup  ## Freeze a run's holder at every place while another one publishes
	$(BIN)/python -m pytest -n auto --freezes=0 tests/functional/test_frozen_holder.py

test-fuzz: setup  ## Try many mutated specs
	$(BIN)/python -m pytest tests/unit/test_spec_fuzz.py --fuzz=50000

VERSION := $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' job/version.py)
IMAGE := tuning-job:$(VERSION)$(if $(filter gpu,$(VARIANT)),-gpu)
image:  ## Build the image: VARIANT=cpu (default) or gpu
	$(or $(ENGINE),$(error docker or podman is needed)) build --build-arg VARIANT=$(VARIANT) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(shell git describe --always --dirty --abbrev=40 --match='' 2>/dev/null) \
		--tag $(IMAGE) $(BUILD) .

# Not part of `make test`: needs podman, gigabytes of disk, and minutes.
test-image: setup $(LINT_STAMP)  ## Build the image and run it: hardened, stopped and resumed, as a pod, with little memory
	VARIANT=$(VARIANT) $(BIN)/python -m pytest tests/image

lint: setup  ## ruff, mypy strict, import-linter, and generated docs up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check

# Overlays are checked against the oldest Kubernetes that they are for, and against the newest that is known. What the
# validator has no schema for is a warning that it exits 0 with: each object must have passed.
KUBERNETES_VERSIONS := 1.31 1.37
RENDERED := build/k8s
lint-deploy: $(LINT_STAMP)  ## Lint the Dockerfile, workflows, compose file and rendered manifests
	$(LINT_BIN)/yamllint --strict k8s .github compose.yaml
	$(LINT_BIN)/hadolint Dockerfile
	$(LINT_BIN)/actionlint -shellcheck= -pyflakes=
	$(LINT_BIN)/zizmor --quiet --offline --strict-collection .github
	$(LINT_BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(LINT_BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	@mkdir -p $(RENDERED)
	@set -e; for folder in k8s/base k8s/overlays/*; do \
		rendered=$(RENDERED)/$${folder##*/}.yaml; \
		$(LINT_BIN)/kubectl kustomize $$folder > $$rendered; \
		for version in $(KUBERNETES_VERSIONS); do \
			echo kubernetes-validate --strict -k $$version $$rendered; \
			$(LINT_BIN)/kubernetes-validate --strict -k $$version $$rendered > $$rendered.log 2>&1 || \
				{ cat $$rendered.log; exit 1; }; \
			if grep -v '^INFO .* passed for resource ' $$rendered.log; then exit 1; fi; \
		done; \
	done

format: setup  ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## Generate the reference pages from the code
	$(BIN)/python docs/generate.py

bench: setup  ## Measure against bare KerasTuner, and the driver alone (a quarter of an hour or more)
	$(BIN)/python benchmarks/tutorial.py $(BENCH)
	$(BIN)/python benchmarks/driver.py

# No index address reaches the lock files: they install from wherever pip is told to look.
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
lock: setup  ## Resolve the lock files anew
	$(UV_COMPILE) pyproject.toml --extra cpu --extra onnx --output-file requirements/cpu.txt
	$(UV_COMPILE) pyproject.toml --extra gpu --extra onnx --constraint requirements/cpu.txt --output-file requirements/gpu.txt
	$(UV_COMPILE) pyproject.toml --extra cpu --extra onnx --extra dev --extra tensorboard --constraint requirements/cpu.txt \
		--output-file $(LOCK)
	$(UV_COMPILE) requirements/lint.in --output-file $(LINT_LOCK)

clean:  ## Remove the environment, caches and local runs
	rm -rf $(VENV) $(LINT_VENV) runs build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
