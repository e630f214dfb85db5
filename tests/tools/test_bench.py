"""`hwc bench` times a bundle beside its original."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from click.testing import Result
from hwc.toolchain.codec import parse
from hwc.toolchain.errors import InputError
from hwc.toolchain.timing import Clock, Paired, Times

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Shop

Call = Callable[..., Result]


def test_beside_the_original(shop: "Shop", call: Call) -> None:
    result = call("bench", shop.make(), "--runs", 20)
    assert result.exit_code == 0
    assert "20 runs" in result.output
    for word in (*Clock, "original", "bundle", "speed-up"):
        assert word in result.output


def test_json(shop: "Shop", call: Call) -> None:
    result = call("bench", shop.make(), "--runs", 20, "--json")
    paired = parse(Paired, result.stdout)
    assert paired.runs == 20
    assert set(paired.ratio) == set(Clock)


def test_alone_where_the_original_is_gone(shop: "Shop", call: Call) -> None:
    path = shop.make()
    shop.original.unlink()
    result = call("bench", path, "--runs", 20, "--json")
    assert "the original is not at hand" in result.stderr
    assert parse(Times, result.stdout).runs == 20
    assert "20 runs" in call("bench", path, "--runs", 20).stdout


def test_an_original_that_moved(shop: "Shop", call: Call) -> None:
    path, moved = shop.make(), shop.folder / "moved.onnx"
    shop.original.rename(moved)
    result = call("bench", path, "--runs", 10, "--json", "--original", moved)
    assert "ratio" in json.loads(result.stdout)


def test_another_model_is_not_the_original(shop: "Shop", call: Call) -> None:
    path = shop.make()
    result = call("bench", path, "--original", path / "model.onnx")
    assert isinstance(result.exception, InputError)
    assert "is not what" in str(result.exception)
