# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT := out/demo
SAMPLE := examples/punch_noisy.npz

.PHONY: demo test lint bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed
	@mkdir -p $(OUT)
	$(BIN)/kinema diagnose $(SAMPLE)
	$(BIN)/kinema refine $(SAMPLE) --out $(OUT)/punch.npz --prompt "a man punches"
	$(BIN)/kinema render $(SAMPLE) --out $(OUT)/before.mp4 --map shaded --camera follow
	$(BIN)/kinema render $(OUT)/punch.npz --out $(OUT)/after.mp4 --map shaded --camera follow
	$(BIN)/kinema render $(OUT)/punch.npz --out $(OUT)/parts.mp4 --map parts --camera follow
	@echo "Done. The motion as it came: $(OUT)/before.mp4; mended: $(OUT)/after.mp4; its part masks: $(OUT)/parts.mp4"

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

bench: $(VENV)/.installed-dev
	@set -e; for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

clean:
	rm -rf $(VENV) out build dist .pytest_cache .ruff_cache .hypothesis

# The stamps make the second call start at once; they are made anew when the requirements change.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kinema needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) (some minutes, the first time only) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.installed
	$(PIP) -e '.[dev]'
	@touch $@
