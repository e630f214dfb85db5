"""Find and run functions that the user names, and say where their code failed."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import HwcError, InputError
from .messages import nearest, one_line


def load_function(spec: str) -> Callable[..., Any]:
    """The function that `package.module:function` or `file.py:function` names.

    Modules are looked for in the working directory, too; a file sees the modules beside it.

    Raises:
        InputError: No such file, module or function, or the module fails while it is imported.
    """
    place, _, name = spec.rpartition(":")
    if not (place and name):
        raise InputError(f"{spec!r} names no function", "write module:function or file.py:function")
    with attempt(f"importing {place}"):
        module = _load_file(Path(place)) if place.endswith(".py") else _import(place)
    function = getattr(module, name, None)
    if not callable(function):
        choices = [key for key, value in vars(module).items() if callable(value)]
        raise InputError(f"{place} has no function {name!r}", nearest(name, choices))
    return function  # type: ignore[no-any-return]  # callable(), but of unknown signature


@contextmanager
def attempt(what: str, hint: str = "") -> Iterator[None]:
    """Turn whatever the code inside raises into an `InputError` that begins with `what`."""
    try:
        yield
    except HwcError:
        raise
    except (Exception, SystemExit) as cause:  # foreign code may raise anything
        line = one_line(cause) or "no message"
        raise InputError(
            f"{what} failed: {type(cause).__name__}: {line}{_place(cause)}", hint
        ) from cause


def _place(cause: BaseException) -> str:
    """File and line that raised, without the folders."""
    frames = traceback.extract_tb(cause.__traceback__)[1:]  # the first is ours
    foreign = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    if not foreign or isinstance(cause, SyntaxError):  # which names its place itself
        return ""
    return f" ({Path(foreign[-1].filename).name} line {foreign[-1].lineno})"


def _import(name: str) -> ModuleType:
    try:
        with _on_path(Path.cwd()):
            return importlib.import_module(name)
    except ModuleNotFoundError as cause:
        if cause.name is None or not f"{name}.".startswith(f"{cause.name}."):
            raise  # the module is there, but lacks another
        hint = "give the command in the folder that holds it, or install it"
        raise InputError(f"there is no module {cause.name!r}", hint) from cause


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"_hwc_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look their module up here
    with _on_path(path.parent.absolute()):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
