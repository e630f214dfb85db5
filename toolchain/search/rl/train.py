"""Trains a policy from nothing but seeds: problems, their exact solutions, imitation, and play."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ...progress import Progress, Silent
from ..problem import Objective, Problem
from .clone import Cloning, clone
from .generator import Generator, draw_limits, within_share
from .lessons import Example, Lessons, solved
from .networks import Family
from .opening import limited_figures
from .policy import Policy
from .policy_file import Trained, Training
from .ppo import Refining, refine
from .shares import Shares

_LIMITS = 2  # for each network
_JUDGED = (0.05, 0.95)  # of the way from the fastest plan to the safest
_APART = 1_000_000  # seeds of one training; the last tenths of them are for judging
_TEST, _VALIDATION = 900_000, 800_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a policy is trained.

    Attributes:
        devices: Names of device profiles; empty: all.
        families: Designs of the networks.
        problems: How many networks to draw, each on a device.
        judged: How many more to judge on, twice: to choose, and to report.
        seed: What all random numbers begin with.
        cloning: How to imitate.
        refining: How to play; None: not at all.
    """

    devices: tuple[str, ...] = ()
    families: tuple[Family, ...] = tuple(Family)
    problems: int = 300
    judged: int = 100
    seed: int = 0
    cloning: Cloning = field(default_factory=Cloning)
    refining: Refining | None = field(default_factory=Refining)


def train(recipe: Recipe, *, command: str, progress: Progress | None = None) -> Trained:
    """Train, and judge the result on problems that the policy has not seen.

    Args:
        recipe: What to do; equal recipes give equal policies on one machine.
        command: What the file shall say that makes it again.
        progress: Told of each stage.
    """
    progress = progress or Silent()
    generator = Generator.of(recipe.devices, recipe.families)
    base = recipe.seed * _APART
    examples = _examples(generator, range(base, base + recipe.problems), progress)
    policy = clone(_lessons(examples, progress), seed=recipe.seed, how=recipe.cloning)
    figures: dict[str, float] = {}
    if recipe.refining is not None:
        played = _play(policy, examples, recipe, progress)
        validation = judged(generator, base + _VALIDATION, recipe.judged, progress)
        before, after = (_mean_share(one, validation) for one in (policy, played))
        figures |= {"validation_cloned": before, "validation_played": after}
        policy = played if after > before else policy
    test = judged(generator, base + _TEST, recipe.judged, progress)
    blind = Shares.of(policy, [replace(example, blind=True) for example in test]).summary()
    figures |= Shares.of(policy, test).summary()
    figures |= {f"blind_{name}": blind[name] for name in ("share_mean", "share_median")}
    devices = tuple(dict.fromkeys(profile.name for profile in generator.profiles))
    training = Training(
        command, recipe.seed, recipe.problems, devices, tuple(recipe.families), figures
    )
    return Trained(policy, training)


def judged(
    generator: Generator, first: int, count: int, progress: Progress | None = None
) -> list[Example]:
    """Problems to judge a policy on: the least loss within one limit on latency each."""
    seeds = range(first, first + count)
    problems = (
        within_share(problem, float(rng.uniform(*_JUDGED)))
        for problem, rng in generator.problems(seeds)
    )
    return _solved(problems, "judge", count, progress or Silent())


def _examples(generator: Generator, seeds: Sequence[int], progress: Progress) -> list[Example]:
    """Each network with several limits."""
    problems = (
        draw_limits(problem, rng)
        for problem, rng in generator.problems(seeds)
        for _ in range(_LIMITS)
    )
    return _solved(problems, "solve", _LIMITS * len(seeds), progress)


def _solved(
    problems: Iterable[Problem], stage: str, total: int, progress: Progress
) -> list[Example]:
    examples: list[Example] = []
    with progress.stage(stage, total) as step:
        for problem in problems:
            examples += solved([problem])
            step()
    return examples


def _lessons(examples: Sequence[Example], progress: Progress) -> Lessons:
    with progress.stage("lessons"):
        return Lessons.of(examples)


def _play(
    policy: Policy, examples: Sequence[Example], recipe: Recipe, progress: Progress
) -> Policy:
    how = recipe.refining or Refining()
    with progress.stage("play", how.steps) as step:
        return refine(policy, _ordinary(examples), seed=recipe.seed, how=how, told=lambda _: step())


def _ordinary(examples: Sequence[Example]) -> list[Example]:
    """Those of the usual task: the least loss within a latency."""
    usual = ((Objective.LATENCY,), Objective.DROP)
    return [e for e in examples if (limited_figures(e.problem), e.problem.objective) == usual]


def _mean_share(policy: Policy, examples: Sequence[Example]) -> float:
    return Shares.of(policy, examples).summary()["share_mean"]
