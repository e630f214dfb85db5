"""Quantisation-aware training: rounding where it is asked for, and less loss for it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.errors import InputError, UsageError
from hwc.toolchain.frontend.torch_graph import tensors_of
from hwc.toolchain.storage.encode import stored
from hwc.toolchain.storage.formats import Format, Group
from hwc.toolchain.storage.levels import fixed_levels
from hwc.toolchain.training.lsq import Grid
from hwc.toolchain.training.qat import QuantActivation, QuantWeight, quantise
from hwc.toolchain.training.recipe import Recipe
from hwc.toolchain.training.student import Student, write_back
from hwc.toolchain.training.task import Task
from hwc.toolchain.training.trainer import train

torch = pytest.importorskip("torch", reason="torch is not installed")
Made = Callable[..., Any]
WEIGHTS = tuple(QuantWeight(name, 0, Grid.of(3)) for name in ("w1", "w2", "w3", "v"))
ACTIVATIONS = (
    QuantActivation("x", 0.03, 128),
    QuantActivation("r", 0.3, bits=4),
    QuantActivation("t", 0.5, bits=4),
)


@pytest.fixture
def student(network: ir.Model, pictures: Made, make_runner: Made) -> Student:
    return Student.of(network, pictures(), make_runner)


def test_training_lowers_the_loss(
    student: Student, network: ir.Model, pictures: Made, make_runner: Made
) -> None:
    samples = pictures(160)
    teacher = Student.of(network, samples, make_runner)
    made = quantise(student, WEIGHTS, ACTIVATIONS)
    before = made.scales()
    recipe = Recipe(steps=40, batch=32, lr=0.01, norms=False)
    trained = train(Task.of(made.student, teacher, samples, recipe=recipe), recipe)
    losses = [point.validation for point in trained.curve]
    assert losses[0] is not None
    assert min(loss for loss in losses if loss is not None) < 0.5 * losses[0]
    after = made.scales()
    assert set(after) == {"w1", "w2", "w3", "v", "x", "r", "t"}
    assert after["w1"].shape == (8,)
    assert all((after[name] != before[name]).all() for name in after)
    for weight in WEIGHTS:
        array = made.to_model().graph.initializers[weight.name].const_value.numpy()
        scale = after[weight.name].reshape(-1, *[1] * (array.ndim - 1))
        assert np.abs(np.rint(array / scale)).max() <= 3


def test_the_runtime_rounds_as_torch_does(
    student: Student, network: ir.Model, pictures: Made, make_runner: Made
) -> None:
    """Weights on the grid of the scales that are given back make the same outputs."""
    made = quantise(student, WEIGHTS, ())
    grid, on_grid = Grid.of(3), {}
    for name, scale in made.scales().items():
        array = network.graph.initializers[name].const_value.numpy()
        step = scale.reshape(-1, *[1] * (array.ndim - 1))
        on_grid[name] = np.clip(np.rint(array / step), grid.low, grid.high) * step
    feeds = pictures()[2].feeds
    wanted = make_runner(write_back(network, on_grid))(feeds)["y"]
    with torch.no_grad():
        got = made.student(tensors_of(feeds))["y"].numpy()
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(got - make_runner(network)(feeds)["y"]).max() > 0.1


def test_only_some_readers(student: Student, pictures: Made) -> None:
    """`r` is read by a convolution and by a sum; the sum alone, or none, sees it rounded."""
    feeds = tensors_of(pictures()[0].feeds)
    with torch.no_grad():
        exact = student(feeds)["y"]
        quantise(student, (), [QuantActivation("r", 1.0, bits=2, readers=("nobody",))])
        assert torch.equal(student(feeds)["y"], exact)
        quantise(student, (), [QuantActivation("r", 1.0, bits=2, readers=("s",))])
        assert not torch.equal(student(feeds)["y"], exact)


def test_given_scales(student: Student) -> None:
    scale = np.linspace(0.0001, 0.0008, 8).astype(np.float32)
    made = quantise(student, [QuantWeight("w1", 0, Grid.of(8), scale=scale)], ())
    np.testing.assert_array_equal(made.scales()["w1"], scale)


@pytest.mark.parametrize("coarse", [False, True], ids=["float32", "bfloat16"])
def test_a_step_is_no_longer_than_its_largest_weight_needs(
    coarse: bool,  # noqa: FBT001
    student: Student,
    network: ir.Model,
) -> None:
    """So that whoever rounds the rounded weight again finds the same step, and the same weight."""
    made = quantise(student, [QuantWeight("w1", 0, Grid.of(4), np.full(8, 9.0), coarse)], ())
    held = network.graph.initializers["w1"].const_value.numpy()
    needed = np.abs(held).max(axis=(1, 2, 3)) / 7
    scale = made.scales()["w1"]
    np.testing.assert_allclose(scale, needed, rtol=2**-8 if coarse else 1e-6)
    if coarse:
        assert (scale.view(np.uint32) & 0xFFFF == 0).all()
    rounded = made.to_model().graph.initializers["w1"].const_value.numpy()
    again = np.abs(rounded).max(axis=(1, 2, 3)) / 7
    np.testing.assert_array_equal(again, scale)


@pytest.mark.parametrize(
    "text", ["int3", "lsq4", "float4e2m1", "float6e2m3", "log4", "int4/tensor"]
)
def test_a_storage_format_keeps_what_was_rounded_for_it(
    text: str, student: Student, network: ir.Model
) -> None:
    form = Format.parse(text)
    axis = None if form.group is Group.TENSOR else 0
    grid = Grid.at(fixed_levels(form).tolist())
    made = quantise(student, [QuantWeight("w1", axis, grid, coarse=True)], ())
    rounded = made.to_model().graph.initializers["w1"].const_value.numpy()
    assert not np.array_equal(rounded, network.graph.initializers["w1"].const_value.numpy())
    np.testing.assert_array_equal(stored(rounded, form, axis), rounded)


@pytest.mark.parametrize(
    ("weights", "activations", "message"),
    [
        ([QuantWeight("nobody", 0, Grid.of(8))], [], "weight 'nobody'"),
        ([], [QuantActivation("nothing", 1.0)], "tensor 'nothing'"),
    ],
    ids=["weight", "tensor"],
)
def test_what_is_not_there(
    weights: list[QuantWeight],
    activations: list[QuantActivation],
    message: str,
    student: Student,
) -> None:
    with pytest.raises(InputError, match=message):
        quantise(student, weights, activations)


def test_norms_are_folded_before(network: ir.Model, pictures: Made, make_runner: Made) -> None:
    student = Student.of(network, pictures(), make_runner, norms=True)
    with pytest.raises(UsageError, match="batch norms"):
        quantise(student, WEIGHTS, ())
