"""A plan: what every slot of a model runs in, and what of it is left out or kept smaller."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from .errors import InputError


class Precision(StrEnum):
    """What a kernel computes in; INT4 is weight-only (4-bit weights, float activations)."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def weight_bits(self) -> int:
        """Bits that one stored weight takes, without its scales."""
        return {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4}[self.value]

    @property
    def activation_bits(self) -> int:
        """Bits of one activation element that the kernel reads."""
        return {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 32}[self.value]


class Sparsity(StrEnum):
    """Which pattern of zeros a kernel is told of; zeros that no kernel skips are only stored."""

    DENSE = "dense"
    TWO_FOUR = "2:4"


@dataclass(frozen=True, slots=True, order=True)
class NodeChoice:
    """What is decided for one slot.

    Attributes:
        precision: What its kernel computes in.
        sparsity: Which pattern of zeros its weight has, and its kernel skips.
        storage: How its weight is kept on disk and on the wire, as `storage.Format` writes it, such
            as `int4`; empty: as the kernel reads it.
        keep: The fraction that is left of the channels it writes; 0: they are all gone, and what
            hung on them with them.
        rank: The ranks of the factors that stand for its weight; empty: it is whole.
        factors: How it is factorised, as `lowrank.Method` has it.
    """

    precision: Precision = Precision.FP32
    sparsity: Sparsity = Sparsity.DENSE
    storage: str = ""
    keep: float = 1.0
    rank: tuple[int, ...] = ()
    factors: str = ""

    @property
    def computed(self) -> "NodeChoice":
        """The choice without what its kernel does not see: weights are decoded before."""
        return replace(self, storage="") if self.storage else self

    @property
    def kernel(self) -> str:
        """What its kernel is, as latency tables know it: `int8`, or `int8 2:4`."""
        if self.sparsity is Sparsity.DENSE:
            return self.precision.value
        return f"{self.precision.value} {self.sparsity.value}"

    @property
    def weight_bits(self) -> int:
        """Bits of one weight as its kernel reads it, without its scales.

        Of four 2:4 sparse weights two are kept, each with two bits that say where it was
        (Mishra et al. 2021, "Accelerating sparse deep neural networks", section 3.1).
        """
        dense = self.precision.weight_bits
        return dense if self.sparsity is Sparsity.DENSE else dense // 2 + 1

    def to_json(self) -> dict[str, object]:
        """The JSON object of this choice; what says nothing is left out."""
        said: dict[str, object] = {"precision": self.precision.value}
        if self.sparsity is not Sparsity.DENSE:
            said["sparsity"] = self.sparsity.value
        if self.storage:
            said["storage"] = self.storage
        if self.keep < 1.0:
            said["keep"] = self.keep
        if self.rank:
            said["rank"] = list(self.rank)
            said["factors"] = self.factors
        return said

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            Precision(value["precision"]),
            Sparsity(value.get("sparsity", Sparsity.DENSE)),
            str(value.get("storage", "")),
            float(value.get("keep", 1.0)),
            tuple(map(int, value.get("rank", ()))),
            str(value.get("factors", "")),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """One choice for each slot, in the order of the slots."""

    choices: tuple[tuple[str, NodeChoice], ...]

    @classmethod
    def of(cls, choices: Mapping[str, NodeChoice] | Iterable[tuple[str, NodeChoice]]) -> Self:
        """Make a plan from a mapping or from pairs of slot name and choice."""
        pairs = choices.items() if isinstance(choices, Mapping) else choices
        return cls(tuple(pairs))

    def as_dict(self) -> dict[str, NodeChoice]:
        """The choices by slot name."""
        return dict(self.choices)

    def counts(self) -> dict[str, int]:
        """How many slots run in each kind of kernel, such as `int8`."""
        return dict(Counter(choice.kernel for _, choice in self.choices))

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no white space; equal plans give equal text."""
        body = {name: choice.to_json() for name, choice in self.choices}
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InputError: The text is not a plan.
        """
        try:
            body = json.loads(text)
            return cls.of((name, NodeChoice.from_json(value)) for name, value in body.items())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
            raise InputError(f"not a plan: {cause}", "use the plan.json of a bundle") from cause

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
