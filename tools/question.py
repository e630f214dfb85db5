"""What a user asks of an estimate, and what is answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..toolchain.device import DeviceProfile
from ..toolchain.errors import UsageError
from ..toolchain.latency.forecast import Forecast
from ..toolchain.plan import Precision

ALL = "all"

Preferences = tuple[Precision, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be estimated.

    Attributes:
        model: As for `load_structure`.
        device: A device name, a short name, the path of a profile, or `all`.
        power_mode: A power mode of the device; empty: its default.
        plans: What kernels run in: each in the first precision of a plan that it may, else in fp32;
            empty: the usual ones.
        sparse: Whether weights are 2:4 sparse.
        batch: The batch size where it is free; None: 1.
        inputs: Fixed input shapes by name; '' is the only input.
        table: A latency table; None: those of the device in the user's cache.

    Raises:
        UsageError: A power mode is given for all devices.
    """

    model: str
    device: str = "host"
    power_mode: str = ""
    plans: tuple[Preferences, ...] = ()
    sparse: bool = False
    batch: int | None = None
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    table: Path | None = None

    def __post_init__(self) -> None:
        if self.device == ALL and self.power_mode:
            raise UsageError("--power-mode is of one device", "name it with --device")


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a model should take on one device.

    Attributes:
        profile: The device, in its power mode.
        forecasts: One for each plan that runs there.
        refused: Why another does not, by its name.
        note: What a short name stands for; may be empty.
    """

    profile: DeviceProfile
    forecasts: tuple[Forecast, ...]
    refused: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked about.

    Attributes:
        question: What was asked.
        shapes: The shape of each input.
        outlooks: One for each device.
        failed: Why nothing is known of a device, by its name; only where all were asked for.
        notes: What the user should know.
    """

    question: Question
    shapes: Mapping[str, tuple[int, ...]]
    outlooks: tuple[Outlook, ...]
    failed: Mapping[str, str]
    notes: tuple[str, ...]


def plan_name(preferences: Preferences) -> str:
    """What a plan is called: `int8`, `int8+fp16`."""
    return "+".join(preferences)
