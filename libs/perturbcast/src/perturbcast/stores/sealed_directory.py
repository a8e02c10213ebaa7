"""A directory that is whole or not there: files without pickles, and a fingerprint that proves each of them.

Written under a temporary name and renamed. ``fingerprint.json`` holds the sha256 of every file, facts of the writer's
choice, the versions it was written with, and a sha256 over all of these; a directory without it is half-written, one
with another is edited.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

import perturbcast
from perturbcast.errors import UsageError
from perturbcast.schema import canonical_hash
from perturbcast.stores.atomic import said_when_full, write_json

__all__ = ["Kind", "config_of", "reading", "seal", "sha256", "verify", "writing"]

FINGERPRINT = "fingerprint.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """What a directory holds, and what a reader is told where it is not whole.

    Attributes:
        name: in a sentence: ``model``.
        article: ``A`` or ``An``.
        files: names of the files beside the fingerprint.
        make: how to make one, a sentence.
        again: what to do where it is broken: ``Train it again``.
        packages: whose versions decide its bytes.
        optional: names of files that it may be without; the fingerprint says whether it is.
    """

    name: str
    article: str
    files: Sequence[str]
    make: str
    again: str
    packages: Sequence[str]
    optional: Sequence[str] = ()

    @property
    def changed(self) -> str:
        """Message of a directory that was edited, with one gap for what was."""
        return (
            f"{self.article} {self.name} directory is not edited; {{}}. {self.again}, or restore it with "
            "'dvc checkout'."
        )


def sha256(path: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[Path]:
    """A folder to fill and seal; it replaces ``directory`` when the block ends well."""
    beside = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        with said_when_full(directory):
            yield beside
            shutil.rmtree(directory, ignore_errors=True)
            beside.replace(directory)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def seal(folder: Path, kind: Kind, facts: Mapping[str, Any], *, packages: Sequence[str] = ()) -> None:
    """Write the fingerprint of a filled folder.

    Args:
        folder: holds the files.
        kind: what it is.
        facts: more that the fingerprint holds.
        packages: whose versions decide the bytes of this one, beside those of its kind.
    """
    versions = {name: version(name) for name in (*kind.packages, *packages)} | {"python": platform.python_version()}
    fingerprint = {
        "files": {
            name: sha256(folder / name)
            for name in (*kind.files, *kind.optional)
            if name in kind.files or (folder / name).is_file()
        },
        "code": perturbcast.__version__,
        "environment": canonical_hash(versions),
        "versions": versions,
        **facts,
    }
    write_json(folder / FINGERPRINT, fingerprint | {"sha256": canonical_hash(fingerprint)})


def verify(directory: Path, kind: Kind) -> str:
    """The sha256 of a directory's fingerprint, after every file was held against it.

    Raises:
        UsageError: there is no such directory.
        ValueError: it is half-written, or a file was changed.
    """
    if not directory.is_dir():
        raise UsageError(f"{kind.article} {kind.name} is a directory; {directory} does not exist. {kind.make}")
    missing = [name for name in (*kind.files, FINGERPRINT) if not (directory / name).is_file()]
    if missing:
        raise ValueError(
            f"{kind.article} {kind.name} directory holds {', '.join(kind.files)} and {FINGERPRINT}; {directory} lacks "
            f"{', '.join(missing)}: it is half-written or not {kind.article.lower()} {kind.name}. {kind.again}, or "
            "restore it with 'dvc checkout'."
        )
    try:
        fingerprint = json.loads((directory / FINGERPRINT).read_text())
        claimed = str(fingerprint.pop("sha256"))
        hashes = dict(fingerprint["files"])
        stated = {name: hashes[name] for name in kind.files} | {name: hashes.get(name) for name in kind.optional}
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            kind.changed.format(f"{FINGERPRINT} cannot be read ({type(error).__name__}) in {directory}")
        ) from error
    for name, wanted in stated.items():
        held = sha256(directory / name) if (directory / name).is_file() else None
        if held != wanted:
            raise ValueError(kind.changed.format(f"{name} does not have the sha256 of {FINGERPRINT} in {directory}"))
    if canonical_hash(fingerprint) != claimed:
        raise ValueError(kind.changed.format(f"{FINGERPRINT} does not have its own sha256 in {directory}"))
    return claimed


@contextlib.contextmanager
def reading(directory: Path, kind: Kind, form: str) -> Iterator[None]:
    """Around what reads the files of a verified directory.

    Raises:
        ValueError: they are not of the format.
    """
    try:
        yield
    except (json.JSONDecodeError, KeyError, SafetensorError) as error:
        raise ValueError(
            kind.changed.format(f"a file is not of format {form} ({type(error).__name__}: {error}) in {directory}")
        ) from error


def config_of(directory: Path, kind: Kind, form: str) -> dict[str, Any]:
    """``config.json`` of a directory.

    Raises:
        ValueError: it is of another format.
    """
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    if config["format"] != form:
        raise ValueError(
            f"This version reads {kind.name}s of format {form}; {directory} is {config['format']!r}. "
            f"Use the version of perturbcast that wrote it, or {kind.again.lower()}."
        )
    return config
