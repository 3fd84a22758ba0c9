# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT := out/demo
PICTURE := examples/dancer.png

.PHONY: demo test test-ray lint bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed
	@mkdir -p $(OUT)
	$(BIN)/kinema generate $(PICTURE) --out $(OUT)/video.mp4 --prompt "a man lifts his hand" \
		--drag left_hand 33,34 40,14 --stages $(OUT)/stages
	$(BIN)/kinema generate $(PICTURE) --out $(OUT)/punch.mp4 --prompt "a man punches" \
		--motion examples/punch.npz --seconds 3 --stages $(OUT)/punch
	$(BIN)/kinema render examples/punch.npz --out $(OUT)/boxer.mp4 --map mask --size 128x128 --fps 8
	$(BIN)/kinema animate $(OUT)/boxer.mp4 --out $(OUT)/snow.mp4 --prompt "a man in a red suit, boxing; in the snow" \
		--seconds 4
	@echo "Done. A hand dragged: $(OUT)/video.mp4, stage by stage: $(OUT)/stages/sheet.png; a capture: $(OUT)/punch.mp4;"
	@echo "masks and a prompt: $(OUT)/boxer.mp4, $(OUT)/snow.mp4"

# Each worker computes with one thread: threads of several that wait for each other burn more than they bring.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# What is left out of the tests above: Ray, with its processes killed at random; some minutes.
test-ray: $(VENV)/.installed-dev
	KINEMA_RAY_TESTS=1 $(BIN)/python -m pytest tests/annotate/test_exactly_once.py tests/studio/test_serve.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

bench: $(VENV)/.installed-dev
	@set -e; for benchmark in benchmarks/*.py; do echo "== $$benchmark"; PYTHONPATH=. $(BIN)/python $$benchmark; done

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
