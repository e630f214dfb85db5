"""Plans that are run block by block give the numbers of whole graphs, and cost what is new."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.accuracy.blocks import ACTIVATIONS, SESSIONS, BlockRunner, Rebuild
from hwc.toolchain.accuracy.metric import Outputs
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.engine import Array, Feeds, Runner
from hwc.toolchain.errors import BackendError
from hwc.toolchain.plan import Plan, Precision
from onnx import shape_inference

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

NETS = Path(__file__).parent / "nets"
Load = Callable[..., "Subject"]


@pytest.fixture(scope="module")
def load(
    subject: Load,
    find_dialect: Callable[[str], Dialect],
    parse_graph: Callable[[str], onnx.ModelProto],
) -> Load:
    """A net as it is judged on this machine, whatever the device."""

    def loaded(name: str, device: str = "x86") -> "Subject":
        dialect = find_dialect(device)
        if device != "x86":
            dialect = replace(dialect, qdq=True, casts=True, emulated=frozenset({Precision.BF16}))
        graph = parse_graph((NETS / f"{name}.txt").read_text())
        return subject(shape_inference.infer_shapes(graph), dialect)

    return loaded


def opener(net: "Subject") -> Callable[[ir.Model], Runner]:
    own = net.writer.dialect.name == "ort"
    return lambda model: Session(model, Options(threads=1, integers=own, arena=False))


def runner(net: "Subject", activations: int = ACTIVATIONS, sessions: int = SESSIONS) -> BlockRunner:
    return BlockRunner(net.writer, opener(net), activations=activations, sessions=sessions)


def samples(net: "Subject") -> list[Sample]:
    return [Sample(feeds) for feeds in net.samples]


def whole(net: "Subject", plan: Plan, data: Sequence[Sample]) -> list[Outputs]:
    rebuild = Rebuild(lambda chosen: opener(net)(net.writer.write(chosen)))
    return list(rebuild.outputs(plan, data))


def walk(net: "Subject", count: int, seed: int) -> list[Plan]:
    """A plan at random, and others of which each differs from the one before in one slot."""
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(len(slot.choices))) for slot in net.slots.slots]
    free = [i for i, slot in enumerate(net.slots.slots) if len(slot.choices) > 1]
    plans = []
    for _ in range(count):
        pairs = zip(net.slots.slots, chosen, strict=True)
        plans.append(Plan.of((slot.name, slot.choices[k]) for slot, k in pairs))
        i = int(rng.choice(free))
        chosen[i] = (chosen[i] + 1) % len(net.slots.slots[i].choices)
    return plans


def equal(got: Sequence[Outputs], expected: Sequence[Outputs]) -> bool:
    """Whether outputs are the same, bit by bit."""
    return [list(row) for row in got] == [list(row) for row in expected] and all(
        np.array_equal(a[name], b[name]) for a, b in zip(got, expected, strict=True) for name in a
    )


@pytest.mark.parametrize("name", ["residual", "two_outputs", "masked", "branches"])
def test_blocks_give_the_numbers_of_the_whole(load: Load, name: str) -> None:
    """Bit by bit: with residuals, several outputs, a mask, and integers across the cuts."""
    net = load(name)
    run, data = runner(net), samples(net)
    for plan in [net.plan(), *walk(net, 10, 0), net.plan(every="int8"), *walk(net, 6, 1)]:
        assert equal(list(run.outputs(plan, data)), whole(net, plan, data)), plan
    assert run.spent.run > 0
    assert run.spent.skipped > 0
    assert run.error == 0


@pytest.mark.parametrize("name", ["residual", "two_outputs", "masked", "branches"])
def test_other_devices_are_simulated_block_by_block(load: Load, name: str) -> None:
    """Nearly always bit by bit, and within 1 % of the largest output.

    Between float16 kernels, which it computes in fp32, the runtime leaves out roundings where it
    can; what is quantised afterwards may differ by a step.
    """
    net = load(name, "jetson_orin")
    run, data = runner(net), samples(net)
    apart = []
    for plan in [net.plan(), *walk(net, 10, 0), *walk(net, 6, 1)]:
        pairs = zip(run.outputs(plan, data), whole(net, plan, data), strict=True)
        apart.append(
            max(np.abs(a[n] - b[n]).max() / np.abs(b[n]).max() for a, b in pairs for n in b)
        )
    assert max(apart) < 1e-2
    assert np.median(apart) == 0
    assert run.spent.skipped > 0


def test_steady_numbers_do_not_depend_on_what_was_run_before(load: Load) -> None:
    """Also where blocks round in another way than the whole does."""
    net = load("residual", "jetson_orin")
    data, plans = samples(net), [net.plan(), *walk(net, 6, 0), *walk(net, 3, 1)]
    one = BlockRunner(net.writer, opener(net), steady=True)
    other = BlockRunner(net.writer, opener(net), steady=True)
    forth = [list(one.outputs(plan, data)) for plan in plans]
    back = [list(other.outputs(plan, data)) for plan in reversed(plans)][::-1]
    assert all(equal(a, b) for a, b in zip(forth, back, strict=True))
    assert one.spent.whole == other.spent.whole == 0
    assert one.error == other.error


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_sweeps_of_one_slot(load: Load, precision: str) -> None:
    """Each slot by itself: what came before it is not run again, and the numbers are the same."""
    net, other = load("residual"), {"int8": "fp32", "fp32": "int8"}[precision]
    run, data = runner(net), samples(net)
    base = net.plan(every=precision)
    assert equal(list(run.outputs(base, data)), whole(net, base, data))
    for slot in net.slots.slots:
        plan = net.plan(every=precision, **{slot.name: other})
        assert equal(list(run.outputs(plan, data)), whole(net, plan, data)), slot.name
    assert run.spent.skipped > run.spent.run / 3
    assert run.spent.opened < run.spent.run * 0.75


def test_what_a_change_costs(load: Load) -> None:
    """A plan that was run costs its last block; a change in the last block no other."""
    net = load("residual")
    run, data = runner(net), samples(net)
    blocks = len(run.cuts)
    list(run.outputs(net.plan(), data))
    assert (run.spent.opened, run.spent.run, run.spent.skipped) == (blocks, blocks, 0)
    list(run.outputs(net.plan(), data))
    assert (run.spent.opened, run.spent.run, run.spent.skipped) == (blocks, blocks + 1, blocks - 1)
    last = next(
        slot.name
        for slot, block in zip(net.slots.slots, run.cuts.block_of, strict=True)
        if block == blocks - 1 and len(slot.choices) > 1 and slot.op == "Gemm"
    )
    list(run.outputs(net.plan(**{last: "int8"}), data))
    assert (run.spent.opened, run.spent.run) == (blocks + 1, blocks + 2)


def test_other_samples_are_not_mistaken(load: Load) -> None:
    net = load("residual")
    run, data = runner(net), samples(net)
    first = list(run.outputs(net.plan(), data))
    swapped = data[::-1]
    assert equal(list(run.outputs(net.plan(), swapped)), first[::-1])
    assert equal(list(run.outputs(net.plan(), data)), first)


@pytest.mark.parametrize("limit", [0, 1000, 3_000_000])
def test_memory_is_limited(load: Load, limit: int) -> None:
    """Whatever the limits, the numbers are the same and the limits hold."""
    net = load("residual")
    run, data = runner(net, activations=limit, sessions=limit), samples(net)
    for plan in [net.plan(), *walk(net, 8, 3)]:
        assert equal(list(run.outputs(plan, data)), whole(net, plan, data))
        assert run.remembered <= limit
    assert (run.remembered > 0) == (limit == 3_000_000)


def test_short_memory_is_for_what_is_wanted_twice(load: Load) -> None:
    """A base plan's activations are not pushed out by those of plans that are seen once."""
    net = load("residual")
    data = samples(net)
    full = runner(net)
    list(full.outputs(net.plan(), data))
    run = runner(net, activations=full.remembered)
    list(run.outputs(net.plan(), data))
    for slot in net.slots.slots[:4]:
        list(run.outputs(net.plan(**{slot.name: "int8"}), data))
    before = run.spent.run
    list(run.outputs(net.plan(), data))
    assert run.spent.run == before + 1


def test_unrelated_plans_are_built_whole(load: Load) -> None:
    net = load("residual")
    run, data = runner(net), samples(net)
    list(run.outputs(net.plan(), data))
    opened = run.spent.opened
    assert equal(
        list(run.outputs(net.plan(every="int8"), data)),
        whole(net, net.plan(every="int8"), data),
    )
    assert (run.spent.whole, run.spent.opened) == (1, opened)


def test_models_that_cannot_be_cut_are_built_whole(load: Load) -> None:
    net = load("skipped")
    run, data = runner(net), samples(net)
    for plan in walk(net, 3, 0):
        assert equal(list(run.outputs(plan, data)), whole(net, plan, data))
    assert (run.spent.whole, run.spent.opened, run.error) == (3, 0, None)


def test_feeds_are_not_read_where_nothing_needs_them(load: Load) -> None:
    """Pictures need not be decoded again for a change in the last block."""
    net = load("residual")
    read: list[int] = []

    class Data:
        def __len__(self) -> int:
            return len(net.samples)

        def __getitem__(self, index: int) -> Sample:
            read.append(index)
            return Sample(net.samples[index])

    run, data = runner(net), Data()
    list(run.outputs(net.plan(), data))
    assert read == [0, *range(len(data))]  # the first one for the comparison with the whole
    list(run.outputs(net.plan(c7="int8"), data))
    assert len(read) == 1 + len(data)


@pytest.mark.parametrize("how", ["wrong", "refused"])
def test_blocks_that_do_not_give_the_same_are_not_used(load: Load, how: str) -> None:
    """A runtime that computes parts in another way, or refuses them, gets whole graphs."""
    net = load("residual")
    real = opener(net)

    def tampered(model: ir.Model) -> Runner:
        run = real(model)
        if {str(value.name) for value in model.graph.inputs} == {"x"} and "y" in {
            str(value.name) for value in model.graph.outputs
        }:
            return run
        if how == "refused":
            raise BackendError("no parts here")

        def off(feeds: Feeds) -> dict[str, Array]:
            return {name: array + 1 for name, array in run(feeds).items()}

        return off

    run, data = BlockRunner(net.writer, tampered), samples(net)
    for plan in [net.plan(), net.plan(c1="int8")]:
        assert equal(list(run.outputs(plan, data)), whole(net, plan, data))
    assert run.spent.whole == 2
    assert run.error is not None
    assert run.error > 1e-3


def test_a_plan_that_the_backend_refuses(load: Load) -> None:
    net = load("residual")

    def refusing(model: ir.Model) -> Runner:
        raise BackendError(f"no {model.graph.name}")

    with pytest.raises(BackendError, match="no net"):
        list(BlockRunner(net.writer, refusing).outputs(net.plan(), samples(net)))
