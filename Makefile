# make train: EPR on the built-in toy corpus. make test: the tests. Both make .venv first.
# Another interpreter: make test PYTHON=python3.12 (after make clean).

PYTHON ?= python3
BIN = .venv/bin
INSTALLED = .venv/installed
WITH_EXTRAS = .venv/with-extras

.PHONY: train test lint format clean

train: $(INSTALLED)
	$(BIN)/tfser-train --model epr --corpus toy

test: $(WITH_EXTRAS)
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(WITH_EXTRAS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(WITH_EXTRAS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The stamp comes last: an installation that was interrupted is made again from the start.
$(INSTALLED): setup.cfg setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: tfser needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; use make PYTHON=...")'
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e .
	touch $@

$(WITH_EXTRAS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[demo,onnx,opensmile,spark,test]'
	touch $@

# Runs are results: they stay.
clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
