"""How much each unit of a channel group matters: what is likely to be missed least goes first."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from .. import kernels
from ..engine import Array
from ..errors import InputError
from .groups import ChannelGroup, Member, Role

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
        BN_SCALE: Scales of batch norms (Liu et al. 2017, "Network slimming").
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
        how: L1, L2, BN_SCALE or MOVEMENT.
        initial: For MOVEMENT: the graph before it was trained, after the same passes.

    Raises:
        InputError: There is no batch norm left, or the other graph lacks a weight.
    """
    return {group.name: _score(model, group, how, initial) for group in groups}


def _score(
    model: ir.Model, group: ChannelGroup, how: Importance, initial: ir.Model | None
) -> Array:
    members = _norms(model, group) if how is Importance.BN_SCALE else weights_of(model, group)
    total = np.zeros(group.units)
    for member in members:
        weight = units_of(array_of(model, member.constant), member)
        match how:
            case Importance.L1 | Importance.BN_SCALE:
                score = np.abs(weight).sum(axis=1)
            case Importance.MOVEMENT:
                score = (weight * (weight - _before(initial, member, weight.shape))).sum(axis=1)
            case _:
                score = (weight**2).sum(axis=1)
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


def _norms(model: ir.Model, group: ChannelGroup) -> list[Member]:
    """The scales of batch norms among the members."""
    nodes = {node.name: node for node in model.graph}
    found = []
    for member in group.members:
        node = nodes[member.node]
        scale = node.inputs[1] if len(node.inputs) > 1 else None
        is_norm = node.op_type == "BatchNormalization" and member.role is Role.WRITES
        if is_norm and scale is not None and scale.name == member.constant:
            found.append(member)
    if not found:
        raise InputError(
            f"{group.name}: no batch norm is left behind it whose scale could tell",
            "they were folded into the weights: choose another --importance, such as l2",
        )
    return found


def _before(initial: ir.Model | None, member: Member, shape: tuple[int, ...]) -> Array:
    """A weight as it was before training."""
    value = None if initial is None else initial.graph.initializers.get(member.constant)
    tensor = kernels.constant(value)
    before = None if tensor is None else units_of(tensor.numpy(), member)
    if before is None or before.shape != shape:
        raise InputError(
            f"--initial: it has no weight {member.constant} of the same shape",
            "give the same network as it was before training",
        )
    return before


def ranked(scores: Mapping[str, Array]) -> dict[str, Array]:
    """The units of each group from the one that matters most down; equal ones in their order."""
    return {name: np.argsort(-score, kind="stable") for name, score in scores.items()}
