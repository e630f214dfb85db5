"""How good the plans of a policy are on what it has not seen, without evaluation and solver.

Run `python tests/bench/policy.py [MODEL...]`. Leave one family out: for each design of networks a
policy is cloned from the exact solutions of all other designs (no play follows, unlike for the
policy that ships) and judged on that design alone. Then the policy that ships is judged on the
development models, none of which it was trained on, with sensitivities that were propagated through
the graph: no plan is built or run. Every problem asks for the least loss within a latency.

The share is of what the exact solver gains over the best uniform precision within the limits: 1 is
the best plan there is, by what is predicted. "Without a policy" is the plan that the same features
lead to with no network to weigh them: each slot takes the choice from which the cheapest way to
finish is predicted to lose least. "Blind" plans are made without the sensitivities, which then
only judge them: typical ones stand for them, as in `hwc compile --effort 0`. Seconds are CPU time
of one plan, from the problem on.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from hwc.passes.rounded import rounded_constants
from hwc.toolchain.accuracy.estimates import Estimate, estimate
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.perturbation import Activations, Rounding
from hwc.toolchain.accuracy.samples import each
from hwc.toolchain.calibration import collect
from hwc.toolchain.device import HOST
from hwc.toolchain.errors import HwcError
from hwc.toolchain.latency.prices import from_profile
from hwc.toolchain.observe import observer
from hwc.toolchain.progress import Silent
from hwc.toolchain.search.problem import Objective, Problem
from hwc.toolchain.search.rl.clone import clone
from hwc.toolchain.search.rl.generator import Generator, draw_limits, latency_range, within_share
from hwc.toolchain.search.rl.lessons import Example, Lessons, solved
from hwc.toolchain.search.rl.networks import Family
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.rl.policy_file import read_policy, shipped
from hwc.toolchain.search.rl.shares import GOOD, Shares
from hwc.toolchain.search.rl.train import judged
from hwc.tools.request import Request
from hwc.tools.stages.decide import find_meter, find_space, reference
from hwc.tools.stages.prepare import prepare
from hwc.tools.stages.problem import weight_bytes
from hwc.tools.stages.target import find_target
from support.calibration import arguments
from support.compilation import write_json
from support.devkit import Case, SkipError, cases
from support.tables import markdown, say

MODELS = ("resnet20_cifar10", "tinyvit_cifar10", "dscnn_kws", "efficientnet_lite0")
DEVICES = (HOST, "a100", "jetson_orin")
BUDGETS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)  # of the way from the fastest plan to the safest
NETWORKS = 60  # to learn on, of each family; two limits each
JUDGED = 40  # to judge on, of each family
HEAD = (
    *("", "problems", "mean", "median", ">= 0.9", "without a policy", ">= 0.9", "likeliest plan"),
    *("blind mean", "median", ">= 0.9", "seconds", "most"),
)
_TEST = 900_000  # seeds from here on are not for learning


@dataclass(frozen=True, slots=True)
class Judged:
    """How good a policy's plans are where it sees sensitivities, and where it does not."""

    seeing: Shares
    blind: Shares

    @classmethod
    def of(cls, policy: Policy, examples: Sequence[Example]) -> Self:
        """Judge both."""
        blind = [replace(example, blind=True) for example in examples]
        return cls(Shares.of(policy, examples), Shares.of(policy, blind))

    @classmethod
    def together(cls, several: Sequence[Self]) -> Self:
        """All problems of several."""
        return cls(_joined([j.seeing for j in several]), _joined([j.blind for j in several]))


def _joined(several: Sequence[Shares]) -> Shares:
    names = [field.name for field in fields(Shares)]
    return Shares(*(np.concatenate([getattr(one, name) for one in several]) for name in names))


@dataclass(frozen=True, slots=True)
class Row:
    """How good plans are on some problems; shares as in `Shares`, where -1 is the worst."""

    what: str
    problems: int
    mean: float
    median: float
    good: float
    without_mean: float
    without_good: float
    likeliest_mean: float
    blind_mean: float
    blind_median: float
    blind_good: float
    seconds: float
    seconds_most: float

    @classmethod
    def of(cls, what: str, found: Judged) -> Self:
        """Sum up."""
        shares = found.seeing
        plans = (shares.chosen, shares.guided, found.blind.chosen)
        chosen, guided, blind = (np.maximum(share, -1.0) for share in plans)
        return cls(
            what=what,
            problems=len(chosen),
            mean=float(chosen.mean()),
            median=float(np.median(chosen)),
            good=float((chosen >= GOOD).mean()),
            without_mean=float(guided.mean()),
            without_good=float((guided >= GOOD).mean()),
            likeliest_mean=float(np.maximum(shares.likeliest, -1.0).mean()),
            blind_mean=float(blind.mean()),
            blind_median=float(np.median(blind)),
            blind_good=float((blind >= GOOD).mean()),
            seconds=float(np.median(shares.seconds)),
            seconds_most=float(shares.seconds.max()),
        )


def families(networks: int, count: int) -> Iterator[tuple[str, Judged]]:
    """A policy of all other families on each family."""
    learnt = {family: _learnt(family, networks) for family in Family}
    for family in Family:
        policy = clone(_together([learnt[other] for other in Family if other != family]), seed=0)
        test = judged(Generator.of(families=[family]), _TEST, count)
        yield family.value, Judged.of(policy, test)


def _learnt(family: Family, networks: int) -> Lessons:
    """What the networks of one family teach."""
    problems = Generator.of(families=[family]).problems(range(networks))
    limited = (draw_limits(problem, rng) for problem, rng in problems for _ in range(2))
    return Lessons.of(list(solved(limited)))


def _together(lessons: Sequence[Lessons]) -> Lessons:
    names = [field.name for field in fields(Lessons)]
    return Lessons(*(np.concatenate([getattr(one, n) for one in lessons]) for n in names))


def model_problem(case: Case, device: str, folder: Path, *, measured: bool) -> Problem:
    """A development model on a device, with propagated sensitivities.

    Args:
        case: The model.
        device: Where it is to run.
        folder: For calibration data, and for the table.
        measured: Whether kernels are timed where the device is here; estimated otherwise.
    """
    data = arguments(case, folder, labelled=False)[1]
    request = Request(str(case.path), data=data, device=device, table=folder / "table.sqlite")
    target = find_target(request)
    prepared = prepare(request, target, Silent())
    space = find_space(request, target, prepared, Silent())
    tensors = sorted(space.writer.ranges)
    histograms = collect(
        observer(prepared.model, tensors, reference),
        lambda: (sample.feeds for sample in each(prepared.splits.calibrate)),
        tensors=tensors,
        progress=Silent(),
    )
    unsigned = target.dialect.unsigned_activations
    known = Activations.of(histograms, space.writer.ranges, unsigned=unsigned)
    constants = partial(rounded_constants, dialect=target.dialect)
    rounding = Rounding(prepared.model, space.slots, target.dialect, known, constants)
    part = Reference.of(reference(prepared.original), prepared.splits.search, "search")
    table = estimate([Estimate.PROPAGATED], rounding, part)[Estimate.PROPAGATED]
    meter = find_meter(request, target, prepared, space.writer) if measured else None
    cost = meter.cost(Silent())[0] if meter else from_profile(space.slots, target.profile).cost
    return Problem(cost, weight_bytes(space.slots), table, objective=Objective.DROP)


def within_budgets(problem: Problem) -> list[Example]:
    """The problem within each budget, solved."""
    least, most = latency_range(problem)
    if not least < most:
        return []
    return list(solved(within_share(problem, budget) for budget in BUDGETS))


def models(
    chosen: Sequence[Case], policy: Policy, *, measured: bool
) -> Iterator[tuple[str, Judged]]:
    """A policy on each model and device."""
    with tempfile.TemporaryDirectory() as name:
        for case in chosen:
            for device in DEVICES:
                try:
                    problem = model_problem(case, device, Path(name), measured=measured)
                except HwcError as cause:
                    say(f"{case.name} on {device}: {cause}")
                    continue
                yield f"{case.name}, {device}", Judged.of(policy, within_budgets(problem))


def report(title: str, found: Iterator[tuple[str, Judged]]) -> list[Mapping[str, object]]:
    """Print one table, a row for each and one for all."""
    pairs = [(what, one) for what, one in found if len(one.seeing.chosen)]
    if not pairs:
        say(f"\n{title}: nothing to gain over uniform precision")
        return []
    every = Judged.together([one for _, one in pairs])
    rows = [Row.of(what, one) for what, one in (*pairs, ("all", every))]
    say(f"\n{title}\n")
    say(markdown(HEAD, [_cells(row) for row in rows]))
    return [asdict(row) for row in rows]


def _cells(row: Row) -> tuple[str, ...]:
    shares = (
        *(row.mean, row.median, row.good, row.without_mean, row.without_good),
        *(row.likeliest_mean, row.blind_mean, row.blind_median, row.blind_good),
    )
    times = (f"{row.seconds:.2f}", f"{row.seconds_most:.2f}")
    return (row.what, str(row.problems), *map(_share, shares), *times)


def _share(value: float) -> str:
    return f"{value:.3f}"


def main() -> None:
    """Judge, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--policy", type=Path, help="for the models, instead of the one that ships")
    parser.add_argument("--networks", type=int, default=NETWORKS, help="to learn on, of a family")
    parser.add_argument("--judged", type=int, default=JUDGED, help="to judge on, of a family")
    parser.add_argument("--skip-families", action="store_true", help="judge on models alone")
    parser.add_argument("--measured", action="store_true", help="time the host's kernels, too")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write JSON")
    asked = parser.parse_args()
    policy = (read_policy(asked.policy) if asked.policy else shipped()).policy
    results = {}
    if not asked.skip_families:
        title = f"Each family by a policy of the others ({asked.networks} networks of each)"
        results["families"] = report(title, families(asked.networks, asked.judged))
    try:
        found = models(cases(asked.models), policy, measured=asked.measured)
        results["models"] = report("Development models", found)
    except SkipError as reason:
        say(f"skipped: {reason}")
    if asked.out:
        write_json(asked.out, results)


if __name__ == "__main__":
    main()
