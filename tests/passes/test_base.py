"""Plans written with the scales of an earlier graph: only what really changed is other."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.passes.apply import PlanWriter
from hwc.passes.base import Base
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import InputError
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.same_graph import first_difference
from hwc.toolchain.storage.encode import encode, stored
from hwc.toolchain.storage.formats import Format
from onnx import numpy_helper

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

Make = Callable[..., "Subject"]
CASES = sorted((Path(__file__).parent / "plans").glob("*.txt"))
HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
CONV = f"""{HEAD} g (float[1,4,8,8] x) => (float[1,8,6,6] y) <float[8,4,3,3] w, float[8] b>
{{ y = Conv (x, w, b) }}"""
MATMUL = f"{HEAD} g (float[4,64] x) => (float[4,32] y) <float[64,32] w> {{ y = MatMul (x, w) }}"
WIDE = f"{HEAD} g (float[4,32] x) => (float[4,64] y) <float[32,64] w> {{ y = MatMul (x, w) }}"
STORED = f"""{HEAD} g (float[1,32,6,6] x) => (float[1,64,4,4] y) <float[64,32,3,3] w, float[64] b>
{{ y = Conv (x, w, b) }}"""
FORMATS = ("int4", "lsq3", "log4", "codebook3", "float4e2m1", "float6e2m3")


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    """The initialisers by name."""
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def moved(model: ir.Model, change: Callable[[Array], Array]) -> ir.Model:
    """The same graph with its float weights changed."""
    copy = model.clone()
    for name, value in copy.graph.initializers.items():
        array = value.const_value.numpy()
        if array.dtype == np.float32 and array.size > 1:
            value.const_value = ir.tensor(change(array).astype(np.float32), name=name)
    return copy


def half_moved(array: Array) -> Array:
    """A weight of which every second number is another."""
    step = np.random.default_rng(0).normal(size=array.shape) * 0.1 * np.abs(array).max()
    step.reshape(-1)[::2] = 0.0
    result: Array = array + step
    return result


def rewritten(
    bench: "Subject", plan: Plan, earlier: ir.Model, model: ir.Model | None = None
) -> tuple[onnx.ModelProto, Base]:
    """A plan written with the scales of an earlier graph, which was on disk."""
    base = Base(ir.from_proto(ir.to_proto(earlier)).graph)
    writer = PlanWriter(
        model or bench.model, bench.slots, dialect=bench.writer.dialect, ranges={}, base=base
    )
    return ir.to_proto(writer.write(plan)), base


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest, subject: Make) -> tuple["Subject", Plan]:
    """A graph in a device's dialect, and a plan: those of the golden cases."""
    head, before, plan, *_ = request.param.read_text().split("---\n")
    about = dict(line.split(": ") for line in head.splitlines() if not line.startswith("#"))
    bench = subject(before, about["device"])
    return bench, bench.plan(**dict(line.split(": ") for line in plan.splitlines()))


def test_the_same_weights_give_the_same_graph(case: tuple["Subject", Plan]) -> None:
    bench, plan = case
    earlier = bench.writer.write(plan)
    got, base = rewritten(bench, plan, earlier)
    assert got == ir.to_proto(earlier)
    assert not any(base.clipped.values())
    assert base.changed(ir.from_proto(got).graph)[0] == 0


def test_other_weights_keep_every_scale(case: tuple["Subject", Plan]) -> None:
    bench, plan = case
    earlier = bench.writer.write(plan)
    got, _ = rewritten(bench, plan, earlier, moved(bench.model, half_moved))
    assert not first_difference(earlier, ir.from_proto(got))
    before, after = constants(ir.to_proto(earlier)), constants(got)
    for name, array in before.items():
        if name.endswith(("__zero", "__scale", "__scale__fp16")):
            assert np.array_equal(array, after[name]), name


@pytest.mark.parametrize(("device", "every"), [("x86", "int8"), ("a100", "int8")])
def test_integers_change_only_where_weights_do(device: str, every: str, subject: Make) -> None:
    bench = subject(CONV, device)
    plan = bench.plan(every=every)
    earlier, model = bench.writer.write(plan), moved(bench.model, half_moved)
    got, base = rewritten(bench, plan, earlier, model)
    before, after = (constants(m)["y__q8"][:, :4] for m in (ir.to_proto(earlier), got))
    same = (
        bench.model.graph.initializers["w"].const_value.numpy()
        == model.graph.initializers["w"].const_value.numpy()
    )
    assert same.sum() == same.size / 2
    assert np.array_equal(before[same], after[same])
    assert base.changed(ir.from_proto(got).graph)[0] == np.count_nonzero(before != after) > 0


@pytest.mark.parametrize("text", [MATMUL, WIDE], ids=["deep", "wide"])
@pytest.mark.parametrize("device", ["x86", "a100"])
def test_4_bit_blocks_keep_their_scales(device: str, text: str, subject: Make) -> None:
    bench = subject(text, device)
    plan = bench.plan(every="int4")
    assert plan.counts() == {"int4": 1}
    earlier = bench.writer.write(plan)

    def one(array: Array) -> Array:
        other = array.copy()
        other[0, 0] = 1e3
        return other

    got, base = rewritten(bench, plan, earlier, moved(bench.model, one))
    assert np.array_equal(
        constants(got)["y__q4__scale"], constants(ir.to_proto(earlier))["y__q4__scale"]
    )
    changed, total = base.changed(ir.from_proto(got).graph)
    assert (changed, total) == (1, 2048)
    assert base.clipped == {"y__q4": 1}


def test_what_is_beyond_a_scale_is_clipped_and_counted(subject: Make) -> None:
    bench = subject(CONV)
    plan = bench.plan(every="int8")
    earlier = bench.writer.write(plan)

    def larger(array: Array) -> Array:
        other = array.copy()
        other.reshape(-1)[:3] = (50.0, -50.0, 0.0)
        return other

    got, base = rewritten(bench, plan, earlier, moved(bench.model, larger))
    assert base.clipped == {"y__q8": 2}
    assert constants(got)["y__q8"].reshape(-1)[:3].tolist() == [127, -128, 0]


@pytest.mark.parametrize("form", [*FORMATS, "int4/32"])
def test_decoded_weights_keep_scales_and_levels(form: str, subject: Make) -> None:
    bench = subject(STORED)
    plan = Plan.of({"y": NodeChoice(storage=form)})
    earlier = bench.writer.write(plan)
    got, base = rewritten(bench, plan, earlier)
    assert got == ir.to_proto(earlier)
    assert base.changed(ir.from_proto(got).graph) == (0, 64 * 32 * 9)
    got, base = rewritten(bench, plan, earlier, moved(bench.model, half_moved))
    (name,) = base.clipped
    before, after = (constants(model)[name] for model in (ir.to_proto(earlier), got))
    like = encode(before, Format.parse(form))
    assert np.array_equal(stored(after, like.form, like=like), after)  # they hold it as it is
    assert np.array_equal(stored(before, like.form, like=like), before)
    changed, total = base.changed(ir.from_proto(got).graph)
    assert 0 < changed <= total / 2


@pytest.mark.parametrize("form", FORMATS)
def test_integers_of_stored_weights_stay(form: str, subject: Make) -> None:
    """Of a codebook the levels are known to half a step only: weights between two may move."""
    bench = subject(STORED)
    plan = Plan.of({"y": NodeChoice(Precision.INT8, storage=form)})
    earlier = bench.writer.write(plan)
    got, base = rewritten(bench, plan, earlier)
    changed, total = base.changed(ir.from_proto(got).graph)
    assert changed <= (total / 100 if form.startswith("codebook") else 0)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones((4, 6)), "'y__q8' has scales of shape [6], and in the base [4]"),
        (np.full((4, 4), np.nan), "a number of 'y__q8' is NaN or infinite"),
    ],
    ids=["channels", "nan"],
)
def test_weights_that_do_not_fit(weight: Array, message: str, subject: Make) -> None:
    bench = subject(
        f"{HEAD} g (float[2,4] x) => (float[2,4] y) <float[4,4] w> {{ y = MatMul (x, w) }}"
    )
    plan = bench.plan(every="int8")
    model = moved(bench.model, lambda _: weight)
    with pytest.raises(InputError) as raised:
        rewritten(bench, plan, bench.writer.write(plan), model)
    assert raised.value.message == message


def test_a_tensor_that_was_never_integers(subject: Make) -> None:
    bench = subject(f"{HEAD} g (float[2,4] x) => (float[2,4] y) {{ y = Mul (x, x) }}")
    with pytest.raises(InputError, match="'x' is to be integers, but is none in the base"):
        rewritten(bench, bench.plan(every="int8"), bench.model)


def test_a_stored_weight_of_another_shape(subject: Make) -> None:
    bench = subject(STORED)
    plan = Plan.of({"y": NodeChoice(storage="int4")})
    earlier = bench.writer.write(plan)
    (name,) = (n for n in earlier.graph.initializers if n.endswith("__stored"))
    earlier.graph.initializers[name].const_value = ir.tensor(np.zeros((64, 32), np.float32))
    with pytest.raises(InputError, match=r"shape \[64, 32, 3, 3\], and in the base \[64, 32\]"):
        rewritten(bench, plan, earlier)
