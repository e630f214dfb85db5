"""A transformer encoder of any size with random weights in a file beside it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper

WIDTH = 1024
HEADS = 16
_INNER = 4 * WIDTH
_PAGE = 4096
_LAYER_BYTES = 4 * (4 * WIDTH * WIDTH + 2 * WIDTH * _INNER + 9 * WIDTH + _INNER)


@dataclass(slots=True)
class _Writer:
    """Collects nodes, and writes each weight as soon as it is made: one is in memory at a time."""

    location: str
    data: BinaryIO
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node that bears its output's name."""
        node = helper.make_node(op, inputs, [name], name)
        node.attribute.extend(helper.make_attribute(key, v) for key, v in attributes.items())
        self.nodes.append(node)
        return name

    def small(self, name: str, kind: int, values: list[float]) -> str:
        """Add a constant that is stored inline."""
        self.tensors.append(helper.make_tensor(name, kind, [len(values)], values))
        return name

    def weight(self, name: str, *shape: int, constant: float | None = None) -> str:
        """Add a weight: one value throughout, or normal with deviation 0.02."""
        if constant is None:
            array = self.random.standard_normal(shape, np.float32) * np.float32(0.02)
        else:
            array = np.full(shape, constant, np.float32)
        self.data.write(bytes(-self.data.tell() % _PAGE))
        tensor = TensorProto(
            name=name,
            data_type=TensorProto.FLOAT,
            dims=shape,
            data_location=TensorProto.EXTERNAL,
        )
        place = {"location": self.location, "offset": self.data.tell(), "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self.data.write(array.data)
        self.tensors.append(tensor)
        return name

    def linear(self, x: str, name: str, width: int, out: int) -> str:
        """MatMul and Add."""
        product = self.node("MatMul", [x, self.weight(f"{name}.w", width, out)], f"{name}.mm")
        return self.node("Add", [product, self.weight(f"{name}.b", out, constant=0)], name)

    def norm(self, x: str, name: str) -> str:
        """LayerNormalization."""
        scale = self.weight(f"{name}.g", WIDTH, constant=1)
        shift = self.weight(f"{name}.b", WIDTH, constant=0)
        return self.node("LayerNormalization", [x, scale, shift], name, axis=-1)

    def heads(self, x: str, name: str, order: list[int]) -> str:
        """Project, and split into heads."""
        split = self.node("Reshape", [self.linear(x, name, WIDTH, WIDTH), "split"], f"{name}.split")
        return self.node("Transpose", [split], f"{name}.heads", perm=order)

    def attention(self, x: str, name: str) -> str:
        """Self-attention."""
        query = self.heads(x, f"{name}.q", [0, 2, 1, 3])
        key = self.heads(x, f"{name}.k", [0, 2, 3, 1])
        value = self.heads(x, f"{name}.v", [0, 2, 1, 3])
        scores = self.node("MatMul", [query, key], f"{name}.qk")
        scaled = self.node("Mul", [scores, "scale"], f"{name}.scaled")
        weights = self.node("Softmax", [scaled], f"{name}.softmax", axis=-1)
        mixed = self.node("MatMul", [weights, value], f"{name}.mixed")
        there = self.node("Transpose", [mixed], f"{name}.back", perm=[0, 2, 1, 3])
        merged = self.node("Reshape", [there, "merge"], f"{name}.merged")
        return self.linear(merged, f"{name}.o", WIDTH, WIDTH)

    def layer(self, x: str, name: str) -> str:
        """One encoder layer, norms first."""
        attended = self.attention(self.norm(x, f"{name}.n1"), name)
        x = self.node("Add", [x, attended], f"{name}.r1")
        inner = self.linear(self.norm(x, f"{name}.n2"), f"{name}.f1", WIDTH, _INNER)
        active = self.node("Relu", [inner], f"{name}.relu")
        outer = self.linear(active, f"{name}.f2", _INNER, WIDTH)
        return self.node("Add", [x, outer], f"{name}.r2")


def make_large(path: Path, size: float) -> int:
    """Write an encoder with about `size` bytes of weights; input and output are [batch, seq, 1024].

    Returns:
        Bytes of its files.
    """
    data = path.with_name(f"{path.name}.data")
    with data.open("wb") as file:
        writer = _Writer(data.name, file)
        writer.small("split", TensorProto.INT64, [0, 0, HEADS, WIDTH // HEADS])
        writer.small("merge", TensorProto.INT64, [0, 0, WIDTH])
        writer.small("scale", TensorProto.FLOAT, [(WIDTH // HEADS) ** -0.5])
        x = "x"
        for index in range(max(1, round(size / _LAYER_BYTES))):
            x = writer.layer(x, f"l{index}")
        writer.node("Identity", [x], "y")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "seq", WIDTH])
        for name in ("x", "y")
    ]
    graph = helper.make_graph(writer.nodes, "large", values[:1], values[1:], writer.tensors)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path.stat().st_size + data.stat().st_size
