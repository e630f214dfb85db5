"""Policy files: what is written comes back, anything else is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hwc.toolchain.device import profile_names
from hwc.toolchain.errors import InputError
from hwc.toolchain.search.rl.episode import CONTEXT, OPTION
from hwc.toolchain.search.rl.features import FEATURES_VERSION
from hwc.toolchain.search.rl.generator import Generator
from hwc.toolchain.search.rl.networks import Family
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.rl.policy_file import (
    MOST_BYTES,
    Trained,
    Training,
    from_bytes,
    read_policy,
    shipped,
    to_bytes,
    write_policy,
)
from hwc.toolchain.search.rl.shares import Shares
from hwc.toolchain.search.rl.train import judged

COUNT = len(CONTEXT) + len(OPTION)


@pytest.fixture
def trained() -> Trained:
    policy = Policy.drawn(CONTEXT, OPTION, hidden=(8, 4), rng=np.random.default_rng(0))
    training = Training("hwc train-policy", 0, 10, ("a100",), ("plain",), {"share": 0.9})
    return Trained(policy, training)


def parts(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The arrays and the header of a policy file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["hwc"])
    return dict(safetensors.numpy.load(data)), header


def again(arrays: dict[str, np.ndarray], header: object) -> bytes:
    return safetensors.numpy.save(arrays, {"hwc": json.dumps(header)})


def test_a_file_comes_back_as_it_was_written(tmp_path: Path, trained: Trained) -> None:
    path = tmp_path / "policy.safetensors"
    write_policy(path, trained)
    read = read_policy(path)
    assert read.training == trained.training
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(6, len(CONTEXT))), rng.normal(size=(6, 5, len(OPTION)))
    assert np.array_equal(read.policy.scores(*seen), trained.policy.scores(*seen))
    assert to_bytes(read) == path.read_bytes()


@pytest.mark.parametrize(
    ("array", "value", "reason"),
    [
        ("mean", np.zeros(4, np.float32), rf"shape \(4,\), not float32 of shape \({COUNT},\)"),
        ("mean", np.zeros(COUNT, np.float64), "float64"),
        ("spread", np.zeros(COUNT, np.float32), "not positive"),
        ("layers.0.weights", np.full((COUNT, 8), np.nan, np.float32), "not finite"),
        ("layers.1.bias", np.full(4, np.inf, np.float32), "not finite"),
        ("layers.9.bias", np.zeros(4, np.float32), "should not be there"),
        ("layers.1.bias", None, "is missing"),
    ],
    ids=["shape", "dtype", "spread", "nan", "inf", "unknown", "missing"],
)
def test_wrong_arrays_are_refused(
    trained: Trained, array: str, value: np.ndarray | None, reason: str
) -> None:
    arrays, header = parts(to_bytes(trained))
    arrays = {name: a for name, a in (arrays | {array: value}).items() if a is not None}
    with pytest.raises(InputError, match=reason):
        from_bytes(again(arrays, header), "x")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2"),
        ({"features": FEATURES_VERSION + 1}, "features of version"),
        ({"context": ["age"]}, "other features: age"),
        ({"option": list(OPTION[::-1])}, "in another order"),
        ({"hidden": [8]}, "should not be there"),
        ({"hidden": [10**9, 4]}, "hidden layers of"),
        ({"hidden": [8, -4]}, "hidden layers of"),
        ({"hidden": [8] * 100}, "hidden layers of"),
        ({"hidden": "eight"}, "header"),
        ({"more": 1}, "unknown key"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_wrong_headers_are_refused(
    trained: Trained, change: dict[str, object], reason: str
) -> None:
    arrays, header = parts(to_bytes(trained))
    with pytest.raises(InputError, match=reason):
        from_bytes(again(arrays, header | change), "x")


def test_a_file_without_a_header_is_refused(trained: Trained) -> None:
    arrays, _ = parts(to_bytes(trained))
    with pytest.raises(InputError, match="no header"):
        from_bytes(safetensors.numpy.save(arrays), "x")


def test_a_cut_file_is_refused_wherever_it_is_cut(trained: Trained) -> None:
    data = to_bytes(trained)
    for end in range(0, len(data), 37):
        with pytest.raises(InputError):
            from_bytes(data[:end], "x")


def test_a_flipped_byte_of_the_frame_is_refused_or_harmless(trained: Trained) -> None:
    data = to_bytes(trained)
    length = 8 + int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(0)
    for position in range(0, length, 3):
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(rng.integers(8))
        try:
            read = from_bytes(bytes(flipped), "x")
        except InputError:
            continue
        # Only the text that describes the training, or the order of equal arrays, may differ.
        assert [layer.weights.shape for layer in read.policy.layers] == [(COUNT, 8), (8, 4), (4, 1)]
        assert all(np.isfinite(layer.weights).all() for layer in read.policy.layers)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(MOST_BYTES + 1))
    with pytest.raises(InputError, match="larger than 200 kB"):
        read_policy(path)


@pytest.mark.parametrize(
    ("data", "name"), [(b"", "empty"), (b"\xff" * 64, "noise"), (b"\x80\x02}q\x00.", "pickle")]
)
def test_what_is_no_policy_is_refused_by_name(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{name} is not a safetensors file") as caught:
        read_policy(path)
    assert "hwc train-policy" in caught.value.hint


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_policy(tmp_path / "none")
    with pytest.raises(InputError, match="is not a file"):
        read_policy(tmp_path)


def test_the_shipped_policy_is_sound_and_small() -> None:
    trained = shipped()  # which refuses any other FEATURES_VERSION
    assert len(to_bytes(trained)) < MOST_BYTES
    assert trained.training.command.startswith("hwc train-policy ")
    assert set(trained.training.families) == set(Family)
    assert set(profile_names()) <= set(trained.training.devices)


def test_the_shipped_policys_plans_beat_uniform_precision() -> None:
    examples = judged(Generator.of(), 50_000_000, 12)  # seeds that no training begins with
    shares = Shares.of(shipped().policy, examples)
    assert len(shares.chosen) >= 8
    assert (shares.chosen > 0.0).all()
    assert shares.summary()["share_mean"] >= 0.9
