"""Golden cases: a model before and after the standard passes, as ONNX text.

A case file has a comment that says what it shows, a tolerance, the two models, and the journal.
`python tests/passes/test_golden.py` writes what follows `before` anew: read the difference before
committing it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hwc.passes.journal import Outcome
from hwc.passes.pipeline import run
from hwc.toolchain.dialect import Dialect

DIALECT = Dialect("golden", 13, 21, fused_activations=frozenset({"Relu", "Clip"}))
FOLDER = Path(__file__).parent / "golden"
SEPARATOR = "---\n"
CASES = sorted(FOLDER.glob("*.txt"))
DTYPES = {1: np.float32, 7: np.int64, 9: np.bool_, 10: np.float16}


@dataclass(frozen=True)
class Case:
    """One case file."""

    tolerance: float
    before: str
    after: str
    journal: str

    @classmethod
    def read(cls, path: Path) -> "Case":
        """Split a file into its parts."""
        head, *models_and_journal = path.read_text().split(SEPARATOR)
        return cls(float(head.split("tolerance: ")[1]), *models_and_journal)


def rewritten(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model after the standard passes, and the journal."""
    graph = ir.from_proto(model)
    journal = run(graph, DIALECT)
    return ir.to_proto(graph), "\n".join(journal.lines()) + "\n"


def feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Random inputs; a free dimension is 2."""
    rng = np.random.default_rng(7)
    out = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [dim.dim_value or 2 for dim in tensor.shape.dim]
        numbers = np.asarray(4 * rng.standard_normal(shape))
        out[value.name] = numbers.astype(DTYPES[tensor.elem_type])
    return out


def outputs(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """What ONNX Runtime computes with its optimiser off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds(model)), strict=True))


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return Case.read(request.param)


def test_text_and_journal(case: Case) -> None:
    after, journal = rewritten(onnx.parser.parse_model(case.before))
    assert onnx.printer.to_text(after) + "\n" == case.after
    assert journal == case.journal


def test_validity_and_signature(case: Case) -> None:
    before = onnx.parser.parse_model(case.before)
    after, _ = rewritten(before)
    onnx.checker.check_model(after, full_check=True)
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    assert [v.SerializeToString() for v in after.graph.input] == [
        v.SerializeToString() for v in before.graph.input
    ]
    names = [node.name for node in after.graph.node if node.name]
    assert len(set(names)) == len(names)


def test_numbers(case: Case) -> None:
    before = onnx.parser.parse_model(case.before)
    wanted, got = outputs(before), outputs(rewritten(before)[0])
    assert list(wanted) == list(got)
    for name, array in wanted.items():
        assert array.dtype == got[name].dtype
        np.testing.assert_allclose(got[name], array, rtol=case.tolerance, atol=case.tolerance)


def test_idempotence(case: Case) -> None:
    once, _ = rewritten(onnx.parser.parse_model(case.before))
    graph = ir.from_proto(once)
    assert run(graph, DIALECT).of(Outcome.DONE) == ()
    assert onnx.printer.to_text(ir.to_proto(graph)) == onnx.printer.to_text(once)


def write() -> None:
    """Write what follows `before` in every case anew."""
    for path in CASES:
        head, before, *_ = path.read_text().split(SEPARATOR)
        after, journal = rewritten(onnx.parser.parse_model(before))
        path.write_text(SEPARATOR.join((head, before, f"{onnx.printer.to_text(after)}\n", journal)))


if __name__ == "__main__":
    write()
