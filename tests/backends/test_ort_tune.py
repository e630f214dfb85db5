"""The tuner keeps what is surely faster, no more; a simulated clock stands for the machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends import ort, ort_tune
from hwc.backends.ort_session import DEFAULT, Layout, Options
from hwc.backends.ort_tune import SECONDS, Subject, Trial, Tuned, tune
from hwc.toolchain.engine import Array, Feeds, Runner
from hwc.toolchain.errors import BackendError

CORES = 4
NORM = frozenset({"LayerNormalization"})


@dataclass
class Machine:
    """A clock that runs and openings advance, and what was opened.

    Attributes:
        us: Wall time of one run; half of it is CPU time.
        noise: What a session's times are multiplied with, one factor an opening.
        opening: Seconds that it takes to open a session.
        shares: What other programs have of the cores, each time that somebody asks.
        disturbed: Whether two of three runs under these options take twice as long.
    """

    us: Callable[[Options], float]
    noise: Iterator[float] = field(default_factory=lambda: cycle([1.0]))
    opening: float = 0.0
    shares: Iterator[float | None] = field(default_factory=lambda: cycle([0.0]))
    disturbed: Callable[[Options], bool] = lambda _: False
    now: float = 0.0  # seconds
    opened: list[Options] = field(default_factory=list)
    alive: int = 0
    most: int = 0

    def open(self, options: Options) -> Runner:
        """A session under these options."""
        self.opened.append(options)
        self.now += self.opening
        seconds = self.us(options) * next(self.noise) / 1e6
        return Session(self, [1, 2, 2] if self.disturbed(options) else [1], seconds)


class Session:
    """Takes its time, and is counted while it is open."""

    def __init__(self, machine: Machine, pattern: list[float], seconds: float) -> None:
        self._machine, self._pattern, self._seconds = machine, cycle(pattern), seconds
        machine.alive += 1
        machine.most = max(machine.most, machine.alive)

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Let the time of one run pass."""
        del feeds
        self._machine.now += self._seconds * next(self._pattern)
        return {}

    def __del__(self) -> None:
        self._machine.alive -= 1


Tune = Callable[..., tuple[Tuned, Machine]]


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Tune on a simulated machine."""

    def run(
        us: Callable[[Options], float],
        threads: int = 0,
        start: Options = DEFAULT,
        ops: frozenset[str] = frozenset(),
        **about: object,
    ) -> tuple[Tuned, Machine]:
        machine = Machine(us, **about)  # type: ignore[arg-type] # by name

        class Neighbours:
            def share(self) -> float | None:
                return next(machine.shares)

        monkeypatch.setattr(ort_tune, "Neighbours", Neighbours)
        monkeypatch.setattr("os.cpu_count", lambda: CORES)
        clocks = "hwc.toolchain.timing.time"
        monkeypatch.setattr(f"{clocks}.perf_counter", lambda: machine.now)
        monkeypatch.setattr(f"{clocks}.perf_counter_ns", lambda: round(machine.now * 1e9))
        monkeypatch.setattr(f"{clocks}.process_time_ns", lambda: round(machine.now * 5e8))
        told: list[None] = []
        subject = Subject(machine.open, {}, ops)
        found = tune(subject, threads, start=start, told=lambda: told.append(None))
        assert len(told) == len(found.trials)
        return found, machine

    return run


def trial(found: Tuned, change: str) -> Trial:
    """The trial of that name."""
    return next(trial for trial in found.trials if trial.change == change)


ONE: dict[str, tuple[Options, Callable[[Options], bool]]] = {
    "layout plain": (replace(DEFAULT, layout=Layout.PLAIN), lambda o: o.layout is Layout.PLAIN),
    "arena off": (replace(DEFAULT, arena=False), lambda o: not o.arena),
    "prepack off": (replace(DEFAULT, prepack=False), lambda o: not o.prepack),
    "spinning off": (replace(DEFAULT, spinning=False), lambda o: not o.spinning),
    "threads 2": (replace(DEFAULT, threads=2), lambda o: o.threads == 2),
}


@pytest.mark.parametrize(("best", "fast"), ONE.values(), ids=list(ONE))
def test_what_is_faster_is_kept(
    tuned: Tune, best: Options, fast: Callable[[Options], bool]
) -> None:
    found, _ = tuned(lambda options: 500.0 if fast(options) else 1000.0)
    assert found.options == best
    kept = [trial for trial in found.trials if trial.kept]
    assert len(kept) == 1
    assert kept[0].ratio is not None
    assert kept[0].ratio.value == pytest.approx(2.0)


def test_changes_add_up(tuned: Tune) -> None:
    def us(options: Options) -> float:
        return 400 + 300 * options.prepack + 200 * options.arena + 100 * options.spinning

    found, _ = tuned(us, threads=2)
    assert found.options == replace(DEFAULT, prepack=False, arena=False, spinning=False)


def test_nothing_changes_where_nothing_helps(tuned: Tune) -> None:
    found, _ = tuned(lambda options: 1000.0 + 500 * (options != replace(DEFAULT, threads=1)))
    assert found.options == DEFAULT
    assert not any(trial.kept for trial in found.trials)


def test_what_differs_between_openings_is_noise(tuned: Tune) -> None:
    noise = np.random.default_rng(0).uniform(0.9, 1.1, 1000)
    found, _ = tuned(lambda _: 1000.0, noise=iter(noise))
    assert found.options == DEFAULT
    assert any(trial.ratio for trial in found.trials)  # a glance took some of it for a gain


def test_what_only_disturbs_the_other_side_is_no_gain(tuned: Tune) -> None:
    found, _ = tuned(lambda _: 1000.0, disturbed=lambda options: options.arena)
    ratio = trial(found, "arena off").ratio
    assert ratio is not None
    assert ratio.low == pytest.approx(2.0)
    assert found.options.arena


def test_a_gain_within_what_twins_differ_by_is_not_proved(tuned: Tune) -> None:
    found, machine = tuned(lambda options: 1000.0 - 20 * (not options.arena), threads=1)
    assert trial(found, "arena off") == Trial("arena off", None, kept=False)
    assert len(machine.opened) == 1 + 2 * 3  # the first, and a glance at each change


ROWDY: dict[str, tuple[list[float | None], str]] = {
    "there": ([0.5], "had 50%"),
    "coming while it is tried": ([0.01, 0.2], "had 20%"),
    "unknown": ([None], "not known"),
}


@pytest.mark.parametrize(("shares", "why"), ROWDY.values(), ids=list(ROWDY))
def test_threads_are_not_judged_beside_neighbours(
    tuned: Tune, shares: list[float | None], why: str
) -> None:
    found, _ = tuned(lambda o: 1000.0 if o.spinning else 500.0, threads=2, shares=cycle(shares))
    assert found.options == DEFAULT
    assert why in trial(found, "spinning off").why_not


def test_neighbours_do_not_matter_to_what_is_judged_by_cpu_time(tuned: Tune) -> None:
    found, _ = tuned(lambda options: 1000.0 if options.arena else 500.0, shares=cycle([0.5]))
    assert not found.options.arena


@pytest.mark.parametrize(
    ("threads", "best", "kept"), [(0, 1, 1), (0, 2, 2), (0, 4, 0), (2, 1, 0)], ids=str
)
def test_fewer_threads_are_tried_where_the_caller_leaves_it_open(
    tuned: Tune, threads: int, best: int, kept: int
) -> None:
    found, _ = tuned(lambda options: 1000.0 + 500 * abs(options.threads - best), threads)
    assert found.options.threads == kept


def test_one_thread_has_nobody_to_spin_for(tuned: Tune) -> None:
    found, machine = tuned(lambda _: 1000.0, threads=1)
    assert {options.threads for options in machine.opened} == {1}
    assert "spinning off" not in [trial.change for trial in found.trials]


def test_sessions_that_may_spin_are_never_open_together(
    tuned: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort_tune, "_KERNELS", ())
    found, machine = tuned(lambda options: 1000.0 if options.spinning else 500.0)
    assert not found.options.spinning
    assert machine.most == 1


@pytest.mark.parametrize("start", [DEFAULT, Options(disabled=())], ids=["a plan", "an original"])
def test_the_skip_connection_is_fused_or_not_as_is_faster(tuned: Tune, start: Options) -> None:
    def fused(options: Options) -> bool:
        return "SkipLayerNormFusion" not in options.disabled

    for faster in (True, False):
        found, _ = tuned(lambda o, f=faster: 500.0 if fused(o) is f else 1e3, start=start, ops=NORM)
        assert fused(found.options) is faster
        assert "WeightBiasQuantization" in found.options.disabled or start.disabled == ()


def test_a_graph_without_normalisation_has_nothing_to_fuse(tuned: Tune) -> None:
    found, _ = tuned(lambda _: 1e3, ops=frozenset({"Conv", "ReduceMean"}))
    assert "SkipLayerNormFusion" not in [trial.change for trial in found.trials]


def test_a_change_that_is_refused_is_not_kept(tuned: Tune) -> None:
    def us(options: Options) -> float:
        if not options.prepack:
            raise BackendError("no such kernel")
        return 1000.0

    found, _ = tuned(us)
    assert trial(found, "prepack off") == Trial(
        "prepack off", None, kept=False, why_not="no such kernel"
    )


def test_a_slow_opening_ends_it(tuned: Tune) -> None:
    found, machine = tuned(lambda options: 1e3 if options.arena else 500.0, opening=SECONDS + 1)
    assert found.options == DEFAULT
    assert {trial.why_not for trial in found.trials} == {"no time was left"}
    assert len(machine.opened) == 1


def test_it_takes_seconds(tuned: Tune) -> None:
    for us in (10.0, 1e3, 1e5):
        _, machine = tuned(
            lambda options, us=us: us * (0.8 if options.arena else 0.5), opening=0.03
        )
        assert machine.now < 2 * max(SECONDS, 60 * us / 1e6)


def test_a_real_graph_that_leaves_the_blocked_layout_at_every_step(
    parse_graph: Callable[[str], onnx.ModelProto],
) -> None:
    steps = "".join(
        f"c{i} = Conv(t{i}, w) t{i + 1} = Transpose<perm = [0, 1, 3, 2]>(c{i}) " for i in range(6)
    )
    model = ir.from_proto(
        parse_graph(
            '<ir_version: 10, opset_import: ["" : 17]> g (float[1,8,96,96] t0)'
            f" => (float[1,8,96,96] t6) <float[8,8,1,1] w> {{ {steps} }}"
        )
    )
    feeds = {"t0": np.ones((1, 8, 96, 96), np.float32)}
    found = tune(Subject(lambda options: ort.Session(model, options), feeds), 1)
    assert found.options.layout is Layout.PLAIN
    plain, blocked = (ort.Session(model, o)(feeds)["t6"] for o in (found.options, DEFAULT))
    np.testing.assert_allclose(plain, blocked, rtol=1e-5, atol=1e-6)
