# Six verbs. `make demo` and `make test` each make .venv first if it is not there.
PYTHON ?= python3.11
KAIROS := .venv/bin/kairos
SETUP  := .venv/.installed

.PHONY: setup demo test check format lock

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv || python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(SETUP)

demo: setup
	$(KAIROS) demo

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: check
	.venv/bin/pytest

format: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock: setup
	.venv/bin/python -m pip freeze --exclude-editable | grep -v ' @ ' > constraints.txt
