# What a visitor and a developer type. A fresh machine needs Python 3.11 or newer with pip.

# The first Python that is new enough; `make PYTHON=/path/to/python demo` names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
DEMO := demo/efficientnet_lite0.hwc
PYTEST ?= -n 2
# Some take hours, and have targets of their own.
BENCH ?= $(filter-out tests/bench/search.py tests/bench/compress.py tests/bench/update_%.py tests/bench/fleet.py,$(shell grep -l '^def main' tests/bench/*.py))
PACKAGES := __init__.py backends device_profiles passes toolchain tools

.PHONY: help demo test check lint format imports types bench bench-latency bench-search bench-compress bench-updates clean

help:
	@echo 'make demo    compile a real network for this machine and print what came of it'
	@echo 'make test    all tests; make test PYTEST="-k fuse -x" chooses'
	@echo 'make check   ruff, mypy --strict, and which part may import which'
	@echo 'make bench   the measurements that the README quotes'
	@echo 'make bench-latency   those of latency tables and estimates alone'
	@echo 'make bench-search    those of search strategies, the policy and evaluations alone'
	@echo 'make bench-compress  those of pruning, storage and recovery alone'
	@echo 'make bench-updates   those of updates: size, speed, safety'
	@echo 'make clean   remove what the other targets made'

demo: .venv/demo.stamp
	$(BIN)/python -m hwc.tools.demo demo/photographs
	$(BIN)/hwc compile hwc.tools.demo:network --device host \
	  --data demo/photographs/calibrate --eval demo/photographs/evaluate \
	  --preprocess "scale=1 mean=127 std=128" --max-drop 3% \
	  --table demo/latency.sqlite --force -o $(DEMO)
	@echo
	@echo 'The drop is disagreement with the original, on crops of three photographs that'
	@echo 'calibration did not see: an example, not an accuracy on ImageNet. Look further:'
	@echo '  $(BIN)/hwc show $(DEMO)      # what was chosen for each node, and why'
	@echo '  $(BIN)/hwc verify $(DEMO)    # check it again: bytes, numbers'
	@echo '  $(BIN)/hwc bench $(DEMO) --original hwc.tools.demo:network'
	@echo '  $(BIN)/hwc devices           # what else there is to compile for'

test: .venv/dev.stamp
	$(BIN)/python -m pytest $(PYTEST)

check: lint format imports types

lint: .venv/dev.stamp
	$(BIN)/ruff check

format: .venv/dev.stamp
	$(BIN)/ruff format --check

imports: .venv/dev.stamp
	$(BIN)/lint-imports --no-cache

# mypy takes the folder's name for the package's: it sees the checkout through a link named hwc.
types: .venv/dev.stamp
	@place=$$(mktemp -d) && trap 'rm -r "$$place"' EXIT && ln -s "$(CURDIR)" "$$place/hwc" && \
	  cd "$$place" && "$(CURDIR)/$(BIN)/mypy" --config-file hwc/pyproject.toml \
	  --cache-dir "$(CURDIR)/.mypy_cache" $(PACKAGES:%=hwc/%)

bench: .venv/dev.stamp
	@for script in $(BENCH); do echo "$$script" && $(BIN)/python "$$script" || exit; done

# What latency tables predict, what a kill loses, and estimates beside published figures.
PUBLISHED ?= ../shared/facts/published_latency.csv
bench-latency: .venv/dev.stamp
	$(BIN)/python tests/bench/latency.py --isolated
	$(BIN)/python tests/bench/profile_repeat.py
	$(BIN)/python tests/bench/profile_kill.py
	@if [ -f '$(PUBLISHED)' ]; then $(BIN)/python -m hwc.tools.fit_estimator '$(PUBLISHED)'; \
	else echo 'skipped: no published figures at $(PUBLISHED)'; fi

# Strategies at equal budgets, the policy on networks that it has not seen, plans judged a second.
# What search.py has measured it keeps, so that it may be stopped and goes on.
bench-search: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/search.py
	$(BIN)/python tests/bench/policy.py
	$(BIN)/python tests/bench/evaluations.py
	$(BIN)/python tests/bench/promises.py
	$(BIN)/python tests/bench/environment.py

# Structure and training beside precision alone; goes on where it was stopped.
bench-compress: .venv/dev.stamp
	$(BIN)/python tests/bench/importance.py
	$(BIN)/python tests/bench/recovery_ptq.py
	$(BIN)/python tests/bench/recovery_smooth.py
	$(BIN)/python tests/bench/stored_zeros.py
	$(BIN)/python tests/bench/compress.py

# Sizes beside what others make, speed and memory, fleets, and hostile input.
bench-updates: .venv/dev.stamp
	$(BIN)/python tests/bench/update_sizes.py
	$(BIN)/python tests/bench/update_speed.py
	$(BIN)/python tests/bench/update_fleet.py
	$(BIN)/python tests/bench/update_fuzz.py
	$(BIN)/python tests/bench/fleet.py

clean:
	rm -rf .venv demo build dist *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# An extra, installed once; again when what it asks for has changed.
.venv/%.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing hwc-compiler[$*] into .venv (the first time this takes some minutes)'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'hwc needs Python 3.11 or newer: make PYTHON=/path/to/python'; exit 1; }
	$(PYTHON) -m venv .venv
