"""Lowers a graph's opset where every node means the same in the older one."""

from collections.abc import Iterator

import onnx_ir as ir
from onnx import defs

from ..toolchain.errors import InputError
from ..toolchain.operators import DEFAULT_DOMAINS

# Operators of opset 18 that mean something else, and values that it lacks, in later opsets (the
# specification's change log); every other change up to opset 23 adds element types or attributes.
_REDEFINED = frozenset({"DFT", "GridSample", "GroupNormalization"})
_LATER_VALUES = {
    ("Pad", "mode"): "wrap",
    ("Resize", "coordinate_transformation_mode"): "half_pixel_symmetric",
}
_UNIT = frozenset({("AveragePool", "dilations")})  # ones where it is absent
_SHOWN = 5


class LowerOpset(ir.passes.InPlacePass):
    """Writes a graph in an older opset where every node means the same there."""

    def __init__(self, opset_max: int) -> None:
        super().__init__()
        self.opset_max = opset_max

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Lower the opset of the default domain to the highest that is read.

        Raises:
            InputError: Nodes that the older opset cannot express; they are named.
        """
        opset = model.opset_imports.get("", self.opset_max)
        if opset <= self.opset_max:
            return ir.passes.PassResult(model, modified=False)
        nodes = [n for n in model.graph.all_nodes() if n.domain in DEFAULT_DOMAINS]
        blockers = [node for node in nodes if not _lower(node, opset, self.opset_max)]
        if blockers:
            names = ", ".join(f"{node.op_type} '{node.name}'" for node in blockers[:_SHOWN])
            message = f"{len(blockers)} nodes need an opset above {self.opset_max}: {names}"
            raise InputError(message, f"export the model with opset {self.opset_max} or lower")
        model.opset_imports[""] = self.opset_max
        for node in nodes:
            node.version = None
        return ir.passes.PassResult(model, modified=True)


def _lower(node: ir.Node, opset: int, target: int) -> bool:
    """Drop the attributes that say only what the older opset does anyway; whether that is all."""
    new, old = schema(node.op_type, opset), schema(node.op_type, target)
    if old is None or new is None or not same_meaning(node.op_type, opset, target):
        return False
    if new.since_version == old.since_version:
        return True
    if any(_says(node, name, value) for name, value in _later_values(node.op_type)):
        return False
    later = [name for name in node.attributes if name not in old.attributes]
    if any(not _is_default(node, name, new) for name in later):
        return False
    for name in later:
        del node.attributes[name]
    return True


def _is_default(node: ir.Node, name: str, schema: defs.OpSchema) -> bool:
    """Whether an attribute says what its absence says."""
    value = node.attributes[name].value
    if (node.op_type, name) in _UNIT:
        return all(item == 1 for item in value)
    default = ir.serde.deserialize_attribute(schema.attributes[name].default_value)
    return bool(default.value == value)


def _says(node: ir.Node, name: str, value: str) -> bool:
    attribute = node.attributes.get(name)
    return attribute is not None and attribute.value == value


def _later_values(op: str) -> Iterator[tuple[str, str]]:
    return ((name, value) for (of, name), value in _LATER_VALUES.items() if of == op)


def has_body(op: str, opset: int) -> bool:
    """Whether the specification defines an operator by others (a function operator)."""
    found = schema(op, opset)
    # onnx's stubs do not list these two properties.
    return found is not None and bool(
        found.has_function or found.has_context_dependent_function  # type: ignore[attr-defined]
    )


def same_meaning(op: str, opset: int, target: int) -> bool:
    """Whether an operator is in use in both opsets and was not redefined between them."""
    new, old = schema(op, opset), schema(op, target)
    if new is None or old is None or old.deprecated:
        return False
    return new.since_version == old.since_version or op not in _REDEFINED


def schema(op: str, opset: int) -> defs.OpSchema | None:
    """The definition of an operator of the default domain in an opset; None where it has none."""
    return defs.get_schema(op, opset) if defs.has(op, opset) else None
