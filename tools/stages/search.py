"""Stage 3: which plans to build, best first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...backends import ort
from ...toolchain.accuracy.evaluator import Evaluator, Reference
from ...toolchain.accuracy.metric import Metric
from ...toolchain.accuracy.sensitivity import sensitivity
from ...toolchain.latency.build_cost import refined
from ...toolchain.latency.drift import TOTAL
from ...toolchain.plan import Plan
from ...toolchain.progress import Progress
from ...toolchain.search.choose import Choice, choose
from ...toolchain.search.exact import Exact
from ...toolchain.search.greedy import Greedy
from ...toolchain.search.problem import Limits, Problem, Proposal, Strategy
from ...toolchain.search.uniform import Uniform
from ...toolchain.slots import SlotGraph
from ..request import Request
from .decide import Decisions

ROUNDS = 4  # of measuring what was chosen and choosing again
SETTLED = 0.03  # a price that near the measurement is believed
STALE = TOTAL  # beyond that the rows that a price rests on are measured again
STRATEGIES: dict[str, type[Strategy]] = {"exact": Exact, "greedy": Greedy, "uniform": Uniform}


@dataclass(frozen=True, slots=True)
class Searched:
    """What the search found.

    Attributes:
        problem: With the times as they were last corrected, and the sensitivities where they had
            to be measured.
        candidates: Plans for the gate, best first.
        evaluations: How many plans were truly run on the search split.
    """

    problem: Problem
    candidates: tuple[tuple[Proposal, Plan], ...]
    evaluations: int

    @property
    def plans(self) -> Sequence[tuple[str, Plan]]:
        """What the gate tries, with the name that the report gives it."""
        return [(_title(proposal), plan) for proposal, plan in self.candidates]


def search(
    request: Request, decisions: Decisions, part: Reference, metric: Metric, progress: Progress
) -> Searched:
    """Find the fastest plan that keeps within the drop on the search split.

    Sensitivities are measured only where the fastest plan of all drops too much: they take as many
    builds as there are choices.

    Raises:
        ConstraintError: No plan meets the constraints; the message names the nearest.
    """

    def realise(plan: Plan) -> ort.Session:
        return decisions.simulate(plan, request.threads)

    limits = Limits(
        latency_us=(request.max_latency_ms or np.inf) * 1e3,
        size=np.inf if request.max_size is None else request.max_size,
    )
    problem = Problem(decisions.cost, weight_bytes(decisions.slots), limits=limits)
    evaluator = Evaluator(realise, part, metric)
    run = _Search(request, decisions, evaluator, progress)
    problem, choice = run.settle(problem)
    if _only_fp32(choice) and evaluator.evaluations:
        wanted = worth_measuring(problem, request.strategy)
        table = sensitivity(evaluator, decisions.slots, wanted=wanted, progress=progress)
        problem, choice = run.settle(replace(problem, sensitivity=table))
    proposals = _with_uniform([c.proposal for c in choice.candidates], problem, run)
    candidates = tuple((proposal, problem.plan(proposal)) for proposal in proposals)
    return Searched(problem, candidates, evaluator.evaluations)


@dataclass(frozen=True, slots=True)
class _Search:
    request: Request
    decisions: Decisions
    evaluator: Evaluator
    progress: Progress

    def settle(self, problem: Problem) -> tuple[Problem, Choice]:
        """Choose, measure what was chosen, and choose again while its price is wrong.

        Where the table is far off, its rows of this model are measured again first: the machine or
        the runtime is no longer what it was when they were.
        """
        choice = self._choose(problem)
        meter, fresh = self.decisions.meter, self.decisions.fresh
        for _ in range(ROUNDS if meter else 0):
            best = choice.candidates[0].proposal
            with self.progress.stage("measure the choice"):
                measured = meter.one(problem.plan(best)) if meter else None
            if meter is None or measured is None:
                break
            residual = best.predicted_us / measured.total_us - 1
            self.progress.note(f"predicted {best.predicted_us:.0f} µs, {residual:+.1%} off")
            if abs(residual) > STALE and not fresh:
                self.progress.note("more than 10 % off: this model's rows are measured again")
                cost, fresh = meter.cost(self.progress, again=True)
                problem = replace(problem, cost=cost)
            else:
                problem = replace(problem, cost=refined(problem.cost, measured))
                if abs(residual) <= SETTLED:
                    break
            choice = self._choose(problem)
        return problem, choice

    def _choose(self, problem: Problem) -> Choice:
        strategy = STRATEGIES[self.request.strategy]()
        with self.progress.stage("search") as step:

            def score(plan: Plan) -> float:
                drop = self.evaluator.score(plan).value
                self.progress.note(f"tried {plan.counts()}: drop {drop:.2%} on the search split")
                step()
                return drop

            return choose(problem, strategy, score=score, max_drop=self.request.max_drop)


def _with_uniform(proposals: list[Proposal], problem: Problem, run: _Search) -> list[Proposal]:
    """Put the plans of one precision that keep within the drop before the last resort, fp32.

    Uniform fp16 is the plain build that a user of an accelerator knows: nothing stands nearer to
    the original, and it is seldom much slower than the best.
    """
    *better, plain = proposals
    fastest = better[0].predicted_us if better else 0.0
    uniform = [
        proposal
        for proposal in Uniform().propose(problem)
        if fastest < proposal.predicted_us < plain.predicted_us
        and run.evaluator.score(problem.plan(proposal)).value <= run.request.max_drop
    ]
    found = sorted([*better, *uniform], key=lambda proposal: proposal.predicted_us)
    return [*dict.fromkeys(found), plain]


def worth_measuring(problem: Problem, strategy: str) -> npt.NDArray[np.bool_]:
    """The choices whose loss matters: faster than fp32 by themselves, or in the fastest plan.

    Returns:
        Shape (slots, most choices).
    """
    wanted = problem.cost.node_us < problem.cost.node_us[:, :1]
    for proposal in STRATEGIES[strategy]().propose(problem):
        wanted[np.arange(len(wanted)), list(proposal.indices)] = True
    return wanted


def weight_bytes(slots: SlotGraph) -> npt.NDArray[np.int64]:
    """Bytes of each slot's weights in each choice; shape (slots, most choices)."""
    most = max((len(slot.choices) for slot in slots.slots), default=1)
    table = np.zeros((len(slots.slots), most), np.int64)
    for row, slot in enumerate(slots.slots):
        for column, choice in enumerate(slot.choices):
            table[row, column] = slot.work.weights * choice.precision.weight_bits // 8
    return table


def _only_fp32(choice: Choice) -> bool:
    return not any(choice.candidates[0].proposal.indices)


def _title(proposal: Proposal) -> str:
    return f"{proposal.strategy}, predicted {proposal.predicted_us / 1e3:.3f} ms"
