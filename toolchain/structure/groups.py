"""Channels that can only go together, and where they lie."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]


class Role(StrEnum):
    """What a constant does with the channels that lie along one of its axes."""

    WRITES = "writes"  # output channels of a weight, biases, depthwise weights, per-channel factors
    READS = "reads"  # input channels of a weight


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One axis of one constant along which a group's units lie.

    Attributes:
        constant: Name of the initialiser.
        axis: Which axis.
        indices: What each unit occupies along it; shape (units, width).
        role: What the constant does with them.
        node: The node that reads the constant.
    """

    constant: str
    axis: int
    indices: Indices
    role: Role
    node: str


@dataclass(frozen=True, slots=True, eq=False)
class ChannelGroup:
    """Channels that can only go together, such as those of two convolutions that are added.

    Attributes:
        name: Name of the first node that writes them.
        units: How many can be removed one by one: a channel, an attention head.
        members: The constants that they lie in.
        tensors: The activations that hold them: name, axis, and what each unit occupies along it,
            shape (units, width).
        vanishes: Whether all units may go: the branch then adds a constant, and what else depends
            on it survives.
    """

    name: str
    units: int
    members: tuple[Member, ...]
    tensors: tuple[tuple[str, int, Indices], ...]
    vanishes: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A dependency that could not be resolved, so that its channels stay.

    Attributes:
        node: Where it ended.
        why: What was not understood.
    """

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class ChannelGroups:
    """What `find_groups` found."""

    groups: tuple[ChannelGroup, ...]
    skipped: tuple[Skipped, ...]
