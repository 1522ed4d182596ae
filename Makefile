# Every target sets up what it needs: a virtual environment, uv in it, and all packages under
# constraints.txt. `make clean` removes it.
VENV   := .venv
PYTHON := $(VENV)/bin/python
READY  := $(VENV)/.ready

.PHONY: setup test check demo docs notebooks bench bench-gpu soak clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --constraint constraints.txt \
		--editable '.[all]' --group dev --group docs --group notebooks
	touch $@

# One thread for each process: two processes with two threads each wait for each other.
test: $(READY)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(PYTHON) -m pytest -m 'not benchmark' -n logical --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright

demo: $(READY)
	$(VENV)/bin/trivec demo $(ARGS)

# The variable silences a message on the future of MkDocs, which is no warning of the build.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

notebooks: $(READY)
	$(PYTHON) scripts/run_notebooks.py $(ARGS)

bench: ARGS = tests/benchmarks
bench: $(READY)
	$(PYTHON) -m pytest -m benchmark -s $(ARGS)

bench-gpu: $(READY)
	PYTHONPATH=core $(PYTHON) scripts/bench_gpu.py $(ARGS)

soak: $(READY)
	TRIVEC_SOAK_ROUNDS=30 TRIVEC_SOAK_DOCUMENTS=1000000 \
		$(PYTHON) -m pytest -v tests/soak $(ARGS)

clean:
	rm -rf $(VENV) dist build site
