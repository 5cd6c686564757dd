# Two environments beside each other, because the pins of the engines differ from AiiDA's, and an AiiDA profile of our
# own: nothing outside this folder is touched, but for Debian's packages.
PYTHON ?= python3
VENV := .venv
ENGINES := .engines
STAMPS := .stamps
UV := $(VENV)/bin/uv
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PSEUDO := /usr/share/espresso/pseudo
# Tests at once: one core each.
WORKERS ?= 2

export AIIDA_PATH := $(CURDIR)/.aiida
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install engines profile demo test lint clean

help:  ## Show what can be made
	@sed -n 's/^\([a-z]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: profile  ## Train a silicon potential from nothing, for real
	@verdi daemon status >/dev/null 2>&1 || verdi daemon start
	@trap 'verdi daemon stop --timeout 60 >/dev/null' EXIT; \
	verdi run examples/silicon/submit_loop.py && \
	aiida-pace status --follow && \
	aiida-pace save-potential silicon-potential

test: install engines  ## Run the whole suite, with the real engines; the end-to-end tests last
	pytest -n $(WORKERS) --durations 15
	pytest -n $(WORKERS) --durations 30 -m slow

lint: install  ## Check style and types
	ruff format --check .
	ruff check .
	mypy

install: $(STAMPS)/venv  ## Install aiida-pace with AiiDA
engines: $(STAMPS)/engines $(STAMPS)/espresso  ## Install pw.x, pacemaker and LAMMPS
profile: $(STAMPS)/profile  ## Make an AiiDA profile in this folder, with codes and pseudopotentials

$(STAMPS):
	mkdir -p $@

$(STAMPS)/espresso: | $(STAMPS)
	@if ! command -v pw.x >/dev/null || [ ! -d $(PSEUDO) ]; then \
	    $(SUDO) apt-get update -q && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
	        quantum-espresso quantum-espresso-data; \
	fi
	touch $@

$(STAMPS)/uv: | $(STAMPS)
	@if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	    $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends python3-venv; \
	fi
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q uv
	touch $@

$(STAMPS)/venv: pyproject.toml $(STAMPS)/uv
	$(UV) pip install -q -p $(VENV) -e '.[dev]'
	touch $@

$(STAMPS)/engines: pyproject.toml $(STAMPS)/uv
	[ -d $(ENGINES) ] || $(UV) venv -q -p $(VENV)/bin/python $(ENGINES)
	$(UV) pip install -q -p $(ENGINES) --group engines
	$(UV) pip install -q -p $(ENGINES) --no-deps -e .
	touch $@

$(STAMPS)/profile: examples/localhost.py $(STAMPS)/venv $(STAMPS)/engines $(STAMPS)/espresso
	mkdir -p $(AIIDA_PATH)
	verdi profile show >/dev/null 2>&1 || verdi presto --use-zeromq --profile-name pace --non-interactive
	verdi config set -- caching.enabled_for aiida.calculations:quantumespresso.pw >/dev/null
	verdi run examples/localhost.py $(ENGINES)/bin $(PSEUDO)
	touch $@

clean:  ## Remove everything that was installed or made in this folder
	-verdi daemon stop 2>/dev/null
	rm -rf $(VENV) $(ENGINES) $(STAMPS) $(AIIDA_PATH) silicon-potential
