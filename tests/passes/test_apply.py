"""Golden cases of plan writing: a graph and a plan before, the graph in the device's dialect after.

A case file has a comment that says what it shows, the device, a tolerance (largest difference over
the largest value of the fp32 output), the graph, the plan, and the graph after.
`python tests/passes/test_apply.py` writes what follows the plan anew: read the difference before
committing it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
import pytest

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

FOLDER = Path(__file__).parent / "plans"
SEPARATOR = "---\n"
CASES = sorted(FOLDER.glob("*.txt"))


@dataclass(frozen=True)
class Case:
    """One case file."""

    device: str
    tolerance: float
    before: str
    plan: dict[str, str]
    after: str

    @classmethod
    def read(cls, path: Path) -> "Case":
        """Split a file into its parts."""
        head, before, plan, *after = path.read_text().split(SEPARATOR)
        about = dict(line.split(": ") for line in head.splitlines() if not line.startswith("#"))
        choices = dict(line.split(": ") for line in plan.splitlines())
        return cls(about["device"], float(about["tolerance"]), before, choices, "".join(after))


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return Case.read(request.param)


@pytest.fixture
def before(case: Case, subject: Callable[..., "Subject"]) -> "Subject":
    return subject(case.before, case.device)


@pytest.fixture
def after(case: Case, before: "Subject") -> onnx.ModelProto:
    return before.write(**case.plan)


def test_text(case: Case, after: onnx.ModelProto) -> None:
    assert f"{onnx.printer.to_text(after)}\n" == case.after


def test_every_choice_of_the_plan_is_legal(case: Case, before: "Subject") -> None:
    legal = {slot.name: slot.choices for slot in before.slots.slots}
    plan = before.plan(**case.plan).as_dict()
    assert set(case.plan) <= set(legal)
    assert all(plan[name] in legal[name] for name in case.plan)


def test_validity_and_signature(before: "Subject", after: onnx.ModelProto) -> None:
    onnx.checker.check_model(after, full_check=True)
    source = ir.to_proto(before.model)
    assert list(after.graph.input) == list(source.graph.input)
    assert list(after.graph.output) == list(source.graph.output)
    names = [node.name for node in after.graph.node]
    assert len(set(names)) == len(names)


def test_numbers(case: Case, before: "Subject", after: onnx.ModelProto) -> None:
    numbers = before.numbers(after)
    assert numbers.finite
    assert numbers.same_shape
    assert numbers.rel <= case.tolerance


def test_the_runtime_takes_it_with_its_optimiser_on(
    case: Case, before: "Subject", after: onnx.ModelProto
) -> None:
    assert before.numbers(after, optimise=True).rel <= case.tolerance


def write() -> None:
    """Write what follows the plan in every case anew."""
    from hwc.tests.conftest import on_workbench  # noqa: PLC0415 - tests get it as a fixture

    for path in CASES:
        case = Case.read(path)
        after = on_workbench(case.before, case.device).write(**case.plan)
        head, before, plan, *_ = path.read_text().split(SEPARATOR)
        path.write_text(SEPARATOR.join((head, before, plan, f"{onnx.printer.to_text(after)}\n")))


if __name__ == "__main__":
    write()
