"""`hwc compile` from end to end on a small convolutional network, here and for other devices."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from click.testing import Result
from hwc.backends import ort, ort_tune
from hwc.backends.ort import Ort, Session
from hwc.backends.ort_options import RUNTIME
from hwc.backends.ort_session import DEFAULT, LEFT_OUT, Layout, Options, open_session
from hwc.backends.ort_tune import Subject, Tuned
from hwc.passes.apply import PlanWriter
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.engine import Array, Check, Engine, Feeds, Runner, Status
from hwc.toolchain.errors import BackendError, ConstraintError, InputError, OutputError, UsageError
from hwc.toolchain.latency.table import LatencyTable
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import Plan, Precision
from hwc.toolchain.progress import Progress
from hwc.toolchain.report import Report
from hwc.toolchain.timing import Clock, Interval, Open, Paired, Spread, paired_openings
from hwc.tools import compiling
from hwc.tools.compiling import compile_model
from hwc.tools.options import parse_precisions, parse_shape
from hwc.tools.request import Request
from hwc.tools.stages import gate, price, search, tune

OPSET = '<ir_version: 10, opset_import: ["" : 21]>'
NET = f"""{OPSET} g (float[N,3,24,24] x) => (float[N,8] y)
<float[16,3,3,3] w1, float[16] b1, float[16,16,3,3] w2, float[16,8] w3, int64[2] flat = {{0, -1}}>
{{
    [conv1] c1 = Conv <pads = [1,1,1,1]> (x, w1, b1)
    [relu1] r1 = Relu (c1)
    [conv2] c2 = Conv <pads = [1,1,1,1]> (r1, w2)
    [relu2] r2 = Relu (c2)
    [pool] p = GlobalAveragePool (r2)
    [reshape] f = Reshape (p, flat)
    [gemm] y = Gemm (f, w3)
}}"""
SAMPLES = 24
INPUTS = {"net.onnx", "data.npz", "table.sqlite"}
Parse = Callable[[str], onnx.ModelProto]


@dataclass(frozen=True)
class Workshop:
    """A folder with a model and its data, and the command that works on them."""

    folder: Path
    invoke: Callable[..., Result]

    def compile(self, *options: str, data: bool = True, model: str = "net.onnx") -> Result:
        """Call `hwc compile` for the host, with a table of this test's own."""
        given = ("--data", self.folder / "data.npz") if data else ()
        paths = ("-o", self.folder / "out.hwc", "--table", self.folder / "table.sqlite")
        return self.invoke("compile", self.folder / model, *paths, *given, *options)

    def report(self, *options: str, **given: bool | str) -> Report:
        """The report of a compilation that goes well."""
        result = self.compile(*options, "--force", **given)  # type: ignore[arg-type]  # as above
        assert result.exception is None, result.exception
        with Bundle.open(self.folder / "out.hwc") as bundle:
            return bundle.report()

    def listing(self) -> set[str]:
        """What lies in the folder."""
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, parse_graph: Parse) -> Path:
    """The network, its data, and a latency table that covers it."""
    folder = tmp_path_factory.mktemp("stock")
    onnx.save(parse_graph(NET), folder / "net.onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, 3, 24, 24)).astype(np.float32)
    np.savez(folder / "data.npz", x=x)
    request = Request(
        str(folder / "net.onnx"),
        folder / "out.hwc",
        data=str(folder / "data.npz"),
        table=folder / "table.sqlite",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(price, "RUNS", 4)
        patch.setattr(gate, "paired_openings", times_faster(2.0))
        compile_model(request).close()
    return folder


@pytest.fixture
def workshop(
    tmp_path: Path, call: Callable[..., Result], stock: Path, monkeypatch: pytest.MonkeyPatch
) -> Workshop:
    """A workshop in which nothing takes long, and compiled engines are twice as fast."""
    for name in INPUTS:
        shutil.copy(stock / name, tmp_path / name)
    monkeypatch.setattr(gate, "paired_openings", times_faster(2.0))
    monkeypatch.setattr(gate, "_CPU", replace(gate._CPU, seconds=0.5, min_runs=8))  # noqa: SLF001
    monkeypatch.setattr(gate, "_WALL", replace(gate._WALL, seconds=0.5, min_runs=8))  # noqa: SLF001
    monkeypatch.setattr(price, "RUNS", 4)
    monkeypatch.setattr(ort_tune, "SECONDS", 0.0)
    monkeypatch.setattr(ort_tune, "RUNS", 0)
    monkeypatch.setattr(search, "STALE", math.inf)  # four runs say little
    return Workshop(tmp_path, call)


class Slowed:
    """A runner that takes ten times as long."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference after a while."""
        stop = time.process_time() + 5e-4
        while time.process_time() < stop:
            pass
        return self._inner(feeds)


def times_faster(ratio: float) -> Callable[..., Paired]:
    """A stop-watch that always finds the compiled engine to be so many times faster."""

    def paired(
        open_a: Callable[[], Runner],
        open_b: Callable[[], Runner],
        feeds: Feeds,
        *_: object,
        **__: object,
    ) -> Paired:
        for runner in (open_a(), open_b()):
            runner(feeds)
        original, compiled = Spread(100.0, 90.0, 110.0), Spread(100.0 / ratio, 90.0, 110.0)
        return Paired(
            dict.fromkeys(Clock, original),
            dict.fromkeys(Clock, compiled),
            dict.fromkeys(Clock, Interval(ratio, 0.99 * ratio, 1.01 * ratio)),
            30,
            settled=True,
        )

    return paired


@pytest.fixture
def slower(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is built is slower than the original."""
    assert workshop
    monkeypatch.setattr(gate, "paired_openings", times_faster(0.5))


def test_a_bundle_with_all_it_should_hold(workshop: Workshop) -> None:
    result = workshop.compile("--max-drop", "50%")
    assert result.exit_code == 0
    assert "out.hwc" in result.stdout
    assert workshop.listing() == {*INPUTS, "out.hwc"}
    with Bundle.open(workshop.folder / "out.hwc") as bundle:
        report = bundle.report()
        names = {path.name for path in (workshop.folder / "out.hwc").iterdir()}
        plan = Plan.from_json((workshop.folder / "out.hwc" / "plan.json").read_text())
    assert {"model.onnx", "plan.json", "report.json"} <= names
    slots = {row.name: row for row in report.slots}
    assert {"conv1", "conv2", "pool", "reshape", "gemm"} == set(slots)
    assert {name: row.choice for name, row in slots.items()} == {
        name: choice.precision.value for name, choice in plan.choices
    }
    assert all(row.why for row in report.slots)
    assert report.device == "host"
    assert report.backend.startswith("ort ")
    for column in (report.original, report.compiled):
        assert column.latency is not None
        assert column.latency.origin is Origin.MEASURED
        assert column.latency.runs == 30
        assert column.latency.spread is not None
        assert column.quality is not None
        assert column.quality.split == "report"
        assert sum(column.counts.values()) == 7  # nodes
    assert report.original.size == (workshop.folder / "net.onnx").stat().st_size
    assert report.speedup is not None
    assert report.speedup.value == 2.0
    assert report.predicted is not None
    assert report.predicted.origin is Origin.ESTIMATED
    assert report.golden is not None
    assert report.golden.finite
    assert [attempt.decision.accepted for attempt in report.attempts] == [True]
    assert any(check.status is Status.PASSED for check in report.checks)
    assert {"load the model", "read the data", "search", "verify"} <= set(report.seconds)


def test_a_plan_of_int8_really_runs_on_integers(workshop: Workshop) -> None:
    report = workshop.report("--max-drop", "90%", "--strategy", "uniform", "--precision", "int8")
    if report.compiled.counts.get("int8"):
        assert report.kernels["int8 fused"] == report.kernels["int8 asked"] > 0


def test_the_table_is_measured_once(workshop: Workshop) -> None:
    (workshop.folder / "table.sqlite").unlink()
    first = workshop.report("--max-drop", "50%")
    second = workshop.report("--max-drop", "50%")
    third = workshop.report("--max-drop", "50%", "--remeasure")
    stage = "measure kernels in place"
    assert [stage in report.seconds for report in (first, second, third)] == [True, False, True]
    with LatencyTable.open(workshop.folder / "table.sqlite") as table:
        (setting,) = table.settings()
        rows = list(table.kernels(setting))
    assert setting.device == "host"
    assert {row.choice for row in rows} >= {"fp32", "int8"}


def test_no_drop_at_all(workshop: Workshop) -> None:
    report = workshop.report("--max-drop", "0")
    assert report.drop is not None
    assert report.drop.value < 1e-6  # another order of summation
    assert "int8" not in report.compiled.counts
    assert report.golden is not None
    assert report.golden.sqnr_db > 100


def test_without_data_nothing_is_quantised(workshop: Workshop) -> None:
    report = workshop.report(data=False)
    assert report.compiled.counts == {"fp32": 7}
    assert {name for row in report.slots for name in row.predicted_us} == {"fp32"}
    assert any("no data: int8, int4 not offered" in note for note in report.notes)
    assert any("random inputs" in note for note in report.notes)


def test_random_calibration_is_asked_for_and_told(workshop: Workshop) -> None:
    report = workshop.report("--allow-random-calibration", data=False)
    assert {name for row in report.slots for name in row.predicted_us} >= {"fp32", "int8"}
    assert any("accuracy is not known" in note for note in report.notes)


def test_only_the_precisions_asked_for(workshop: Workshop) -> None:
    report = workshop.report("--precision", "fp32")
    assert {name for row in report.slots for name in row.predicted_us} == {"fp32"}
    assert all(row.why == "no other choice" for row in report.slots)


@pytest.mark.parametrize("strategy", ["exact", "greedy", "uniform"])
def test_every_strategy(workshop: Workshop, strategy: str) -> None:
    assert workshop.report("--strategy", strategy, "--max-drop", "50%").attempts


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (("--max-latency", "0.000001"), "latency of 1e-06 ms"),
        (("--max-size", "0.000001"), "size of 1e-06 MB"),
    ],
    ids=["latency", "size"],
)
def test_impossible_constraints_name_the_nearest(
    workshop: Workshop, option: tuple[str, str], text: str
) -> None:
    result = workshop.compile(*option)
    assert isinstance(result.exception, ConstraintError)
    assert result.exception.exit_code == 6
    assert text in str(result.exception)
    assert "the nearest has" in str(result.exception)
    assert "out.hwc" not in workshop.listing()


@dataclass
class Sessions:
    """Tuning that finds the plain layout best for a plan, and no arena for the original.

    Attributes:
        opened: The options of every session since, in order.
    """

    opened: list[Options] = field(default_factory=list)

    def tune(self, subject: Subject, threads: int, *, start: Options, told: object) -> Tuned:
        """What is found, by what it began with."""
        assert subject.open(start)
        assert (threads, callable(told)) == (0, True)
        if start == DEFAULT:
            return Tuned(replace(start, layout=Layout.PLAIN))
        assert start == RUNTIME
        return Tuned(replace(start, arena=False))

    def open(self, source: object, options: Options, **more: object) -> object:
        """Open a session, and note how."""
        self.opened.append(options)
        return open_session(source, options, **more)  # type: ignore[arg-type]  # passed on


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    """Tuning that finds something."""
    found = Sessions()
    monkeypatch.setattr(tune, "tune", found.tune)
    monkeypatch.setattr(ort, "open_session", found.open)
    return found


LEFT = {"without": ",".join(LEFT_OUT)}


def test_each_side_is_compared_and_kept_at_its_best(
    workshop: Workshop, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = []

    def paired(open_a: Open, open_b: Open, *rest: object, together: bool) -> Paired:
        for opener in (open_a, open_b):
            sessions.opened.clear()
            opener()
            pairs.append(sessions.opened[-1])
        assert together
        return times_faster(2.0)(open_a, open_b, *rest)

    monkeypatch.setattr(gate, "paired_openings", paired)
    report = workshop.report("--max-drop", "50%")
    original, compiled = replace(RUNTIME, arena=False), replace(DEFAULT, layout=Layout.PLAIN)
    assert pairs == [
        *(replace(original, threads=1), replace(compiled, threads=1)),
        *(original, compiled),
    ]
    assert "tune the session" in report.seconds
    said = f"layout plain, without {LEFT['without']}; the original: arena off"
    assert f"session: {said}" in report.notes
    with Bundle.open(workshop.folder / "out.hwc") as bundle:
        assert bundle.manifest.original_options == {"arena": "off"}
        assert bundle.manifest.engine is not None
        assert bundle.manifest.engine.options == {"layout": "plain", **LEFT}


@pytest.mark.usefixtures("slower")
def test_the_original_is_delivered_at_its_best(workshop: Workshop, sessions: Sessions) -> None:
    workshop.report("--max-drop", "50%")
    assert sessions.opened
    with Bundle.open(workshop.folder / "out.hwc") as bundle:
        assert bundle.manifest.engine is not None
        assert (
            bundle.manifest.engine.options == bundle.manifest.original_options == {"arena": "off"}
        )


def test_sessions_that_wait_differently_are_not_timed_together(
    workshop: Workshop, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = []

    def paired(*rest: object, together: bool) -> Paired:
        ways.append(together)
        return times_faster(2.0)(*rest)

    def tune_threads(subject: Subject, threads: int, *, start: Options, told: object) -> Tuned:
        found = sessions.tune(subject, threads, start=start, told=told).options
        return Tuned(replace(found, spinning=start == DEFAULT))

    monkeypatch.setattr(tune, "tune", tune_threads)
    monkeypatch.setattr(gate, "paired_openings", paired)
    workshop.report("--max-drop", "50%")
    assert ways == [True, False]  # one thread waits for nobody


def test_nothing_is_tuned_for_a_device_that_is_not_here(
    workshop: Workshop, sessions: Sessions
) -> None:
    del sessions
    report = workshop.report("--max-drop", "50%", "--device", "jetson_orin")
    assert "tune the session" not in report.seconds
    assert not any(note.startswith("session:") for note in report.notes)


@pytest.mark.usefixtures("slower")
def test_nothing_slower_is_delivered(workshop: Workshop) -> None:
    report = workshop.report("--max-drop", "90%")
    assert report.compiled.counts == {"fp32": 7}
    assert [attempt.decision.accepted for attempt in report.attempts][-1] is True
    assert report.attempts[-1].plan == "the original"
    refused = report.attempts[:-1]
    assert refused
    assert all("not surely faster" in "; ".join(a.decision.reasons) for a in refused)
    model = onnx.load(workshop.folder / "out.hwc" / "model.onnx")
    assert not any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def test_a_slower_engine_is_found_out(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a real stop-watch."""
    real = Ort.load

    def load(self: Ort, folder: Path, engine: Engine, threads: int = 0) -> Slowed:
        return Slowed(real(self, folder, engine, threads))

    monkeypatch.setattr(gate, "paired_openings", paired_openings)
    monkeypatch.setattr(Ort, "load", load)
    report = workshop.report("--precision", "fp32")
    assert report.attempts[0].speedup is not None
    assert report.attempts[0].speedup.high < 0.5
    assert report.attempts[-1].plan == "the original"


@pytest.mark.usefixtures("slower")
def test_a_limit_that_only_refused_plans_keep_is_not_passed_over(workshop: Workshop) -> None:
    """What is left is the original, which is larger than was asked for."""
    result = workshop.compile("--max-drop", "90%", "--max-size", "0.008")
    assert isinstance(result.exception, ConstraintError)
    assert "nothing within --max-size 0.008 passed the gate" in str(result.exception)
    assert workshop.listing() == INPUTS


def written_wrong(self: PlanWriter, plan: Plan) -> ir.Model:
    """A writer with a fault: the output has another sign."""
    model = RIGHT(self, plan)
    (y,) = model.graph.outputs
    wrong = ir.node("Neg", [y], name="wrong", num_outputs=1)
    wrong.outputs[0].type, wrong.outputs[0].shape = y.type, y.shape
    y.name, wrong.outputs[0].name = "right", "y"
    model.graph.append(wrong)
    model.graph.outputs[:] = wrong.outputs
    return model


RIGHT = PlanWriter.write


def test_nothing_wrong_is_delivered(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is not told: only the graphs that are built are wrong."""
    real = gate.Gate._try  # noqa: SLF001 - where the graph is written

    def attempt(self: gate.Gate, name: str, plan: Plan, progress: Progress) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PlanWriter, "write", written_wrong)
            return real(self, name, plan, progress)

    monkeypatch.setattr(gate.Gate, "_try", attempt)
    report = workshop.report("--max-drop", "20%")
    *refused, last = report.attempts
    assert last.plan == "the original"
    assert refused
    assert all("drop" in "; ".join(a.decision.reasons) for a in refused)
    assert report.drop is not None
    assert report.drop.value < 1e-6


def test_a_refused_build_is_an_attempt_that_failed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Ort.build
    calls: list[Path] = []

    def build(self: Ort, model: Path, profile: object, folder: Path) -> Engine:
        calls.append(model)
        if len(calls) == 1:
            raise BackendError("no such kernel")
        return real(self, model, profile, folder)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(Ort, "build", build)
    report = workshop.report("--max-drop", "50%")
    assert report.attempts[0].decision.reasons == ("no such kernel",)
    assert not report.attempts[0].decision.accepted
    assert report.attempts[-1].decision.accepted


def test_a_failed_check_counts_against_a_plan(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = (Check("a check", Status.FAILED, "it does not load"),)
    monkeypatch.setattr(Ort, "check", lambda *_: failed)
    report = workshop.report("--max-drop", "50%")
    assert "a check: it does not load" in report.attempts[0].decision.reasons
    assert report.attempts[-1].plan == "the original"


def test_json_is_one_document(workshop: Workshop) -> None:
    result = workshop.compile("--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["device"] == "host"


def test_quiet_says_nothing_on_stderr(workshop: Workshop) -> None:
    result = workshop.compile("-q")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "original" in result.stdout


def test_verbose_says_what_was_fused(workshop: Workshop) -> None:
    assert "recognise conv1" in workshop.compile("-v").stderr


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_existing_output_is_refused_before_any_work(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    target = workshop.folder / "out.hwc"
    target.mkdir() if kind == "folder" else target.write_text("mine")
    monkeypatch.setattr(compiling, "find_target", pytest.fail)
    result = workshop.compile()
    assert isinstance(result.exception, OutputError)
    assert result.exception.exit_code == 7
    assert target.is_dir() if kind == "folder" else target.read_text() == "mine"


def test_force_replaces_a_bundle(workshop: Workshop) -> None:
    workshop.report("--max-drop", "50%")
    assert workshop.report("--max-drop", "50%", "--precision", "fp32").compiled.counts == {
        "fp32": 7
    }


def test_a_zip(workshop: Workshop) -> None:
    result = workshop.compile("--zip", "--max-drop", "50%")
    assert result.exit_code == 0
    assert (workshop.folder / "out.hwc").is_file()
    with Bundle.open(workshop.folder / "out.hwc") as bundle:
        assert bundle.report().device == "host"


@pytest.mark.parametrize("device", ["ascend", "dcu", "a100", "jetson_orin"])
def test_a_device_that_is_not_here(workshop: Workshop, device: str) -> None:
    report = workshop.report("--device", device, "--max-drop", "5%")
    for column in (report.original, report.compiled):
        assert column.latency is not None
        assert column.latency.origin is Origin.ESTIMATED
    assert report.speedup is None
    assert report.predicted is None
    assert sum(check.status is Status.OWED for check in report.checks) >= 3
    assert not any(check.status is Status.FAILED for check in report.checks)
    assert report.attempts[-1].decision.accepted
    assert report.golden is not None
    assert report.golden.sqnr_db > 15
    with Bundle.open(workshop.folder / "out.hwc") as bundle:
        assert bundle.manifest.build_commands
        model = onnx.load(workshop.folder / "out.hwc" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "int4"])
def test_every_precision_of_a_gpu_is_judged_here(workshop: Workshop, precision: str) -> None:
    """A CPU has no bfloat16 kernels: what the device would compute is still compared."""
    options = ("--device", "a100", "--precision", precision, "--max-drop", "30%")
    report = workshop.report(*options, "--max-size", "0.0135", "--strategy", "uniform")
    assert report.golden is not None
    assert report.golden.finite
    assert report.drop is not None


OTHER_MODELS = {
    "integers only": (
        "(int64[N,4] x) => (int64[N,4] y) { y = Add (x, x) }",
        np.ones((SAMPLES, 4), np.int64),
    ),
    "no choice": (
        "(float[N,4] x) => (float[N,4] y) { y = Erf (x) }",
        np.ones((SAMPLES, 4), np.float32),
    ),
    "an infinite mask": (
        """(float[N,4] x) => (float[N,4] y) <float[4] mask = {0.0, -inf, 0.0, 0.0}>
        { m = Add (x, mask) y = Softmax (m) }""",
        np.ones((SAMPLES, 4), np.float32),
    ),
    "an infinite activation": (
        """(float[N,4] x) => (float[N,4] y) <float low = {-inf}, float zero = {0.0}>
        { n = Less (x, zero) m = Where (n, low, x) y = Softmax (m) }""",
        np.tile(np.array([-1, 2, -3, 4], np.float32), (SAMPLES, 1)),
    ),
    "a pass-through": (
        "(float[N,4] x) => (float[N,4] y) { y = Identity (x) }",
        np.ones((SAMPLES, 4), np.float32),
    ),
}


@pytest.mark.parametrize(("graph", "x"), OTHER_MODELS.values(), ids=list(OTHER_MODELS))
def test_models_with_little_to_decide(
    workshop: Workshop, parse_graph: Parse, graph: str, x: np.ndarray
) -> None:
    onnx.save(parse_graph(f"{OPSET} g {graph}"), workshop.folder / "other.onnx")
    np.savez(workshop.folder / "data.npz", x=x)
    report = workshop.report(model="other.onnx")
    assert report.attempts[-1].decision.accepted
    assert report.golden is not None
    assert report.golden.finite


def test_what_hwc_made_can_be_compiled_again(workshop: Workshop) -> None:
    """Its tensors bear the names that a plan would give."""
    workshop.report("--max-drop", "90%", "--precision", "int8", "--max-size", "0.01")
    shutil.copy(workshop.folder / "out.hwc" / "model.onnx", workshop.folder / "again.onnx")
    report = workshop.report("--max-drop", "90%", model="again.onnx")
    kept = {row.op: row.kept for row in report.slots}
    assert kept["DequantizeLinear"] == "quantised already"


BAD_DATA = {
    "another name": {"z": np.ones((8, 3, 24, 24), np.float32)},
    "another shape": {"x": np.ones((8, 3, 24), np.float32)},
    "no samples": {"x": np.ones((0, 3, 24, 24), np.float32)},
    "not a number": {"x": np.full((8, 3, 24, 24), np.nan, np.float32)},
}


@pytest.mark.parametrize("arrays", BAD_DATA.values(), ids=list(BAD_DATA))
def test_bad_data_leaves_nothing_behind(workshop: Workshop, arrays: dict[str, np.ndarray]) -> None:
    np.savez(workshop.folder / "data.npz", **arrays)  # type: ignore[arg-type]  # arrays by name
    result = workshop.compile()
    assert isinstance(result.exception, InputError)
    assert workshop.listing() == INPUTS


def test_from_python(workshop: Workshop) -> None:
    folder = workshop.folder
    request = Request(
        str(folder / "net.onnx"),
        folder / "out.hwc",
        data=str(folder / "data.npz"),
        table=folder / "table.sqlite",
        max_drop=0.5,
    )
    with compile_model(request) as bundle:
        assert bundle.report().device == "host"
    with pytest.raises(OutputError, match="exists already"):
        compile_model(request)


INTERRUPTED = """
import sys, signal
from hwc.tools import cli
from hwc.tools.stages import {module}
real = {module}.{name}
def watched(*a, **k):
    print("ready", flush=True)
    signal.pause()
{module}.{name} = watched
cli.main(sys.argv[1:])
"""


@pytest.fixture
def interrupted(workshop: Workshop) -> Iterator[Callable[[str, str], int]]:
    """Starts a compilation, interrupts it at a place, and gives the exit code."""
    running: list[subprocess.Popen[str]] = []

    def run(module: str, name: str) -> int:
        folder = workshop.folder
        paths = ("-o", folder / "out.hwc", "--table", folder / "table.sqlite")
        command = ("compile", folder / "net.onnx", "--data", folder / "data.npz", *paths, "-q")
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                INTERRUPTED.format(module=module, name=name),
                *map(str, command),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert "Traceback" not in errors
        return process.returncode

    yield run
    for process in running:
        process.kill()
        process.communicate()


def test_ctrl_c_leaves_nothing_behind(
    workshop: Workshop, interrupted: Callable[[str, str], int]
) -> None:
    """While the bundle is being made."""
    assert interrupted("gate", "measure") == 130
    assert workshop.listing() == INPUTS


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1x3x224x224", ("", (1, 3, 224, 224))), ("x=1x4", ("x", (1, 4))), ("a=b=2", ("a=b", (2,)))],
)
def test_shapes(text: str, wanted: tuple[str, tuple[int, ...]]) -> None:
    assert parse_shape(text) == wanted


@pytest.mark.parametrize("text", ["", "x=", "1x", "1x0", "-1x3", "1*3", "axb", "1x3.0", "²x1"])
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(UsageError, match="is not a shape"):
        parse_shape(text)


def test_precisions_have_fp32_among_them() -> None:
    assert parse_precisions("int8,fp16") == (Precision.FP32, Precision.INT8, Precision.FP16)
    assert parse_precisions("fp32,fp32") == (Precision.FP32,)
    assert parse_precisions(None) == ()


@pytest.mark.parametrize("text", ["", "int7", "int8,", "INT8", "int8;fp16"])
def test_what_is_no_precision(text: str) -> None:
    with pytest.raises(UsageError):
        parse_precisions(text)
