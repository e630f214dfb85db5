"""Storage formats: in how many bits, and on which levels, a weight is kept."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from ..errors import UsageError

LEAST_BITS, MOST_BITS = 2, 8
LEAST_BLOCK, MOST_BLOCK = 32, 128
MOST_ZEROS, MOST_RUN = 95, 16  # percent; weights
SCALE_BYTES = 2  # scales, and the levels of codebooks, are bfloat16
# Bits of exponent and mantissa beside the sign: "OCP 8-bit Floating Point Specification" (OFP8)
# 1.0, and "OCP Microscaling Formats (MX) Specification" 1.0, section 5.3.
FLOATS = {"e2m1": 4, "e2m3": 6, "e3m2": 6, "e4m3": 8, "e5m2": 8}
EXAMPLES = (
    "int4, int4/tensor, int4/32, lsq3, log4, float4e2m1, float8e4m3, codebook4, "
    "lsq4~50 (half of the weights are 0), lsq4~50x4 (four neighbours at a time)"
)
_TEXT = re.compile(
    r"(int|lsq|log|codebook|float)([2-8])(e\dm\d)?(?:/(tensor|channel|\d{2,3}))?"
    r"(?:~([1-9]\d?)(?:x([2-9]|1\d))?)?"
)


class Kind(StrEnum):
    """How the levels lie.

    `int`: uniform, the largest weight on the last level. `lsq`: uniform, with the step of least
    squared error (the objective of Esser et al. 2020, "Learned step size quantization", solved here
    in closed form; training may move it on). `log`: powers of two, or from 5 bits on of a root of
    two (Miyashita et al. 2016, "Convolutional neural networks using logarithmic data
    representation"). `float`: small floats. `codebook`: the centres of k-means (Han et al. 2016,
    "Deep compression").
    """

    INT = "int"
    LSQ = "lsq"
    LOG = "log"
    FLOAT = "float"
    CODEBOOK = "codebook"


class Group(StrEnum):
    """Which weights share a scale (or a codebook)."""

    TENSOR = "tensor"
    CHANNEL = "channel"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, order=True)
class Format:
    """One storage format; `str(format)` is its canonical text, `Format.parse` reads it.

    Attributes:
        kind: How the levels lie.
        bits: Bits of one code, 2 to 8.
        group: Which weights share a scale; of a codebook, the codebook.
        block: How many weights along the depth a block has; 0 where there are no blocks.
        layout: Of a float: its exponent and mantissa, such as `e4m3`.
        zeros: Percent of the weights that are set to 0, those of least magnitude over the tensor,
            before the rest is rounded; a bitmap says where they are. Not with a codebook, which
            need not have a 0.
        run: How many neighbours along the depth go together; 1: each weight by itself.
    """

    kind: Kind
    bits: int
    group: Group = Group.CHANNEL
    block: int = 0
    layout: str = ""
    zeros: int = 0
    run: int = 1

    def __post_init__(self) -> None:
        blocks = LEAST_BLOCK <= self.block <= MOST_BLOCK
        legal = (
            LEAST_BITS <= self.bits <= MOST_BITS
            and (blocks if self.group is Group.BLOCK else self.block == 0)
            and (self.kind is not Kind.CODEBOOK or self.group is not Group.BLOCK)
            and (FLOATS.get(self.layout) == self.bits if self.kind is Kind.FLOAT else True)
            and (self.kind is Kind.FLOAT or not self.layout)
            and 0 <= self.zeros <= (0 if self.kind is Kind.CODEBOOK else MOST_ZEROS)
            and 1 <= self.run <= (MOST_RUN if self.zeros else 1)
        )
        if not legal:
            raise UsageError(f"there is no storage format {self}", f"there are {EXAMPLES}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name such as `int4`, `int4/tensor`, `int4/32` or `float8e4m3`.

        Scales are per channel, and a codebook is one for the tensor, where nothing else is said.

        Raises:
            UsageError: There is no such format.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise UsageError(f"there is no storage format {text!r}", f"there are {EXAMPLES}")
        kind, layout, shared = Kind(match[1]), match[3] or "", match[4] or ""
        zeros = int(match[5] or 0), int(match[6] or 1)
        if shared.isdigit():
            return cls(kind, int(match[2]), Group.BLOCK, int(shared), layout, *zeros)
        return cls(kind, int(match[2]), Group(shared or _usual(kind)), 0, layout, *zeros)

    def __str__(self) -> str:
        name = f"{self.kind}{self.bits}{self.layout}"
        if self.group is not _usual(self.kind):
            name += f"/{self.block or self.group}"
        if self.zeros:
            name += f"~{self.zeros}" + (f"x{self.run}" if self.run > 1 else "")
        return name

    def groups(self, elements: int, channels: int) -> int:
        """How many scales, or codebooks, a weight has."""
        match self.group:
            case Group.TENSOR:
                return 1
            case Group.CHANNEL:
                return channels
        depth = -(-elements // max(channels, 1))
        return channels * -(-depth // self.block)

    def bytes(self, elements: int, channels: int = 1) -> int:
        """Bytes of a weight's codes with its scales or codebooks, before entropy coding.

        The bitmap of zeros counts with the entropy of its runs, which it comes near to.
        """
        levels = 2**self.bits if self.kind is Kind.CODEBOOK else 1
        shared = SCALE_BYTES * levels * self.groups(elements, channels)
        share = self.zeros / 100
        marks = elements / self.run * _entropy(share)
        return math.ceil(((1 - share) * elements * self.bits + marks) / 8) + shared


def parse_formats(text: str | None) -> tuple[Format, ...]:
    """Read names with commas between them; None: no formats.

    Raises:
        UsageError: There is no such format.
    """
    return () if text is None else tuple(dict.fromkeys(map(Format.parse, text.split(","))))


def _usual(kind: Kind) -> Group:
    return Group.TENSOR if kind is Kind.CODEBOOK else Group.CHANNEL


def _entropy(share: float) -> float:
    """Bits of a mark that is set with a probability."""
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)
