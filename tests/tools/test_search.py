"""`hwc search` from end to end on a small convolutional network."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from hwc.toolchain.accuracy.store import LossStore
from hwc.toolchain.errors import ConstraintError, HwcError, InputError, OutputError, UsageError
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.trace import Trace
from hwc.tools import search_files, strategies
from hwc.tools.stages import price

NET = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N,3,12,12] x) => (float[N,8] y)
<float[16,3,3,3] w1, float[16,16,3,3] w2, float[16,16,3,3] w3, float[16,8] w4>
{
    [conv1] c1 = Conv <pads = [1,1,1,1]> (x, w1)
    [relu1] r1 = Relu (c1)
    [conv2] c2 = Conv <pads = [1,1,1,1]> (r1, w2)
    [relu2] r2 = Relu (c2)
    [conv3] c3 = Conv <pads = [1,1,1,1]> (r2, w3)
    [pool] p = GlobalAveragePool (c3)
    [flatten] f = Flatten (p)
    [gemm] y = Gemm (f, w4)
}"""
SAMPLES = 150
# The prices of a device that is not here come from its profile: nothing is timed, none changes.
CHEAP = ("--device", "a100", "--precision", "fp16,int8", "--budget", "6", "--threads", "1", "-q")
LIMIT = ("--max-size", "0.009")  # of 0.0207 in fp32, 0.0052 in int8
STRATEGIES = ("--strategies", "evolution,random")
FILES = {"trials.csv", "pareto.csv", "curves.png", "losses.sqlite", "summary.json"}


@dataclass(frozen=True)
class Workshop:
    """A folder with a model and its data, and the command that works on them."""

    folder: Path
    invoke: Callable[..., Result]

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.folder / "out"

    def search(
        self,
        *options: object,
        data: str = "data.npz",
        limit: tuple[str, ...] = LIMIT,
    ) -> Result:
        """Call `hwc search`."""
        given = (self.folder / "net.onnx", "--data", self.folder / data, "-o", self.out)
        return self.invoke("search", *given, *CHEAP, *limit, *options)

    def found(self, *options: object, data: str = "data.npz") -> dict[str, object]:
        """What a search that goes well prints with --json."""
        result = self.search(*STRATEGIES, "--json", *options, data=data)
        assert result.exception is None, result.exception
        summary: dict[str, object] = json.loads(result.stdout)
        return summary

    def refused(self, *options: object, kind: type[HwcError], data: str = "data.npz") -> str:
        """What a search that is refused says; it leaves nothing behind."""
        before = self.listing()
        result = self.search(*options, data=data)
        assert type(result.exception) is kind, result.exception
        assert self.listing() == before
        return str(result.exception)

    def listing(self) -> set[str]:
        """What lies in the folder, and in its folders."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}


@pytest.fixture(scope="module")
def stock(
    tmp_path_factory: pytest.TempPathFactory, parse_graph: Callable[[str], onnx.ModelProto]
) -> Path:
    """The network and its data."""
    folder = tmp_path_factory.mktemp("stock")
    onnx.save(parse_graph(NET), folder / "net.onnx")
    x = np.random.default_rng(0).standard_normal((SAMPLES, 3, 12, 12)).astype(np.float32)
    np.savez(folder / "data.npz", x=x)
    labels = np.random.default_rng(1).integers(0, 8, SAMPLES)
    np.savez(folder / "labelled.npz", x=x, label=labels)
    np.savez(folder / "few.npz", x=x[:30])
    return folder


@pytest.fixture
def workshop(
    tmp_path: Path, call: Callable[..., Result], stock: Path, monkeypatch: pytest.MonkeyPatch
) -> Workshop:
    for path in stock.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(price, "RUNS", 2)
    monkeypatch.chdir(tmp_path)
    return Workshop(tmp_path, call)


def test_what_the_folder_holds(workshop: Workshop) -> None:
    summary = workshop.found("--seeds", "2")
    out = workshop.out
    names = {path.name for path in out.iterdir()}
    runs = [("exact", 0), ("evolution", 0), ("evolution", 1), ("random", 0), ("random", 1)]
    traces = {f"trace-{name}-{seed}.json" for name, seed in runs}
    assert names == {*FILES, *traces, *(f"plan-{name}.json" for name, _ in runs)}
    assert json.loads((out / "summary.json").read_text()) == summary
    read = [Trace.from_json((out / f"trace-{n}-{seed}.json").read_bytes()) for n, seed in runs]
    with (out / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["strategy"], int(row["seed"]), float(row["loss"])) for row in rows] == [
        (trace.strategy, trace.seed, trial.loss) for trace in read for trial in trace.trials
    ]
    assert all(len(trace.trials) <= 6 for trace in read)
    assert max(len(trace.trials) for trace in read) == 6
    assert all(float(row["size_bytes"]) <= 9000 for row in rows)
    for entry, trace in zip(summary["entries"], read, strict=True):  # type: ignore[call-overload]  # JSON
        assert (entry["strategy"], entry["seed"]) == (trace.strategy, trace.seed)
        assert entry["loss"] == min(trial.loss for trial in trace.trials)
        assert entry["difference"]["low"] <= entry["difference"]["high"]
    assert onnx.load(workshop.folder / "net.onnx").graph.node  # is left alone
    for path in out.glob("plan-*.json"):
        assert Plan.from_json(path.read_text()).choices
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_pareto_set_is_of_all(workshop: Workshop) -> None:
    workshop.found()
    with (workshop.out / "trials.csv").open() as file:
        everything = [_figures(row) for row in csv.DictReader(file)]
    with (workshop.out / "pareto.csv").open() as file:
        front = [_figures(row) for row in csv.DictReader(file)]
    assert set(front) == {
        a for a in everything if not any(b != a and all(np.less_equal(b, a)) for b in everything)
    }
    assert len(front) == len(set(front))


def _figures(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[name]) for name in ("loss", "latency_us", "size_bytes"))


def test_the_table_and_the_verdict(workshop: Workshop) -> None:
    result = workshop.search(*STRATEGIES)
    assert result.exit_code == 0
    out = result.stdout
    for word in ("exact", "evolution", "random", "evaluations", "fresh loss against exact"):
        assert word in out
    assert "fresh samples" in out
    assert "few fresh samples: the 95 % intervals of 17 are" in out
    assert out.strip().endswith("out")
    assert "rl did not help" not in out


def test_without_a_limit_the_latency_is_half_way(workshop: Workshop) -> None:
    out = workshop.search(*STRATEGIES, limit=()).stdout
    assert "no limit was given: within" in out
    assert ", half-way from the fastest plan to fp32" in out


def test_rl_that_does_not_help_is_said_so(workshop: Workshop) -> None:
    out = workshop.search("--strategies", "rl").stdout
    assert ("rl did not help" in out) == ("rl beats exact" not in out)


def test_the_same_seed_gives_the_same_plans(workshop: Workshop) -> None:
    workshop.found()
    first = _results(workshop.out)
    shutil.rmtree(workshop.out)
    workshop.found()
    assert _results(workshop.out) == first
    shutil.rmtree(workshop.out)
    workshop.found("--seed", "1")
    assert _results(workshop.out) != first


def _results(folder: Path) -> dict[str, str]:
    names = ("trials.csv", "pareto.csv", *(path.name for path in folder.glob("plan-*")))
    return {name: (folder / name).read_text() for name in names}


def test_a_search_goes_on_where_it_stopped(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.found()
    first = _results(workshop.out)
    for path in workshop.out.iterdir():
        if path.name != "losses.sqlite":
            path.unlink()
    monkeypatch.setattr(LossStore, "put", pytest.fail)
    workshop.found()
    assert _results(workshop.out) == first


OTHERS = {
    "data": (("--eval", "few.npz"), "they are of other data"),
    "loss": (("--metric", "mine.py:score"), "they are of another loss"),
    "model": (("--calibration", "minmax"), "another model, quantisation"),
}


@pytest.mark.parametrize(("options", "words"), OTHERS.values(), ids=list(OTHERS))
def test_another_folder_is_not_gone_on_with(
    workshop: Workshop, options: tuple[str, ...], words: str
) -> None:
    judged = ("--eval", "labelled.npz")
    workshop.found(*judged)
    Path("mine.py").write_text(METRICS["fine"])
    assert words in workshop.refused(*STRATEGIES, *judged, *options, kind=InputError)


def test_latency_within_a_loss(workshop: Workshop) -> None:
    summary = workshop.found("--objective", "latency", "--max-loss", "0.5")
    assert summary["objective"] == "latency"
    assert all(entry["loss"] <= 0.5 for entry in summary["entries"])  # type: ignore[attr-defined]  # JSON


def test_without_matplotlib_the_rest_is_written(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_files, "find_spec", lambda _: None)
    summary = workshop.found()
    assert "pip install 'hwc-compiler[plot]'" in str(summary["notes"])
    assert not (workshop.out / "curves.png").exists()
    assert (workshop.out / "trials.csv").exists()


def test_too_few_samples_for_a_last_word(workshop: Workshop) -> None:
    out = workshop.search(*STRATEGIES, data="few.npz").stdout
    assert "10 samples to search by are too few to set some aside: no last word is possible" in out


SENSELESS = {
    "unknown strategy": (("--strategies", "rl,best"), UsageError, "there is no 'best'"),
    "no strategy": (("--strategies", ""), UsageError, "there is no ''"),
    "known without a search": (("--objective", "size"), UsageError, "--max-loss"),
    "precision": (("--precision", "int9"), UsageError, "there is no 'int9'"),
    "latency": (("--max-latency", "1e-6"), ConstraintError, "the nearest has a predicted"),
    "size": (("--max-size", "1e-6"), ConstraintError, "the nearest has a predicted"),
    "nothing to choose": (("--precision", "fp32"), InputError, "leaves nothing to choose"),
    "no policy": (("--strategies", "rl", "--policy", "none"), InputError, "none"),
    "corrupt policy": (("--strategies", "rl", "--policy", "net.onnx"), InputError, "net.onnx"),
    "no folder": (("-o", "no/where"), OutputError, "there is no folder"),
}


@pytest.mark.parametrize(("options", "kind", "words"), SENSELESS.values(), ids=list(SENSELESS))
def test_bad_input(
    workshop: Workshop, options: tuple[str, ...], kind: type[HwcError], words: str
) -> None:
    assert words in workshop.refused(*STRATEGIES, *options, kind=kind)


METRICS = {
    "raises": "def score(outputs, references, labels):\n    raise RuntimeError('oh no')\n",
    "nan": "def score(outputs, references, labels):\n    return float('nan')\n",
    "shape": "import numpy as np\ndef score(outputs, references, labels):\n"
    "    return np.ones((2, 3))\n",
    "fine": "import numpy as np\ndef score(outputs, references, labels):\n"
    "    return float(np.mean([o['y'] for o in outputs]))\n",
}


@pytest.mark.parametrize("fault", ["raises", "nan", "shape"])
def test_a_bad_metric(workshop: Workshop, fault: str) -> None:
    Path("mine.py").write_text(METRICS[fault])
    options = ("--metric", f"{workshop.folder / 'mine.py'}:score")
    said = workshop.refused(*STRATEGIES, *options, kind=InputError, data="labelled.npz")
    assert "score" in said


def test_without_data(workshop: Workshop) -> None:
    result = workshop.invoke("search", "net.onnx")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == "nothing to judge plans by: give --data"


def test_a_learner_that_is_not_installed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        strategies, "find_spec", lambda name: None if name == "torch" else util.find_spec(name)
    )
    said = workshop.refused("--strategies", "ddpg", kind=UsageError)
    assert said.endswith(
        "learns with torch, which is not installed: pip install 'hwc-compiler[rl]'"
    )


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_something_else_is_left_alone(workshop: Workshop, kind: str) -> None:
    if kind == "file":
        workshop.out.write_text("mine")
    else:
        workshop.out.mkdir()
        (workshop.out / "thesis.tex").write_text("mine")
    words = "is not a folder" if kind == "file" else "holds something else than a search"
    assert words in workshop.refused(*STRATEGIES, kind=OutputError)


INTERRUPTED = """
import os, signal, sys
from hwc.tools import cli, searching
from hwc.toolchain.accuracy import judge
from hwc.tools.stages.explore import Contest
count, second = int(sys.argv.pop(1)), sys.argv.pop(1) == "again"
keep, last_word, explore = judge.Judge._keep, Contest.last_word, Contest.explore
kept, running = [], [""]
def exploring(self, who, **more):
    running[0] = who.name
    return explore(self, who, **more)
def counted(self, *rest):
    keep(self, *rest)
    if running[0] == "evolution":
        kept.append(1)
    if len(kept) == count:
        os.kill(os.getpid(), signal.SIGINT)
def again(self, *rest, **more):
    if second:
        os.kill(os.getpid(), signal.SIGINT)
    return last_word(self, *rest, **more)
judge.Judge._keep, Contest.last_word, Contest.explore = counted, again, exploring
cli.main()
"""


def _interrupted(folder: Path, *, again: bool) -> subprocess.CompletedProcess[str]:
    """Ctrl-C in the middle of evolution; maybe another at the last word."""
    words = ["search", "net.onnx", "--data", "data.npz", "-o", "out", *CHEAP, *LIMIT]
    words += STRATEGIES
    how = ["3", "again" if again else "once"]
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *how, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ctrl_c_keeps_what_was_found(workshop: Workshop) -> None:
    done = _interrupted(workshop.folder, again=False)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.strip() == ""
    assert "evolution" in done.stdout
    names = {path.name for path in workshop.out.iterdir()}
    assert {*FILES, "trace-exact-0.json", "trace-evolution-0.json"} <= names
    assert not any("random" in name for name in names)
    assert json.loads((workshop.out / "summary.json").read_text())["interrupted"] is True
    partial = Trace.from_json((workshop.out / "trace-evolution-0.json").read_bytes())
    assert 0 < len(partial.trials) < 6
    summary = workshop.found()  # goes on
    assert summary["interrupted"] is False
    whole = Trace.from_json((workshop.out / "trace-evolution-0.json").read_bytes())
    assert whole.trials[: len(partial.trials)] == partial.trials
    assert len(whole.trials) == 6


def test_a_second_ctrl_c_stops_at_once(workshop: Workshop) -> None:
    done = _interrupted(workshop.folder, again=True)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (128 + signal.SIGINT, "", "")
    assert {path.name for path in workshop.out.iterdir()} == {
        *("losses.sqlite", "trace-exact-0.json", "trace-evolution-0.json")
    }
