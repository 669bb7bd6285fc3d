# Everything happens in a virtual environment of the checkout's own.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test install clean

demo: install  ## both models on the embedded data set, and Table 1
	$(BIN)/python -m kitsseg.train -m experiment=demo model=unet,attn_unet

test: $(VENV)/.test  ## what continuous integration runs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

install: $(VENV)/.run

$(VENV)/.run: pyproject.toml constraints.txt
	@echo "installing into $(VENV): a few minutes, about 2 GB ..."
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch  # first and alone, so that it decides which build of it is taken
	$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
