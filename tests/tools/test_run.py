"""`hwc run` feeds a bundle from a file and writes what it says, whole or not at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import Result
from hwc.toolchain.errors import BackendError, DeviceError, InputError, OutputError

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Shop

Call = Callable[..., Result]


def feed(folder: Path, **arrays: np.ndarray) -> Path:
    """Write an npz file of inputs."""
    path = folder / "x.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type] # the stub takes them for allow_pickle
    return path


def test_outputs(shop: "Shop", call: Call, tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    source, target = feed(tmp_path, x=x), tmp_path / "y.npz"
    result = call("run", shop.make(), "--input", source, "-o", target)
    assert result.exit_code == 0
    assert result.output == "y: float32 3x4\n"
    with np.load(target) as outputs:
        np.testing.assert_array_equal(outputs["y"], 2 * x)


def test_without_output_only_lists(shop: "Shop", call: Call, tmp_path: Path) -> None:
    source, path = feed(tmp_path, x=np.ones((1, 4), np.float32)), shop.make()
    before = shop.listing()
    assert call("run", path, "--input", source).output == "y: float32 1x4\n"
    assert shop.listing() == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.ones((1, 4))}, "do not match the model's inputs"),
        ({"x": np.ones((1, 5))}, "has shape"),
        ({"x": np.full((1, 4), np.nan)}, "x"),
        ({"x": np.array(["a"] * 4)}, "x"),
        ({"x": np.array([{}], object)}, "pickled"),
    ],
    ids=["name", "shape", "nan", "text", "pickle"],
)
def test_bad_input(
    shop: "Shop", call: Call, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    target = tmp_path / "y.npz"
    result = call("run", shop.make(), "--input", feed(tmp_path, **arrays), "-o", target)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not target.exists()


def test_missing_input_file(shop: "Shop", call: Call, tmp_path: Path) -> None:
    result = call("run", shop.make(), "--input", tmp_path / "none.npz")
    assert isinstance(result.exception, InputError)


def test_existing_output(shop: "Shop", call: Call, tmp_path: Path) -> None:
    source, target = feed(tmp_path, x=np.ones((1, 4), np.float32)), tmp_path / "y.npz"
    target.write_text("mine")
    arguments = ("run", shop.make(), "--input", source, "-o", target)
    assert isinstance(call(*arguments).exception, OutputError)
    assert target.read_text() == "mine"
    assert call(*arguments, "--force").exit_code == 0
    with np.load(target) as outputs:
        assert list(outputs) == ["y"]


@pytest.mark.parametrize(
    ("change", "error"),
    [({"built": False}, BackendError), ({"device": "jetson"}, DeviceError)],
    ids=["not built", "not here"],
)
def test_what_cannot_run(
    shop: "Shop", call: Call, tmp_path: Path, change: dict[str, object], error: type[Exception]
) -> None:
    source = feed(tmp_path, x=np.ones((1, 4), np.float32))
    path = shop.make(replace(shop.case, **change))  # type: ignore[arg-type] # by name
    assert isinstance(call("run", path, "--input", source).exception, error)
