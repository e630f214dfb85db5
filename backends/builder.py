"""Runs a device's own compiler, which is a command of its toolkit."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes import common

from ..toolchain.errors import BackendError, InputError

EXTERNAL = ".data"  # suffix of the file that holds a large graph's tensors
_TAIL = 5  # lines of a refusal that the message quotes


def run(command: Sequence[str], folder: Path, remedy: str) -> None:
    """Run one builder command in the bundle's folder.

    Raises:
        BackendError: The program is missing, or refused; its last lines are in the message.
    """
    program = shutil.which(command[0])
    if program is None:
        raise BackendError(f"`{command[0]}` is not installed here", remedy)
    done = subprocess.run(  # noqa: S603 - the toolkit's own program, arguments are not a shell line
        [program, *command[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        message = f"`{command[0]}` ended with {done.returncode}: " + " | ".join(said[-_TAIL:])
        raise BackendError(message, f"run the command in {folder} to see all it says")


def bring(model: Path, folder: Path) -> Path:
    """The graph's path in the bundle's folder; copied there if it lies elsewhere."""
    for name in (model.name, model.name + EXTERNAL):
        source = model.with_name(name)
        if source.exists() and not (folder / name).exists():
            shutil.copy2(source, folder / name)
    return folder / model.name


def read(path: Path) -> ir.Model:
    """A deploy graph with the shapes and types that follow from it; a file need not hold them.

    Raises:
        InputError: There is no such file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such graph", "give the path of the bundle's model")
    model = ir.load(path)
    common.ShapeInferencePass()(model)
    return model
