"""What a written plan promises, one rule at a time: ranges, absorbed activations, forms, limits."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.passes.apply import PlanWriter
from hwc.toolchain.calibration import Range
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.slots import SlotGraph
from onnx import numpy_helper

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

Make = Callable[..., "Subject"]
OPSET = '<ir_version: 10, opset_import: ["" : 21]>'


def ops(model: onnx.ModelProto) -> list[str]:
    """The op types in order."""
    return [node.op_type for node in model.graph.node]


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The initialisers by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def scales_of(model: onnx.ModelProto, tensors: Sequence[str]) -> list[tuple[float, int]]:
    """Scale and zero point of each tensor."""
    held = constants(model)
    return [(float(held[f"{t}__scale"]), int(held[f"{t}__zero"])) for t in tensors]


MOVES = {
    "reshape": "m = Reshape (a, shape)",
    "flatten": "m = Flatten (a)",
    "transpose": "m = Transpose <perm = [0, 2, 3, 1]> (a)",
    "slice": "m = Slice (a, from, to, axis)",
    "max_pool": "m = MaxPool <kernel_shape = [2, 2]> (a)",
    "gather": "m = Gather <axis = 1> (a, from)",
    "unsqueeze": "m = Unsqueeze (a, axis)",
}


@pytest.mark.parametrize("move", MOVES.values(), ids=list(MOVES))
def test_what_moves_numbers_has_the_scale_of_what_it_moves(subject: Make, move: str) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,4,6,6] x) => (float y)
        <int64[2] shape = {{0, -1}},
         int64[1] from = {{0}}, int64[1] to = {{2}}, int64[1] axis = {{1}}>
        {{ a = Sigmoid (x) {move} y = Softmax (m) }}"""
    )
    written = bench.write(every="int8")
    source, moved = scales_of(written, ["a", "m"])
    assert moved == source
    assert bench.numbers(written).sqnr_db > 30


def test_every_part_of_a_split_has_the_scale_of_the_whole(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,8] x) => (float[2,4] y, float[2,4] z)
        {{ p, q = Split <axis = 1, num_outputs = 2> (x) y = Sigmoid (p) z = Sigmoid (q) }}"""
    )
    whole, first, second = scales_of(bench.write(every="int8"), ["x", "p", "q"])
    assert first == second == whole


def test_a_move_after_a_tensor_without_a_range_uses_its_own(subject: Make) -> None:
    """The Exp is never int8, nor is the Expand: only what the Add reads was calibrated."""
    bench = subject(
        f"""{OPSET} g (float[1,4] x) => (float[2,4] y) <int64[2] shape = {{2, 4}}>
        {{ e = Exp (x) m = Expand (e, shape) y = Add (m, m) }}"""
    )
    ranges = {"m": Range(0.0, 12.75), "y": Range(0.0, 25.5)}
    writer = PlanWriter(bench.model, bench.slots, dialect=bench.writer.dialect, ranges=ranges)
    written = ir.to_proto(writer.write(bench.plan(every="int8")))
    scale, zero = scales_of(written, ["m"])[0]
    assert scale == pytest.approx(0.05)
    assert zero == 0


ACTIVATIONS = {
    # activation, range of its output, whether the integers do it
    "relu": ("Relu (c)", Range(0.0, 5.0), True),
    "relu whose range goes below": ("Relu (c)", Range(-1.0, 5.0), False),
    "clip to the range": ("Clip (c, zero, six)", Range(0.0, 6.0), True),
    "clip beyond the range": ("Clip (c, zero, six)", Range(0.0, 4.0), True),
    "clip inside the range": ("Clip (c, zero, six)", Range(0.0, 8.0), False),
    "clip that starts above 0": ("Clip (c, one, six)", Range(0.0, 6.0), False),
    "clip without a floor": ("Clip (c, , six)", Range(-3.0, 6.0), True),
    "clip that clips nothing": ("Clip (c)", Range(-3.0, 6.0), True),
}


@pytest.mark.parametrize(
    ("activation", "limits", "absorbed"), ACTIVATIONS.values(), ids=ACTIVATIONS
)
def test_saturation_replaces_an_activation_that_it_equals(
    subject: Make, activation: str, limits: Range, *, absorbed: bool
) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,4,3,3] x) => (float[2,4,3,3] y)
        <float[4,4,1,1] w, float zero = {{0.0}}, float one = {{1.0}}, float six = {{6.0}}>
        {{ c = Conv (x, w) y = {activation} }}"""
    )
    ranges = {"x": Range(-3.0, 3.0), "y": limits}
    writer = PlanWriter(bench.model, bench.slots, dialect=bench.writer.dialect, ranges=ranges)
    written = ir.to_proto(writer.write(bench.plan(c="int8")))
    assert (activation.split(maxsplit=1)[0] not in ops(written)) is absorbed


def test_a_symmetric_range_never_absorbs_a_relu(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,4,3,3] x) => (float[2,4,3,3] y) <float[4,4,1,1] w>
        {{ c = Conv (x, w) r = Relu (c) y = Conv (r, w) }}""",
        "a100",
    )
    assert "Relu" in ops(bench.write(every="int8"))


@pytest.mark.parametrize("reader", ["y = Exp (r)", "y = Add (r, r)"], ids=["float", "int8"])
def test_a_kernel_that_writes_float_keeps_its_relu(subject: Make, reader: str) -> None:
    """Where nothing reads the Gemm's output as int8, no integers saturate for the Relu."""
    bench = subject(
        f"""{OPSET} g (float[4,8] x) => (float[4,8] y) <float[8,8] w>
        {{ c = Gemm (x, w) r = Relu (c) {reader} }}"""
    )
    written = bench.write(c="int8", y="int8" if "Add" in reader else "fp32")
    assert ("Relu" in ops(written)) is ("Exp" in reader)
    assert bench.numbers(written).sqnr_db > 30


def test_indices_of_a_max_pool_stay_integers(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[1,2,4,4] x) => (float y)
        {{
            m, places = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            s = Sigmoid (m)
            y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (s, places)
        }}"""
    )
    written = bench.write(every="int8")
    pool = next(node for node in written.graph.node if node.op_type == "MaxPool")
    unpool = next(node for node in written.graph.node if node.op_type == "MaxUnpool")
    assert unpool.input[1] == pool.output[1] == "places"
    assert bench.numbers(written).same_shape  # it runs; which of two equal integers wins may change


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_zero_channels_change_nothing(
    subject: Make, find_dialect: Callable[[str], Dialect], channels: int
) -> None:
    text = f"""{OPSET} g (float[2,{channels},5,5] x) => (float[2,4,5,5] y)
    <float[4,{channels},3,3] w, float[4] b> {{ y = Conv <pads = [1,1,1,1]> (x, w, b) }}"""
    padded, bare = (
        subject(text, replace(find_dialect("x86"), int8_channels=width)) for width in (4, 1)
    )
    written = [bench.write(y="int8") for bench in (padded, bare)]
    assert ("Pad" in ops(written[0])) is (channels < 4)
    assert "Pad" not in ops(written[1])
    numbers = [bench.numbers(w) for bench, w in zip((padded, bare), written, strict=True)]
    assert numbers[0] == numbers[1]


def test_a_grouped_conv_gets_no_channels(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,3,5,5] x) => (float[2,3,5,5] y) <float[3,1,1,1] w>
        {{ y = Conv <group = 3> (x, w) }}"""
    )
    assert "Pad" not in ops(bench.write(y="int8"))


def test_two_readers_share_one_padded_tensor(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,3,5,5] x) => (float[2,4,5,5] y, float[2,2,3,3] z)
        <float[4,3,1,1] w, float[2,3,3,3] v> {{ y = Conv (x, w) z = Conv (x, v) }}"""
    )
    written = bench.write(every="int8")
    assert ops(written).count("Pad") == 1
    onnx.checker.check_model(written, full_check=True)
    assert bench.numbers(written).sqnr_db > 30


@pytest.mark.parametrize(
    ("device", "precision"), [("x86", "int8"), ("a100", "int8"), ("a100", "fp16")]
)
def test_a_branch_reads_what_it_captures_as_it_was(
    subject: Make, device: str, precision: str
) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,4] x, bool flag) => (float[2,4] y) <float[4] k>
        {{
            m = Mul (x, k)
            h = Add (m, x)
            y = If (flag) <
                then_branch = t () => (float[2,4] a) {{ n = Neg (m) a = Add (n, h) }},
                else_branch = e () => (float[2,4] b) {{ b = Abs (h) }}
            >
        }}""",
        device,
    )
    written = bench.write(m=precision, h=precision)
    onnx.checker.check_model(written, full_check=True)
    assert bench.numbers(written).sqnr_db > 25


def test_an_outer_input_that_a_branch_captures_is_not_quantised_there(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,4] x, bool flag) => (float[2,4] y, float[2,4] z)
        {{
            z = Add (x, x)
            y = If (flag) <
                then_branch = t () => (float[2,4] a) {{ a = Neg (x) }},
                else_branch = e () => (float[2,4] b) {{ b = Identity (x) }}
            >
        }}"""
    )
    written = bench.write(z="int8")
    branch = next(node for node in written.graph.node if node.op_type == "If")
    assert {node.input[0] for a in branch.attribute for node in a.g.node} == {"x"}


def test_a_shared_weight_gets_the_scale_of_each_reader(subject: Make) -> None:
    """With an int32 bias one weight may need two scales: one a node."""
    bench = subject(
        f"""{OPSET} g (float[2,8] x) => (float[2,8] y, float[2,8] z) <float[8,8] w, float[8] b>
        {{ y = Gemm (x, w, b) z = Gemm <transB = 1> (x, w) }}"""
    )
    written = bench.write(every="int8")
    held = constants(written)
    assert held["y__q8"].shape == held["z__q8"].shape == (8, 8)
    assert not np.array_equal(held["y__q8__scale"], held["z__q8__scale"])
    assert "w" not in held
    assert bench.numbers(written).sqnr_db > 30


def test_a_weight_that_a_float_kernel_reads_too_stays(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,8] x) => (float[2,8] y, float[2,8] z) <float[8,8] w>
        {{ y = MatMul (x, w) z = MatMul (x, w) }}"""
    )
    assert "w" in constants(bench.write(y="int8"))


BIASES = {"vector": "float[4] b", "row": "float[1,4] b", "one": "float[1] b", "scalar": "float b"}


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("bias", BIASES.values(), ids=list(BIASES))
def test_the_bias_of_a_gemm_may_be_broadcast(subject: Make, bias: str, precision: str) -> None:
    bench = subject(
        f"""{OPSET} g (float[3,64] x) => (float[3,4] y) <float[64,4] w, {bias}>
        {{ y = Gemm (x, w, b) }}"""
    )
    written = bench.write(y=precision)
    assert "Gemm" not in ops(written) or precision == "int8"
    for optimise in (False, True):
        assert bench.numbers(written, optimise=optimise).sqnr_db > (
            30 if precision == "int8" else 15
        )


@pytest.mark.parametrize("device", ["x86", "a100"])
def test_a_bias_far_beyond_its_weights_fits_int32(subject: Make, device: str) -> None:
    """Channel 0 has weights of 1e-6 and a bias of 100: at the weights' own scale it overflows."""
    bench = subject(
        f"""{OPSET} g (float[1,2] x) => (float[1,2] y)
        <float[2,2] w = {{0.000001, 0.5, -0.000001, 0.25}}, float[2] b = {{100.0, 0.125}}>
        {{ y = Gemm (x, w, b) }}""",
        device,
    )
    assert bench.numbers(bench.write(y="int8")).rel < 0.01


@pytest.mark.parametrize("device", ["x86", "a100"])
def test_a_channel_of_zeros(subject: Make, device: str) -> None:
    bench = subject(
        f"""{OPSET} g (float[1,4,2,2] x) => (float[1,2,2,2] y)
        <float[2,4,1,1] w = {{0.0, 0.0, 0.0, 0.0, 1.0, -2.0, 0.5, 0.25}}, float[2] b = {{3.0, 0.5}}>
        {{ y = Conv (x, w, b) }}""",
        device,
    )
    written = bench.write(y="int8")
    held = constants(written)
    assert not held["y__q8"][0].any()
    assert (held["y__q8__scale"] > 0).all()
    assert bench.numbers(written).rel < 0.02


@pytest.mark.parametrize("exponent", [-6, -9, -12])
def test_scales_in_float16_never_vanish(subject: Make, exponent: int) -> None:
    """Weights so small that their scale is below float16's least number: TensorRT refuses a 0."""
    bench = subject(
        f"""{OPSET} g (float[1,4,2,2] x) => (float[1,2,2,2] y) <float[2,4,1,1] w>
        {{ y = Conv (x, w) }}""",
        "a100",
    )
    weight = bench.model.graph.initializers["w"]
    array = numpy_helper.to_array(ir.to_proto(weight.const_value)) if weight.const_value else None
    assert array is not None
    weight.const_value = ir.tensor(np.float32(array * 10.0**exponent), name="w")
    held = constants(bench.write(y="int8"))
    assert (held["y__q8__scale"] > 0).all()
    restored = held["y__q8"].astype(np.float64) * held["y__q8__scale"].reshape(-1, 1, 1, 1)
    step = held["y__q8__scale"].astype(np.float64).max()
    assert np.abs(restored - array * 10.0**exponent).max() <= step / 2 * 1.001


def test_float16_scales_are_those_that_the_integers_were_made_with(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[1,64,2,2] x) => (float[1,64,2,2] y) <float[64,64,1,1] w>
        {{ y = Conv (x, w) }}""",
        "a100",
    )
    held = constants(bench.write(y="int8"))
    assert held["y__q8__scale"].dtype == np.float16
    assert held["x__scale"] == held["x__scale__fp16"].astype(np.float32)
    weight = bench.model.graph.initializers["w"].const_value
    assert weight is not None
    scale = held["y__q8__scale"].astype(np.float32).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(np.rint(weight.numpy() / scale), held["y__q8"])
    assert np.abs(held["y__q8"]).max() <= 127


def test_float16_constants_saturate(subject: Make) -> None:
    """A mask's -3.4e38 would become -inf, and infinity times zero is not a number."""
    bench = subject(
        f"""{OPSET} g (float[1,2] x) => (float[1,2] y) <float[2] mask = {{-3.4e38, 0.0}}>
        {{ y = Add (x, mask) }}""",
        "a100",
    )
    assert np.isfinite(constants(bench.write(y="fp16"))["mask__fp16"]).all()


def test_a_tensor_is_cast_once_a_form(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[2,4] x) => (float[2,4] p, float[2,4] q, float[2,4] r, float[2,4] s)
        {{ p = Exp (x) q = Sigmoid (x) r = Tanh (x) s = Add (x, x) }}""",
        "a100",
    )
    written = bench.write(p="fp16", q="fp16", r="fp16", s="int8")
    readers = [node for node in written.graph.node if "x" in node.input]
    assert sorted(node.op_type for node in readers) == ["Cast", "QuantizeLinear"]


def test_resize_keeps_its_scales_in_float(subject: Make) -> None:
    bench = subject(
        f"""{OPSET} g (float[1,4,4,4] x) => (float y) <float[4] scales = {{1.0, 1.0, 2.0, 2.0}}>
        {{ y = Resize <mode = "linear"> (x, , scales) }}""",
        "a100",
    )
    written = bench.write(y="fp16")
    assert constants(written)["scales"].dtype == np.float32
    assert bench.numbers(written).sqnr_db > 60


def test_a_name_that_the_plan_lacks_stays_fp32(subject: Make) -> None:
    bench = subject(f"{OPSET} g (float[2,4] x) => (float[2,4] y) {{ y = Add (x, x) }}")
    source = ir.to_proto(bench.model)
    empty = replace(bench.plan(), choices=())
    assert ir.to_proto(bench.writer.write(empty)).graph.node == source.graph.node


def test_weights_are_worked_out_once(subject: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from hwc.passes import quantize  # noqa: PLC0415 - to be watched

    bench = subject(
        f"{OPSET} g (float[2,8] x) => (float[2,8] y) <float[8,8] w> {{ y = MatMul (x, w) }}"
    )
    calls: list[str] = []
    real = quantize.weights

    def watched(node: ir.Node, input_scale: float, **options: object) -> quantize.Weights:
        calls.append(str(node.name))
        return real(node, input_scale, **options)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(quantize, "weights", watched)
    first, second = bench.write(y="int8"), bench.write(y="int8")
    assert first == second
    assert calls == ["y"]


def test_merged_slots_are_written_part_by_part(subject: Make) -> None:
    """A SiLU as one decision: both of its nodes turn int8, and so does what passes between them."""
    bench = subject(
        f"{OPSET} g (float[2,8] x) => (float[2,8] y) {{ s = Sigmoid (x) y = Mul (x, s) }}"
    )
    first, second = bench.slots.slots
    merged = replace(
        second,
        parts=(*first.parts, *second.parts),
        inputs=("x",),
        inner=("s",),
        choices=first.choices,
    )
    edges = tuple(replace(e, producer=min(e.producer, 0), consumers=()) for e in bench.slots.edges)
    slots = SlotGraph((merged,), edges)
    writer = PlanWriter(
        bench.model, slots, dialect=bench.writer.dialect, ranges={n: Range(-4, 4) for n in "xsy"}
    )
    written = ir.to_proto(writer.write(replace(bench.plan(), choices=(("y", first.choices[1]),))))
    assert ops(written).count("QuantizeLinear") == 3
    assert bench.numbers(written).sqnr_db > 20
