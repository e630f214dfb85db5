"""Pairs of versions of a model: found beside the checkout, made by known changes, or by training.

What training and compilers make is kept in a folder, so that a second run is quick; it is made
again where the file is not there.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from . import update_training as training
from .devkit import FOLDER, Case, SkipError, cases
from .update_changes import (
    changed,
    floats,
    last_layer,
    narrowed,
    noise,
    projections,
    renamed,
    shuffled,
    steps,
    trainable,
    written,
)
from .update_compiled import compiled, engine

MODEL, ENGINE = "model.onnx", "model.plan"
_FOUND = {
    "resnet20, fine-tuned": ("models/resnet20_cifar10.onnx", "models/resnet20_cifar10_v2.onnx"),
    "wake word, graph alone": (
        "pairs/oww_embedding_0.4.0.onnx",
        "pairs/oww_embedding_0.5.1.onnx",
    ),
    "voice, trained on": ("pairs/silero16k_6.0.0.onnx", "pairs/silero16k_6.2.0.onnx"),
    "resnet20 to resnet56": ("models/resnet20_cifar10.onnx", "models/resnet56_cifar10.onnx"),
}
_STEPS = 7  # largest step of the uniform noise, in units in the last place

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions of a model.

    Attributes:
        name: What happened between them.
        old: The files of the one, by path; not its `bundle.json`.
        new: Of the other.
        limit: Bytes that no delta can do without, by the entropy of the change; None where it is
            not known.
        note: What was measured of the new version.
    """

    name: str
    old: Files
    new: Files
    limit: float | None = None
    note: str = ""


def pairs(work: Path) -> Iterator[Pair | str]:
    """All pairs whose files are there; of one that cannot be made, why.

    Args:
        work: Folder for what takes long to make.

    Raises:
        SkipError: The development models are not there.
    """
    network, transformer = cases(["efficientnet_lite0", "minilm_l6"])
    work.mkdir(parents=True, exist_ok=True)
    for name, (old, new) in _FOUND.items():
        yield _pair(name, (FOLDER / old).read_bytes(), (FOLDER / new).read_bytes())
    yield from _derived(_model(network))
    yield from _tuned(network, work)
    yield from _transformer(transformer, work)
    for make in (_compiled, _engine, _engine_tuned):
        try:
            yield make(network, work)
        except SkipError as reason:
            yield f"{make.__doc__} skipped: {reason}"


def _derived(old: bytes) -> Iterator[Pair]:
    yield _pair("renamed", old, renamed(old))
    yield _pair("normal noise of 1e-5", old, changed(old, noise(1e-5)))
    yield _pair("the same, last layer", old, changed(old, noise(1e-5), last=True))
    bits = math.log2(2 * _STEPS + 1) * sum(array.size for array in floats(old).values())
    new = changed(old, steps(_STEPS))
    yield Pair(f"uniform noise of {_STEPS} ULP", {MODEL: old}, {MODEL: new}, bits / 8)
    yield _pair("trained again", old, changed(old, shuffled()))


def _tuned(case: Case, work: Path) -> Iterator[Pair]:
    old, new = _model(case), _whole(case, work)
    yield _pair("EfficientNet-Lite0, fine-tuned", old, new)

    def make() -> bytes:
        return training.trained(old, training.pictures(case), last_layer(old))

    yield _pair("the same, head alone", old, _kept(work / f"{case.name}-head.onnx", make))
    for kind in ("fp16", "bf16"):
        yield _pair(f"fine-tuned, {kind}", narrowed(old, kind), narrowed(new, kind))


def _transformer(case: Case, work: Path) -> Iterator[Pair]:
    old = _model(case)

    def whole() -> bytes:
        return training.trained(old, training.sentences(case), trainable(old))

    def low_rank() -> bytes:
        return training.merged(old, training.sentences(case), list(projections(old)))

    yield _pair("MiniLM-L6, fine-tuned", old, _kept(work / f"{case.name}-tuned.onnx", whole))
    yield _pair("MiniLM-L6, LoRA merged", old, _kept(work / f"{case.name}-lora.onnx", low_rank))


def _compiled(case: Case, work: Path) -> Pair:
    """The fine-tuned network compiled as int8 in the scales of the old one."""
    files = work / f"{case.name}-old.onnx", work / f"{case.name}-tuned.onnx"
    _kept(files[0], lambda: _model(case))
    _whole(case, work)
    old, new, note = compiled(case, *files, work / "int8")
    return Pair("fine-tuned, int8 by --base", old, new, note=note)


def _engine(case: Case, work: Path) -> Pair:
    """The engine that is sent after its ONNX file."""
    old = _model(case)
    both = {MODEL: old, ENGINE: _kept(work / f"{case.name}.plan", lambda: engine(old))}
    return Pair("engine after its ONNX", {MODEL: old}, both)


def _engine_tuned(case: Case, work: Path) -> Pair:
    """The fine-tuned network with its engine, after the old one with its own."""
    old, new = _model(case), _whole(case, work)
    old_engine = _kept(work / f"{case.name}.plan", lambda: engine(old))
    new_engine = _kept(work / f"{case.name}-tuned.plan", lambda: engine(new))
    files = {MODEL: old, ENGINE: old_engine}, {MODEL: new, ENGINE: new_engine}
    return Pair("fine-tuned, with engines", *files)


def _whole(case: Case, work: Path) -> bytes:
    """The network with all its weights trained."""
    old = _model(case)

    def make() -> bytes:
        return training.trained(old, training.pictures(case), trainable(old))

    return _kept(work / f"{case.name}-tuned.onnx", make)


def _model(case: Case) -> bytes:
    """A development model as the library writes it, as all that is made of it."""
    return written(onnx.load(case.path))


def _pair(name: str, old: bytes, new: bytes) -> Pair:
    return Pair(name, {MODEL: old}, {MODEL: new})


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """A file that is made once."""
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(make())
        part.replace(path)
    return path.read_bytes()
