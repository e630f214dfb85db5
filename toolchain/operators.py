"""Which ONNX operators a device's runtime reads, carried as a table with its source."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Self

import onnx_ir as ir

from . import kernels
from .errors import DeviceError

DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of a table: what the runtime takes of an operator.

    Attributes:
        opsets: The opsets of the default domain in which it is read.
        refused_attributes: Pairs of attribute and value (as text) that are not supported.
        constant_inputs: Positions of inputs that must be constants.
        single_output: Only the first output is supported.
    """

    opsets: frozenset[int]
    refused_attributes: tuple[tuple[str, str], ...] = ()
    constant_inputs: tuple[int, ...] = ()
    single_output: bool = False


@dataclass(frozen=True, slots=True)
class OperatorTable:
    """The operators of the default domain that one runtime reads.

    Attributes:
        name: File name of the table.
        source: Where it comes from.
        operators: By op type.
    """

    name: str
    source: str
    operators: Mapping[str, Operator]

    @classmethod
    def load(cls, name: str) -> Self:
        """Read a table of the package, such as `ascend_onnx_ops.csv`.

        Raises:
            DeviceError: A row is not what the header says.
        """
        text = resources.files("hwc.device_profiles").joinpath(name).read_text("utf-8")
        return cls.parse(name, text)

    @classmethod
    def parse(cls, name: str, text: str) -> Self:
        """Read a table from text: comment lines with `#`, a header, one operator a row."""
        lines = text.splitlines()
        comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
        source = next((c.partition(":")[2].strip() for c in comments if c[:7] == "source:"), "")
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        try:
            return cls(name, source, {row["op"]: _operator(row) for row in rows})
        except (KeyError, ValueError, AttributeError) as cause:
            message = f"{name}: a row of the operator table is not valid: {cause!r}"
            raise DeviceError(message, "install hwc again") from cause

    def supports(self, op: str, opset: int) -> bool:
        """Whether the runtime reads an operator as that opset defines it."""
        return op in self.operators and opset in self.operators[op].opsets

    def complaint(self, node: ir.Node, opset: int) -> str:
        """Why the runtime does not take a node; empty where it does."""
        if node.domain not in DEFAULT_DOMAINS:
            return f"custom domain {node.domain}"
        operator = self.operators.get(node.op_type)
        if operator is None:
            return "not in the table"
        if opset not in operator.opsets:
            return f"opset {opset} not in the table"
        return next(_limits(node, operator), "")


def _operator(row: Mapping[str, str]) -> Operator:
    pairs = (pair.partition("=") for pair in row["refused_attributes"].split(";") if pair)
    return Operator(
        opsets=frozenset(_opsets(row["opsets"])),
        refused_attributes=tuple((name, value) for name, _, value in pairs),
        constant_inputs=tuple(int(i) for i in row["constant_inputs"].split()),
        single_output=row["single_output"] == "yes",
    )


def _opsets(text: str) -> Iterator[int]:
    """The opsets of a list of ranges: `8 12-18`."""
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _limits(node: ir.Node, operator: Operator) -> Iterator[str]:
    for name, value in operator.refused_attributes:
        attribute = node.attributes.get(name)
        if attribute is not None and value in _texts(attribute):
            yield f"{name}={value} is not supported"
    for index in operator.constant_inputs:
        operand = node.inputs[index] if index < len(node.inputs) else None
        if operand is not None and kernels.constant(operand) is None:
            yield f"input {index} must be a constant"
    if operator.single_output and sum(bool(out.name) for out in node.outputs) > 1:
        yield "only its first output is supported"


def _texts(attribute: ir.Attr) -> frozenset[str]:
    """An attribute's value, or each of its values, as text."""
    value = attribute.value
    return frozenset(map(str, value) if isinstance(value, (tuple, list)) else (str(value),))
