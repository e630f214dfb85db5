"""A search by true evaluations, and the last word on what it found."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...backends import ort
from ...backends.ort_session import VERSION
from ...toolchain.accuracy.blocks import BlockRunner, PlanRunner
from ...toolchain.accuracy.cluster_judge import ClusterJudge, PlanCrew
from ...toolchain.accuracy.evaluator import Evaluator, Reference
from ...toolchain.accuracy.identity import model_digest
from ...toolchain.accuracy.judge import Judge, Memory, PlanJudge, searched_on
from ...toolchain.accuracy.losses import PlanLoss
from ...toolchain.accuracy.metric import Metric
from ...toolchain.accuracy.store import LossStore
from ...toolchain.progress import Progress
from ...toolchain.search.explorer import Explorer
from ...toolchain.search.goal import Goal, Trial
from ...toolchain.search.guard import FINALISTS, Guard
from ...toolchain.search.ledger import Ledger
from ...toolchain.search.problem import Indices, Problem
from ...toolchain.search.trace import Trace, pareto
from ...toolchain.search.verdict import Verdict
from .decide import Decisions, reference
from .prepare import Prepared


def block_runner(decisions: Decisions, threads: int) -> BlockRunner:
    """What runs plans as the device would, on this machine's CPU, each as if it were alone."""
    simulator = decisions.simulator
    own = simulator.dialect.name == ort.Ort.name
    options = ort.Options(threads, integers=own, arena=False)
    return BlockRunner(simulator, lambda model: ort.Session(model, options), steady=True)


def evaluator(decisions: Decisions, part: Reference, metric: Metric, threads: int) -> Evaluator:
    """What measures the true drop of plans on a part of the data."""
    runner = block_runner(decisions, threads)
    return Evaluator(lambda plan: decisions.simulate(plan, threads), part, metric, runner=runner)


@dataclass(frozen=True)
class Arena:
    """Where strategies meet: what they search, and who judges what they find.

    Plans are judged on more samples the nearer they come: all on 64 to 256 of the search split, the
    best of them on the whole of it, and at last on samples that no search has seen.

    Attributes:
        prepared: The model and the data.
        decisions: Writes plans.
        runner: Runs plans.
        part: The search split, with the original's outputs.
        loss: What counts.
        store: Where losses are kept; None: nowhere.
        crew: Workers on a cluster that run plans instead of `runner`; None: there are none.
    """

    prepared: Prepared
    decisions: Decisions
    runner: PlanRunner
    part: Reference
    loss: PlanLoss
    store: LossStore | None
    crew: PlanCrew | None = None

    @cached_property
    def judge(self) -> Judge:
        """What a search asks."""
        return self._judge(self.part).at(searched_on(self.decisions.slots))

    @cached_property
    def memory(self) -> Memory | None:
        """Where its losses are kept."""
        if self.store is None:
            return None
        writer = self.decisions.simulator
        words = (writer.dialect.name, VERSION, str(sorted(writer.ranges.items())))
        return Memory(self.store, model_digest(self.prepared.model, *words))

    @cached_property
    def fresh(self) -> Judge | None:
        """A judge on samples that no search has seen; None where there are too few."""
        rank = self.prepared.splits.rank
        if not len(rank):
            return None
        return self._judge(Reference.of(reference(self.prepared.original), rank, "rank"))

    def narrowed(self, problem: Problem, trials: Sequence[Trial]) -> list[Trial]:
        """Trials judged again on the whole of the search split."""
        judge = self.judge.at(len(self.part))
        losses = judge([problem.plan_of(trial.indices) for trial in trials])
        return [replace(trial, loss=loss) for trial, loss in zip(trials, losses, strict=True)]

    def _judge(self, part: Reference) -> Judge:
        if self.crew is not None:
            return ClusterJudge(self.crew, part, self.loss, memory=self.memory)
        return PlanJudge(self.runner, part, self.loss, memory=self.memory)


@dataclass(frozen=True, slots=True, eq=False)
class Contest:
    """Searches of one problem, each with a budget of its own, and the last word on them.

    Attributes:
        arena: Judges plans.
        problem: What is searched.
        goal: What is sought.
        progress: Told of each evaluation.
    """

    arena: Arena
    problem: Problem
    goal: Goal
    progress: Progress

    def explore(
        self,
        explorer: Explorer,
        *,
        budget: int,
        seed: int,
        first: Sequence[Sequence[int]] = (),
        stopped: Callable[[], None] = lambda: None,
    ) -> Trace:
        """Spend a budget of true evaluations; Ctrl-C ends it with what was found.

        Args:
            explorer: Who spends it.
            budget: Evaluations.
            seed: Of its random numbers.
            first: Plans that are scored before it begins.
            stopped: Called where Ctrl-C ended it.

        Raises:
            ConstraintError: No plan meets the limits.
            KeyboardInterrupt: Nothing was found yet.
        """
        started = time.perf_counter()
        with self.progress.stage(f"search: {explorer.name}", budget) as step:

            def told(_: Trial) -> None:
                step()
                self.progress.remark(_where(self.goal, ledger.best))

            ledger = Ledger(self.problem, self.arena.judge, budget, goal=self.goal, told=told)
            try:
                ledger.score(_rows(first, ledger), "exact")
                explorer.explore(ledger, np.random.default_rng(seed))
            except KeyboardInterrupt:
                if not ledger.trials:
                    raise
                self.progress.note(f"interrupted after {len(ledger.trials)} plans: the best stays")
                stopped()
        return Trace.of(ledger, explorer.name, seed, time.perf_counter() - started)

    def last_word(
        self, traces: Sequence[Trace], exact: Sequence[int], *, margin: float | None
    ) -> Verdict | None:
        """Compare the best of one search or of several with the exact plan, on unseen samples.

        Args:
            traces: Of searches of this problem.
            exact: The exact plan.
            margin: See `Guard`.

        Returns:
            None where there are too few samples for it: then the exact plan stays.
        """
        with self.progress.stage("rank the best"):
            fresh = self.arena.fresh
            if fresh is None:
                return None
            found = {trial.indices: trial for trace in traces for trial in trace.trials}
            ranked = self.goal.ranked(list(found.values()))
            if margin is not None:  # what loses less than it may has the better chance
                ranked = [*pareto(t for t in ranked if self.goal.excess(t) <= 0.0), *ranked]
            best = list(dict.fromkeys(ranked))[: 2 * FINALISTS]
            narrowed = self.arena.narrowed(self.problem, best)
            guard = Guard(self.problem, self.goal, fresh.per_sample, margin=margin)
            return guard.judge(narrowed, exact, np.random.default_rng(traces[0].seed))


def _where(goal: Goal, best: Trial | None) -> str:
    """How far a search has come."""
    if best is None:
        return ""
    over = "" if goal.excess(best) <= 0.0 else ", over the limits"
    return f"best: loss {best.loss:.3g}, {best.us / 1e3:.3f} ms{over}"


def _rows(plans: Sequence[Sequence[int]], ledger: Ledger) -> Indices:
    """Plans as the ledger takes them; shape (B, S)."""
    return np.array(plans, np.intp).reshape(len(plans), len(ledger.problem.graph.slots))
