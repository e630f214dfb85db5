"""What a training run measures on its way, and how it ended."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Point:
    """One look at a run.

    Attributes:
        step: Updates that were made.
        seconds: What they took.
        lr: The learning rate.
        loss: Mean loss of the updates since the last look; None before the first.
        validation: Loss on the held-out samples; None where there are none.
        accuracy: Share of them that is right; None without labels.
    """

    step: int
    seconds: float
    lr: float
    loss: float | None
    validation: float | None
    accuracy: float | None


class Stop(StrEnum):
    """Why a run ended."""

    STEPS = "all steps made"
    TIME = "time is up"
    DIVERGED = "the loss diverged"


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run went.

    Attributes:
        steps: Updates that were made.
        seconds: What they took, in all sittings.
        stop: Why it ended.
        curve: What was measured on the way.
        kept: The step whose weights the student has now.
        note: What the user must know; empty where all went well.
    """

    steps: int
    seconds: float
    stop: Stop
    curve: tuple[Point, ...]
    kept: int
    note: str = ""
