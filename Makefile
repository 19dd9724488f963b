# make train: EPR on the built-in toy corpus. make test: the tests. make test-all: those that take
# minutes, too. All make .venv first.
# Each file of tests has one worker: its tests share networks and runs.
# make test-io: the tests with tensorflow-io, on the TensorFlow it needs, in .venv-io; a part of them
# is make test-io TESTS=tests/audio/test_decode.py.
# make mutants: mutation tests, which take 20 minutes; see tests/mutants.md.
# Another interpreter: make test PYTHON=python3.12 (after make clean).

PYTHON ?= python3
BIN = .venv/bin
INSTALLED = .venv/installed
WITH_EXTRAS = .venv/with-extras
WITH_IO = .venv-io/installed
# Of Resemblyzer the weights alone are read: its own requirements (PyTorch, ...) are left out.
# uv installs the same pinned versions as pip in a fraction of the time. Without compiled bytecode
# each import of TensorFlow and Keras takes 11 s more where PYTHONDONTWRITEBYTECODE is set.
UV = uv pip install --quiet --compile-bytecode
INSTALL = $(BIN)/$(UV) --python $(BIN)/python -c constraints.txt
INSTALL_IO = .venv-io/bin/$(UV) --python .venv-io/bin/python -c constraints-io.txt
TESTS =
# What .ci/run has time for: audio, the cache, tf.data, S3, and a training from end to end on it.
SOME_TESTS = tests/audio/test_decode.py tests/audio/test_tfio_decoder.py tests/storage/test_s3.py tests/cache/test_feature_cache.py \
	tests/cache/test_pipelines.py

# The mutants of `make mutants`: the modules that every score rests on, and the papers' losses.
MUTANTS = "tfser.config.*" "tfser.corpora.*" "tfser.evaluation.*" "tfser.storage.*" \
	"tfser.models.aae.network.x_cross_entropy__*" "tfser.models.aae.network.x_mean_inside__*" \
	"tfser.models.aae.network.*phases__*" "tfser.models.acnn.network.x_view_weights__*" \
	"tfser.models.acnn.network.x_cross_entropy__*" "tfser.models.acnn.autoencoder.x_rmse__*" \
	"tfser.models.auxvae.network.x_log_density__*" "tfser.models.auxvae.network.*bound__*" \
	"tfser.models.auxvae.probes.x_concordance__*" "tfser.models.began.network.*distance__*" \
	"tfser.models.began.network.*train_step__*" "tfser.models.began.network.x_mean_of_replicas__*" \
	"tfser.models.epr.refinery.x_refine__*"

.PHONY: train test test-all test-io test-io-part mutants lint format clean

train: $(INSTALLED)
	$(BIN)/tfser-train --model epr --corpus toy

test: $(WITH_EXTRAS)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: $(WITH_EXTRAS)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-io: $(WITH_IO)
	.venv-io/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

test-io-part: TESTS = $(SOME_TESTS)
test-io-part: test-io

# Plugins that the tests do not need make each mutant slower.
mutants: $(WITH_EXTRAS)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[mutants]'
	rm -rf mutants
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/mutmut run $(MUTANTS)
	$(BIN)/python tests/mutants.py

lint: $(WITH_EXTRAS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

format: $(WITH_EXTRAS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The stamp comes last: an installation that was interrupted is made again from the start.
$(INSTALLED): setup.cfg setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: tfser needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; use make PYTHON=...")'
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt uv
	$(INSTALL) pip setuptools wheel
	$(INSTALL) --no-build-isolation -e .
	touch $@

$(WITH_EXTRAS): $(INSTALLED)
	$(INSTALL) --no-build-isolation -e '.[demo,onnx,opensmile,spark,test]'
	$(INSTALL) --no-deps resemblyzer
	touch $@

$(WITH_IO): setup.cfg setup.py pyproject.toml constraints-io.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13) and "error: tensorflow-io needs Python 3.11 or 3.12, $(PYTHON) is " + sys.version.split()[0] + "; use make test-io PYTHON=...")'
	rm -rf .venv-io
	$(PYTHON) -m venv .venv-io
	.venv-io/bin/python -m pip install --quiet -c constraints-io.txt uv
	$(INSTALL_IO) pip setuptools wheel
	$(INSTALL_IO) --no-build-isolation -e '.[demo,io,io-test,onnx,opensmile,spark,test]'
	$(INSTALL_IO) --no-deps resemblyzer
	touch $@

# Runs are results: they stay.
clean:
	rm -rf .venv .venv-io mutants build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
