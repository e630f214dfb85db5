"""Policies as files: safetensors with a JSON header, read as strictly as anything from outside."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from ...codec import canonical, parse
from ...errors import InputError
from ...output import atomic_output
from .episode import CONTEXT, OPTION
from .features import FEATURES_VERSION
from .policy import Floats32, Layer, Policy

FORMAT = 1
SHIPPED = "policy.safetensors"  # in this package
MOST_BYTES = 200_000
_MOST_LAYERS, _MOST_UNITS = 4, 256
_KEY = "hwc"  # of the header in the metadata
_AGAIN = "make it again with `hwc train-policy`, or leave --policy out for the one of hwc"


@dataclass(frozen=True, slots=True)
class Training:
    """How a policy was made.

    Attributes:
        command: What makes it again.
        seed: What its random numbers began with.
        problems: How many problems it was trained on.
        devices: Names of the profiles that they were priced with.
        families: Designs of the networks.
        figures: What was measured of it, on problems that it was not trained on.
    """

    command: str
    seed: int
    problems: int
    devices: tuple[str, ...]
    families: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Header:
    """What a policy file says of itself.

    Attributes:
        format: Of the file; this code reads `FORMAT`.
        features: Version of what the policy sees; this code shows `FEATURES_VERSION`.
        context: Names of the features that all choices share, in order.
        option: Names of the features of one choice, in order.
        hidden: Sizes of the hidden layers.
        training: How it was made.
    """

    format: int
    features: int
    context: tuple[str, ...]
    option: tuple[str, ...]
    hidden: tuple[int, ...]
    training: Training


@dataclass(frozen=True, slots=True)
class Trained:
    """A policy with how it was made."""

    policy: Policy
    training: Training


def write_policy(path: Path, trained: Trained, *, force: bool = False) -> None:
    """Write a policy file.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_output(path, force=force) as stage:
        stage.write_bytes(to_bytes(trained))


def read_policy(path: Path) -> Trained:
    """Read a policy file.

    Raises:
        InputError: It is missing, damaged, of another version, or not a policy.
    """
    try:
        if not path.is_file():  # a pipe would block
            reason = "is not a file" if path.exists() else "does not exist"
            raise InputError(f"policy {path} {reason}", _AGAIN)
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as cause:
        raise InputError(f"policy {path} cannot be read: {cause.strerror}", _AGAIN) from cause
    return from_bytes(data, str(path))


def shipped() -> Trained:
    """The policy that comes with hwc."""
    data = resources.files(__package__).joinpath(SHIPPED).read_bytes()
    return from_bytes(data, SHIPPED)


def to_bytes(trained: Trained) -> bytes:
    """The file of a policy; equal policies give equal bytes."""
    policy = trained.policy
    header = Header(
        format=FORMAT,
        features=FEATURES_VERSION,
        context=policy.context,
        option=policy.option,
        hidden=policy.hidden,
        training=trained.training,
    )
    arrays = {"mean": policy.mean, "spread": policy.spread}
    for i, layer in enumerate(policy.layers):
        arrays |= {f"layers.{i}.weights": layer.weights, f"layers.{i}.bias": layer.bias}
    whole = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    return safetensors.numpy.save(whole, {_KEY: canonical(header)})


def from_bytes(data: bytes, name: str) -> Trained:
    """Read what `to_bytes` wrote, and nothing else.

    Args:
        data: The whole file.
        name: What errors call it.

    Raises:
        InputError: A byte is not as it should be, as far as can be told.
    """
    try:
        return _read(data)
    except InputError as cause:
        raise InputError(f"policy {name} {cause}", _AGAIN) from cause


def _read(data: bytes) -> Trained:
    if len(data) > MOST_BYTES:
        raise InputError(f"is larger than {MOST_BYTES // 1000} kB")
    try:
        arrays = safetensors.numpy.load(data)  # checks offsets and sizes before it makes arrays
    except (safetensors.SafetensorError, KeyError) as cause:
        raise InputError(f"is not a safetensors file, or damaged ({cause})") from cause
    header = _header(data)
    expected = _shapes(header)
    if arrays.keys() != expected.keys():
        odd = min(arrays.keys() ^ expected.keys())
        raise InputError(f"is damaged: array '{odd}' is missing, or should not be there")
    for key, shape in expected.items():
        _check(key, arrays[key], shape)
    if not (arrays["spread"] > 0.0).all():
        raise InputError("is damaged: array 'spread' is not positive")
    layers = tuple(
        Layer(arrays[f"layers.{i}.weights"], arrays[f"layers.{i}.bias"])
        for i in range(len(header.hidden) + 1)
    )
    policy = Policy(header.context, header.option, arrays["mean"], arrays["spread"], layers)
    return Trained(policy, header.training)


def _header(data: bytes) -> Header:
    """The header of a file whose form was checked."""
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    if _KEY not in metadata:
        raise InputError("has no header of hwc")
    try:
        header = parse(Header, metadata[_KEY])
    except InputError as cause:
        raise InputError(f"has a header that is not valid: {cause}") from cause
    if header.format != FORMAT:
        raise InputError(f"has format {header.format}; this hwc reads {FORMAT}")
    if header.features != FEATURES_VERSION:
        raise InputError(
            f"was trained on features of version {header.features}; this hwc has {FEATURES_VERSION}"
        )
    if (header.context, header.option) != (CONTEXT, OPTION):
        odd = sorted({*header.context, *header.option} ^ {*CONTEXT, *OPTION})
        raise InputError(f"was trained on other features: {', '.join(odd) or 'in another order'}")
    return header


def _shapes(header: Header) -> dict[str, tuple[int, ...]]:
    """The arrays that a file with this header holds."""
    if len(header.hidden) > _MOST_LAYERS or not all(0 < n <= _MOST_UNITS for n in header.hidden):
        raise InputError(f"has hidden layers of {header.hidden} units")
    count = len(header.context) + len(header.option)
    shapes: dict[str, tuple[int, ...]] = {"mean": (count,), "spread": (count,)}
    for i, (inputs, outputs) in enumerate(pairwise((count, *header.hidden, 1))):
        shapes |= {f"layers.{i}.weights": (inputs, outputs), f"layers.{i}.bias": (outputs,)}
    return shapes


def _check(name: str, array: Floats32, shape: tuple[int, ...]) -> None:
    if array.dtype != np.float32 or array.shape != shape:
        found = f"{array.dtype} of shape {array.shape}"
        raise InputError(f"is damaged: array '{name}' is {found}, not float32 of shape {shape}")
    if not np.isfinite(array).all():
        raise InputError(f"is damaged: array '{name}' holds a number that is not finite")
