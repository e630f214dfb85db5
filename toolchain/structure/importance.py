"""How much each unit of a channel group matters: what is likely to be missed least goes first."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from .. import kernels
from ..engine import Array
from ..errors import InputError
from .groups import ChannelGroup, Member

Scores = dict[str, Array]  # by a group's name, shape (units,); the higher, the more it matters

_MATRIX = 2


class Importance(StrEnum):
    """A criterion; each sums over all that goes with a unit.

    Members:
        L1: Size of its weights (Li et al. 2017, "Pruning filters for efficient ConvNets").
        L2: Squares of its weights (He et al. 2018, "Soft filter pruning").
        TAYLOR: The size of what the loss would change by, to first order (Molchanov et al. 2019,
            "Importance estimation for neural network pruning").
        FISHER: Its mean square (Theis et al. 2018, "Faster gaze prediction with dense networks and
            Fisher pruning").
        SNIP: The same weight by weight, summed without signs (Lee et al. 2019, "SNIP").
        BN_SCALE: Scales of batch norms (Liu et al. 2017, "Network slimming"): what the channels
            deviate by (`deviation`), since batch norms are folded.
        ACTIVATION: How large its activations are in the mean.
        MOVEMENT: How far its weights moved away from 0 in training (Sanh et al. 2020, "Movement
            pruning", with the whole way in the place of the sum over steps).
    """

    L1 = "l1"
    L2 = "l2"
    TAYLOR = "taylor"
    FISHER = "fisher"
    SNIP = "snip"
    BN_SCALE = "bn_scale"
    ACTIVATION = "activation"
    MOVEMENT = "movement"


NEEDS_GRADIENTS = frozenset({Importance.TAYLOR, Importance.FISHER, Importance.SNIP})


def by_weights(
    model: ir.Model,
    groups: Sequence[ChannelGroup],
    how: Importance,
    *,
    initial: ir.Model | None = None,
) -> Scores:
    """Scores that weights alone tell.

    Args:
        model: The graph.
        groups: Its channel groups.
        how: L1, L2 or MOVEMENT.
        initial: For MOVEMENT: the graph before it was trained, after the same passes.

    Raises:
        InputError: The other graph lacks a weight.
    """
    return {group.name: _score(model, group, how, initial) for group in groups}


def _score(
    model: ir.Model, group: ChannelGroup, how: Importance, initial: ir.Model | None
) -> Array:
    total = np.zeros(group.units)
    for member in weights_of(model, group):
        array = array_of(model, member.constant)
        weight = units_of(array, member)
        match how:
            case Importance.L1:
                score = np.abs(weight).sum(axis=1)
            case Importance.L2:
                score = (weight**2).sum(axis=1)
            case Importance.MOVEMENT:
                before = units_of(_before(initial, member.constant, array.shape), member)
                score = (weight * (weight - before)).sum(axis=1)
            case _:
                raise ValueError(f"{how} is told by more than weights")
        total += shared(score)
    return total


def shared(score: Array) -> Array:
    """Scores of one member in units of their mean, so that every member says as much."""
    mean = float(np.abs(score).mean())
    return score / mean if mean else score


def weights_of(model: ir.Model, group: ChannelGroup) -> list[Member]:
    """The members that are matrices: biases and norms say little of what a channel does."""
    found = [m for m in group.members if array_of(model, m.constant).ndim >= _MATRIX]
    return found or list(group.members)


def units_of(array: Array, member: Member) -> Array:
    """What each unit holds of a constant; shape (units, entries)."""
    moved = np.moveaxis(array.astype(np.float64), member.axis, 0)
    return moved[member.indices].reshape(len(member.indices), -1)


def array_of(model: ir.Model, constant: str) -> Array:
    """The numbers of an initialiser."""
    tensor = kernels.constant(model.graph.initializers[constant])
    if tensor is None:
        raise ValueError(f"{constant} is no constant")
    return tensor.numpy()


def _before(initial: ir.Model | None, constant: str, shape: tuple[int, ...]) -> Array:
    """A weight as it was before training."""
    value = None if initial is None else initial.graph.initializers.get(constant)
    tensor = kernels.constant(value)
    if tensor is None or tuple(tensor.shape) != shape:
        raise InputError(
            f"--initial: it has no weight {constant} of the same shape",
            "give the same network as it was before training",
        )
    return tensor.numpy()


def ranked(scores: Mapping[str, Array]) -> dict[str, Array]:
    """The units of each group from the one that matters most down; equal ones in their order."""
    return {name: np.argsort(-score, kind="stable") for name, score in scores.items()}
