"""The shapes that inputs get: the batch, what is free beside it, and what is said about it."""

import re

import pytest
from hwc.toolchain.errors import UsageError
from hwc.toolchain.inputs import InputSpec, fixed_shapes


def spec(name: str, *shape: int | str | None) -> InputSpec:
    return InputSpec(name, "float32", shape)


@pytest.mark.parametrize(
    ("inputs", "batch", "wanted"),
    [
        ([spec("x", "n", 3)], None, {"x": (1, 3)}),
        ([spec("x", "n", 3)], 8, {"x": (8, 3)}),
        ([spec("x", None, 3)], 8, {"x": (8, 3)}),
        ([spec("x", 8, 3)], 8, {"x": (8, 3)}),
        ([spec("x", 8, 3)], None, {"x": (8, 3)}),
        ([spec("x", "n", 3), spec("h", 2, "n", 4)], 5, {"x": (5, 3), "h": (2, 5, 4)}),
        ([spec("x", "n"), spec("rate")], 5, {"x": (5,), "rate": ()}),
    ],
    ids=["default", "named", "unnamed", "the-same", "fixed", "by-name", "scalar"],
)
def test_the_batch_fills_what_is_free(
    inputs: list[InputSpec], batch: int | None, wanted: dict[str, tuple[int, ...]]
) -> None:
    assert fixed_shapes(inputs, batch) == wanted


@pytest.mark.parametrize(
    ("inputs", "batch", "says"),
    [
        ([spec("ids", "n", "seq")], 2, r"'ids' has the shape \[n, seq\].*--input ids=2x64"),
        ([spec("x", "n", 3, None)], None, r"\[n, 3, \?\].*--input x=1x3x64"),
        ([spec("x", 1, 3)], 8, "no input has a free batch size"),
    ],
    ids=["sequence", "unnamed", "fixed"],
)
def test_what_the_batch_does_not_fill_is_said(
    inputs: list[InputSpec], batch: int | None, says: str
) -> None:
    with pytest.raises(UsageError) as error:
        fixed_shapes(inputs, batch)
    assert re.search(says, str(error.value))
