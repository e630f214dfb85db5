"""The body of `hwc search`: strategies side by side, each with a budget of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np

from ..toolchain.accuracy.judge import FIDELITIES
from ..toolchain.accuracy.losses import choose_loss
from ..toolchain.accuracy.metrics import choose_metric
from ..toolchain.accuracy.samples import labelled
from ..toolchain.accuracy.store import LossStore
from ..toolchain.errors import InputError, OutputError, UsageError
from ..toolchain.progress import Progress
from ..toolchain.search.exact import Exact
from ..toolchain.search.explorer import Explorer
from ..toolchain.search.front import best
from ..toolchain.search.goal import Goal, Trial
from ..toolchain.search.guard import Guard
from ..toolchain.search.nearest import amount, unreachable
from ..toolchain.search.problem import Limits, Objective, Problem, fp32_everywhere
from ..toolchain.search.trace import Trace
from ..toolchain.search.verdict import Verdict
from . import options
from .compiling import check_precisions, run_original
from .request import Request
from .search_files import LOSSES, write, write_trace
from .search_report import EXACT, Outcome, entries
from .stages.cluster import connected, crew
from .stages.decide import Decisions, decide
from .stages.explore import Arena, Contest, block_runner
from .stages.prepare import prepare
from .stages.problem import problem_of
from .stages.sense import How, sense
from .stages.target import find_target
from .strategies import PROPOSERS, RL, explorer


@dataclass(frozen=True, slots=True)
class Asked:
    """One comparison, as asked for.

    Attributes:
        request: The model, the device, the data and the limits; `output` is the folder.
        strategies: Names of `options.STRATEGIES`, in the order of the table.
        budget: True evaluations of each search.
        seeds: How many searches of each strategy, with seeds from `request.seed` on.
        max_loss: Largest true loss of a plan.

    Raises:
        UsageError: What is asked does not go together.
    """

    request: Request
    strategies: tuple[str, ...]
    budget: int = 160
    seeds: int = 1
    max_loss: float = inf

    def __post_init__(self) -> None:
        for name in self.strategies:
            if name not in options.STRATEGIES:
                known = ", ".join(options.STRATEGIES)
                raise UsageError(f"--strategies: there is no {name!r}", f"there are {known}")
        if not self.request.data:
            raise UsageError("nothing to judge plans by", "give --data")
        sought = {self.request.objective, *self.request.weights}
        if Objective.DROP not in sought and self.max_loss == inf:
            raise UsageError(
                f"the least {self.request.objective} is known without a search",
                "limit the loss with --max-loss",
            )

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.request.output or self.request.target.with_suffix(".search")

    def searches(self) -> Iterator[tuple[Explorer, int]]:
        """Who searches, with which seed: exact first, since all are held against it.

        Where there is no chance in a strategy, it searches once.

        Raises:
            InputError: The policy cannot be read.
            UsageError: What a strategy learns with is not installed.
        """
        first = self.request.seed
        for name in dict.fromkeys([EXACT, *self.strategies]):
            for seed in range(first, first + (1 if name in PROPOSERS else self.seeds)):
                yield explorer(name, self.request.policy), seed


def search_model(asked: Asked, progress: Progress) -> Outcome:
    """Let strategies search plans for a model, and write down what came of it.

    Args:
        asked: What is asked.
        progress: Told of each stage and each evaluation.

    Returns:
        What is in the folder, too.

    Raises:
        HwcError: Whatever stands in the way; no folder is left where nothing was found.
        KeyboardInterrupt: Ctrl-C before anything was found, or a second one.
    """
    request = asked.request
    _check_folder(asked.folder)
    searches = list(asked.searches())
    target = find_target(request)
    check_precisions(request, target)
    prepared = prepare(request, target, progress)
    with progress.stage("run the original"):
        part = run_original(request.model, prepared, prepared.splits.search, "search")
    metric = choose_metric(
        request.metric, part.outputs, labelled=labelled(part.samples), max_drop=request.max_drop
    )
    decisions = decide(request, target, prepared, progress)
    problem, limit = _problem(asked, decisions)
    runner = block_runner(decisions, request.threads)
    loss = choose_loss(metric, part.outputs)
    simulator = decisions.simulator
    with (
        connected(request.ray) as cluster,
        crew(cluster, simulator, progress.note) as workers,
        LossStore(asked.folder / LOSSES) as store,
    ):
        arena = Arena(prepared, decisions, runner, part, loss, store, workers)
        with _unless_empty(asked.folder, arena, store):
            contest = _contest(asked, arena, problem, progress)
            traces, whole = _run(contest, searches, asked)
            notes = (limit, decisions.source, *target.notes, *prepared.notes, *decisions.notes)
            outcome = _outcome(contest, traces, asked, (*notes, metric.why))
            return write(asked.folder, replace(outcome, interrupted=not whole), traces, problem)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than an earlier search."""
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{folder}: there is no folder {folder.absolute().parent}", "change -o")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is not a folder", "change -o")
    if folder.exists() and any(folder.iterdir()) and not (folder / LOSSES).is_file():
        raise OutputError(f"{folder}: holds something else than a search", "change -o")


def _problem(asked: Asked, decisions: Decisions) -> tuple[Problem, str]:
    """What is searched, before anything is known of losses; and the limit if it is our own.

    Raises:
        ConstraintError: No plan keeps the limits.
        InputError: There is but one plan.
    """
    request = asked.request
    asked_for = problem_of(request, decisions)
    problem = replace(asked_for, objective=Objective.LATENCY, weights=())
    if (problem.legal.sum(axis=1) <= 1).all():
        raise InputError(
            f"{request.model} leaves nothing to choose on {request.device}",
            "see what `hwc devices` says of its precisions, or give more in --precision",
        )
    fastest = best(problem, Exact())
    if fastest is None:
        raise unreachable(problem, Exact())
    text = ""
    if request.objective is Objective.DROP and problem.limits == Limits() and asked.max_loss == inf:
        middle = (fastest.predicted_us + fp32_everywhere(problem).predicted_us) / 2
        problem = problem.within(latency_us=max(middle, fastest.predicted_us))
        within = amount(Objective.LATENCY, problem.limits.latency_us)
        text = f"no limit was given: within {within}, half-way from the fastest plan to fp32"
    return replace(asked_for, limits=problem.limits), text


@contextmanager
def _unless_empty(folder: Path, arena: Arena, store: LossStore) -> Iterator[None]:
    """Leave no folder behind where nothing was measured; refuse one of another model or data."""
    context = arena.judge.context
    store.resume(context)
    try:
        yield
    except BaseException:
        if not store.count(context):
            store.close()
            (folder / LOSSES).unlink()
            folder.rmdir()
        raise


def _contest(asked: Asked, arena: Arena, problem: Problem, progress: Progress) -> Contest:
    """The problem with its sensitivities, and who judges."""
    how = How(asked.request.sensitivity or How.MEASURED)
    table = sense(
        arena.decisions,
        arena.judge,
        how=how,
        progress=progress,
        wanted=problem.legal,
    )
    problem = replace(problem, sensitivity=table)
    limits = replace(problem.limits, drop=asked.max_loss)
    return Contest(arena, problem, Goal(limits, problem.objective, problem.weights), progress)


def _run(
    contest: Contest, searches: Sequence[tuple[Explorer, int]], asked: Asked
) -> tuple[list[Trace], bool]:
    """What the searches found; and whether all came to their end.

    Each is on disk as soon as it has ended.

    Raises:
        KeyboardInterrupt: Nothing was found yet.
    """
    traces: list[Trace] = []
    stops: list[int] = []
    for who, seed in searches:
        try:
            traces.append(
                contest.explore(
                    who, budget=asked.budget, seed=seed, stopped=lambda: stops.append(1)
                )
            )
            write_trace(asked.folder, traces[-1])
        except KeyboardInterrupt:
            if not traces:
                raise
            stops.append(1)
        if stops:
            break
    return traces, not stops


def _outcome(
    contest: Contest, traces: Sequence[Trace], asked: Asked, notes: Sequence[str]
) -> Outcome:
    """What came of it, on the searches' samples and on fresh ones."""
    exact = traces[0].best
    bests = [trial for trial in (trace.best for trace in traces) if trial is not None]
    finals = None if exact is None else _finals(contest, bests, exact)
    verdict = None
    if exact is not None:
        verdict = contest.last_word(traces, exact.indices, margin=None)
    text = verdict.text() if verdict else "too few samples for a last word"
    helped = verdict is not None and verdict.replaced and RL in verdict.winner.strategies
    if verdict and RL in asked.strategies and not helped:
        text += "; rl did not help"
    request, arena = asked.request, contest.arena
    return Outcome(
        model=request.model,
        device=request.device,
        loss=arena.loss.name,
        objective=contest.goal.objective,
        limits=contest.goal.limits,
        budget=asked.budget,
        samples=arena.judge.samples,
        entries=entries(traces, contest.problem, finals),
        verdict=verdict,
        text=text,
        notes=tuple(filter(None, (*notes, _power(arena, finals)))),
    )


def _finals(contest: Contest, bests: Sequence[Trial], exact: Trial) -> Verdict | None:
    """The best plan of each search beside the exact one, on samples that no search has seen."""
    fresh = contest.arena.fresh
    if fresh is None:
        return None
    guard = Guard(contest.problem, contest.goal, fresh.per_sample, count=len(bests))
    return guard.judge(bests, exact.indices, np.random.default_rng(0))


def _power(arena: Arena, finals: Verdict | None) -> str:
    """What few fresh samples can tell, and what they cannot."""
    have = len(arena.prepared.splits.search)
    if finals is None:
        return (
            f"{have} samples to search by are too few to set some aside: no last word is possible "
            "on which plan is better (144 samples are enough for a first one)"
        )
    widths = [(f.difference.high - f.difference.low) / 2 for f in finals.finalists]
    width = max((w for w in widths if np.isfinite(w)), default=0.0)
    if finals.samples >= FIDELITIES[1] or not width:
        return ""
    part = f"{width / finals.value:.0%} of exact's" if finals.value > 0.0 else f"{width:.3g}"
    return (
        f"few fresh samples: the 95 % intervals of {finals.samples} are as wide as ±{part} "
        f"({FIDELITIES[1]} would be better)"
    )
