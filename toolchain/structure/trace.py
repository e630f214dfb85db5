"""Follows channels through a graph, operator by operator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from .. import kernels
from ..operators import DEFAULT_DOMAINS
from .channels import Axes, Channels, Ids, Place
from .groups import Role


@dataclass(slots=True)
class Trace:
    """The channels of a graph.

    Attributes:
        rules: How each operator passes them on.
        channels: Identities.
        axes: Those along each axis of each activation, by its name.
    """

    rules: "Mapping[str, Rule]"
    channels: Channels = field(default_factory=Channels)
    axes: dict[str, Axes] = field(default_factory=dict)

    def follow(self, node: ir.Node) -> None:
        """Find the channels of what a node writes."""
        rule = self.rules.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
        made = rule(self, node) if rule else None
        if made is None:
            read = [ids for value in node.inputs for ids in self.of(value)]
            self.pin(read, node, f"{node.op_type} of this form is not followed")
            return
        for out, axes in zip(node.outputs, made, strict=True):
            self.axes[str(out.name)] = axes

    def of(self, value: ir.Value | None) -> Axes:
        """The identities along the axes of an activation; all stay where nothing is known."""
        if value is None:
            return []
        return self.axes.get(str(value.name), [None] * len(kernels.dims(value)))

    def pin(self, axes: "list[Ids | None]", node: ir.Node, why: str) -> None:
        """Say that channels must stay, because of a node."""
        self.channels.pin(axes, str(node.name), why)

    def met(self, first: Ids | None, second: Ids | None, node: ir.Node) -> Ids | None:
        """Two axes that a node takes entry by entry."""
        if first is None and second is None:
            return None
        return self.channels.unite(first, second, str(node.name))

    def constant(self, node: ir.Node, index: int, axis: int, role: Role, ids: Ids | None) -> None:
        """Note the identities along an axis of a constant input; a negative one from the end."""
        value = node.inputs[index]
        if value is None or ids is None:
            return
        if not value.is_initializer():
            self.pin([ids], node, f"{value.name} is no initialiser")
            return
        rank = len(kernels.dims(value))
        self.channels.constant(Place(str(value.name), axis % rank, role, str(node.name)), ids)


# The identities along the axes of each output; None where a rule does not know this form.
Rule = Callable[[Trace, ir.Node], list[Axes] | None]


def constant_of(node: ir.Node, index: int) -> ir.TensorProtocol | None:
    """A constant input; None where it is missing or computed."""
    return kernels.constant(node.inputs[index]) if len(node.inputs) > index else None


def integers_of(node: ir.Node, index: int) -> list[int] | None:
    """The numbers of a constant input; None where it is missing or computed."""
    tensor = constant_of(node, index)
    return None if tensor is None else [int(number) for number in tensor.numpy().ravel()]


def axes_of(node: ir.Node, index: int) -> list[int] | None:
    """Axes: an attribute in older opsets, an input in newer ones; None where they are not given."""
    given = node.attributes.get_ints("axes", None)
    return list(given) if given is not None else integers_of(node, index)
