"""One search: its trials, its winner on data that it did not see, and the guard's last word."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.feasible import Space
from hwc.toolchain.search.goal import Goal, Trial
from hwc.toolchain.search.guard import FINALISTS, Guard
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Problem
from hwc.toolchain.search.proposals import proposed
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.trace import Trace

from .search_entrants import ENTRANTS, RL
from .search_ground import Ground


@dataclass(frozen=True, slots=True)
class Final:
    """A plan in the end.

    Attributes:
        indices: The plan.
        digest: Its digest: in the store of losses, samples have theirs under it.
        loss: On the samples of the report.
    """

    indices: tuple[int, ...]
    digest: str
    loss: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one search.

    Attributes:
        cell: Where: model, device, limit.
        setting: Digest of prices, sensitivities and limits: figures of others do not compare.
        strategy: Who searched.
        seed: What its random numbers began with.
        budget: True evaluations that it had, beside those of the sweep.
        swept: Evaluations that the sensitivities took, the same for all strategies.
        trials: True evaluations that it used.
        measured: How many of them were measured for it; others were known from before.
        thought: CPU seconds of the search without the evaluations.
        judged: CPU seconds of the evaluations that were measured.
        curve: The best loss within the limits after each trial, on the search's samples.
        winner: The best plan by the search's own samples.
        guarded: What the guard makes of it; None where it was not asked.
        context: Model, data and loss of the report in the store of losses.
    """

    cell: str
    setting: str
    strategy: str
    seed: int
    budget: int
    swept: int
    trials: int
    measured: int
    thought: float
    judged: float
    curve: tuple[float, ...]
    winner: Final | None
    guarded: Final | None
    context: tuple[str, str, str]

    @property
    def final(self) -> Final | None:
        """What the strategy delivers: rl has the guard, as in the product."""
        return self.guarded if self.strategy == RL else self.winner


@dataclass(slots=True)
class Clocked:
    """A judge that knows how much CPU time it took.

    Attributes:
        judge: The judge.
        seconds: CPU seconds so far.
    """

    judge: Callable[[Sequence[Plan]], Iterator[float]]
    seconds: float = field(default=0.0, init=False)

    def __call__(self, plans: Sequence[Plan]) -> Iterator[float]:
        """Losses, one after the other."""
        for plan in plans:
            started = time.process_time()
            (loss,) = self.judge([plan])
            self.seconds += time.process_time() - started
            yield loss


@dataclass(frozen=True, slots=True)
class Contest:
    """One cell: all strategies search the same problem.

    Attributes:
        cell: Its name.
        ground: Judges and sensitivities.
        problem: With the limits.
        budget: True evaluations of each search.
    """

    cell: str
    ground: Ground
    problem: Problem
    budget: int

    def run(self, strategy: str, seed: int, policy: Policy | None) -> Result:
        """Search once."""
        entrant, judge = ENTRANTS[strategy], self.ground.search
        clock, before = Clocked(judge), judge.evaluations
        goal = Goal(self.problem.limits)
        ledger = Ledger(self.problem, clock, self.budget, goal=goal)
        started = time.process_time()
        entrant.make(policy).explore(ledger, np.random.default_rng(seed))
        spent = time.process_time() - started
        report = self.ground.report
        return Result(
            cell=self.cell,
            setting=setting(self.problem),
            strategy=strategy,
            seed=seed,
            budget=self.budget,
            swept=self.ground.swept,
            trials=len(ledger.trials),
            measured=judge.evaluations - before,
            thought=round(spent - clock.seconds, 3),
            judged=round(clock.seconds, 3),
            curve=tuple(Trace.of(ledger, strategy, seed, spent).curve()),
            winner=self._final(ledger.best.indices if ledger.best else None),
            guarded=self._final(self._last_word(ledger, seed)) if entrant.guarded else None,
            context=(report.context.model, report.context.data, report.context.loss),
        )

    def _last_word(self, ledger: Ledger, seed: int) -> tuple[int, ...]:
        """As in the product: the best are judged on all search samples, the best of these again."""
        (exact, *_) = proposed(Space.of(ledger), ledger.goal, Exact()).tolist()
        best = ledger.ranked()[: 2 * FINALISTS]
        losses = self.ground.whole(self._plans([trial.indices for trial in best]))
        narrowed: list[Trial] = [
            replace(trial, loss=loss) for trial, loss in zip(best, losses, strict=True)
        ]
        guard = Guard(self.problem, ledger.goal, self.ground.rank.per_sample)
        return guard.judge(narrowed, exact, np.random.default_rng(seed)).winner.indices

    def _final(self, indices: tuple[int, ...] | None) -> Final | None:
        if indices is None:
            return None
        (plan,) = self._plans([indices])
        (loss,) = self.ground.report([plan])
        return Final(indices, plan.digest, loss)

    def _plans(self, rows: Sequence[Sequence[int]]) -> list[Plan]:
        return [self.problem.plan_of(row) for row in rows]


def setting(problem: Problem) -> str:
    """What all figures of a cell depend on."""
    digest = hashlib.sha256(repr(problem.limits).encode())
    for array in (problem.cost.node_us, problem.cost.boundary_us, problem.sizes, problem.drops):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
