"""What the parsers of updates make of hostile input: mutated, cut, lengthened and random bytes.

Run `python tests/bench/update_fuzz.py --inputs 1000000`. A parser may refuse, or give something of
the size that was asked for; anything else that it raises is a crash, more than a second is a hang.
Where a digest stands before the parser (an update file, `bundle.json`), input that is not the
original and is not refused is an accept. The same seed makes the same inputs.
"""

import argparse
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
from hwc.toolchain.errors import HwcError
from hwc.toolchain.update.codec import block, zstd
from hwc.toolchain.update.codec.method import Method
from hwc.toolchain.update.content import onnx, safetensors
from hwc.toolchain.update.content.describe import describe, write_release
from hwc.toolchain.update.delta import patch
from hwc.toolchain.update.delta.apply import apply
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.files import Folder, PlainSink
from hwc.toolchain.update.delta.strategies import make
from hwc.toolchain.update.delta.transpose import AXES, Axes
from hwc.toolchain.update.release import Compatibility, Dtype, Release
from hwc.toolchain.update.trust.rollout import Rollout
from support.tables import markdown, say

Parse = Callable[[bytes, int], bool]  # given input and its number; whether it was accepted
LIMIT = 1.0  # seconds
_ODD = 7  # every so many-th block is read by another method than it was written by


class HangError(Exception):
    """A parser took too long."""


@dataclass(slots=True)
class Target:
    """A parser.

    Attributes:
        seeds: Input that it takes.
        parse: Runs it; True where it accepts what a digest should have stopped.
        share: Of all inputs.
    """

    seeds: list[bytes]
    parse: Parse
    share: float
    counts: Counter[str] = field(default_factory=Counter)
    first: str = ""


def mutated(seed: bytes, rng: np.random.Generator) -> bytes:
    """A seed with some bytes changed, cut out, doubled or put in; or nothing but noise."""
    if rng.random() < 0.05:
        return rng.bytes(int(rng.integers(0, 200)))
    data = bytearray(seed)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, max(1, len(data))))
        length = int(rng.integers(1, 9))
        match int(rng.integers(0, 5)):
            case 0 if data:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                data[at : at + length] = rng.bytes(length)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case _:
                del data[at:]
    return bytes(data)


@contextmanager
def alarm() -> Iterator[None]:
    """Raise where the block takes too long."""

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise HangError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def tried(target: Target, data: bytes, number: int) -> None:
    """Give a parser one input, and count what it does."""
    try:
        with alarm():
            accepted = target.parse(data, number)
        target.counts["accepts" if accepted else "fine"] += 1
    except HwcError:
        target.counts["refused"] += 1
    except HangError:
        target.counts["hangs"] += 1
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        target.counts["crashes"] += 1
        target.first = target.first or repr(error)[:60]


def targets(work: Path) -> Mapping[str, Target]:
    """The parsers, with seeds made in a folder."""
    folders = [_release(work / name, seed) for seed, name in enumerate(("old", "new"))]
    with Folder(folders[0]) as old, Folder(folders[1]) as new:
        make(new, old, work / "u.hwcu")
        text = new.text
    update, fuzzed = (work / "u.hwcu").read_bytes(), work / "fuzzed.hwcu"
    tensors = (folders[1] / "model.safetensors").read_bytes()
    proto = _proto()

    def rebuild(data: bytes, _: int) -> bool:
        fuzzed.write_bytes(data)
        with (
            tempfile.TemporaryDirectory(dir=work) as place,
            UpdateFile.open(fuzzed) as opened,
            Folder(folders[0]) as base,
        ):
            made = apply(opened, base, PlainSink(Path(place)))
        return made.text() != text

    def release(data: bytes, _: int) -> bool:
        return Release.parse(data).text() != data

    coded = [c for dtype in Dtype for c in _coded(dtype)]

    def decode(data: bytes, number: int) -> bool:
        _, method, dtype, old_bytes = coded[number % len(coded)]
        if number % _ODD == 0:
            method = list(Method)[number % len(Method)]
        return len(block.decode(method, data, old_bytes, dtype, len(old_bytes))) != len(old_bytes)

    patched = patch.encode(text, text[100:] + text[:50])
    return {
        "update file": Target([update], rebuild, 0.12),
        "bundle.json": Target([text], release, 0.1),
        "rollout": Target(
            [Rollout("a" * 64, 5, "x").text()], lambda d, _: Rollout.parse(d).text() == b"", 0.1
        ),
        "block": Target([payload for payload, *_ in coded], decode, 0.35),
        "patch": Target(
            [patched],
            lambda d, _: len(patch.decode(d, text[100:] + text[:50], len(text))) != len(text),
            0.05,
        ),
        "axes": Target(
            [Axes(3, 5, 4).encode()[1]],
            lambda d, n: not Axes.decode(AXES, d, 60 * (n % _ODD + 1)).fits(60 * (n % _ODD + 1)),
            0.03,
        ),
        "zstd": Target(
            [zstd.compress(text)],
            lambda d, _: len(zstd.decompress(d, len(text))) != len(text),
            0.05,
        ),
        "ONNX": Target([proto], lambda d, _: len(list(onnx.stored(memoryview(d)))) < 0, 0.1),
        "safetensors": Target(
            [tensors], lambda d, _: safetensors.read_header(memoryview(d)) is None, 0.1
        ),
    }


def _release(folder: Path, seed: int) -> Path:
    folder.mkdir()
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(9)
    weights = fixed.standard_normal(400).astype(np.float32)
    weights += np.float32(1e-5) * rng.standard_normal(400).astype(np.float32)
    header = b'{"w":{"dtype":"F32","shape":[16,25],"data_offsets":[0,1600]}}'
    data = len(header).to_bytes(8, "little") + header + weights.tobytes()
    (folder / "model.safetensors").write_bytes(data)
    engine = weights.reshape(16, 25).T.tobytes()
    (folder / "model.plan").write_bytes(b"plan" * 8 + engine + b"end.")
    (folder / "notes.txt").write_bytes(b"release %d" % seed)
    about = describe(
        folder,
        product="fuzz",
        version=str(seed),
        seq=seed,
        sec_epoch=0,
        compatibility=Compatibility(),
        golden=None,
        provenance={},
    )
    write_release(folder, about)
    return folder


def _coded(dtype: Dtype) -> Iterator[tuple[bytes, Method, Dtype, bytes]]:
    """Payloads of a block by each coder, with the old bytes."""
    rng = np.random.default_rng(1)
    old = rng.integers(0, 256, 256 * dtype.size, np.uint8)
    new = np.where(rng.random(len(old)) < 0.1, old ^ 1, old).astype(np.uint8)
    for pco in (True, False):
        for told_from in (old.tobytes(), None):
            method, payload = block.encode(new.tobytes(), told_from, dtype, pco=pco)
            yield payload, method, dtype, old.tobytes()


def _proto() -> bytes:
    """A small ONNX model: three initialisers, one of them typed."""
    import onnx as library  # noqa: PLC0415 - the module of this name above is the parser
    from onnx import helper, numpy_helper  # noqa: PLC0415

    arrays = [np.arange(12, dtype=np.float32), np.arange(6, dtype=np.int8)]
    values = [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(arrays)]
    values.append(helper.make_tensor("t", library.TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]))
    graph = helper.make_graph([helper.make_node("Identity", ["w0"], ["y"])], "g", [], [], values)
    text: bytes = helper.make_model(graph).SerializeToString()
    return text


def main() -> None:
    """Try them all, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all [%(default)s]")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hwc-fuzz-") as name:
        found = targets(Path(name))
        for which, target in found.items():
            rng = np.random.default_rng(asked.seed)
            for number in range(round(asked.inputs * target.share)):
                seed = target.seeds[number % len(target.seeds)]
                data = mutated(seed, rng)
                if data != seed:
                    tried(target, data, number)
            say(f"{which}: {target.counts.total()} inputs")
    kinds = ("refused", "fine", "accepts", "crashes", "hangs")
    rows = [
        (which, str(t.counts.total()), *(str(t.counts[kind]) for kind in kinds), t.first)
        for which, t in found.items()
    ]
    say(markdown(("parser", "inputs", *kinds, "first crash"), rows))


if __name__ == "__main__":
    main()
