"""Samples that a function of the user yields."""

from pathlib import Path

import pytest
from hwc.toolchain.accuracy import generated
from hwc.toolchain.accuracy.generated import generated_samples
from hwc.toolchain.errors import InputError
from hwc.toolchain.inputs import InputSpec

X = [InputSpec("x", "float32", ("batch", 2))]
CODE = """
import itertools, random
import numpy as np
CALLS = []

def feeds():
    CALLS.append(1)
    for i in range(4):
        yield {"x": np.array([i, random.random()])}

def pairs():
    return [({"x": np.zeros(2)}, 7), ({"x": np.ones((1, 2))}, "text")]

def endless():
    return ({"x": [i, i]} for i in itertools.count())

def raises():
    yield {"x": np.zeros(2)}
    raise KeyError("gone")

def nan():
    yield {"x": np.zeros(2)}
    yield {"x": np.array([0, np.nan])}

def arrays():
    yield np.zeros(2)

def nothing():
    return 3

def objects():
    yield {"x": np.zeros(2)}, object()
"""


@pytest.fixture
def user(tmp_path: Path) -> str:
    """The path of the user's file."""
    path = tmp_path / "user_data.py"
    path.write_text(CODE)
    return str(path)


def test_random_samples_stay_the_same(user: str) -> None:
    """A sample is the same whenever it is asked for."""
    samples = generated_samples(f"{user}:feeds", X)
    assert len(samples) == 4
    first = samples[3].feeds["x"].copy()
    assert first.shape == (1, 2)
    assert samples[0].feeds["x"][0, 0] == 0
    assert (samples[3].feeds["x"] == first).all()
    assert samples[3].label is None


def test_labels(user: str) -> None:
    """Pairs carry labels."""
    samples = generated_samples(f"{user}:pairs", X)
    assert samples[0].label == 7
    assert samples[1].label == "text"
    assert list(samples[0].feeds) == ["x"]


def test_endless_needs_a_count(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function may yield for ever if it is said how many to take."""
    assert len(generated_samples(f"{user}:endless", X, count=5)) == 5
    monkeypatch.setattr(generated, "_MOST", 50)
    with pytest.raises(InputError, match="more than 50 samples"):
        generated_samples(f"{user}:endless", X)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", ":raises failed: KeyError: 'gone' (user_data.py line"),
        ("nan", "sample 1: x holds NaN"),
        ("arrays", "sample 0 is a ndarray"),
        ("nothing", ":nothing returned 3"),
        ("objects", "its label is not a number"),
    ],
)
def test_failures(user: str, name: str, message: str) -> None:
    """Whatever the function does wrong is one line."""
    with pytest.raises(InputError) as caught:
        generated_samples(f"{user}:{name}", X)
    assert message in caught.value.message
