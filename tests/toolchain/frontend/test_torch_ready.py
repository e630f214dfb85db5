"""What the converter reads wrongly is the same function in torch all the same."""

from collections.abc import Callable
from typing import Any

import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.frontend.torch_graph import check_same, to_torch

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx2fx", reason="onnx2fx is not installed")

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
GRAPHS = {
    "index from the end": """g (float[3,4] x) => (float[4] y)
        <int64 i = {-1}> { s = Gather<axis = 0>(x, i) y = Neg(s) }""",
    "indices of both kinds": """g (float[3,4] x) => (float[3,2] y)
        <int64[2] i = {-2, 1}> { s = Gather<axis = 1>(x, i) y = Neg(s) }""",
    "last states alone": """g (float[5,1,4] x) => (float[1,1,3] y)
        <float[1,12,4] w, float[1,12,3] r>
        { o, h, c = LSTM<hidden_size = 3>(x, w, r) y = Add(h, c) }""",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_function(name: str, subject: Callable[..., Any]) -> None:
    bench = subject(HEAD + GRAPHS[name])
    if "states" in name:  # what nobody reads may have no name
        next(node for node in bench.model.graph if node.op_type == "LSTM").outputs[0].name = ""
    graph = to_torch(bench.model)
    for feeds in bench.samples:
        expected = Session(bench.model, Options(1, optimise=False))(feeds)
        assert check_same(graph, feeds, expected) < 1e-5
