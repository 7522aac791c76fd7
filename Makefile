# A thin menu; the work is done by the programs that it calls.
PYTHON  ?= python3
PREFIX  ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
# Not empty: install no copies of what upperd needs, but use the distribution's packages.
SYSTEM  ?=
TEXT    ?= hello, straße
# How long each target of `make fuzz` runs, and `make soak`.
SECONDS ?= 60
VENV    := .venv
STAMP   := $(VENV)/.installed
comma   := ,
# In CI no test may be skipped, so the fuzzer is installed from the beginning.
DEV     ?= $(if $(CI),dev$(comma)fuzz,dev)

.PHONY: all run test check lint faults bench fuzz soak install uninstall dist deb clean

all: $(STAMP)

$(STAMP): pyproject.toml upperd/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "upperd needs Python 3.11 or later; $(PYTHON) is older (make PYTHON=python3.12 ...)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --use-pep517 --editable '.[$(DEV)]'
	@touch $@

# By the environment: neither make nor the shell is to take a part of the text for its own.
run: export TEXT := $(value TEXT)
run: $(STAMP)
	@$(VENV)/bin/python -m upperd.demo "$$TEXT"

# Two at a time, since most tests mostly wait: ARGS='-n 0 -k name' has one of them.
test check: $(STAMP)
	@$(VENV)/bin/python -m pytest -n 2 $(ARGS)

lint: $(STAMP)
	@$(VENV)/bin/ruff check upperd tests bench man
	@$(VENV)/bin/mypy

faults: $(STAMP)
	@$(VENV)/bin/python bench/faults.py

# More to choose from, as the seed: ARGS='--seed 7'.
soak: $(STAMP)
	@PYTHONPATH=bench $(VENV)/bin/python -m soak --seconds $(SECONDS) $(ARGS)

# uvloop is for peers only: where it cannot be had, they are named as missing.
$(VENV)/.bench: $(STAMP)
	-$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

# ROUNDS=5 WORKS=connections,bulk PEERS=upperd,s6 QUICK=1 SMOKE=1 UPPERD='--spare-children 8'; see bench/README.md.
bench: $(VENV)/.bench
	@$(VENV)/bin/python bench/run.py $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(WORKS),--works '$(WORKS)') \
	  $(if $(PEERS),--peers '$(PEERS)') $(if $(QUICK),--quick) $(if $(SMOKE),--smoke) $(if $(UPPERD),--upperd '$(UPPERD)') \
	  $(if $(OWN),--own '$(OWN)')

$(VENV)/.fuzzer: $(STAMP)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

# The inputs that a target made up go with the folder; where one fails, it names the input, and the folder stays.
fuzz: $(VENV)/.fuzzer
	@folder=$$(mktemp -d) && for target in tests/fuzz/fuzz_*.py; do \
	  TMPDIR=$$folder $(VENV)/bin/python $$target -max_total_time=$(SECONDS) || exit; \
	done && rm -r "$$folder"

dist: $(STAMP)
	@$(VENV)/bin/python -m hatchling build

# In a copy, since Debian's tools write into the folder, and beside it. apt-get build-dep . installs what they need.
deb:
	@rm -rf build/deb && mkdir -p build/deb/upperd dist
	@cp -R LICENSE Makefile README.md debian docs man pyproject.toml systemd upperd build/deb/upperd
	@cd build/deb/upperd && dpkg-buildpackage --build=binary --no-sign
	@mv build/deb/*.deb dist && ls dist/*.deb

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# systemd looks for units below the prefixes /usr and /usr/local only.
install:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' PYTHON='$(PYTHON)' SYSTEM='$(SYSTEM)' \
	  sh systemd/install.sh install

uninstall:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' sh systemd/install.sh uninstall
