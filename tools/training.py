"""The body of `hwc train-policy`: what is asked for as a recipe, and what is said of the result."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from ..toolchain.codec import encode
from ..toolchain.device import DeviceProfile
from ..toolchain.errors import InputError
from ..toolchain.find_slots import find_slots
from ..toolchain.progress import Progress
from ..toolchain.search.rl.generator import Generator, Network
from ..toolchain.search.rl.networks import Family
from ..toolchain.search.rl.policy_file import Trained
from ..toolchain.search.rl.ppo import Refining
from ..toolchain.search.rl.train import Recipe, train
from .backends import open_backend
from .estimating import Subject
from .question import Question
from .render import console

_JUDGED = 100  # problems at most, each time


@dataclass(frozen=True, slots=True)
class Asked:
    """What a policy is to be trained on.

    Attributes:
        models: As for `load_structure`.
        devices: Names or profiles; empty: all that come with hwc.
        families: Designs of the networks that are drawn.
        problems: How many are drawn.
        steps: Of play.
        seed: What all random numbers begin with.
    """

    models: tuple[str, ...]
    devices: tuple[str, ...]
    families: tuple[str, ...]
    problems: int
    steps: int
    seed: int

    @property
    def command(self) -> str:
        """What makes the same policy again."""
        words = ["hwc", "train-policy", *self.models, "--problems", str(self.problems)]
        words += ["--steps", str(self.steps), "--seed", str(self.seed)]
        for device in self.devices:
            words += ["--device", device]
        if set(self.families) != set(Family):
            for family in self.families:
                words += ["--family", family]
        return shlex.join(words)


def train_as_asked(asked: Asked, progress: Progress) -> Trained:
    """Train a policy.

    Raises:
        HwcError: A device or a model cannot be used, or there is nothing to learn.
    """
    profiles = Generator.of(asked.devices).profiles
    networks = tuple(n for model in asked.models for n in _networks(model, profiles, progress))
    recipe = Recipe(
        devices=asked.devices,
        families=tuple(map(Family, asked.families)),
        problems=asked.problems,
        judged=min(_JUDGED, asked.problems),
        networks=networks,
        seed=asked.seed,
        refining=Refining(steps=asked.steps) if asked.steps else None,
    )
    return train(recipe, command=asked.command, progress=progress)


def _networks(model: str, profiles: tuple[DeviceProfile, ...], progress: Progress) -> list[Network]:
    """A model on each device where there is something to choose.

    Raises:
        InputError: There is none.
    """
    with progress.stage(f"read {model}", len(profiles)) as step:
        networks = []
        for network in _read(model, profiles):
            if any(len(slot.choices) > 1 for slot in network[0].slots):
                networks.append(network)
            step()
    if not networks:
        names = ", ".join(dict.fromkeys(profile.name for profile in profiles))
        raise InputError(f"{model}: nothing to choose on {names}", "leave it out")
    return networks


def _read(model: str, profiles: tuple[DeviceProfile, ...]) -> Iterator[Network]:
    subject = Subject(Question(model))
    for profile in profiles:
        dialect = open_backend(profile.backend).dialect(profile)
        yield find_slots(subject.written(dialect), dialect, profile.precisions), profile


def print_training(trained: Trained, output: Path, *, as_json: bool) -> None:
    """Say how good the policy is, on problems that it has not seen."""
    if as_json:
        body = {"output": str(output), **encode(trained.training)}
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    figures = trained.training.figures
    console().print(
        f"On {figures['problems']:.0f} problems that it has not seen, its plan reaches "
        f"{figures['share_mean']:.1%} of the exact solver's gain over uniform precision in the "
        f"mean ({figures['share_median']:.1%} in the median), and 90 % or more in "
        f"{figures['good_plans']:.0%} of them.",
        f"Without sensitivities: {figures['blind_share_mean']:.1%} in the mean, "
        f"{figures['blind_share_median']:.1%} in the median.",
        f"wrote {output}",
        sep="\n",
        markup=False,
        highlight=False,
    )
