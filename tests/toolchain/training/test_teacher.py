"""A teacher may be the user's module, and is not asked twice for the same sample."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.torch_graph import tensors_of
from hwc.toolchain.training.batches import Batches
from hwc.toolchain.training.recipe import Recipe
from hwc.toolchain.training.student import Student
from hwc.toolchain.training.task import Task
from hwc.toolchain.training.teacher import Lessons, example_rows, teacher_module
from hwc.toolchain.training.trainer import train

torch = pytest.importorskip("torch", reason="torch is not installed")
Made = Callable[..., Any]
CODE = """
import torch

def make():
    torch.manual_seed(0)
    pool = torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(pool, torch.nn.Flatten(), torch.nn.Linear(3, 5))

def number():
    return 7

class Two(torch.nn.Module):
    def forward(self, x):
        return x, x

def two():
    return Two(), (torch.zeros(1),)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


def test_a_module_teaches(code: Path, network: ir.Model, pictures: Made, make_runner: Made) -> None:
    teacher = teacher_module(f"{code}:make", ["x"], ["y"])
    recipe = Recipe(steps=20, batch=32)
    student = Student.of(network, pictures(), make_runner, norms=True)
    trained = train(Task.of(student, teacher, pictures(100), recipe=recipe), recipe)
    assert trained.kept > 0


@pytest.mark.parametrize(
    ("factory", "message"),
    [("number", "returned a int"), ("two", "returns 2 tensors, the model has 1")],
)
def test_what_is_no_teacher(factory: str, message: str, code: Path, pictures: Made) -> None:
    with pytest.raises(InputError, match=message):
        teacher_module(f"{code}:{factory}", ["x"], ["y"])(tensors_of(pictures()[0].feeds))


@pytest.mark.parametrize("remember", [True, False])
def test_a_teacher_is_asked_once(remember: bool, pictures: Made) -> None:  # noqa: FBT001
    asked = []

    def teach(feeds: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(len(feeds["x"]))
        return {"y": feeds["x"].mean((2, 3)), "other": feeds["x"]}

    batches = Batches.of(pictures(32), 8)
    lessons = Lessons(teach, ["y"], remember=remember)
    for step in range(8):  # two rounds
        (part,) = batches.at(step)
        got = lessons.of(part)
        assert set(got) == {"y"}
        np.testing.assert_allclose(got["y"].numpy(), part.feeds["x"].mean((2, 3)), rtol=1e-5)
    assert len(asked) == (4 if remember else 8)
    assert [row["y"].shape for row in example_rows(teach, batches.at(0), ["y"])] == [(1, 3)] * 8
