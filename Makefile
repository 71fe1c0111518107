# Two commands: `make demo` shows what posepipe does, `make test` checks that it does it right.
# Both install what they need into .venv the first time and need no network after that.
# PYTHON=/path/to/python3.12 chooses the Python, TORCH=cpu|cuda the build of torch (only `make test` installs torch),
# ARGS="--motion squat" goes to the demo, TESTS="tests/lifters -k mdn" to pytest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test lint typing clean runtime dev
BIN := .venv/bin
# The Python that installs: the one found when .venv was made, as long as it works.
FIND = $$( { [ -z "$(PYTHON)" ] && $(BIN)/python -c '' 2>/dev/null && echo $(BIN)/python; } || PYTHON="$(PYTHON)" tools/find_python.sh)
export PYTHONUTF8 := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:
	@echo "make demo   install posepipe and run it on a rendered actor -> out/demo"
	@echo "make test   install what the tests need; linters, types, import arrows, tests"
	@echo "            (parts of it: make lint, make typing; make clean removes what these made)"

demo: runtime
	@echo "· running: posepipe demo -o out/demo $(ARGS)"
	@$(BIN)/posepipe demo -o out/demo $(ARGS)

test: dev lint typing
	@echo "== import arrows and tests: pytest"
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-2} $(BIN)/python -m pytest $(TESTS)

lint: dev
	@echo "== lint: ruff"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

# The rooms lie at the top level but are imported as posepipe.<room>; a folder of links shows them that way to mypy.
typing: dev
	@echo "== types: mypy"
	@$(BIN)/python tools/typing_links.py
	@MYPYPATH=.typing $(BIN)/mypy

runtime:
	@python=$(FIND) && [ -n "$$python" ] && "$$python" -m posepipe.system_check && "$$python" tools/install.py runtime

dev:
	@python=$(FIND) && [ -n "$$python" ] && "$$python" -m posepipe.system_check && "$$python" tools/install.py dev

clean:
	@echo "· removing .venv, caches and out/demo"
	@rm -rf .venv .typing .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache posepipe.egg-info out/demo
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
