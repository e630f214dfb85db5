"""Arrays are checked against what the model's inputs want."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.conform import conform, conform_all
from hwc.toolchain.errors import InputError
from hwc.toolchain.inputs import InputSpec

IMAGE = InputSpec("x", "float32", ("batch", 3, 4, 4))
STATE = InputSpec("state", "float32", (2, "batch", 8))
RATE = InputSpec("sr", "int64", ())


@pytest.mark.parametrize(
    ("array", "spec", "shape"),
    [
        pytest.param(np.zeros((3, 4, 4)), IMAGE, (1, 3, 4, 4), id="batch axis added"),
        pytest.param(np.zeros((1, 3, 4, 4)), IMAGE, (1, 3, 4, 4), id="batch axis there"),
        pytest.param(np.zeros((2, 3, 4, 4)), IMAGE, (2, 3, 4, 4), id="a batch of two"),
        pytest.param(np.zeros((2, 1, 8)), STATE, (2, 1, 8), id="batch axis not first"),
        pytest.param(np.asarray(16000), RATE, (), id="scalar"),
        pytest.param(np.asarray(7, np.int32), RATE, (), id="int32 to int64"),
        pytest.param(np.zeros((3, 4, 4), np.float16), IMAGE, (1, 3, 4, 4), id="half to float"),
        pytest.param(np.zeros((3, 4, 4), np.uint8), IMAGE, (1, 3, 4, 4), id="bytes to float"),
    ],
)
def test_fits(array: np.ndarray, spec: InputSpec, shape: tuple[int, ...]) -> None:
    """What fits gets the input's shape and type."""
    fitted = conform(array, spec, "here")
    assert fitted.shape == shape
    assert fitted.dtype == np.dtype(spec.dtype)


@pytest.mark.parametrize(
    ("array", "spec", "message"),
    [
        pytest.param(
            np.zeros((4, 4)),
            IMAGE,
            "here: x has shape [4, 4], the model wants [batch, 3, 4, 4]",
            id="rank",
        ),
        pytest.param(np.zeros((1, 8)), STATE, "state has shape [1, 8]", id="no batch axis to add"),
        pytest.param(np.zeros((0, 3, 4, 4)), IMAGE, "shape [0, 3, 4, 4]", id="empty"),
        pytest.param(np.asarray(1.5), RATE, "sr is float64, the model wants int64", id="float"),
        pytest.param(
            np.asarray(2**40),
            InputSpec("n", "int32", ()),
            "n has values that do not fit int32",
            id="too large",
        ),
        pytest.param(np.full((3, 4, 4), np.nan), IMAGE, "x holds NaN", id="NaN"),
        pytest.param(np.full((3, 4, 4), np.inf), IMAGE, "infinite", id="infinite"),
        pytest.param(np.full((3, 4, 4), 1e300), IMAGE, "infinite", id="overflows float32"),
        pytest.param(np.zeros((3, 4, 4), complex), IMAGE, "x is complex128", id="complex"),
        pytest.param(np.zeros((3, 4, 4), "U1"), IMAGE, "x is <U1", id="text"),
    ],
)
def test_refused(array: np.ndarray, spec: InputSpec, message: str) -> None:
    """What does not fit is refused, saying where and what."""
    with pytest.raises(InputError) as caught:
        conform(array, spec, "here")
    assert message in caught.value.message
    assert "\n" not in str(caught.value)


def test_names_and_named_dimensions() -> None:
    """Every input has its array, and shared dimensions agree."""
    ids = InputSpec("ids", "int64", ("batch", "seq"))
    mask = InputSpec("mask", "int64", ("batch", "seq"))
    with pytest.raises(InputError, match=r"arrays ids, maks do not match .* inputs ids, mask"):
        conform_all({"ids": np.ones(3, int), "maks": np.ones(3, int)}, [ids, mask], "here")
    with pytest.raises(InputError, match="dimension 'seq' is 3 in ids but 4 in mask"):
        conform_all({"ids": np.ones(3, int), "mask": np.ones(4, int)}, [ids, mask], "here")
    feeds = conform_all({"mask": np.ones(3, int), "ids": np.ones(3, int)}, [ids, mask], "here")
    assert list(feeds) == ["ids", "mask"]
