# Each target sets up what it needs. Without make: see "Without make" in README.md.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BUNDLE := deepslide_nb/static/sources.sha256

.PHONY: help install demo test lab course docs grade-demo bench bench-reader export
help:
	@echo "make demo    the whole way on synthetic sample slides; ends with the path of the report"
	@echo "make test    all tests: lessons from fresh kernels, package, command line, report in a browser"
	@echo "make lab     JupyterLab on the lessons"
	@echo "make course  the exercises: students', solution and nbgrader editions in build/exercises"
	@echo "make docs    the site with lessons, exercises, guide, API and slides in docs/_build/html"
	@echo "make grade-demo   release, collect, grade and feedback on synthetic submissions"
	@echo "make bench   speed and memory against the limits; writes tests/bench/results.md (some 50 minutes)"
	@echo "make bench-reader BENCH_SLIDE=FILE   the tile reader alone, on a slide of yours"
	@echo "make export  package, notebooks and README.md brought in step with nbs/ (after editing a lesson)"

$(INSTALLED): pyproject.toml constraints.txt setup.py $(wildcard js/*.*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/deepslide-nb samples data/samples
	$(BIN)/deepslide-nb run data/samples/slides.csv --out runs/demo --resume \
		--set aggregation=threshold,majority,average,logistic,attention --set background=normal

test: $(INSTALLED)
	$(BIN)/python tools/nb.py check
	$(BIN)/deepslide-nb samples data/samples
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lab: $(INSTALLED)
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/nbs/index.ipynb

course: $(INSTALLED)
	$(BIN)/python tools/course.py build

docs: $(INSTALLED)
	$(BIN)/python docs/build.py

grade-demo: $(INSTALLED)
	$(BIN)/python tools/grade_demo.py

bench: $(INSTALLED)
	$(BIN)/python tests/bench/run.py $(if $(BENCH_SLIDE),--slide $(BENCH_SLIDE))

bench-reader: $(INSTALLED)
	$(BIN)/python tests/bench/bench_reader.py $(BENCH_SLIDE)

export: $(INSTALLED)
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean
	$(BIN)/python tools/nb.py readme
