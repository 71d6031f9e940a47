# On a machine with git, make and python3, each of these sets up what it needs.
.PHONY: run test lint format build clean lock

SHELL := /bin/bash
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# A Debian package, and the command that succeeds where it or its like is there already.
define needed
gcc gcc --version
g++ g++ --version
gfortran gfortran --version
nlohmann-json3-dev g++ -fsyntax-only -include nlohmann/json.hpp -x c++ /dev/null
pkgconf pkg-config --version
libmpich-dev mpifort --version
mpich mpirun --version
libnetcdff-dev pkg-config --exists netcdf-fortran
cmake cmake --version
python3-venv $(PYTHON) -c 'import ensurepip, venv'
python3-dev $(PYTHON) -c 'import sysconfig; open(sysconfig.get_path("include") + "/Python.h")'
endef
export needed

run: build
	pyemu box
	pyemu online

# The debug build watches addresses, undefined behaviour and leaks, also of Fortran; then threads are
# watched, where there are some. What is reported ends a program, and the test fails.
test: build build/debug/build.ninja build/thread/build.ninja
	$(unshuffled) meson test -C build/debug --print-errorlogs --timeout-multiplier 10
	$(unshuffled) meson test -C build/thread --print-errorlogs --timeout-multiplier 10 "abi blocks" "abi gpu same"
	meson test -C build/release --print-errorlogs --timeout-multiplier 4
	pytest

fatal = -fno-sanitize-recover=all
# Sanitizers of GCC 12 refuse the addresses that newer kernels deal out.
unshuffled = $(shell setarch -R true 2>/dev/null && echo setarch -R)

lint: build
	pytest -q tests/python/test_lint.py

format: build
	ruff format
	ruff check --fix
	fortitude check --fix

build: build/release/.installed
	ninja --quiet -C build/release

clean:
	rm -rf build report .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Move every locked version to the newest that pyproject.toml allows.
lock: .venv/.packages
	python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*(d for d in p["dependencies"] if "torch" not in d), *p["optional-dependencies"]["dev"], sep="\n")' > build/wanted
	python -m pip install --upgrade --upgrade-strategy eager -r build/wanted
	python -m pip freeze --exclude m7emu --exclude torch > requirements.lock

build/.system: Makefile
	@mkdir -p build
	@missing=$$(while read -r package probe; do \
	  bash -c "$$probe" </dev/null &>/dev/null || echo "$$package"; done <<<"$$needed"); \
	if [ -n "$$missing" ]; then \
	  sudo=$$([ "$$(id -u)" = 0 ] || command -v sudo); \
	  if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 -a -z "$$sudo" ]; then \
	    echo "Please install, under your system's names for them:" $$missing >&2; exit 1; fi; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  echo "apt-get install" $$missing; $$sudo apt-get update -qq && \
	  $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null || exit 1; fi
	@touch $@

# The CPU build of torch comes first, as any other would pull gigabytes of CUDA.
.venv/.packages: requirements.lock build/.system
	[ -x .venv/bin/python ] || $(PYTHON) -m venv .venv
	python -m pip install -q --disable-pip-version-check torch==2.13.0
	python -m pip install -q --disable-pip-version-check -r requirements.lock
	@touch $@

# Editable: an import rebuilds what has changed. `build` does so first, to show what the compiler says.
build/release/.installed: .venv/.packages pyproject.toml
	python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps \
	  --config-settings=build-dir=build/release --config-settings=setup-args=-Dnative=true \
	  --config-settings=setup-args=-Dgpu_targets=90 -e .
	python -m pip check
	@touch $@

# Python could not load a sanitized engine: that in torch is tested in the other build.
build/debug/build.ninja: | .venv/.packages
	meson setup build/debug -Dbuildtype=debug -Db_sanitize=address,undefined \
	  -Dc_args=$(fatal) -Dcpp_args=$(fatal) -Dfortran_args=$(fatal) \
	  -Dpython=false -Dtorch=disabled -Dcuda=disabled

build/thread/build.ninja: | .venv/.packages
	meson setup build/thread -Dbuildtype=debug -Db_sanitize=thread \
	  -Dpython=false -Dhost=disabled -Dtorch=disabled -Dcuda=disabled
