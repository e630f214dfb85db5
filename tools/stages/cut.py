"""One cut of a graph's structure: what may go, what it saves, what it loses, and the best of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from ...backends import ort
from ...toolchain.accuracy.blocks import Rebuild
from ...toolchain.accuracy.evaluator import Reference
from ...toolchain.accuracy.judge import Judge, PlanJudge
from ...toolchain.accuracy.losses import PlanLoss
from ...toolchain.accuracy.sensitivity import judged
from ...toolchain.plan import NodeChoice, Plan
from ...toolchain.progress import Progress
from ...toolchain.search.exact import Exact
from ...toolchain.search.ledger import Ledger
from ...toolchain.search.problem import Limits, Objective, Problem, Proposal
from ...toolchain.structure.site import Bill, Site, apart, site_costs, whole_kernels
from ..request import Request
from ..strategies import PROPOSERS, explorer
from .billing import Biller
from .sites import SiteFinder, SiteWriter

LEAST = 0.98  # of the figure: a cut that saves less is none
TRIES = 3  # at a limit: sites that share a kernel save less than the sum of what each saves
SAMPLES = 64  # on which each choice is tried by itself
BUDGETS = (0, 40, 120)  # true evaluations, by effort


class Reach(StrEnum):
    """What a cut may choose from.

    The loss before recovery is all that a search sees. It likes to take a little of everything,
    since the rest is refitted at once; but small kernels take as long with half of their channels,
    so that much has to go, and training wins less of it back than of branches that left whole:
    which it is, only training tells.
    """

    ANYTHING = "anything"
    BRANCHES = "whole branches"  # leave, or stay as they are

    def of(self, sites: Sequence[Site]) -> list[Site]:
        """The sites with the choices that are within reach."""
        if self is Reach.ANYTHING:
            return list(sites)
        ends = ((site, (site.choices[0], site.choices[-1])) for site in sites)
        return [replace(site, choices=two) for site, two in ends if two[1].keep == 0.0]


@dataclass(frozen=True, slots=True)
class Cut:
    """A smaller graph.

    Attributes:
        model: The graph.
        bill: What it takes.
        loss: Its true loss on the search split, before anything is won back.
        choices: What is left at each node that is changed.
    """

    model: ir.Model
    bill: Bill
    loss: float
    choices: Mapping[str, NodeChoice]


@dataclass(frozen=True, slots=True, eq=False)
class Cutter:
    """Finds the cut that loses least, for what it saves.

    Attributes:
        request: What is asked.
        finder: Finds what may go.
        biller: Says what graphs take.
        reference: The search split, with the original's outputs.
        loss: What is minimised.
        progress: Told of each step.
        skipped: What could not be cut, and why.
    """

    request: Request
    finder: SiteFinder
    biller: Biller
    reference: Reference
    loss: PlanLoss
    progress: Progress
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of what could not be cut."""
        return tuple(f"not cut: {node}: {why}" for node, why in self.skipped.items())

    def cut(
        self,
        model: ir.Model,
        bill: Bill,
        *,
        figure: Objective,
        share: float,
        reach: Reach = Reach.ANYTHING,
    ) -> Cut | None:
        """A graph that takes a share of a figure, or at least gets half of the way; else None.

        Args:
            model: The graph to cut.
            bill: What it takes.
            figure: Latency or size.
            share: How much of the figure may be left.
            reach: What may go.
        """
        found = self.finder.find(model)
        self.skipped.update(found.skipped)
        sites = whole_kernels(reach.of(found.sites), bill)
        if not sites:
            return None
        judge = self._judge(found.writer)
        problem = self._problem(sites, found.writer, judge, bill)
        has = {Objective.LATENCY: bill.us, Objective.SIZE: float(bill.weights)}[figure]
        limit = share * has
        for _ in range(TRIES):
            best, loss = self._best(replace(problem, limits=Limits().at(figure, limit)), judge)
            if best is None:
                return None
            plan = problem.plan(best)
            smaller = found.writer.write(plan)
            now = self.biller.bill(smaller)
            got = {Objective.LATENCY: now.us, Objective.SIZE: float(now.weights)}[figure]
            if got <= (1 + share) / 2 * has:
                return Cut(smaller, now, loss, _by_node(sites, plan))
            limit *= share * has / got
        return None

    def _judge(self, writer: SiteWriter) -> Judge:
        options = ort.Options(self.request.threads, arena=False)
        runner = Rebuild(lambda plan: ort.Session(writer.write(plan), options))
        return PlanJudge(runner, self.reference, self.loss, count=SAMPLES)

    def _problem(
        self, sites: Sequence[Site], writer: SiteWriter, judge: Judge, bill: Bill
    ) -> Problem:
        """What each choice saves, and what it loses by itself."""
        variants: dict[tuple[int, int], Bill] = {}
        most = max(len(site.choices) for site in sites)
        together = [(k, group) for group in apart(sites) for k in range(1, most)]
        with self.progress.stage("structure: what choices save", len(together)) as step:
            for k, group in together:
                changed = [i for i in group if k < len(sites[i].choices)]
                model = writer.write(_plan(sites, dict.fromkeys(changed, k)))
                variants |= dict.fromkeys(((i, k) for i in changed), self.biller.bill(model))
                step()
        cost, weights = site_costs(sites, bill, variants)
        losses = judged(judge, cost.graph, count=SAMPLES, progress=self.progress)
        return Problem(cost, weights, losses, objective=Objective.DROP)

    def _best(self, problem: Problem, judge: Judge) -> tuple[Proposal | None, float]:
        """The plan of least true loss that is found within the limit, and its loss."""
        name, budget = self.request.strategy, BUDGETS[self.request.effort]
        exact = next(iter(Exact().propose(problem)), None)
        if exact is None:
            return None, np.inf
        with self.progress.stage(f"structure: search, {name}", budget) as step:
            ledger = Ledger(problem, judge, max(1, budget), told=lambda _: step())
            ledger.score(np.array([exact.indices], np.intp), exact.strategy)
            if name not in PROPOSERS and budget:
                explorer(name, self.request.policy).explore(
                    ledger, np.random.default_rng(self.request.seed)
                )
        best = ledger.best
        if best is None:
            return None, np.inf
        return problem.proposal(best.indices, best.strategy), best.loss


def _plan(sites: Sequence[Site], changed: Mapping[int, int]) -> Plan:
    """The plan in which some sites have another choice."""
    return Plan.of((site.name, site.choices[changed.get(i, 0)]) for i, site in enumerate(sites))


def _by_node(sites: Sequence[Site], plan: Plan) -> dict[str, NodeChoice]:
    """What is left at each node that a plan changes."""
    found: dict[str, NodeChoice] = {}
    for site, (_, choice) in zip(sites, plan.choices, strict=True):
        if choice != site.choices[0]:
            before = found.get(site.node, NodeChoice())
            found[site.node] = replace(
                before,
                keep=min(before.keep, choice.keep),
                rank=choice.rank or before.rank,
                factors=choice.factors or before.factors,
            )
    return found
