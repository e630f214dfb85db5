"""What the names of TensorRT's layers say."""

import pytest
from hwc.toolchain.latency.trt_names import Reformat, nodes_in, range_of, reformat_of

KNOWN = {"a", "b", "c", "/x/Conv", "/x/Conv_1", "/y/Add", "/sig/Sigmoid", "/mul/Mul", "/fc/Gemm"}
KNOWN |= {"node_of_t", "odd + name", "f(x)"}

NAMES = {
    "/x/Conv": ["/x/Conv"],
    "/x/Conv_1": ["/x/Conv_1"],
    "/x/Conv_2": ["/x/Conv"],
    "odd + name": ["odd + name"],
    "f(x)": ["f(x)"],
    "PWN(f(x))": ["f(x)"],
    "a + b": ["a", "b"],
    "w + QuantizeLinear_7 + /x/Conv + PWN(/y/Add)": ["/x/Conv", "/y/Add"],
    "PWN(PWN(/sig/Sigmoid), /mul/Mul)": ["/sig/Sigmoid", "/mul/Mul"],
    "a + b || c": ["a", "b", "c"],
    "a+b_myl3_2": ["a", "b"],
    "/fc/Gemm_myl9_1": ["/fc/Gemm"],
    "/fc/Gemm + /fc/Gemm_3": ["/fc/Gemm"],
    "fc.weight + (Unnamed Layer* 354) [Shuffle] + /fc/Gemm": ["/fc/Gemm"],
    "reshape_after_/fc/Gemm": ["/fc/Gemm"],
    "copied_squeeze_after_/fc/Gemm": ["/fc/Gemm"],
    "unsqueeze_node_after_/fc/Gemm": ["/fc/Gemm"],
    "node_of_t": ["node_of_t"],
    "/x/Conv + a [profile 2]": ["/x/Conv", "a"],
    "__mye165_0_myl9_0": [],
    "__myl_ReshTran_myl3_0": [],
    "(Unnamed Layer* 12) [Shuffle]": [],
    "": [],
    ")))": [],
    "+": [],
}


@pytest.mark.parametrize(("name", "nodes"), NAMES.items(), ids=NAMES)
def test_finds_the_nodes(name: str, nodes: list[str]) -> None:
    assert list(nodes_in(name, KNOWN)) == nodes


REFORMATS = {
    "Reformatting CopyNode for Input Tensor 0 to a + b": Reformat(
        0, is_output=False, layer="a + b"
    ),
    "Reformatting CopyNode for Output Tensor 12 to {ForeignNode[a...b]}": Reformat(
        12, is_output=True, layer="{ForeignNode[a...b]}"
    ),
    "Reformatting CopyNode for Input Tensor 1 to a [profile 1]": Reformat(
        1, is_output=False, layer="a"
    ),
    "Reformatting CopyNode": None,
    "a": None,
}


@pytest.mark.parametrize(("name", "reformat"), REFORMATS.items(), ids=REFORMATS)
def test_reads_what_is_reformatted(name: str, reformat: Reformat | None) -> None:
    assert reformat_of(name) == reformat


RANGES = {
    "{ForeignNode[a...b]}": ("a", "b"),
    "{ForeignNode[bn.weight.../softmax/Softmax]}": ("bn.weight", "/softmax/Softmax"),
    "{ForeignNode[(Unnamed Layer* 3) [Constant]...(Unnamed Layer* 5) [ElementWise]]}": (
        "(Unnamed Layer* 3) [Constant]",
        "(Unnamed Layer* 5) [ElementWise]",
    ),
    "{ForeignNode[a]}": ("a", "a"),
    "{ForeignNode[a...b]} [profile 1]": ("a", "b"),
    "Reformatting CopyNode for Input Tensor 0 to {ForeignNode[a...b]}": None,
    "a + b": None,
}


@pytest.mark.parametrize(("name", "ends"), RANGES.items(), ids=RANGES)
def test_reads_the_ends_of_a_block(name: str, ends: tuple[str, str] | None) -> None:
    assert range_of(name) == ends
