# Two commands: 'make demo' and 'make test'. Each target is what a person could type.
PYTHON ?= python3.11
PIP_FLAGS := --quiet --disable-pip-version-check -c constraints.txt
LIBS := -e libs/perturbcast-client -e libs/perturbcast[pipeline,train,sweep] -e services/prediction -e services/torchserve
PATHS := libs services tests benchmarks apptainer containers
WORKERS ?= 2 # test processes; a file's tests stay in one, and the run ends where one dies: xdist would wait for ever
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo test test-cluster test-images images lint bench protos schema constraints clean
.DELETE_ON_ERROR:

demo: .venv/.installed .venv-client/.installed ## the whole pipeline on real data, then an answer over gRPC
	perturbcast demo --client-python .venv-client/bin/python

test: .venv/.dev .venv/.browser .venv-dask/.installed .venv-torchserve/.installed ## every test but those on SLURM and of images; real environments, servers and a browser included
	pytest -n $(WORKERS) --dist loadfile --max-worker-restart 0 --ignore tests/cluster --ignore tests/images --cov --cov-report=term

test-cluster: .venv/.dev ## jobs on a real single-node SLURM; as root, it installs Debian's packages for it
	command -v slurmctld munged || { apt-get update -q && apt-get install -y -q --no-install-recommends slurm-wlm munge; }
	pytest tests/cluster

images: ## train, prediction and harness as SIF files and OCI images, with what this machine has; says what it skipped
	containers/build.sh

test-images: .venv/.dev ## builds the images without a registry, and runs them; as root, it installs Debian's packages for it
	{ command -v mmdebstrap && command -v buildah; } >/dev/null || test "$$(id -u)" != 0 || \
	{ apt-get update -q && apt-get install -y -q --no-install-recommends mmdebstrap buildah uidmap; }
	pytest tests/images

lint: .venv/.dev ## format, lint, types, import contracts
	ruff format --check $(PATHS)
	ruff check $(PATHS)
	mypy libs services benchmarks
	lint-imports

bench: .venv/.dev ## speed and memory beside a named peer
	set -e; for file in benchmarks/*.py; do python $$file; done

protos: .venv-wire/.installed ## regenerate the committed wire code, with the generator that the client's pyproject pins
	.venv-wire/bin/python -m grpc_tools.protoc -I protos --python_out=libs/perturbcast-client/src --pyi_out=libs/perturbcast-client/src protos/perturbcast_client/wire/v1/prediction.proto
	.venv-wire/bin/python -m grpc_tools.protoc -I protos --python_out=services/prediction/src --pyi_out=services/prediction/src protos/prediction_service/wire/open_inference.proto
	.venv-wire/bin/python -m grpc_tools.protoc -I protos --python_out=services/torchserve/src --pyi_out=services/torchserve/src protos/torchserve_backend/wire/torchserve.proto

schema: .venv/.installed ## write the published JSON schema of report.json from its model
	python -c 'from perturbcast.evaluation import report_schema as r; from perturbcast.stores.atomic import write_bytes; write_bytes(r.SCHEMA_FILE, r.json_schema().encode())'

constraints: .venv/.dev ## write the exact versions of this environment to constraints.txt
	(echo '# The exact versions that CI, containers and the README install; make constraints writes this file anew.'; pip freeze --all --exclude-editable | sed 's/+cpu$$//' | grep -v ' @ \|^setuptools=\|^perturbcast') > .constraints.partial
	mv .constraints.partial constraints.txt

.venv/.installed: constraints.txt libs/perturbcast/pyproject.toml libs/perturbcast-client/pyproject.toml services/prediction/pyproject.toml services/torchserve/pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install $(PIP_FLAGS) pip
	.venv/bin/python -m pip install $(PIP_FLAGS) $(LIBS)
	touch $@

.venv/.dev: .venv/.installed pyproject.toml
	.venv/bin/python -m pip install $(PIP_FLAGS) --group dev
	touch $@

# The browser of the report's test. Where it can not be installed that test is skipped and says so.
.venv/.browser: | .venv/.installed
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	{ test "$$(id -u)" = 0 && apt-get -qq update && apt-get -qq install --no-install-recommends chromium fonts-liberation >/dev/null; } || \
	echo "no browser: Chromium is not installed and can not be installed here; the test that opens the report will be skipped"
	touch $@

# Dask apart: anndata imports it wherever it is installed, which costs every command a third of a second. The test of
# '--executor dask' puts this folder on the path of its own processes.
.venv-dask/.installed: constraints.txt libs/perturbcast/pyproject.toml | .venv/.installed
	.venv/bin/python -m pip install $(PIP_FLAGS) --upgrade --target .venv-dask distributed
	touch $@

# TorchServe apart, and torch and perturbcast from this environment. Without java its tests are skipped and say so.
.venv-torchserve/.installed: constraints.txt services/torchserve/pyproject.toml | .venv/.installed
	command -v java >/dev/null || \
	{ test "$$(id -u)" = 0 && apt-get -qq update && apt-get -qq install --no-install-recommends openjdk-17-jre-headless >/dev/null; } || \
	echo "no java: OpenJDK 17 is not installed and can not be installed here; the tests of TorchServe will be skipped"
	.venv/bin/python -m venv --clear --without-pip .venv-torchserve
	.venv/bin/python -m pip --python .venv-torchserve/bin/python install $(PIP_FLAGS) --no-deps --group services/torchserve/pyproject.toml:torchserve
	.venv/bin/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' > \
	"$$(.venv-torchserve/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/perturbcast.pth"
	touch $@

.venv-wire/.installed: libs/perturbcast-client/pyproject.toml | .venv/.installed
	.venv/bin/python -m venv --clear --without-pip .venv-wire
	.venv/bin/python -m pip --python .venv-wire/bin/python install --quiet --disable-pip-version-check --group libs/perturbcast-client/pyproject.toml:wire
	touch $@

.venv-client/.installed: constraints.txt libs/perturbcast-client/pyproject.toml
	test -x .venv-client/bin/python || $(PYTHON) -m venv .venv-client
	.venv-client/bin/python -m pip install $(PIP_FLAGS) libs/perturbcast-client
	touch $@

clean: ## remove what the commands above made
	rm -rf .venv .venv-client .venv-dask .venv-torchserve .venv-wire artifacts mlflow.db mlartifacts
