# vae-run: what a newcomer types. Needs Python 3.11 or newer with venv; everything else is installed into $(VENV).
PYTHON ?= python3
VENV ?= .venv
VERSIONS ?= lowest-direct highest hydra-next 3.13

# ARGS reaches the program as typed: its quotes are honoured, but neither make nor the shell expands
# anything in it: ARGS='-m seed=range(3)' needs no second layer of quotes.
override ARGS := $(value ARGS)
export ARGS PYTHON VENV VERSIONS

BIN = "$$VENV/bin/python"
WITH_ARGS = $(BIN) -c 'import os, shlex, sys; \
  os.execv(sys.executable, [sys.executable, *sys.argv[1:], *shlex.split(os.environ.pop("ARGS", ""))])'
PYTEST = -m pytest --numprocesses=auto --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help run docs test test-faults test-scale test-trackers test-versions lint audit format bench reproduce docs-pictures screenshots clean setup

help:  ## show this list
	@[ -t 1 ] && [ -z "$$NO_COLOR" ] && { bold=$$(printf '\033[1m'); cyan=$$(printf '\033[36m'); off=$$(printf '\033[0m'); }; \
	printf '\n  %svae-run%s: autoencoders, from one command to curves, pictures and checkpoints\n\n' "$$bold" "$$off"; \
	awk -v on="$$cyan" -v off="$$off" -F ':.*## ' \
	  '/^[a-z-]+:.*## / { printf "    %smake %-14s%s %s\n", on, $$1, off, $$2 }' $(firstword $(MAKEFILE_LIST)); \
	printf '\n  Examples\n\n'; \
	printf '    %s\n' 'make run' "make run ARGS='model=dae dataset=mnist'" \
	  "make run ARGS='-m model=ae,dae,vae latent_dim=2'" "make run ARGS=--help" "make test ARGS='-k likelihoods'"; \
	printf '\n  Variables: ARGS (passed on), PYTHON (python3), VENV (.venv)\n\n'

run: setup  ## train (a VAE on handwritten digits; ARGS='...' changes what)
	@$(WITH_ARGS) -m vae_run

# Where the environment forbids bytecode, each worker compiles every test anew, for 8 seconds.
test test-faults test-scale test-versions: export PYTHONDONTWRITEBYTECODE :=

test: setup  ## run the tests
	@$(WITH_ARGS) $(PYTEST)

test-faults: setup  ## run every test of faults, the long ones too (root mounts their small disks)
	@$(WITH_ARGS) $(PYTEST) tests/faults tests/sweeps -m "faults or scale or not faults"

test-scale: setup  ## run the tests that take long or need many processes (installs ONNX, Ray, submitit and Sphinx)
	@$(BIN) -c 'import furo, onnxruntime, onnxscript, ray, submitit' 2>/dev/null || $(BIN) -m pip install --quiet $(COMPILED) --disable-pip-version-check -e '.[docs,export,ray,slurm]' >&2
	@$(WITH_ARGS) $(PYTEST) tests -m scale --durations=10

# MLflow 3.17 wants Pillow below 13 and pyarrow below 26: pip lowers them in $(VENV).
TRACKERS = mlflow wandb trackio
test-trackers: setup  ## run the tests of MLflow, Weights & Biases and Trackio (installs them, 0.6 GB)
	@$(BIN) -c 'import sys; from importlib.util import find_spec; sys.exit(None in map(find_spec, sys.argv[1:]))' $(TRACKERS) || \
	  $(BIN) -m pip install --quiet --disable-pip-version-check -e '.[mlflow,wandb,trackio]' >&2
	@$(WITH_ARGS) -m pytest tests/tracking -m scale --durations=10

# Each in an environment of its own, made anew: uv can choose the lowest versions, and pip cannot. hydra-next puts the
# newest Hydra, pre-releases included, in place of the one that pyproject.toml allows, and runs what depends on Hydra.
# A number is a version of Python, which is left out where it is not installed.
NEXT = tests/cli tests/config tests/sweeps/test_multirun.py
test-versions: setup  ## run the tests at the lowest versions allowed, at the newest, with the next Hydra and other Pythons
	@$(BIN) -c 'import uv' 2>/dev/null || $(BIN) -m pip install --quiet --disable-pip-version-check uv >&2
	@for versions in $$VERSIONS; do \
	  other="$$VENV-$$versions"; resolution=$$versions; next=false; chosen=; python=$(BIN); \
	  case $$versions in 3.*) resolution=highest; \
	    python=$$($(BIN) -m uv python find --no-python-downloads "$$versions" 2>/dev/null) || \
	      { echo "make: Python $$versions is not installed here: left out" >&2; continue; };; \
	  esac; \
	  if [ "$$versions" = hydra-next ]; then resolution=highest; next=true; chosen='$(NEXT)'; fi; \
	  $(BIN) -m uv venv --quiet --clear --python "$$python" "$$other" && \
	  $(BIN) -m uv pip install --quiet --python "$$other/bin/python" --resolution "$$resolution" -e '.[dev]' && \
	  { ! $$next || $(BIN) -m uv pip install --quiet --python "$$other/bin/python" --prerelease allow \
	    'hydra-core>=1.4.0.dev0'; } && \
	  printf '\n=== %s\n' "$$versions" && $(BIN) -m uv pip list --quiet --python "$$other/bin/python" && \
	  (VENV=$$other; export VENV; $(WITH_ARGS) $(PYTEST) $$chosen) && rm -rf "$$other" || exit 1; \
	done

lint: setup  ## check formatting, style and types
	@$(BIN) -m ruff format --check .
	@$(BIN) -m ruff check .
	@$(BIN) -m mypy

# Not a part of lint: it asks a service over the network. What that does not know counts as not audited, not as safe.
audit: setup  ## look for known vulnerabilities in the packages of $(VENV) (installs pip-audit, needs a network)
	@$(BIN) -c 'import pip_audit' 2>/dev/null || $(BIN) -m pip install --quiet --disable-pip-version-check pip-audit >&2
	@said=$$($(BIN) -m pip_audit --skip-editable --progress-spinner=off --timeout 20 2>&1); code=$$?; \
	printf '%s\n' "$$said" | grep -v '^  File\|^Traceback\|^    ' | tail -n 40; \
	if printf '%s\n' "$$said" | grep -q 'ConnectionError\|ServiceError\|Max retries'; then \
	  echo "make: the service that lists vulnerabilities cannot be reached: nothing was audited" >&2; exit 2; fi; \
	if printf '%s\n' "$$said" | grep -q 'could not be audited'; then \
	  echo "make: the service does not know the packages listed as skipped: they were not audited" >&2; [ $$code != 0 ] || code=2; fi; \
	exit $$code

format: setup  ## put the code into the house format, mend what can be mended
	@$(BIN) -m ruff format .
	@$(BIN) -m ruff check --fix .

bench: setup  ## measure speed beside the last release's (BASE=REVISION) and the peers that are installed
	@$(WITH_ARGS) benchmarks/speed.py

reproduce: setup  ## train the experiments of docs/reproductions.md and write its table (MNIST; hours)
	@$(WITH_ARGS) benchmarks/reproduce.py

docs: setup  ## build the site of the documentation in build/docs (installs Sphinx)
	@$(BIN) -c 'import furo, myst_nb' 2>/dev/null || $(BIN) -m pip install --quiet --disable-pip-version-check -e '.[docs]' >&2
	@$(BIN) -m sphinx --fail-on-warning --keep-going --quiet docs build/docs && echo build/docs/index.html

docs-pictures: setup  ## draw all pictures of docs/images anew, by the commands of the pages (half an hour)
	@$(WITH_ARGS) docs/pictures.py

screenshots: setup  ## take the pictures of the report and of TensorBoard in docs/images (needs Chromium)
	@$(WITH_ARGS) docs/screenshots.py

clean:  ## remove caches and builds (outputs/ and the environment stay)
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	@find benchmarks src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up, quick when there is nothing to do: a stamp newer than pyproject.toml says that the environment is whole and
# is this checkout's. An environment that make itself began and never finished (.unfinished) is made anew.
# Without bytecode, which Python writes for what it imports: on two cores `make run` took 143 s in place of 224.
COMPILED = $$([ -n "$$PYTHONDONTWRITEBYTECODE" ] || echo --no-compile)

setup:
	@stamp="$$VENV/.installed-$$(pwd -P | cksum | cut -d ' ' -f 1)"; \
	if [ -e "$$stamp" ] && [ ! pyproject.toml -nt "$$stamp" ]; then exit 0; fi; \
	if [ -e "$$VENV/.unfinished" ]; then rm -rf "$$VENV"; fi; \
	if [ ! -x $(BIN) ]; then \
	  command -v "$$PYTHON" >/dev/null || { \
	    echo "make: there is no $$PYTHON here: install Python 3.11 or newer, or name it: make run PYTHON=python3.12" >&2; exit 1; }; \
	  "$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: $$PYTHON is $$("$$PYTHON" -V 2>&1), vae-run needs 3.11 or newer: make run PYTHON=python3.12" >&2; exit 1; }; \
	  "$$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "make: $$PYTHON comes without venv: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }; \
	  mkdir -p "$$VENV" && touch "$$VENV/.unfinished" && "$$PYTHON" -m venv "$$VENV" || exit 1; \
	fi; \
	echo "Installing vae-run and what it needs into $$VENV; PyTorch is large, so this takes minutes, but only once." >&2; \
	$(BIN) -m pip install $$([ -t 1 ] || echo --quiet) $(COMPILED) --disable-pip-version-check -e '.[dev]' >&2 || { \
	  echo "make: the installation failed, see above; the same command tries again" >&2; exit 1; }; \
	touch "$$stamp"; rm -f "$$VENV/.unfinished"
