"""Real networks after the graph passes: groups, half of each, and all that vanishes."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.prune import prune
from hwc.toolchain import kernels
from hwc.toolchain.device import load_profile
from hwc.toolchain.engine import Array
from hwc.toolchain.frontend.load import load_model
from hwc.toolchain.frontend.shapes import model_inputs
from hwc.toolchain.observe import annotate
from hwc.toolchain.progress import Silent
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import ChannelGroups, Role
from hwc.tools.backends import open_backend
from hwc.tools.stages.rewrite import rewrite

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "bench" / "dev" / "models"
RTOL = 2e-5  # of the largest output: sums in another order, in fp32, through up to 55 layers
BRIGHT = 16000  # samples a second
FREE = {"batch": 2, "seq": 7, "sequence": 576, "p2o.DynamicDimension.0": 2}
# Groups, units, and groups that vanish: facts of these networks' structure.
EXPECTED = {
    "resnet20_cifar10": (12, 400, 11),
    "resnet20_cifar10_v2": (12, 400, 11),
    "resnet56_cifar10": (30, 1072, 29),
    "dscnn_kws": (5, 320, 0),
    "efficientnet_lite0": (24, 11024, 9),
    "tinyvit_cifar10": (11, 1332, 10),
    "yolox_nano": (67, 5472, 17),
    "ppocr_v4_rec": (25, 4948, 7),
    "minilm_l6": (12, 9288, 12),
    "speaker_lstm": (0, 0, 0),
    "silero_vad_16k": (4, 385, 0),
}


@cache
def prepared(name: str) -> tuple[ir.Model, ChannelGroups]:
    """A network after the graph passes, with the groups of a copy whose shapes were seen."""
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the checkout")
    profile = load_profile("host")
    model, _ = rewrite(
        load_model(str(path)), open_backend(profile.backend).dialect(profile), Silent()
    )
    return model, find_groups(annotate(model, session, feeds(model)))


def session(model: ir.Model) -> Session:
    return Session(model, Options(threads=1, optimise=False))


def feeds(model: ir.Model) -> dict[str, Array]:
    """One input, made up."""
    rng = np.random.default_rng(0)
    made: dict[str, Array] = {}
    for spec in model_inputs(model):
        shape = [d if isinstance(d, int) else FREE.get(str(d), 48) for d in spec.shape]
        if spec.name == "sr":
            made[spec.name] = np.full(shape, BRIGHT, spec.dtype)
        elif np.dtype(spec.dtype).kind == "f":
            made[spec.name] = rng.standard_normal(shape).astype(spec.dtype)
        else:
            made[spec.name] = np.ones(shape, spec.dtype)
    return made


def macs(model: ir.Model) -> int:
    return sum(kernels.macs(node) for node in model.graph)


def masked(model: ir.Model, found: ChannelGroups, kept: dict[str, Array]) -> ir.Model:
    copy = model.clone()
    for group in found.groups:
        out = np.setdiff1d(np.arange(group.units), kept.get(group.name, np.arange(group.units)))
        for member in group.members:
            if member.role is Role.READS:
                value = copy.graph.initializers[member.constant]
                assert value.const_value is not None
                array = np.moveaxis(value.const_value.numpy().copy(), member.axis, 0)
                array[member.indices[out].reshape(-1)] = 0
                array = np.ascontiguousarray(np.moveaxis(array, 0, member.axis))
                value.const_value = ir.tensor(array)
    return copy


def same(model: ir.Model, found: ChannelGroups, kept: dict[str, Array]) -> ir.Model:
    pruned = prune(model, found.groups, kept)
    onnx.checker.check_model(ir.to_proto(pruned), full_check=True)
    given = feeds(model)
    want, got = session(masked(model, found, kept))(given), session(pruned)(given)
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=0, atol=RTOL * np.abs(array).max())
    return pruned


@pytest.mark.parametrize("name", EXPECTED)
def test_groups_are_found(name: str) -> None:
    _, found = prepared(name)
    vanishing = sum(group.vanishes for group in found.groups)
    assert (len(found.groups), sum(g.units for g in found.groups), vanishing) == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name, (groups, _, _) in EXPECTED.items() if groups])
def test_half_of_every_group_gives_the_same_as_masks(name: str) -> None:
    model, found = prepared(name)
    rng = np.random.default_rng(1)
    kept = {
        group.name: np.sort(rng.permutation(group.units)[: max(1, group.units // 2)])
        for group in found.groups
    }
    pruned = same(model, found, kept)
    assert macs(pruned) < 0.8 * macs(model)


@pytest.mark.parametrize("name", [name for name, (_, _, gone) in EXPECTED.items() if gone])
def test_all_that_vanishes_gives_the_same_as_masks(name: str) -> None:
    model, found = prepared(name)
    kept = {group.name: np.zeros(0, np.intp) for group in found.groups if group.vanishes}
    pruned = same(model, found, kept)
    assert len(pruned.graph) < len(model.graph)


@pytest.mark.parametrize(
    ("name", "op"), [("silero_vad_16k", "If"), ("silero_vad_16k", "LSTM"), ("speaker_lstm", "LSTM")]
)
def test_what_is_not_understood_is_named(name: str, op: str) -> None:
    _, found = prepared(name)
    assert f"{op} is not understood" in {it.why for it in found.skipped}
