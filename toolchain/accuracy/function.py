"""Functions of the user: found by `module:function` or `file.py:function`, and called safely."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from ..errors import InputError, UsageError


def load_function(spec: str) -> Callable[..., Any]:
    """Import what `module:function` or `path/to/file.py:function` names.

    A module is looked for in the working directory first, as `python -m` does.

    Raises:
        UsageError: The text does not name a module and a function.
        InputError: There is no such module or function, or importing it raises.
    """
    source, _, name = spec.rpartition(":")
    if not source or not name.isidentifier():
        raise UsageError(f"'{spec}' names no function", "write module:function")
    try:
        module = _file_module(Path(source)) if source.endswith(".py") else _named_module(source)
    except Exception as cause:  # noqa: BLE001 - importing runs the user's code: it may raise anything
        raise_user_error(spec, "cannot be imported", cause)
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"{source} has no function '{name}'", "check the name after the colon")
    return function  # type: ignore[no-any-return] # callable() does not say what it returns


def raise_user_error(spec: str, what: str, cause: Exception) -> NoReturn:
    """Turn whatever the user's code raised into one line.

    Raises:
        InputError: Always.
    """
    reason = " ".join(str(cause).split()) or "no message"
    raise InputError(f"{spec} {what}: {type(cause).__name__}: {reason}") from cause


def _named_module(name: str) -> ModuleType:
    """Import a module by its dotted name."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _file_module(path: Path) -> ModuleType:
    """Import a file as a module of its stem's name."""
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None or not path.is_file():
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
