"""Compiled functions that load in a few hundredths of a second, without numba.

numba takes a quarter of a second to import and as long again before its first compiled function runs, cached or not:
together as long as scoring a small pair of files. So it is imported to compile and never to load: the machine code of
a module of kernels is kept beside its source (in ``__pycache__``, else in ``~/.cache/perturbcast``) and loaded by
llvmlite alone. What is kept belongs to one source, one version of numba and one processor; anything else compiles anew.

A module of kernels names them in ``KERNELS``. A kernel takes arrays and numbers of fixed types, writes its results into
arrays that it is given (or returns one number), cannot raise and allocates nothing; whatever calls the Python runtime
is refused when it is compiled.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from perturbcast.stores.atomic import write_bytes

__all__ = ["Arguments", "kernel", "load"]

CALLABLE = {"sqrt", "log", "erfc", "memset", "memcpy"}  # of the C library; every process has them
_NUMBERS: dict[str, Any] = {"int64": ctypes.c_int64, "float64": ctypes.c_double}


def kernel(signature: str, **options: Any) -> Any:
    """Decorator of a kernel: numba's types, as in ``"float64(float32[::1], int64)"``; its options for ``njit``."""
    import numba

    return numba.njit(
        signature, no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", cache=False, **options
    )


class Arguments(tuple[Any, ...]):
    """An array in the form in which a kernel takes it, for one that goes into many calls."""

    kind: str
    array: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray) -> Arguments:
        # numba's own layout: owner (none), parent (none), size, bytes of an item, start, shape, strides
        start = array.__array_interface__["data"][0]
        flat = cls((None, None, array.size, array.itemsize, start, *array.shape, *array.strides))
        flat.kind, flat.array = f"{array.dtype}[{array.ndim}]{'C' if array.flags.c_contiguous else 'A'}", array
        return flat


@functools.cache
def load(module: str) -> SimpleNamespace:
    """The kernels of a module by name; compiled on this machine's first call.

    Args:
        module: full name of the module.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = _machine()
    file = _file(module)
    try:
        kept = file.read_bytes()
    except OSError:
        kept = _compile(module, machine)
        write_bytes(file, kept)
    header, _, code = kept.partition(b"\n")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    functions = {
        name: _callable(engine.get_function_address(entry["symbol"]), name, entry["takes"], entry["gives"])
        for name, entry in json.loads(header).items()
    }
    return SimpleNamespace(_engine=engine, **functions)  # the code lives as long as its engine


def _machine() -> Any:
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="default",
        codemodel="jitdefault",
        jit=True,
    )


def _file(module: str) -> Path:
    """Where the machine code of a module is kept: its name says what it belongs to."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin)
    # a kernel may call functions of the private modules beside its own
    sources = b"\0".join(path.read_bytes() for path in sorted(source.parent.glob("_*.py")))
    processor = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    versions = version("numba"), version("llvmlite"), *processor
    digest = hashlib.sha256(sources + "\0".join(versions).encode()).hexdigest()[:24]
    return _folder(source) / f"{source.stem}.{digest}.native"


def _folder(source: Path) -> Path:
    if "NUMBA_CACHE_DIR" in os.environ:
        return Path(os.environ["NUMBA_CACHE_DIR"])
    beside = source.parent / "__pycache__"
    if os.access(beside if beside.exists() else source.parent, os.W_OK):
        return beside
    return Path.home() / ".cache" / "perturbcast"


def _compile(module: str, machine: Any) -> bytes:
    """Machine code of all kernels of a module, after one line of JSON that describes them."""
    imported = importlib.import_module(module)
    header, linked = {}, None
    for name in imported.KERNELS:
        compiled = getattr(imported, name)
        (signature,) = compiled.signatures
        overload = compiled.overloads[signature]
        part = llvm.parse_assembly(compiled.inspect_llvm(signature))
        header[name] = {
            "symbol": overload.fndesc.llvm_func_name,
            "takes": [f"{x.dtype}[{x.ndim}]{x.layout}" if hasattr(x, "ndim") else str(x) for x in signature],
            "gives": str(overload.signature.return_type),
        }
        if linked is None:
            linked = part
        else:
            linked.link_in(part)
    assert linked is not None
    strangers = sorted(
        function.name
        for function in linked.functions
        if function.is_declaration and not function.name.startswith("llvm.") and function.name not in CALLABLE
    )
    if strangers:
        raise ValueError(
            f"Kernels call nothing but arithmetic; those of {module} call {', '.join(strangers)}. Take out what "
            "allocates or raises."
        )
    return json.dumps(header).encode() + b"\n" + machine.emit_object(linked)


def _callable(address: int, name: str, takes: Sequence[str], gives: str) -> Callable[..., Any]:
    """A function of arrays and numbers around machine code in numba's calling convention."""
    plain: list[Any] = []
    for kind in takes:
        if kind in _NUMBERS:
            plain.append(_NUMBERS[kind])
        else:
            ndim = int(kind[kind.index("[") + 1 : -2])
            plain += [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2 + [ctypes.c_void_p] + [ctypes.c_int64] * (2 * ndim)
    result = _NUMBERS.get(gives, ctypes.c_void_p)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(result), ctypes.c_void_p, *plain)
    code = prototype(address)

    def call(*arguments: Any) -> Any:
        given: list[Any] = []
        for kind, argument in zip(takes, arguments, strict=True):
            if kind in _NUMBERS:
                given.append(argument)
                continue
            flat = argument if isinstance(argument, Arguments) else Arguments.of(argument)
            # layout A of a kernel is any, C one without gaps
            if flat.kind != kind and not (kind[-1] == "A" and flat.kind[:-1] == kind[:-1]):
                raise TypeError(f"Kernel {name!r} takes {kind} where {flat.kind} was given.")
            given += flat
        answer = result()
        status = code(answer, None, *given)
        assert status in (0, -2), status  # -2: numba's None
        return answer.value if gives in _NUMBERS else None

    return call
