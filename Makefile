# Two commands: 'make demo' and 'make test'. Each target is what a person could type.
PYTHON ?= python3.11
PIP_FLAGS := --quiet --disable-pip-version-check -c constraints.txt
LIBS := -e libs/perturbcast-client -e libs/perturbcast -e services/prediction -e services/torchserve
PATHS := libs services tests benchmarks
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo test lint bench protos constraints clean
.DELETE_ON_ERROR:

demo: .venv/.installed .venv-client/.installed ## the whole pipeline on real data, then an answer over gRPC
	perturbcast demo --client-python .venv-client/bin/python

test: .venv/.dev ## every test; real environments and real servers included
	pytest --cov --cov-report=term

lint: .venv/.dev ## format, lint, types, import contracts
	ruff format --check $(PATHS)
	ruff check $(PATHS)
	mypy libs services benchmarks
	lint-imports

bench: .venv/.dev ## speed and memory beside a named peer
	set -e; for file in benchmarks/*.py; do python $$file; done

protos: ## regenerate the committed wire code, with the generator that the client's pyproject pins
	test -x .venv-wire/bin/python || $(PYTHON) -m venv .venv-wire
	.venv-wire/bin/python -m pip install --quiet -U pip
	.venv-wire/bin/python -m pip install --quiet --group libs/perturbcast-client/pyproject.toml:wire
	.venv-wire/bin/python -m grpc_tools.protoc -I protos --python_out=libs/perturbcast-client/src --pyi_out=libs/perturbcast-client/src protos/perturbcast_client/wire/v1/prediction.proto
	.venv-wire/bin/python -m grpc_tools.protoc -I protos --python_out=services/prediction/src --pyi_out=services/prediction/src protos/prediction_service/wire/open_inference.proto
	.venv-wire/bin/python -m grpc_tools.protoc -I protos --python_out=services/torchserve/src --pyi_out=services/torchserve/src protos/torchserve_backend/wire/torchserve.proto

constraints: .venv/.dev ## write the exact versions of this environment to constraints.txt
	(echo '# The exact versions that CI, containers and the README install; make constraints writes this file anew.'; pip freeze --all --exclude-editable | grep -v ' @ \|^setuptools=\|^perturbcast') > .constraints.partial
	mv .constraints.partial constraints.txt

.venv/.installed: constraints.txt libs/perturbcast/pyproject.toml libs/perturbcast-client/pyproject.toml services/prediction/pyproject.toml services/torchserve/pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install $(PIP_FLAGS) pip
	.venv/bin/python -m pip install $(PIP_FLAGS) $(LIBS)
	touch $@

.venv/.dev: .venv/.installed pyproject.toml
	.venv/bin/python -m pip install $(PIP_FLAGS) --group dev
	touch $@

.venv-client/.installed: constraints.txt libs/perturbcast-client/pyproject.toml
	test -x .venv-client/bin/python || $(PYTHON) -m venv .venv-client
	.venv-client/bin/python -m pip install $(PIP_FLAGS) libs/perturbcast-client
	touch $@

clean: ## remove what the commands above made
	rm -rf .venv .venv-client .venv-wire artifacts mlflow.db mlartifacts
