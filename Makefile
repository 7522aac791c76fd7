# The entry points for developers and packagers. The called programs do the work.
PYTHON  ?= python3
PREFIX  ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
# Not empty: use the distribution's packages of upperd's dependencies instead of installing copies.
SYSTEM  ?=
TEXT    ?= hello, straße
# How long each target of `make fuzz` runs, and how long `make soak` runs.
SECONDS ?= 60
VENV    := .venv
STAMP   := $(VENV)/.installed
comma   := ,
# In CI no test may be skipped, so the environment includes the fuzzer.
DEV     ?= $(if $(CI),dev$(comma)fuzz,dev)

.PHONY: all run test check lint faults bench fuzz soak install uninstall dist deb clean

all: $(STAMP)

# An environment that another Python made is made anew: with the modules of one and the program of the other it breaks.
$(STAMP): pyproject.toml upperd/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "upperd needs Python 3.11 or later; $(PYTHON) is older (make PYTHON=python3.12 ...)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(if $(wildcard $(VENV)/pyvenv.cfg),--clear) $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --use-pep517 --editable '.[$(DEV)]'
	@touch $@

# The text is passed in the environment, so that neither make nor the shell expands any part of it.
run: export TEXT := $(value TEXT)
run: $(STAMP)
	@$(VENV)/bin/python -m upperd.demo "$$TEXT"

# Two at a time, since most tests mostly wait. A single test: ARGS='-n 0 -k name'.
test check: $(STAMP)
	@$(VENV)/bin/python -m pytest -n 2 $(ARGS)

lint: $(STAMP)
	@$(VENV)/bin/ruff check upperd tests bench man
	@$(VENV)/bin/mypy

faults: $(STAMP)
	@$(VENV)/bin/python bench/faults.py

# Further options, such as the seed: ARGS='--seed 7'.
soak: $(STAMP)
	@PYTHONPATH=bench $(VENV)/bin/python -m soak --seconds $(SECONDS) $(ARGS)

# Only two peers need uvloop. If it cannot be installed, the benchmark lists them as missing.
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

# The folder holds the inputs that targets generate. A target that fails names the input, and the folder is kept.
fuzz: $(VENV)/.fuzzer
	@folder=$$(mktemp -d) && for target in tests/fuzz/fuzz_*.py; do \
	  TMPDIR=$$folder $(VENV)/bin/python $$target -max_total_time=$(SECONDS) || exit; \
	done && rm -r "$$folder"

dist: $(STAMP)
	@$(VENV)/bin/python -m hatchling build

# Debian's tools write into the source folder and beside it, so run them in a copy. apt-get build-dep . installs them.
deb:
	@rm -rf build/deb && mkdir -p build/deb/upperd dist
	@cp -R LICENSE Makefile README.md debian docs man pyproject.toml systemd upperd build/deb/upperd
	@cd build/deb/upperd && dpkg-buildpackage --build=binary --no-sign
	@mv build/deb/*.deb dist && ls dist/*.deb

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PREFIX must be /usr or /usr/local: systemd does not look for units below other prefixes.
install:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' PYTHON='$(PYTHON)' SYSTEM='$(SYSTEM)' \
	  sh systemd/install.sh install

uninstall:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' sh systemd/install.sh uninstall
