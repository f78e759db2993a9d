# Every target works on a fresh clone with make, Python >= 3.11 and pip; the first one sets up .venv.
#   make demo      the story, on one process and no server        make bench      speed beside hand-written limits
#   make test      the whole suite, PostgreSQL and Kafka real     make simulate   seeded runs on virtual time
#   make check     lint, format, types, import rules              make chaos      real processes, killed again and again
#                  (LEVEL=2: a million events; ENGINE=kafka: Kafka, PostgreSQL, three workers)
#   make storm     WeCom's users act, callbacks twice, late or lost: the CRM ends as the vendor stands

PYTHON ?=
SEEDS ?= 500
ACTIONS ?= 10000
LEVEL ?= 1
ENGINE ?= embedded
CHAOS_ARGS ?=
WORKERS ?= 2
PYTEST_ARGS ?=
BIN := .venv/bin
STAMP := .venv/.ready

.DEFAULT_GOAL := setup
.PHONY: setup demo test check bench simulate storm chaos docs clean

setup: $(STAMP)

# A Python that starts, is new enough, and can make environments: `venv` alone is not enough where ensurepip is split off.
$(STAMP): pyproject.toml constraints.txt
	@chosen=; \
	for candidate in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	  then chosen="$$candidate"; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo "No Python >= 3.11 with its venv module was found$(if $(PYTHON), at PYTHON=$(PYTHON)): install one (Debian, Ubuntu: apt install python3.11 python3.11-venv) or name it with make PYTHON=/path/to/python3." >&2; \
	  exit 1; \
	fi; \
	if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then "$$chosen" -m venv --clear .venv; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: $(STAMP)
	$(BIN)/hub demo

test: $(STAMP)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks

simulate: $(STAMP)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

storm: $(STAMP)
	$(BIN)/python -m tests.storm --actions $(ACTIONS)

chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --level $(LEVEL) --engine $(ENGINE) $(CHAOS_ARGS)

docs: $(STAMP)
	$(BIN)/python -m tests.docs

clean:
	rm -rf .venv build dist ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
