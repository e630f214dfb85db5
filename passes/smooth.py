"""SmoothQuant: outlier channels of activations move into the weights that read them.

Xiao et al., "SmoothQuant: accurate and efficient post-training quantization for large language
models" (2023), equation 4: s_j = max|X_j|^alpha / max|W_j|^(1 - alpha). Not only LayerNormalization
can write the smoothed channels but all that `links` lists, so convolutions behind a ReLU gain, too.

Without an alpha, each link gets its own, by the error that 8 bits are expected to bring into what
its readers write: the search that Intel Neural Compressor does by running the model ("auto alpha")
has a closed form when rounding errors are taken as uniform and independent.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from ..toolchain.calibration import ChannelRanges
from .affine import Vector
from .edit import Editor
from .equalize import note_of, tame
from .find_links import find_links
from .journal import Note, Noted, done, kept
from .linear import Linear
from .links import LINEAR, Link
from .match import constant, is_op, split_constant

ALPHAS = tuple(round(0.05 * step, 2) for step in range(21))
_ACTIVATION_STEPS, _WEIGHT_STEPS = 255, 127
_KERNEL = 0.5  # the same where the rewrite costs a kernel: 3 dB
# An error of a weight is the same at every position, where those of activations average out: taken
# as independent, alpha is chosen too high by far (measured: 1.3 dB lost on a ViT, with 4 only 0.3,
# while a BERT that gains 2.8 dB still gains 2.6).
_COHERENT = 4.0
_GAIN = 0.97  # what an alpha must leave of the expected error to be worth a rewrite


def smoothable(model: ir.Model) -> dict[str, int]:
    """The tensors whose channels can be smoothed, with their channel axis, from the end."""
    links = find_links(model).links
    return {tensor: link.axis for link in links for tensor in link.tensors}


def smooth(
    model: ir.Model,
    channels: Mapping[str, ChannelRanges],
    *,
    opset_max: int,
    alpha: float | None = None,
) -> Noted:
    """Smooth a copy of a model.

    Args:
        model: The graph after the graph passes; it is not changed.
        channels: The ranges of the tensors that `smoothable` names; a link without is left out.
        opset_max: The highest opset that the target reads.
        alpha: How much of the difficulty moves into the weights, from 0 to 1; None: each link has
            its own.

    Returns:
        The copy; a note says for each link by how much its channels moved, or why none could.
    """
    copy = model.clone()
    editor = Editor(copy, opset_max)
    found = find_links(copy)
    notes: list[Note] = []
    for link in found.links:
        node = link.readers[0].node
        if any(tensor not in channels for tensor in link.tensors):
            notes.append(kept(node, "the ranges of its input are not known, or not finite"))
            continue
        chosen = best_alpha(link, channels, (alpha,) if alpha is not None else ALPHAS)
        if chosen is None:
            notes.append(kept(node, "no factors are expected to lower the error of 8 bits"))
            continue
        factors = _factors(link, channels, chosen)
        link.rescale(factors, editor)
        notes.append(note_of(link, factors, f"smoothed, alpha {chosen:g}"))
    return Noted.of(copy, [*notes, *found.skipped])


def twin_norms(model: ir.Model, opset_max: int) -> Noted:
    """A copy in which linear readers have a LayerNormalization of their own.

    Where one also feeds a residual addition, as in BERT, its channels could not be scaled for the
    linear readers alone. The twin is one more kernel: the caller weighs what it gains.
    """
    copy = model.clone()
    editor = Editor(copy, opset_max)
    notes = [_twin(node, editor) for node in list(copy.graph) if _is_tied(node)]
    return Noted.of(copy, notes)


def insert_scales(model: ir.Model, opset_max: int) -> Noted:
    """A copy in which matrix products whose input cannot be scaled read it times one.

    That Mul is one more kernel, so `smooth` scales it only where much is gained, as behind a GELU;
    where it is left as it is, `remove_noops` takes it out again.
    """
    copy = model.clone()
    editor = Editor(copy, opset_max)
    taken = {reader.node for link in find_links(copy).links for reader in link.readers}
    notes: list[Note] = []
    for node in list(copy.graph):
        if node in taken or not is_op(node, "MatMul", "Gemm"):
            continue
        linear = Linear.of(node)
        value = node.inputs[0]
        if isinstance(linear, Linear) and value is not None and value.producer() is not None:
            users = [(user, index) for user, index in value.uses() if _reads(user, index)]
            taken.update(user for user, _ in users)
            _insert(value, users, linear.into.channels, editor)
            notes.append(done(node, f"{value.name} can be scaled by a Mul of its own"))
    return Noted.of(copy, notes)


def _insert(
    value: ir.Value, users: list[tuple[ir.Node, int]], channels: int, editor: Editor
) -> None:
    """Let the users read `value` times one."""
    ones = editor.initializer(np.ones(channels, np.float32), f"{value.name}.scale")
    name = editor.unique(f"{value.name}.smooth")
    out = ir.Value(name=name, type=value.type, shape=value.shape)
    made = ir.node("Mul", [value, ones], outputs=[out], name=name)
    producer = value.producer()
    if producer is not None:
        editor.graph.insert_after(producer, made)
    for user, index in users:
        user.replace_input_with(index, out)


def _is_tied(node: ir.Node) -> bool:
    """Whether a LayerNormalization feeds linear nodes and others."""
    if not is_op(node, "LayerNormalization"):
        return False
    reads = [_reads(user, index) for user, index in node.outputs[0].uses()]
    return any(reads) and (not all(reads) or node.outputs[0].is_graph_output())


def _reads(user: ir.Node, index: int) -> bool:
    linear = is_op(user, *LINEAR) and index == 0
    return linear and isinstance(Linear.of(user), Linear)


def _twin(norm: ir.Node, editor: Editor) -> Note:
    old = norm.outputs[0]
    made = ir.node(
        norm.op_type,
        list(norm.inputs),
        {name: attribute.value for name, attribute in norm.attributes.items()},
        outputs=[ir.Value(name=editor.unique(f"{old.name}.twin"), type=old.type, shape=old.shape)],
        name=f"{norm.name}.twin",
    )
    editor.graph.insert_after(norm, made)
    for user, index in [use for use in old.uses() if _reads(*use)]:
        user.replace_input_with(index, made.outputs[0])
    return done(norm, "its linear readers have a twin of it, which can be scaled")


def best_alpha(
    link: Link, channels: Mapping[str, ChannelRanges], alphas: tuple[float, ...] = ALPHAS
) -> float | None:
    """The alpha of the least expected error; None where it is not worth it.

    A single alpha is taken as it is, but for a Mul that is only there to be scaled.
    """
    inserted = _is_inserted(link)
    if len(alphas) == 1 and not inserted:
        return alphas[0]
    plain = _expected_error(link, channels, np.ones(link.channels))
    errors = [_expected_error(link, channels, _factors(link, channels, a)) for a in alphas]
    best = int(np.argmin(errors))
    return alphas[best] if errors[best] < (_KERNEL if inserted else _GAIN) * plain else None


def _is_inserted(link: Link) -> bool:
    """Whether the channels are written by a Mul by ones alone."""
    if len(link.writers) != 1 or not is_op(link.writers[0], "Mul"):
        return False
    found = split_constant(link.writers[0])
    array = constant(found[1]) if found is not None else None
    return array is not None and bool((array == 1).all())


def _factors(link: Link, channels: Mapping[str, ChannelRanges], alpha: float) -> Vector:
    """Equation 4 of the paper; 1 where a channel is never used."""
    active = np.maximum.reduce([channels[tensor].magnitude for tensor in link.tensors])
    weight = link.read_magnitude()
    live = (active > 0) & (weight > 0)
    active, weight = np.where(live, active, 1.0), np.where(live, weight, 1.0)
    return tame(active**alpha / weight ** (1.0 - alpha), live)


def _expected_error(link: Link, channels: Mapping[str, ChannelRanges], factors: Vector) -> float:
    """The noise over the signal that 8 bits bring into what the readers write, added up."""
    return sum(
        _reader_error(reader, channels[tensor], factors)
        for reader, tensor in zip(link.readers, link.tensors, strict=True)
    )


def _reader_error(reader: Linear, ranges: ChannelRanges, factors: Vector) -> float:
    """Rounding errors are uniform and independent: a step squared / 12 for each number.

    Activations have one step for all channels, weights one for each output.
    """
    weight = reader.grouped()
    groups, inputs = weight.shape[:2]
    signal = float((weight**2 * ranges.square.reshape(groups, inputs, 1, 1)).sum())
    scaled, divided = weight * factors.reshape(groups, inputs, 1, 1), ranges.divided(factors)
    span = max(divided.high.max(), 0.0) - min(divided.low.min(), 0.0)
    step = span / _ACTIVATION_STEPS
    steps = np.abs(scaled).max(axis=(1, 3)) / _WEIGHT_STEPS  # (groups, outputs a group)
    taps = weight.shape[3]
    power = divided.square.reshape(groups, inputs).sum(axis=1, keepdims=True) * taps
    rounded = step**2 * (scaled**2).sum() + _COHERENT * (steps**2 * power).sum()
    return float(rounded) / 12 / signal if signal > 0 else 0.0
