"""v1 only grows: every message, field, enum value and method of the committed baseline is there as it was.

``protos/perturbcast_client/wire/v1/baseline.json`` holds what has been published. A new field is published by adding
it there; a failing test prints the entries that are missing.
"""

from __future__ import annotations

import copy
import json

import pytest
from google.protobuf import descriptor_pb2

from perturbcast_client.wire.v1 import prediction_pb2 as pb

FIELD = descriptor_pb2.FieldDescriptorProto
LABELS = {FIELD.LABEL_OPTIONAL: "one", FIELD.LABEL_REPEATED: "repeated"}


def surface(file):
    """What a client relies on: dotted name -> how it looks on the wire."""
    entries = {}

    def add_enum(prefix, enum):
        entries.update({f"{prefix}{enum.name}.{value.name}": {"enum": value.number} for value in enum.value})

    def add_message(prefix, message):
        name = f"{prefix}{message.name}"
        entries[name] = {"message": file.package}
        for field in message.field:
            kind = field.type_name or FIELD.Type.Name(field.type).removeprefix("TYPE_").lower()
            oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            entries[f"{name}.{field.name}"] = {
                "number": field.number,
                "type": kind,
                "label": LABELS[field.label],
                "oneof": oneof,
            }
        for nested in message.nested_type:
            add_message(f"{name}.", nested)
        for enum in message.enum_type:
            add_enum(f"{name}.", enum)

    for message in file.message_type:
        add_message("", message)
    for enum in file.enum_type:
        add_enum("", enum)
    for service in file.service:
        for method in service.method:
            entries[f"{service.name}/{method.name}"] = {
                "request": method.input_type,
                "response": method.output_type,
                "streams": [method.client_streaming, method.server_streaming],
            }
    return entries


def breaks(baseline, current):
    """What clients of the baseline would stumble over."""
    return sorted(
        f"{name}: was {entry}, is {current.get(name, 'gone')}"
        for name, entry in baseline.items()
        if current.get(name) != entry
    )


@pytest.fixture
def file():
    proto = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(proto)
    return proto


@pytest.fixture
def baseline(root):
    return json.loads((root / "protos" / "perturbcast_client" / "wire" / "v1" / "baseline.json").read_text())


def test_nothing_published_has_changed(baseline, file):
    assert breaks(baseline, surface(file)) == []


def test_what_is_new_is_published_too(baseline, file):
    new = {name: entry for name, entry in surface(file).items() if name not in baseline}
    assert new == {}, f"add to baseline.json:\n{json.dumps(new, indent=1)}"


def message_of(file, name):
    return next(message for message in file.message_type if message.name == name)


def field_of(file, message, name):
    return next(field for field in message_of(file, message).field if field.name == name)


def drop(repeated, name):
    del repeated[next(i for i, entry in enumerate(repeated) if entry.name == name)]


BREAKING = {
    "removed": lambda f: drop(message_of(f, "PredictRequest").field, "genes"),
    "renumbered": lambda f: setattr(field_of(f, "Condition", "context"), "number", 9),
    "renamed": lambda f: setattr(field_of(f, "Condition", "context"), "name", "cell_type"),
    "retyped": lambda f: setattr(field_of(f, "Wanted", "top_genes"), "type", FIELD.TYPE_INT64),
    "another-message": lambda f: setattr(
        field_of(f, "PredictResponse", "delta"), "type_name", ".perturbcast.prediction.v1.CsrMatrix"
    ),
    "repeated": lambda f: setattr(field_of(f, "ModelInfo", "kind"), "label", FIELD.LABEL_REPEATED),
    "out-of-its-oneof": lambda f: field_of(f, "ModelRef", "alias").ClearField("oneof_index"),
    "message-removed": lambda f: drop(f.message_type, "TopGene"),
    "enum-value": lambda f: setattr(message_of(f, "Tensor").enum_type[0].value[1], "number", 7),
    "method-removed": lambda f: drop(f.service[0].method, "PredictStream"),
    "no-stream": lambda f: setattr(f.service[0].method[3], "server_streaming", False),
    "another-package": lambda f: setattr(f, "package", "perturbcast.prediction.v2"),
}


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_found(baseline, file, change):
    changed = copy.deepcopy(file)
    change(changed)
    assert breaks(baseline, surface(changed))


def test_an_added_field_breaks_nothing(baseline, file):
    message_of(file, "PredictRequest").field.add(name="new", number=99, type=FIELD.TYPE_BOOL, label=1)
    assert breaks(baseline, surface(file)) == []
