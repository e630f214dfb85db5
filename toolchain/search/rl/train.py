"""Trains a policy from nothing but seeds: problems, their exact solutions, imitation, and play."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import InputError
from ...progress import Progress, Silent
from ..problem import Objective, Problem
from .clone import Cloning, clone
from .generator import Generator, Network, draw_limits, within_share
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
_TEST, _VALIDATION, _GIVEN = 900_000, 800_000, 700_000
_DRAWS = 2  # of prices and sensitivities, for each network that is given


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a policy is trained.

    Attributes:
        devices: Names of device profiles; empty: all.
        families: Designs of the networks.
        problems: How many networks to draw, each on a device.
        judged: How many more to judge on, twice: to choose, and to report.
        networks: What to learn on beside what is drawn, each with several sensitivities.
        seed: What all random numbers begin with.
        cloning: How to imitate.
        refining: How to play; None: not at all.
    """

    devices: tuple[str, ...] = ()
    families: tuple[Family, ...] = tuple(Family)
    problems: int = 300
    judged: int = 100
    networks: tuple[Network, ...] = ()
    seed: int = 0
    cloning: Cloning = field(default_factory=Cloning)
    refining: Refining | None = field(default_factory=Refining)


def train(recipe: Recipe, *, command: str, progress: Progress | None = None) -> Trained:
    """Train, and judge the result on problems that the policy has not seen.

    Args:
        recipe: What to do; equal recipes give equal policies on one machine.
        command: What the file shall say that makes it again.
        progress: Told of each stage.

    Raises:
        InputError: There is nothing to learn, or nothing to judge by.
    """
    progress = progress or Silent()
    generator = Generator.of(recipe.devices, recipe.families)
    base = recipe.seed * _APART
    examples = _examples(generator, range(base, base + recipe.problems), progress)
    examples += _given(generator, recipe.networks * _DRAWS, base + _GIVEN, progress)
    policy = clone(_lessons(examples, progress), seed=recipe.seed, how=recipe.cloning)
    figures: dict[str, float] = {}
    if recipe.refining is not None:
        played = _play(policy, examples, recipe, progress)
        validation = judged(generator, base + _VALIDATION, recipe.judged, progress)
        before, after = (_mean_share(one, validation) for one in (policy, played))
        figures |= {"validation_cloned": before, "validation_played": after}
        policy = played if after > before else policy
    test = judged(generator, base + _TEST, recipe.judged, progress)
    blind = _summary(policy, [replace(example, blind=True) for example in test])
    figures |= _summary(policy, test)
    figures |= {f"blind_{name}": blind[name] for name in ("share_mean", "share_median")}
    return Trained(policy, _training(recipe, generator, command, figures))


def _training(
    recipe: Recipe, generator: Generator, command: str, figures: Mapping[str, float]
) -> Training:
    return Training(
        command=command,
        seed=recipe.seed,
        problems=recipe.problems,
        devices=tuple(dict.fromkeys(profile.name for profile in generator.profiles)),
        families=tuple(recipe.families),
        figures=figures,
    )


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
    problems = _limited(generator.problems(seeds))
    return _solved(problems, "solve", _LIMITS * len(seeds), progress)


def _given(
    generator: Generator, networks: Sequence[Network], seed: int, progress: Progress
) -> list[Example]:
    """The same of networks that were not drawn."""
    if not networks:
        return []
    problems = _limited(generator.given(networks, seed))
    return _solved(problems, "solve the models", _LIMITS * len(networks), progress)


def _limited(
    problems: Iterable[tuple[Problem, np.random.Generator]],
) -> Iterator[Problem]:
    for problem, rng in problems:
        for _ in range(_LIMITS):
            yield draw_limits(problem, rng)


def _solved(
    problems: Iterable[Problem], stage: str, total: int, progress: Progress
) -> list[Example]:
    examples: list[Example] = []
    with progress.stage(stage, total) as step:
        for problem in problems:
            examples += solved([problem])
            step()
    if not examples:
        raise InputError(
            f"{stage}: none of {total} problems has anything to choose",
            "name a device that runs more than one precision, or more problems",
        )
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
    return _summary(policy, examples)["share_mean"]


def _summary(policy: Policy, examples: Sequence[Example]) -> Mapping[str, float]:
    shares = Shares.of(policy, examples)
    if not len(shares.chosen):
        raise InputError(
            f"uniform precision is best in all of {len(examples)} problems to judge by",
            "ask for more problems, or for more devices",
        )
    return shares.summary()
