"""What is in an update file, what each file and tensor costs in it, and what it changes."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...output import scratch_folder
from ..codec.method import Method
from ..release import Release
from .apply import apply
from .change import Change, changes
from .file import UpdateFile
from .files import Folder, PlainSink
from .header import Op, Strategy
from .script import FileScript, scripts
from .skeleton import blocks
from .text import PATCH
from .transpose import AXES


@dataclass(frozen=True, slots=True)
class Contents:
    """What an update file says of itself, without its base.

    Attributes:
        size: Bytes of the file.
        base: Digest of the release that it starts from; empty where it needs none.
        release: Digest of the release that it leads to.
        strategy: How it was made.
        header: Bytes before the payloads.
        files: How many files it writes.
        written: Bytes of all of them.
        methods: Bytes of the payloads by the method that they are coded with.
        steps: Bytes that are written by each kind of segment.
    """

    size: int
    base: str
    release: str
    strategy: Strategy
    header: int
    files: int
    written: int
    methods: Mapping[str, int]
    steps: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a file costs in an update.

    Attributes:
        path: The file.
        size: Its bytes.
        payload: Bytes of the payloads that it is written from.
        tensors: The same of each tensor; what lies between tensors is not among them.
    """

    path: str
    size: int
    payload: int
    tensors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that can be said of an update file whose base is at hand.

    Attributes:
        contents: What it says of itself.
        release: What it leads to.
        costs: What each file costs.
        changes: What happens to the tensors; of a full update, nothing is known.
    """

    contents: Contents
    release: Release
    costs: tuple[Cost, ...]
    changes: tuple[Change, ...]


def contents(update: UpdateFile) -> Contents:
    """What an update file says of itself; its payloads are not looked at."""
    header = update.header
    methods: Counter[str] = Counter()
    for method, size in header.blocks.tolist():
        methods[_named(method)] += size
    steps: Counter[str] = Counter()
    for op, _, _, _, size in header.segments.tolist():
        steps[Op(op).name.lower()] += size
    return Contents(
        size=update.size,
        base=header.base,
        release=header.release,
        strategy=header.strategy,
        header=update.header_size,
        files=len(header.files),
        written=steps.total(),
        methods=dict(methods),
        steps=dict(steps),
    )


def _named(method: int) -> str:
    if method in set(Method):
        return Method(method).name.lower()
    return {PATCH: "patch", AXES: "axes"}.get(method, f"method {method}")


def inspect(update: UpdateFile, base: Folder | None) -> Inspection:
    """Apply an update to a temporary folder, and compare what comes out with the base.

    Raises:
        Refusal: It cannot be applied.
    """
    with scratch_folder("hwc-inspect-") as root:
        release = apply(update, base, PlainSink(root))
        old = base.release if base is not None and update.header.base else None
        found: tuple[Change, ...] = ()
        if base is not None:
            with Folder(root) as new:
                found = tuple(changes(new, base))
        return Inspection(contents(update), release, tuple(_costs(update, release, old)), found)


def _costs(update: UpdateFile, new: Release, old: Release | None) -> Iterator[Cost]:
    sizes = iter(update.header.blocks["size"].tolist())
    next(sizes)  # the new bundle.json
    for script in scripts(update.header, new, old):
        yield _cost(script, sizes)


def _cost(script: FileScript, sizes: Iterator[int]) -> Cost:
    at = taken = total = 0
    spent: dict[int, int] = {}  # by where a segment of blocks begins
    for step in script.steps:
        if step.op is Op.SKELETON:
            first, taken = blocks(taken), taken + step.size
            total += sum(next(sizes) for _ in range(first, blocks(taken)))
        elif step.op in (Op.CODED, Op.FRESH):
            spent[at] = sum(next(sizes) for _ in step.blocks())
        elif step.op is Op.TRANSPOSED:
            total += next(sizes)
        at += step.size
    begins = list(spent)
    tensors: Counter[str] = Counter()
    for tensor in script.file.tensors:
        first, last = (bisect_left(begins, tensor.offset + more) for more in (0, tensor.size))
        tensors[tensor.name] += sum(spent[begin] for begin in begins[first:last])
    return Cost(script.file.path, script.file.size, total + sum(spent.values()), dict(tensors))
