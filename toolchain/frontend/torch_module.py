"""Export PyTorch models: a module that a factory makes, or a `.pt2` program."""

import contextlib
import inspect
import io
import logging
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx_ir as ir

from ..errors import InputError
from .messages import nearest
from .user_code import attempt, load_function

EXPORT_OPSET = 18  # the exporter's own; every backend reads it
_CODE_IN_ARCHIVE = ("custom_obj_", "opaque_obj_", "data/aotinductor/")  # pickles, shared libraries


def export_factory(spec: str, inputs: Mapping[str, tuple[int, ...]]) -> ir.Model:
    """Call `package.module:factory` and export the module that it returns.

    The factory takes no arguments. Inputs of the given shapes are float32; a factory that returns
    `(module, example_inputs)` brings its own, of any type.

    Raises:
        InputError: torch is missing, the factory fails, or the module cannot be exported.
    """
    with quiet():
        torch = _torch()
        factory = load_function(spec)
        with attempt(f"factory {spec}"):
            made = factory()
        module, args, kwargs = _example(torch, spec, made, inputs)
        with attempt(f"exporting {spec}", "see whether torch.export.export accepts the module"):
            return _export(torch, module.eval(), args, kwargs)


def export_program(path: Path) -> ir.Model:
    """Export a `.pt2` file, made by `torch.export.save`, without unpickling objects from it.

    Raises:
        InputError: torch is missing, or the file is not such a program or would run code.
    """
    _check_archive(path)
    with quiet(), _weights_only():
        torch = _torch()
        with attempt(f"reading {path}", "write the file again with torch.export.save"):
            program = torch.export.load(path)
        with attempt(f"exporting {path}"):
            return _export(torch, program, (), {})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep prints, warnings and log lines of torch and of the user's module off the terminal."""
    level = logging.root.manager.disable
    sink = io.StringIO()
    with (
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)


def _torch() -> ModuleType:
    try:
        import torch  # noqa: PLC0415 - heavy, optional, and only used here
        import torch.onnx  # noqa: PLC0415 - as above
    except ImportError as cause:
        hint = "pip install 'hwc-compiler[torch]', or give an ONNX file"
        raise InputError("PyTorch is not installed", hint) from cause
    return torch


def _example(
    torch: ModuleType,
    spec: str,
    made: object,
    inputs: Mapping[str, tuple[int, ...]],
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The module with the positional and named arguments to trace it with."""
    module, own = made if isinstance(made, tuple) and len(made) == 2 else (made, None)  # noqa: PLR2004 - a pair
    if not isinstance(module, torch.nn.Module):
        hint = "return a torch.nn.Module, or a pair of it and its example inputs"
        raise InputError(f"{spec} returned a {type(module).__name__}", hint)
    if not inputs and isinstance(own, Mapping):
        return module, (), dict(own)
    if not inputs and isinstance(own, tuple):
        return module, own, {}
    if not inputs:
        hint = "give them with --input 1x3x224x224 or --input NAME=1x3x224x224"
        raise InputError(f"{spec} needs the shapes of its inputs", hint)
    zeros = {name: torch.zeros(shape) for name, shape in inputs.items()}
    if list(zeros) == [""]:
        return module, (zeros[""],), {}
    known = inspect.signature(module.forward).parameters
    for name in zeros:
        if name not in known:
            raise InputError(f"forward of {spec} has no input {name!r}", nearest(name, known))
    return module, (), zeros


def _export(
    torch: ModuleType,
    source: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> ir.Model:
    export: Callable[..., Any] = torch.onnx.export
    program = export(
        source, args, kwargs=kwargs, dynamo=True, opset_version=EXPORT_OPSET, verbose=False
    )
    model: ir.Model = program.model
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None:  # a view of torch's memory: from here on nobody needs torch
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
    return model


def _check_archive(path: Path) -> None:
    """Refuse what torch would run or unpickle; only tensors and the graph may be inside."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as cause:
        hint = "write the file again with torch.export.save"
        raise InputError(f"{path} is not a .pt2 program", hint) from cause
    for name in names:
        if any(mark in name for mark in _CODE_IN_ARCHIVE):
            hint = "export the program without custom objects and compiled code"
            raise InputError(f"{path} holds code ({name})", hint)


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Have torch load tensors with its restricted unpickler, also where it would fall back."""
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before
