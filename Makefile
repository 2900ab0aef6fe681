# Every target works on a fresh machine with Python 3.11 or later, gcc and make: it makes .venv by itself.
# VENV=... puts the virtual environment elsewhere; XENMEM_REQUIRE_C=1 makes a missing C backend an error.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ASV := $(abspath $(BIN))/asv
SOURCES := pyproject.toml setup.py requirements.lock $(wildcard csrc/*.[ch] csrc/*.py kernel/*.py) \
           $(shell find xenmem -name '*.py')

export PIP_CONSTRAINT := $(abspath requirements.lock)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint types bench bench-quick wheel clean

demo: $(INSTALLED)
	@$(BIN)/xenmem report examples/pool.xml.gz

test: $(INSTALLED) sanitize
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	rm -rf build/types && mkdir -p build/types
	cp -r xenmem build/types/xenmem && cp -r kernel build/types/xenmem/kernel
	cd build/types && $(abspath $(BIN))/mypy --config-file $(abspath pyproject.toml) -p xenmem

bench: $(INSTALLED)
	cd benchmarks && PYTHONPATH=../tests:../tests/planning $(abspath $(BIN))/python -m ratios $(RATIOS)

bench-quick: $(INSTALLED)
	mkdir -p build
	cd benchmarks && $(ASV) check -E existing:$(abspath $(BIN))/python
	cd benchmarks && $(ASV) machine --yes
	cd benchmarks && $(ASV) run --quick --show-stderr --dry-run -E existing:$(abspath $(BIN))/python > ../build/asv.log
	cat build/asv.log
	! grep -q failed build/asv.log

wheel: $(INSTALLED)
	rm -rf build/wheel && $(BIN)/python -m build --wheel --outdir build/wheel
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install -q build/wheel/*.whl
	cd build/wheel && venv/bin/python -c "from xenmem import kernel; \
	    assert kernel.backends() == ('c', 'numba'); assert kernel.overhead(0, 1 << 30, 1, 1.0) == 12 << 20"

clean:
	rm -rf .venv build dist benchmarks/.asv *.egg-info

include csrc/lib.mk

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# not editable: what is tested is what a user installs
$(INSTALLED): $(VENV)/bin/python $(SOURCES)
	rm -rf build/lib.* build/bdist.* build/temp.*
	$(BIN)/pip install -q '.[dev]'
	touch $@
