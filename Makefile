# Everything is installed into a virtual environment in the checkout.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow site audit dist image install clean

demo: install  ## train both models on synthetic data and print Table 1
	$(BIN)/python -m kitsseg.train -m experiment=demo model=unet,attn_unet

test: $(VENV)/.test  ## what continuous integration runs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy benchmarks experiments
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(VENV)/.test  ## kill loops, SLURM and the browser, which continuous integration runs as well
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

site: $(VENV)/.docs  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

audit: $(VENV)/.test  ## licences and known vulnerabilities of the packages in constraints.txt
	$(BIN)/pip-licenses --packages $$(sed -n 's/==.*//p' constraints.txt)
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

dist: $(VENV)/.test  ## the source distribution, and the wheel that is built from it
	rm -rf dist
	$(BIN)/python -m build

image:  ## a container image; containers/Dockerfile describes the smaller one for CPUs
	docker build --file containers/Dockerfile --tag kitsseg --build-arg PIP_EXTRA_INDEX_URL .

install: $(VENV)/.run

$(VENV)/.run: pyproject.toml constraints.txt
	@echo "installing into $(VENV): a few minutes, about 2 GB ..."
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch  # first, so that the build of torch is chosen by itself
	$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	$(PIP) -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
