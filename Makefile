# Every target makes its own environment first, so `make demo` or `make test` is all one types.
# Settings: PYTHON=python3.12  TORCH="torch==2.13.0 --index-url URL"  DEMO_RUN=runs/other

PYTHON ?= python3
TORCH ?= torch==2.13.0
DEMO_RECIPE ?= recipes/smollm2-demo.toml
DEMO_RUN ?= runs/demo
KILLS ?= 1000
FILES ?= 100000
SEED ?= 0
CLANG ?= clang++
FUZZ_SECONDS ?= 300
SHIPPED ?= runs/smollm2-spiking
DEMO_PROMPT ?= The history of the country begins

BIN := .venv/bin
# An editable install notes where each module lies: it must be made anew when packages move.
PACKAGES := $(shell find src -name __init__.py | LC_ALL=C sort | cksum | cut -d ' ' -f 1)
READY := .venv/.ready-$(PACKAGES)
GOOSE := $(BIN)/asnn-goose

.PHONY: help setup demo test check native-check arm64-check mutants campaign fuzz soak format bench docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    hear the spiking student in students/, then distil SmolLM2-135M into one of your own and measure it (a quarter of an hour on two cores)"
	@echo "make test    the whole test suite"
	@echo "make check   ruff, mypy and the architecture test"
	@echo "make native-check  the compiled code under sanitizers, and clang-tidy where there is one"
	@echo "make arm64-check   the compiled code for arm64 under qemu-user"
	@echo "make mutants break one formula at a time and see whether a test notices"
	@echo "make campaign  kills, faults of the system and damaged files, for hours (KILLS=, FILES=, SEED=)"
	@echo "make fuzz    the readers of strangers' files under libFuzzer and atheris (CLANG=, FUZZ_SECONDS= each)"
	@echo "make soak    ten million tokens and twenty thousand steps, with their memory"
	@echo "make bench   one script per speed claim"
	@echo "make docs    the documentation site in build/site"
	@echo "make format  let ruff rewrite the sources"
	@echo "make clean   remove the environment and build products (runs/ stays)"

setup: $(READY)

# Rebuilt when the packaging, the native sources or the list of packages change. Debian's python3 may come without
# ensurepip; its pip can still install into an environment from outside.
$(READY): pyproject.toml CMakeLists.txt $(wildcard csrc/* csrc/*/* csrc/*/*/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) -V 2>&1 || true)." \
	       "Try: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { $(PYTHON) -m venv --clear --without-pip .venv \
	  && $(PYTHON) -m pip --python $(BIN)/python install pip; }
	@echo "Installing torch, then everything else: a few minutes, once"
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@rm -f .venv/.ready* && touch $@

# The student in the repository speaks first, and says how fast; then one of one's own is trained.
# A second call continues an interrupted run; a finished one is only measured again.
demo: $(READY)
	@test -f $(SHIPPED)/config.json || $(GOOSE) restore students/smollm2-spiking.safetensors --out $(SHIPPED)
	$(GOOSE) generate $(SHIPPED) "$(DEMO_PROMPT)" --tokens 100 --temperature 0.7 --seed 0
	@echo
	$(GOOSE) distill $(DEMO_RECIPE) --out $(DEMO_RUN) $(if $(wildcard $(DEMO_RUN)/recipe.toml),--resume)
	@echo
	$(GOOSE) generate $(DEMO_RUN) "$(DEMO_PROMPT)" --tokens 100 --temperature 0.7 --seed 0
	@echo
	$(GOOSE) eval $(DEMO_RUN) --on in-domain --on out-of-domain --json $(DEMO_RUN)/eval.json

# A process a core and a thread a process: threads that wait for a core are no quicker.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_lengths.py

# The sanitizers' runtime must be loaded before Python; leaks of the interpreter are not ours.
native-check: $(READY)
	cmake -S . -B build/check -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGOOSE_SANITIZE=ON \
	  -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
	  -Dnanobind_DIR=$$($(BIN)/python -m nanobind --cmake_dir)
	cmake --build build/check
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 $(BIN)/python tests/native_check.py build/check
	@if command -v clang-tidy >/dev/null; then \
	  clang-tidy --quiet -p build/check $$(git ls-files 'csrc/engine/*.cpp' 'csrc/kernels/*.cpp'); \
	else echo "clang-tidy is not installed: skipped"; fi

arm64-check: $(READY)
	sh tests/arm64.sh

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Breaks one formula at a time; not part of `make test`.
mutants: $(READY)
	$(BIN)/python tests/mutants/run.py

# What `make test` does a little of (docs/campaign.md). The log is a table, and goes on where it ended.
campaign: $(READY)
	mkdir -p build
	$(BIN)/python -m tests.golden.curves --check
	$(BIN)/python -m tests.campaign.numbers
	$(BIN)/python -m tests.campaign.processes
	$(BIN)/python -m tests.campaign.system_faults
	$(BIN)/python -m tests.campaign.fuzz_readers --files $(FILES) --seed $(SEED)
	$(BIN)/python bench/fuzz_packed.py --files $(FILES) --seed $(SEED) --engine native
	$(BIN)/python -m tests.campaign.run --count $(KILLS) --seed $(SEED) --log build/campaign-$(SEED).tsv \
	  || { $(BIN)/python -m tests.campaign.table build/campaign-$(SEED).tsv; exit 1; }
	$(BIN)/python -m tests.campaign.table build/campaign-$(SEED).tsv

# Coverage-guided, with sanitizers; needs Clang. What is found interesting stays in build/fuzz.
fuzz: $(READY)
	cmake -S tests/fuzz -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=$(CLANG)
	cmake --build build/fuzz
	$(BIN)/python -m pip install --quiet -e ".[fuzz]"
	$(BIN)/python -m tests.fuzz.run --build build/fuzz --seconds $(FUZZ_SECONDS)

soak: $(READY)
	$(BIN)/python -m tests.campaign.soak_engine
	$(BIN)/python -m tests.campaign.soak_training

# Pages with their links checked, and the reference from the docstrings.
docs: $(READY)
	$(BIN)/python docs/site.py build/site-pages
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	$(BIN)/zensical build --clean

bench: $(READY)
	@set -e; for script in $(sort $(wildcard bench/*.py)); do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
