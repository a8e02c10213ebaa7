"""Containerfiles, Apptainer definitions and Kubernetes manifests agree with each other and with the code, unbuilt.

'make test-images' builds and runs them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import grimp
import jsonschema
import pytest
import typer
import yaml

from perturbcast.cli import build
from perturbcast.cluster.site import Site

IMAGES = ("train", "prediction", "harness")
LABELS = {f"org.opencontainers.image.{name}" for name in ("title", "version", "revision", "source", "licenses")}
# an import name -> the distribution that brings it, where they differ
BROUGHT_BY = {
    "google": "protobuf",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc": "grpcio",
    "mlflow": "mlflow-skinny",
    "opentelemetry": "opentelemetry-api",
    "prometheus_client": "prometheus-client",
    "yaml": "pyyaml",
}
# not met while answering: stages that make models, graphs and features that are read when one is fitted
ON_DEMAND = {"anndata", "h5py", "networkx", "numba", "pooch", "pytorch_lightning", "torch"}
# loaded by name, so that no import statement shows them
BY_NAME = {"alembic", "sqlalchemy", "sqlparse", "rich", "typer", "pyyaml"}


def instructions(text):
    """``(word, rest)`` of a Containerfile, continued lines joined."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    lines = re.sub(r"\\\n\s*", " ", "\n".join(kept)).splitlines()
    return [tuple((*line.split(None, 1), "")[:2]) for line in lines if line.strip()]


def sections(text):
    """Section name -> lines of an Apptainer definition; '' is the header."""
    found = {"": []}
    name = ""
    for line in text.splitlines():
        if line.startswith("%"):
            name = line[1:].strip()
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


def defaults(pairs):
    return {name: value.strip('"') for name, _, value in (pair.partition("=") for pair in pairs)}


@pytest.fixture(scope="module", params=IMAGES)
def image(request, root):
    """Name, instructions of the Containerfile, sections of the definition."""
    name = request.param
    containerfile = instructions((root / "containers" / name / "Containerfile").read_text())
    return name, containerfile, sections((root / "apptainer" / f"{name}.def").read_text())


def test_the_last_stage_is_labelled_and_runs_as_nobody_of_importance(image):
    name, words, _ = image
    last = words[max(i for i, (word, _) in enumerate(words) if word == "FROM") :]
    found = dict(last)
    assert found["FROM"] == "${BASE}"
    assert found["USER"] == "10001"
    assert [word for word, _ in last].index("USER") > max(i for i, (word, _) in enumerate(last) if word == "RUN")
    labels = defaults(found["LABEL"].split())
    assert set(labels) == LABELS
    assert labels["org.opencontainers.image.title"] == f"perturbcast-{name}"
    assert ("health.py" in found["HEALTHCHECK"]) == (name == "prediction")
    assert "--from=build /opt/perturbcast" in found["COPY"]


def test_both_builds_run_the_same_script_from_the_same_base(image):
    name, words, definition = image
    (run,) = [rest for word, rest in words if word == "RUN" and "install.sh" in rest]
    (post,) = [line for line in definition["post"] if "install.sh" in line]
    assert re.sub(r"\$\{(\w+)\}", r"{{ \1 }}", run) == post
    arguments = defaults(rest for word, rest in words if word == "ARG")
    theirs = defaults(definition["arguments"])
    assert arguments["BASE"] == f"docker.io/library/{theirs.pop('BASE')}"
    assert theirs.pop("BOOTSTRAP") == "docker"
    assert arguments.items() >= theirs.items()
    assert set(arguments) == {"BASE", *theirs}
    copied = {rest.split()[0] for word, rest in words if word == "COPY" and "--from" not in rest}
    assert copied == {line.split()[0] for line in definition["files"]}
    assert {line.split()[0] for line in definition["labels"]} == LABELS
    assert definition["labels"][0].split()[1] == f"perturbcast-{name}"
    assert definition["test"]


def test_no_version_stands_in_a_definition_but_in_constraints(root, image):
    _, words, definition = image
    told = " ".join(rest for word, rest in words if word == "RUN") + " ".join(definition["post"])
    assert "==" not in told + (root / "containers/install.sh").read_text()
    assert "PIP_CONSTRAINT=/src/constraints.txt" in (root / "containers/install.sh").read_text()


def test_the_prediction_image_holds_what_answering_imports(root):
    """The list is the closure of imports, no more and no less; a version of each is pinned."""
    lines = (root / "containers/prediction/requirements.txt").read_text().splitlines()
    listed = {line.split("#")[0].strip() for line in lines} - {""}
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (root / "constraints.txt").read_text().splitlines()
    }
    assert listed <= pinned
    ours = ("perturbcast", "perturbcast_client", "prediction_service")
    graph = grimp.build_graph(*ours, include_external_packages=True, cache_dir=None)
    models = {
        f"perturbcast.models.{path.stem}" for path in (root / "libs/perturbcast/src/perturbcast/models").glob("*.py")
    }
    roots = {"prediction_service.server", "perturbcast.tracking", "perturbcast.training"} | models - {
        "perturbcast.models.__init__"
    }
    reached = set().union(*(graph.find_upstream_modules(name) for name in roots))
    external = {name.split(".")[0] for name in reached} - set(ours) - sys.stdlib_module_names
    needed = {BROUGHT_BY.get(name, name) for name in external - ON_DEMAND}
    assert needed - listed == set()
    assert listed - needed - BY_NAME == set()


@pytest.mark.parametrize(
    "script",
    [
        "containers/install.sh",
        "containers/build.sh",
        "apptainer/bootstrap.sh",
        "apptainer/slurm/run.sh",
        "apptainer/slurm/again.sh",
        "apptainer/slurm/stage.sbatch",
        "apptainer/slurm/gather.sbatch",
    ],
    ids=lambda path: Path(path).name,
)
def test_scripts_parse(root, script):
    first = (root / script).read_text().split("\n", 1)[0]
    subprocess.run(["sh" if first.endswith("/sh") else "bash", "-n", root / script], check=True)


def test_the_example_site_names_the_image_that_is_built(root):
    text = (root / "apptainer/slurm/site.example.yaml").read_text()
    uncommented = re.sub(r"^# (image:)", r"\1", text, flags=re.MULTILINE)
    assert Site.model_validate(yaml.safe_load(uncommented)).image == "artifacts/images/train.sif"


# Fields of serving.kserve.io/v1beta1 that the manifest uses; the limits of scaling are those of
# pkg/apis/serving/v1beta1/component.go of KServe (Apache-2.0).
NUMBER = {"type": "integer", "minimum": 0}
INFERENCE_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "serving.kserve.io/v1beta1"},
        "kind": {"const": "InferenceService"},
        "metadata": {"properties": {"name": {"pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}}, "required": ["name"]},
        "spec": {
            "additionalProperties": False,
            "required": ["predictor"],
            "properties": {
                "predictor": {
                    "additionalProperties": False,
                    "required": ["containers"],
                    "properties": {
                        "minReplicas": NUMBER,
                        "maxReplicas": NUMBER,
                        "scaleTarget": NUMBER,
                        "timeout": NUMBER,
                        "scaleMetric": {"enum": ["cpu", "memory", "concurrency", "rps"]},
                        "containers": {
                            "minItems": 1,
                            "items": {
                                "required": ["name", "image", "ports"],
                                "properties": {
                                    "name": {"const": "kserve-container"},
                                    "ports": {
                                        "maxItems": 1,  # Knative routes one port
                                        "items": {"properties": {"name": {"enum": ["h2c", "http1"]}}},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture(scope="module")
def manifests(root):
    """Kind -> document."""
    files = sorted((root / "containers/kubernetes").glob("*.yaml"))
    documents = [document for path in files for document in yaml.safe_load_all(path.read_text())]
    return {document["kind"]: document for document in documents}


def test_the_inference_service_is_what_kserve_takes(manifests):
    jsonschema.validate(manifests["InferenceService"], INFERENCE_SERVICE)


@pytest.mark.parametrize("kind", ["Deployment", "InferenceService"])
def test_a_manifest_starts_the_service_as_its_command_line_reads(manifests, kind):
    document = manifests[kind]
    pod = document["spec"]["template"]["spec"] if kind == "Deployment" else document["spec"]["predictor"]
    (container,) = pod["containers"]
    assert container["image"].split("/")[-1].split(":")[0] == "perturbcast-prediction"
    command = typer.main.get_command(build(["serve"])).commands["serve"]
    names = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in container["args"]} <= names
    given = dict(word.partition("=")[::2] for word in container["args"])
    assert int(given["--port"]) == container["ports"][0]["containerPort"]
    mounts = [mount["mountPath"] for mount in container.get("volumeMounts", ())]
    files = [value for name, value in given.items() if name.startswith(("--tls", "--token"))]
    assert all(any(path.startswith(f"{mount}/") for mount in mounts) for path in files)
    if kind == "Deployment":
        assert pod["terminationGracePeriodSeconds"] > float(given["--grace"])
