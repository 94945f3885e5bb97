# Two commands are enough: `make run` executes the notebooks, `make test` proves the project. `make help` lists the rest.
# They need Python 3.11 or newer, make, and a package registry; everything else goes into the folder .venv.

PYTHON ?= python3
PROFILE ?= quick
NOTEBOOK ?=
COURSE ?=

VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/uv/bin/uv
READY := $(VENV)/ready
# Tests see no network: sitecustomize.py refuses it in every Python process, and the hub's libraries do not even try.
OFFLINE := PYTHONPATH=$(CURDIR)/ci/offline HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1

.DEFAULT_GOAL := help
.PHONY: help run test lab demo report progress outputs bench study lock clean

help: ## list these commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/'

run: $(READY) ## execute the notebooks: one by NOTEBOOK=01_bpe, a path by COURSE=practical; others by PROFILE=real
	@$(BIN)/python -m fmnotes run --profile $(PROFILE) $(if $(COURSE),--course $(COURSE)) $(NOTEBOOK)

test: $(READY) ## run every test, then every notebook in the smoke profile
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -rs \
		--nbval-lax --nbval-current-env --nbval-cell-timeout 300 notebooks tests
	$(OFFLINE) $(BIN)/python -m fmnotes run --all --profile smoke

lab: $(READY) ## open JupyterLab on the notebooks
	JUPYTER_PREFER_ENV_PATH=1 $(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks

demo: $(READY) ## ask the whole system, on a page in the browser
	@$(BIN)/python -m fmnotes.demo

report: $(READY) ## set a paper about the whole from the records: runs/report.pdf
	@$(BIN)/python -m fmnotes.report

progress: $(READY) ## list the exercises, and which of them are solved in this copy
	@$(BIN)/python -m fmnotes progress

outputs: $(READY) ## execute NOTEBOOK=01_bpe in place, from a fresh kernel, so that its outputs can be committed
	@test -n "$(NOTEBOOK)" || { echo "Which notebook? Say it: make outputs NOTEBOOK=01_bpe" >&2; exit 2; }
	JUPYTER_PREFER_ENV_PATH=1 OMP_NUM_THREADS=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.kernel_name=python3 --ExecutePreprocessor.record_timing=False notebooks/$(NOTEBOOK).ipynb

bench: $(READY) ## measure our speed beside the libraries', and record it
	$(BIN)/python ci/bench.py

study: $(READY) ## run or go on with an experiment of hours: NAME=gpt2_nano; data/studies says what there is
	@test -n "$(NAME)" || { echo "Which study? Say it: make study NAME=gpt2_nano" >&2; exit 2; }
	$(BIN)/python -m fmnotes.studies.$(NAME)

lock: $(UV) ## choose the newest versions that pyproject.toml allows
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra test \
		pyproject.toml -o requirements.lock

clean: ## remove what runs and tests left behind; the environment stays, and your progress
	[ ! -d runs ] || find runs -mindepth 1 -maxdepth 1 ! -name progress.json -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml $(UV)
	$(UV) pip sync --python $(VENV) --compile-bytecode requirements.lock
	$(UV) pip install --python $(VENV) --no-deps --editable .
	@touch $@

$(UV):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --target $(VENV)/uv uv
