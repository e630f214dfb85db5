"""Rows times weight is what the runtime's own convolution gives."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends import ort
from hwc.toolchain.recovery.unfold import Window

CONVS = {
    "plain": ("Conv (x, w)", (4, 6, 3, 3)),
    "strided and padded": ("Conv <strides = [2, 1], pads = [1, 0, 2, 1]> (x, w)", (4, 6, 3, 3)),
    "dilated": ("Conv <dilations = [2, 1]> (x, w)", (4, 6, 3, 2)),
    "grouped": ("Conv <group = 2> (x, w)", (4, 3, 1, 1)),
    "depthwise": ("Conv <group = 6, pads = [1, 1, 1, 1]> (x, w)", (12, 1, 3, 3)),
}


@pytest.mark.parametrize(("conv", "shape"), CONVS.values(), ids=CONVS)
def test_rows_times_weight_is_the_convolution(
    parse_graph: Callable[[str], onnx.ModelProto], conv: str, shape: tuple[int, ...]
) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[2,6,9,8] x) => (float[2,a,b,c] y) <float[{",".join(map(str, shape))}] w>
    {{ y = {conv} }}"""
    model = ir.from_proto(parse_graph(text))
    x = np.random.default_rng(0).standard_normal((2, 6, 9, 8)).astype(np.float32)
    y = ort.Session(model, ort.Options(threads=1, optimise=False))({"x": x})["y"]
    weight = model.graph.initializers["w"].const_value
    assert weight is not None
    window = Window.of(model.graph.node(0), shape)
    every = np.arange(y.size // y.shape[1])
    rows = window.rows(x, y, every[::-2])
    held = weight.numpy().reshape(window.groups, -1, rows.read.shape[-1])
    assert rows.read @ held.swapaxes(1, 2) == pytest.approx(rows.written, abs=1e-5)
