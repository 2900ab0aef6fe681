# Every target works on a fresh machine with Python 3.11 or later, gcc and make: it makes .venv by itself.
# VENV=... puts the virtual environment elsewhere; XENMEM_REQUIRE_C=1 makes a missing C backend an error.
# Paths are relative, so that a checkout may lie below a folder whose name has blanks; $(VENV) itself may not have any.

VENV ?= .venv
PYTEST ?= -n auto --dist loadfile
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEPENDENCIES := $(VENV)/.dependencies
TOOLS := $(VENV)/.tools
SOURCES := pyproject.toml setup.py MANIFEST.in requirements.lock $(wildcard csrc/*.[ch] csrc/*.py kernel/*.py) \
           $(shell find xenmem -name '*.py' -o -name '*.json' -o -name '*.css' -o -name '*.js')

SHARE := share/man/man1/xenmem.1 share/bash-completion/completions/xenmem share/zsh/site-functions/_xenmem \
         share/fish/vendor_completions.d/xenmem.fish
CONTAINER ?= docker

PIP_LOCKED := $(BIN)/pip install -q --require-hashes
OFFLINE := { echo "What xenmem runs on could not be installed. Without a network: where there is one" \
    "'pip download -r requirements.lock -d wheels', and here 'PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels make'" >&2; exit 1; }

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-quick fuzz lint types docs pictures bench bench-quick man install-man wheel release clean

demo: $(INSTALLED)
	@$(BIN)/xenmem report examples/pool.xml.gz
	@command -v $(CC) >/dev/null || echo "There is no C compiler ($(CC)): numba computes, as fast after a slower start."
	@printf '\nType next:\n  %s\n  %s\n  %s\n' "$(BIN)/xenmem evacuate examples/four-hosts.json delta" \
	    "$(BIN)/xenmem help" "$(BIN)/xenmem report YOUR-POOL.xml   # README.md says how to get it"

# PYTEST= runs the tests one after another; compiled once before, no worker compiles what another one does
test: $(INSTALLED) $(TOOLS) sanitize
	@echo "All tests take 10 to 30 minutes, by the number of CPUs; make test-quick takes three."
	$(BIN)/xenmem warm-up
	$(BIN)/pytest $(PYTEST)

# without the tests that take seconds each or need the searches compiled
test-quick: $(INSTALLED) $(TOOLS)
	$(BIN)/pytest -m "not slow and not compiled" $(PYTEST)

# each target for so long: TARGETS='readers wire' SECONDS=3600 make fuzz
SECONDS ?= 60
TARGETS ?= readers commands wire messages

fuzz: $(INSTALLED) $(TOOLS)
	bin=$$(cd $(BIN) && pwd) && cd tests && "$$bin/python" -m fuzz $(TARGETS) --seconds $(SECONDS)

lint: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED) $(TOOLS)
	$(BIN)/mypy -p xenmem

# the pages as a site; a warning, and a link that leads nowhere, is an error
docs: $(INSTALLED) $(TOOLS)
	$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees -c docs . build/docs
	@echo build/docs/index.html

# the pictures of README and docs/, which a test compares with what is drawn now
pictures: $(INSTALLED) $(TOOLS)
	$(BIN)/xenmem plot examples/pool.xml.gz docs/pictures/hosts.svg
	$(BIN)/xenmem plot examples/four-hosts.json docs/pictures/update.svg --kind rolling-update
	$(BIN)/xenmem plot examples/pool.xml.gz docs/pictures/overhead.svg --kind overhead

# What is installed is measured and kept as the results of HEAD; BENCH='overhead free_memory' measures some of it.
bench: $(INSTALLED) $(TOOLS)
	bin=$$(cd $(BIN) && pwd) && cd benchmarks && "$$bin/asv" machine --yes \
	    && "$$bin/asv" run --interleave-rounds -E "existing:$$bin/python" $(BENCH:%=--bench %) \
	        --set-commit-hash "$$(git rev-parse HEAD)" \
	    && "$$bin/python" table.py "$$(git rev-parse HEAD)"

bench-quick: $(INSTALLED) $(TOOLS)
	mkdir -p build
	bin=$$(cd $(BIN) && pwd) && cd benchmarks \
	    && "$$bin/asv" check -E "existing:$$bin/python" && "$$bin/asv" machine --yes \
	    && "$$bin/asv" run --quick --show-stderr --dry-run -E "existing:$$bin/python" > ../build/asv.log
	cat build/asv.log
	! grep -q failed build/asv.log

# the sdist, a wheel made from it and not from this tree, and that wheel as a user installs it
wheel: $(TOOLS) $(SHARE)
	rm -rf build/wheel && $(BIN)/python -m build --no-isolation --outdir build/wheel
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install -q build/wheel/*.whl
	cd build/wheel && venv/bin/python -c "from xenmem import kernel; \
	    assert kernel.backends() == ('c', 'numba'); assert kernel.overhead(0, 1 << 30, 1, 1.0) == 12 << 20"
	build/wheel/venv/bin/xenmem report examples/pool.xml.gz > build/wheel/report.txt
	cd build/wheel/venv && ls $(SHARE) > /dev/null

# What is published: the sdist, the wheel for every Linux that PyPI's tag promises, the site, and their sums; beside them the
# image, where there is a tool that makes one. The wheel is of the architecture and C library of this machine: run
# it on a musl system for musllinux.
release: wheel docs
	@$(BIN)/python -c "import re, sys; sys.exit('unreleased' in open('CHANGELOG.md').read().split('## ')[1].split('\n')[0])" \
	    || echo "CHANGELOG.md says that this version is unreleased: this is a trial." >&2
	rm -rf build/release && mkdir -p build/release
	bin=$$(cd $(BIN) && pwd) && PATH="$$bin:$$PATH" auditwheel repair --strip -w build/release build/wheel/*.whl
	cp build/wheel/*.tar.gz build/release
	tar -C build -czf build/release/xenmem-docs.tar.gz docs
	cd build/release && sha256sum * > SHA256SUMS && cat SHA256SUMS
	@if $(CONTAINER) info > /dev/null 2>&1; then $(CONTAINER) build -q -f packaging/Dockerfile -t xenmem . ; \
	    else echo "There is no $(CONTAINER) that answers: packaging/Dockerfile makes the image elsewhere." >&2; fi

# the manual page and the completions, which the parser's declarations make; a wheel that is built then has them
man: $(SHARE)

share/man/man1/xenmem.1: $(INSTALLED)
	mkdir -p $(@D)
	$(BIN)/xenmem man > $@

share/bash-completion/completions/xenmem: $(INSTALLED)
	mkdir -p $(@D)
	$(BIN)/xenmem completion bash > $@

share/zsh/site-functions/_xenmem: $(INSTALLED)
	mkdir -p $(@D)
	$(BIN)/xenmem completion zsh > $@

share/fish/vendor_completions.d/xenmem.fish: $(INSTALLED)
	mkdir -p $(@D)
	$(BIN)/xenmem completion fish > $@

install-man: man
	for file in $(SHARE); do install -D -m 644 $$file $(DESTDIR)$(PREFIX)/$$file; done

clean:
	rm -rf .venv build dist share benchmarks/.asv kernel/*.so *.egg-info

include csrc/lib.mk

# What often lacks is said in a sentence: this folder may be read-only, and Python old or without venv.
$(VENV)/bin/python:
	@mkdir -p "$(VENV)" 2>/dev/null \
	    || { echo "$(VENV) cannot be made here: make VENV=/tmp/xenmem-venv $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "xenmem needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) -V 2>&1):" \
	        "make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv "$(VENV)" || { rm -rf "$(VENV)"; \
	    echo "$(PYTHON) cannot make virtual environments: install its package venv (python3-venv)" >&2; exit 1; }

# Not editable: what is tested is what a user installs. The extension is put beside its sources too, so that Python
# started at the root of the checkout, where it finds the folder xenmem first, has both backends.
$(INSTALLED): $(DEPENDENCIES) $(SOURCES)
	rm -rf build/lib.* build/bdist.* build/temp.*
	$(BIN)/pip install -q --no-deps --no-build-isolation . && $(BIN)/pip check
	if [ -w kernel ]; then \
	    rm -f kernel/_ffi*.so xenmem/planning/search/compiled/_c*.so; \
	    (cd $(VENV)/lib/python*/site-packages && find xenmem -name '*.so' -print0 | tar -c --null -T - -f -) | tar -x; \
	fi
	touch $@

# each file by its hash: what runs and builds xenmem, and what checks it
$(DEPENDENCIES): $(VENV)/bin/python requirements.lock
	@$(PIP_LOCKED) -r requirements.lock || $(OFFLINE)
	touch $@

$(TOOLS): $(DEPENDENCIES) requirements-dev.lock
	@$(PIP_LOCKED) -r requirements-dev.lock || $(OFFLINE)
	touch $@
