"""Plans are judged once, counted, and remembered by the next search."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.judge import Memory, PlanJudge
from hwc.toolchain.accuracy.labelled import Likelihood, TopK, UserMetric
from hwc.toolchain.accuracy.losses import CrossEntropy, Distance, MetricDrop, PlanLoss
from hwc.toolchain.accuracy.metric import Outputs
from hwc.toolchain.accuracy.samples import Sample, Samples, each
from hwc.toolchain.accuracy.store import LossStore
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import BackendError, InputError
from hwc.toolchain.plan import NodeChoice, Plan, Precision

WEIGHT = np.random.default_rng(0).normal(size=(8, 5)) * 3
SIGMA = {Precision.FP32: 0.0, Precision.FP16: 0.01, Precision.INT8: 1.0}


Function = Callable[..., object]


class Data:
    """A hundred samples with labels; remembers which were read."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift
        self.read: list[int] = []

    def __len__(self) -> int:
        """How many there are."""
        return 100

    def __getitem__(self, index: int) -> Sample:
        """Make one."""
        self.read.append(index)
        x = np.random.default_rng(index).normal(size=(1, 8)) + self.shift
        return Sample({"x": x}, np.asarray(int((x @ WEIGHT).argmax())))


class Model:
    """Noise by precision; remembers what was run."""

    def __init__(self) -> None:
        self.run: list[tuple[str, int]] = []

    def outputs(self, plan: Plan, samples: Samples) -> Iterator[Outputs]:
        """The outputs for each sample."""
        self.run.append((plan.digest, len(samples)))
        if plan.choices[0][1].precision is Precision.INT4:
            raise BackendError("no int4 here")
        sigma = SIGMA[plan.choices[0][1].precision]
        noise = sigma * np.random.default_rng(9).normal(size=WEIGHT.shape)
        for sample in each(samples):
            yield {"y": sample.feeds["x"] @ (WEIGHT + noise)}


def plan(precision: Precision) -> Plan:
    return Plan.of({"a": NodeChoice(precision)})


PLANS = [plan(p) for p in SIGMA]


@pytest.fixture
def reference() -> Reference:
    return reference_of(Data())


def reference_of(data: Data) -> Reference:
    return Reference.of(lambda feeds: {"y": feeds["x"] @ WEIGHT}, data, "search")


def judge(model: Model, reference: Reference, **options: object) -> PlanJudge:
    loss = CrossEntropy(Likelihood("y", probabilities=False))
    return PlanJudge(model, reference, loss, **options)  # type: ignore[arg-type]  # of one test


def test_losses_and_their_samples(reference: Reference) -> None:
    """Losses are means of samples; the worse the precision, the higher."""
    model = Model()
    scores = judge(model, reference)
    losses = list(scores(PLANS))
    assert losses[0] == pytest.approx(0)
    assert abs(losses[1]) < losses[2]
    samples = scores.per_sample(PLANS)
    assert samples.shape == (3, scores.samples) == (3, 100)
    assert samples.mean(1) == pytest.approx(losses, rel=1e-6, abs=1e-12)
    assert scores.evaluations == len(model.run) == 3


def test_equal_plans_cost_one_evaluation(reference: Reference) -> None:
    model = Model()
    scores = judge(model, reference)
    first = list(scores([*PLANS, *PLANS]))
    assert first[:3] == first[3:] == list(scores(PLANS))
    assert scores.evaluations == len(model.run) == 3


def test_losses_come_one_by_one(reference: Reference) -> None:
    """What was measured before an interruption is not lost."""
    model = Model()
    losses = judge(model, reference)(PLANS)
    next(losses)
    assert len(model.run) == 1


def test_refused_plans_are_infinitely_bad(reference: Reference) -> None:
    scores = judge(Model(), reference)
    assert list(scores([plan(Precision.INT4)])) == [np.inf]
    assert (scores.per_sample([plan(Precision.INT4)]) == np.inf).all()
    assert scores.evaluations == 1


def test_without_plans(reference: Reference) -> None:
    scores = judge(Model(), reference)
    assert list(scores([])) == []
    assert scores.per_sample([]).shape == (0, 100)


@pytest.mark.parametrize(("count", "used"), [(1, 1), (10, 10), (64, 64), (100, 100), (256, 100)])
def test_fidelities(reference: Reference, count: int, used: int) -> None:
    """As many samples as asked, evenly spaced, or all; each fidelity has its own account."""
    model = Model()
    scores = judge(model, reference)
    list(scores(PLANS))
    lower = scores.at(count)
    assert lower.samples == used
    (loss,) = lower([PLANS[2]])
    assert lower.per_sample([PLANS[2]]).shape == (1, used)
    assert model.run[-1] == (PLANS[2].digest, used)
    assert (scores.evaluations, lower.evaluations) == (3, 1)
    every = scores.per_sample([PLANS[2]])[0]
    chosen = np.linspace(0, 99, used).round().astype(int)
    assert loss == pytest.approx(float(every[chosen].mean()), rel=1e-5)


def test_samples_are_read_once() -> None:
    data = Data()
    reference = reference_of(data)
    scores = judge(Model(), reference)
    data.read.clear()
    list(scores(PLANS))
    assert sorted(data.read) == [0, *range(100)]  # the first one for its size


def test_a_distance_needs_no_labels(reference: Reference) -> None:
    scores = PlanJudge(Model(), reference, Distance.of(reference.outputs), count=30)
    losses = list(scores(PLANS))
    assert 0 == losses[0] < losses[1] < losses[2]


def test_a_search_goes_on(reference: Reference, tmp_path: Path) -> None:
    """What another process judged is not run again, and is the same to the last bit."""
    path = tmp_path / "losses.sqlite"
    with LossStore(path) as store:
        first = judge(Model(), reference, memory=Memory(store, "m"))
        expected = [*first(PLANS), *first([plan(Precision.INT4)])]
        rows = first.per_sample(PLANS)
    model = Model()
    with LossStore(path) as store:
        again = judge(model, reference, memory=Memory(store, "m"))
        assert store.resume(again.context) == 4
        assert [*again(PLANS), *again([plan(Precision.INT4)])] == expected
        assert np.array_equal(again.per_sample(PLANS), rows)
        assert (again.evaluations, model.run) == (0, [])


def test_what_is_kept_is_for_the_same_model_data_and_fidelity(
    reference: Reference, tmp_path: Path
) -> None:
    with LossStore(tmp_path / "losses.sqlite") as store:
        first = judge(Model(), reference, memory=Memory(store, "m"))
        list(first(PLANS))
        others = {
            "another model": judge(Model(), reference, memory=Memory(store, "n")),
            "other data": judge(Model(), reference_of(Data(0.5)), memory=Memory(store, "m")),
        }
        for what, other in others.items():
            with pytest.raises(InputError, match=f"they are of {what}"):
                store.resume(other.context)
            list(other(PLANS))
            assert other.evaluations == 3
        lower = first.at(64)
        list(lower(PLANS))
        assert lower.evaluations == 3


def test_no_memory_no_context(reference: Reference) -> None:
    with pytest.raises(ValueError, match="without memory"):
        _ = judge(Model(), reference).context


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import test_judge as t
from hwc.toolchain.accuracy.store import LossStore
from hwc.toolchain.accuracy.judge import Memory
with LossStore(t.Path(sys.argv[1])) as store:
    scores = t.judge(t.Model(), t.reference_of(t.Data()), memory=Memory(store, "m"))
    for loss in scores(t.PLANS[:2]):
        print(loss, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_search_goes_on(reference: Reference, tmp_path: Path) -> None:
    """No loss that was given out is lost."""
    path = tmp_path / "losses.sqlite"
    command = [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with LossStore(path) as store:
        again = judge(Model(), reference, memory=Memory(store, "m"))
        assert store.resume(again.context) == 2
        losses = list(again(PLANS))
    assert again.evaluations == 1
    assert [float(line) for line in done.stdout.split()] == losses[:2]


def raising(outputs: object, labels: object) -> float:  # noqa: ARG001 - a metric's arguments
    raise ZeroDivisionError("no samples\nat all")


BAD_METRICS = {
    "it raises": (raising, "running mine"),
    "NaN": (lambda *_: float("nan"), "mine returned nan"),
    "infinity": (lambda *_: np.inf, "mine returned inf"),
    "an array": (lambda *_: np.zeros(3), "mine returned array"),
    "nothing": (lambda *_: None, "mine returned None"),
}


@pytest.mark.parametrize(("function", "said"), BAD_METRICS.values(), ids=list(BAD_METRICS))
def test_metrics_that_fail(reference: Reference, function: Function, said: str) -> None:
    """One line that names the metric; nothing is counted."""
    scores = PlanJudge(Model(), reference, MetricDrop(UserMetric(function, "mine")))
    with pytest.raises(InputError, match=said) as caught:
        list(scores(PLANS))
    assert "\n" not in caught.value.message
    assert scores.evaluations == 0


def test_a_metric_that_fails_on_a_plan(reference: Reference, tmp_path: Path) -> None:
    """What was judged before is kept; the plan that failed is not."""

    def picky(outputs: list[Outputs], labels: object) -> float:  # noqa: ARG001 - as above
        first = np.asarray(outputs[0]["y"]) - reference.outputs[0]["y"]
        return float("nan") if len(outputs) == 100 and np.abs(first).max() > 0.5 else 1.0

    with LossStore(tmp_path / "losses.sqlite") as store:
        memory = Memory(store, "m")
        loss = MetricDrop(UserMetric(picky, "mine"))
        scores = PlanJudge(Model(), reference, loss, memory=memory)
        with pytest.raises(InputError, match="mine returned nan"):
            list(scores([PLANS[0], PLANS[2]]))
        assert scores.evaluations == store.count(scores.context) == 1


class Labelled(Data):
    """Labels of any kind."""

    def __init__(self, label: Array | None) -> None:
        super().__init__()
        self.label = label

    def __getitem__(self, index: int) -> Sample:
        """One with that label."""
        return Sample(super().__getitem__(index).feeds, self.label)


BAD_LABELS = {
    "no such class": (np.asarray(5), "labels .5. are no classes of output 'y' .0 to 4."),
    "negative": (np.asarray(-1), "are no classes"),
    "not whole": (np.asarray(0.5), "needs one integer label"),
    "too many": (np.array([1, 2]), "needs one integer label"),
    "none": (None, "needs one integer label for each sample, got none"),
}


@pytest.mark.parametrize(("label", "said"), BAD_LABELS.values(), ids=list(BAD_LABELS))
@pytest.mark.parametrize("kind", ["cross-entropy", "top-1"])
def test_labels_that_do_not_match(label: Array | None, said: str, kind: str) -> None:
    loss: PlanLoss = CrossEntropy(Likelihood("y", probabilities=False))
    if kind == "top-1":
        loss = MetricDrop(TopK(1, "y", "top-1"))
    scores = PlanJudge(Model(), reference_of(Labelled(label)), loss)
    with pytest.raises(InputError, match=said) as caught:
        list(scores(PLANS))
    assert "\n" not in caught.value.message
    assert scores.evaluations == 0


def test_a_user_metric_needs_labels() -> None:
    loss = MetricDrop(UserMetric(lambda *_: 1.0, "mine"))
    with pytest.raises(InputError, match="mine: 100 samples have no label"):
        list(PlanJudge(Model(), reference_of(Labelled(None)), loss)(PLANS))


def test_fidelities_and_losses_share_runner_and_store(reference: Reference, tmp_path: Path) -> None:
    """Each has an account of its own, in one store, over one runner; each is found again."""
    model = Model()
    with LossStore(tmp_path / "losses.sqlite") as store:
        first = judge(model, reference, memory=Memory(store, "m"))
        ways = [first, first.at(64), first.by(Distance.of(reference.outputs))]
        ways.append(ways[2].at(64))
        rows = [list(way(PLANS)) for way in ways]
        assert [way.samples for way in ways] == [100, 64, 100, 64]
        assert len(model.run) == 12
        assert [store.count(way.context) for way in ways] == [3, 3, 3, 3]
        assert len({way.context for way in ways}) == 4
        again = judge(Model(), reference, memory=Memory(store, "m"))
        by = again.by(Distance.of(reference.outputs))
        found = [list(way(PLANS)) for way in (again, again.at(64), by, by.at(64))]
    assert found == rows
    assert again.evaluations == by.evaluations == 0
