"""Stage 3: which plans to build, best first."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...toolchain.accuracy.evaluator import Evaluator
from ...toolchain.accuracy.losses import choose_loss
from ...toolchain.accuracy.store import LossStore, default_store
from ...toolchain.cluster import Cluster
from ...toolchain.errors import ConstraintError, OutputError, UsageError
from ...toolchain.latency.build_cost import refined
from ...toolchain.latency.drift import TOTAL
from ...toolchain.plan import Plan
from ...toolchain.progress import Progress
from ...toolchain.report import SearchRow, Tried
from ...toolchain.search.choose import Choice, choose
from ...toolchain.search.front import front
from ...toolchain.search.goal import Goal
from ...toolchain.search.problem import (
    Objective,
    Problem,
    Proposal,
    fp32_everywhere,
    terms_of,
)
from ...toolchain.search.rl.features import K_MAX
from ...toolchain.search.uniform import Uniform
from ...toolchain.slots import SlotGraph
from ..request import Recover, Request
from ..strategies import LEARNED, PROPOSERS, explorer, pretrained, proposer
from .challenge import Challenge, Challenger
from .cluster import crew
from .decide import Decisions
from .explore import Arena
from .package import Packaging, model_size
from .prepare import Prepared
from .problem import priced, problem_of
from .sense import How, sense

ROUNDS = 4  # of measuring what was chosen and choosing again
SETTLED = 0.03  # a price that near the measurement is believed
STALE = TOTAL  # beyond that the rows that a price rests on are measured again
BUDGETS = (0, 160, 400)  # true evaluations by effort
WON_BACK = (4.0, 16.0)  # times the drop that is allowed: what training with rounding may win back
MORE = 1.25  # times the least drop that the limits allow: worth it where the plan is faster
ROOM = 0.02  # of the size: trained weights are packed a little less tightly


@dataclass(frozen=True, slots=True)
class Searched:
    """What the search found.

    Attributes:
        problem: With the times as they were last corrected, and the sensitivities where they had
            to be measured.
        candidates: Plans for the gate, best first.
        evaluations: How many plans were truly run on the search split.
        challenge: What came of the search that challenged the solver; None where there was none.
        note: What the user should know of the search.
    """

    problem: Problem
    candidates: tuple[tuple[Proposal, Plan], ...]
    evaluations: int
    challenge: Challenge | None
    note: str

    def row(self, strategy: str) -> SearchRow:
        """What a report says of it."""
        if self.challenge is None:
            return SearchRow(strategy, self.evaluations, self.note)
        trace = self.challenge.trace
        return SearchRow(
            strategy,
            self.evaluations,
            self.note,
            trace.seed,
            self.challenge.loss,
            tuple(
                Tried(t.loss, t.us, t.size, self.problem.plan_of(t.indices).counts())
                for t in trace.pareto()
            ),
        )

    @property
    def plans(self) -> Sequence[tuple[str, Plan]]:
        """What the gate tries, with the name that the report gives it."""
        return [(_title(proposal), plan) for proposal, plan in self.candidates]


@dataclass(frozen=True, slots=True)
class PlanSearch:
    """The search of one compilation.

    The solver's plan is challenged by a search with true evaluations wherever that could find a
    better one: not where the best plan of all, whatever it drops, keeps within the drop.

    Sensitivities are measured only where the best plan of all drops too much, or where the least
    loss is sought: they take as many builds as there are choices.

    Attributes:
        request: What is asked.
        prepared: The model and the data.
        decisions: What there is to decide.
        evaluator: Measures true drops on the search split.
        progress: Told of each stage and each evaluation.
        cluster: Where true evaluations are made; None: here.
    """

    request: Request
    prepared: Prepared
    decisions: Decisions
    evaluator: Evaluator
    progress: Progress
    cluster: Cluster | None = None

    def run(self) -> Searched:
        """Find the best plan that keeps within the drop on the search split.

        Where none does, and weights can be trained for a plan, it is the best that drops no more
        than training is likely to win back, or else the best of those that lose little more than
        the one that loses least within the other limits; the gate judges what training makes of it.

        Raises:
            ConstraintError: No plan meets the constraints; the message names the nearest.
            UsageError: There are more choices than a policy sees.
        """
        try:
            return self.found()
        except ConstraintError as refused:
            if self.request.recovery is not Recover.FULL:
                raise
            self.progress.note(f"{refused.message}: a plan is trained")
        for factor in WON_BACK:
            with suppress(ConstraintError):
                return self._allowing(factor * self.request.max_drop)
        asked = replace(self.request, objective=Objective.DROP, max_drop=1.0, weights={})
        least = replace(self, request=asked).found()
        with suppress(ConstraintError):
            return self._allowing(MORE * self.evaluator.score(least.candidates[0][1]).value)
        return least

    def _allowing(self, drop: float) -> Searched:
        """What is found where a plan may drop so much."""
        return replace(self, request=replace(self.request, max_drop=min(1.0, drop))).found()

    def found(self) -> Searched:
        """Find the best plan whose true drop keeps within what is asked; see `run`."""
        check_choices(self.request, self.decisions.slots)
        problem = problem_of(self.request, self.decisions)
        with ExitStack() as opened:
            arena = self._arena(self._store(opened))
            return (self._searched if self.request.effort else self._guessed)(problem, arena)

    def _searched(self, problem: Problem, arena: Arena) -> Searched:
        """Let the solver choose, and challenge it."""
        if Objective.DROP in terms_of(problem.objective, problem.weights):
            problem = self._sensed(problem, arena)
        problem, choice = self.settle(problem)
        if _only_fp32(choice) and self.evaluator.evaluations and problem.sensitivity is None:
            problem, choice = self.settle(self._sensed(problem, arena))
        challenge, note = self._challenged(problem, choice.candidates[0].proposal, arena)
        found = [candidate.proposal for candidate in choice.candidates]
        spent = self.evaluator.evaluations
        if challenge:
            found[:0] = [challenge.winner] if challenge.winner else []
            spent += len(challenge.trace.trials)
        plans = self._with_uniform(found, problem)
        return Searched(problem, tuple((p, problem.plan(p)) for p in plans), spent, challenge, note)

    def _guessed(self, problem: Problem, arena: Arena) -> Searched:
        """Let the policy choose by what is estimated: no plan is run, and no solver asked.

        The gate starts at the best plan whose estimated loss is as small as the drop that is
        allowed, and goes on with safer ones.
        """
        problem = self._sensed(problem, arena)
        with self.progress.stage("plans of the policy"):
            found = list(front(problem, pretrained(self.request.policy)))
        safe = [p for p in found if p.figure(Objective.DROP) <= self.request.max_drop]
        plain = fp32_everywhere(problem)
        plans = [*(p for p in safe or found[-1:] if p != plain), plain]
        return Searched(
            problem,
            tuple((p, problem.plan(p)) for p in plans),
            0,
            None,
            "chosen without an evaluation: the policy read the table and estimated losses",
        )

    def _sensed(self, problem: Problem, arena: Arena) -> Problem:
        """The problem with sensitivities: measured, or estimated where no plan is to be run."""
        how = self.request.sensitivity or (How.MEASURED if self.request.effort else How.AUTO)
        table = sense(
            self.decisions,
            arena.judge,
            how=How(how),
            progress=self.progress,
            wanted=worth_measuring(problem, self.request.strategy),
        )
        return replace(problem, sensitivity=table)

    def _challenged(
        self, problem: Problem, exact: Proposal, arena: Arena
    ) -> tuple[Challenge | None, str]:
        """What came of challenging the solver; or why it was not."""
        request, meter, name = self.request, self.decisions.meter, self.request.strategy
        if name in PROPOSERS or not self.prepared.real:
            return None, ""
        if problem.sensitivity is None:
            return None, f"{name} was not asked: the best plan of all keeps within the drop"
        traded = Objective.DROP not in terms_of(problem.objective, problem.weights)
        if traded and not any(exact.indices):
            return None, f"{name} was not asked: exact finds only fp32 within the drop"
        with crew(self.cluster, self.decisions.simulator, self.progress.note) as workers:
            challenger = Challenger(
                arena=replace(arena, crew=workers),
                explorer=explorer(name, request.policy),
                budget=max(1, BUDGETS[request.effort] - self.evaluator.evaluations),
                seed=request.seed,
                holds=lambda proposal: self._drop(problem, proposal) <= request.max_drop,
                measure=None if meter is None else lambda p: meter.one(problem.plan(p)),
                progress=self.progress,
            )
            result = challenger.challenge(
                problem, exact, Goal(problem.limits, problem.objective, problem.weights)
            )
        return result, result.text

    def _store(self, opened: ExitStack) -> LossStore | None:
        """Where losses are kept for the next compilation; nowhere if that cannot be written."""
        try:
            return opened.enter_context(LossStore(default_store()))
        except OutputError as refused:
            self.progress.note(f"losses are not kept: {refused.message}")
            return None

    def _arena(self, store: LossStore | None) -> Arena:
        """Where plans are judged."""
        evaluator = self.evaluator
        part = evaluator.reference
        loss = choose_loss(evaluator.metric, part.outputs)
        decisions, runner = self.decisions, evaluator.runner
        return Arena(self.prepared, decisions, runner, part, loss, store)

    def _drop(self, problem: Problem, proposal: Proposal) -> float:
        """The true drop of a plan on the search split."""
        return self.evaluator.score(problem.plan(proposal)).value

    def settle(self, problem: Problem) -> tuple[Problem, Choice]:
        """Choose, hold what was chosen against the limits as it is, and choose again."""
        problem, choice = self._timed(problem)
        for _ in range(ROUNDS):
            excess = self._excess(problem.plan(choice.candidates[0].proposal))
            if excess <= 0:
                break
            self.progress.note(f"the choice takes {excess / 1e6:.4g} MB too much on disk")
            limits = replace(problem.limits, size=problem.limits.size - excess)
            problem, choice = self._timed(replace(problem, limits=limits))
        return problem, choice

    def _excess(self, plan: Plan) -> float:
        """Bytes by which the file of a plan is larger than asked; weights are not all of it."""
        request = self.request
        if request.max_size is None:
            return 0.0
        room = ROOM if request.recovery is Recover.FULL else 0.0
        with tempfile.TemporaryDirectory() as place, self.progress.stage("pack the choice"):
            folder = Path(place)
            Packaging.of(request).save(self.decisions.writer.write(plan), folder)
            return model_size(folder) - (1.0 - room) * request.max_size

    def _timed(self, problem: Problem) -> tuple[Problem, Choice]:
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
                problem = priced(problem, cost, self.decisions)
            else:
                problem = priced(problem, refined(problem.cost, measured), self.decisions)
                if abs(residual) <= SETTLED:
                    break
            choice = self._choose(problem)
        return problem, choice

    def _choose(self, problem: Problem) -> Choice:
        strategy = proposer(self.request.strategy)
        with self.progress.stage("search") as step:

            def score(plan: Plan) -> float:
                drop = self.evaluator.score(plan).value
                self.progress.note(f"tried {plan.counts()}: drop {drop:.2%} on the search split")
                step()
                return drop

            return choose(problem, strategy, score=score, max_drop=self.request.max_drop)

    def _with_uniform(self, proposals: list[Proposal], problem: Problem) -> list[Proposal]:
        """Put the plans of one precision that keep within the drop before the last resort, fp32.

        Uniform fp16 is the plain build that a user of an accelerator knows: nothing stands nearer
        to the original, and it is seldom much slower than the best.
        """
        if problem.weights or problem.objective is not Objective.LATENCY:
            return list(dict.fromkeys(proposals))
        *better, plain = proposals
        fastest = better[0].predicted_us if better else 0.0
        uniform = [
            proposal
            for proposal in Uniform().propose(problem)
            if fastest < proposal.predicted_us < plain.predicted_us
            and self._drop(problem, proposal) <= self.request.max_drop
        ]
        found = sorted([*better, *uniform], key=lambda proposal: proposal.predicted_us)
        return [*dict.fromkeys(found), plain]


def check_choices(request: Request, slots: SlotGraph) -> None:
    """Refuse more choices of a slot than a policy was made for, where a policy is asked.

    Raises:
        UsageError: There are more.
    """
    most = max((len(slot.choices) for slot in slots.slots), default=1)
    learned = request.strategy in LEARNED or not request.effort
    if learned and most > K_MAX:
        raise UsageError(
            f"a slot has {most} choices, and a policy sees up to {K_MAX}",
            "name fewer in --precision or --storage, or take --strategy local and --effort 1",
        )


def worth_measuring(problem: Problem, strategy: str) -> npt.NDArray[np.bool_]:
    """The choices whose loss matters: better than fp32 by themselves, or in the best plan.

    Returns:
        Shape (slots, most choices).
    """
    if problem.weights or problem.objective is Objective.DROP:
        return problem.legal
    figures = problem.tables[problem.objective]
    wanted = problem.legal & (figures < figures[:, :1])
    for proposal in proposer(strategy).propose(problem):
        wanted[np.arange(len(wanted)), list(proposal.indices)] = True
    return wanted


def _only_fp32(choice: Choice) -> bool:
    return not any(choice.candidates[0].proposal.indices)


def _title(proposal: Proposal) -> str:
    return f"{proposal.strategy}, predicted {proposal.predicted_us / 1e3:.3f} ms"
