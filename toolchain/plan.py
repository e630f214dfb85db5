"""A plan: which precision every slot of a model runs in."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

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


@dataclass(frozen=True, slots=True, order=True)
class NodeChoice:
    """What is decided for one slot."""

    precision: Precision = Precision.FP32

    def to_json(self) -> dict[str, str]:
        """The JSON object of this choice."""
        return {"precision": self.precision.value}

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> Self:
        """Read what `to_json` wrote."""
        return cls(Precision(value["precision"]))


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
        """How many slots run in each precision."""
        return dict(Counter(choice.precision.value for _, choice in self.choices))

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
