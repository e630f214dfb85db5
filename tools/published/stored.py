"""What a fit leaves in the profiles of a family: its parameters, and the error that remained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...toolchain.device import Confidence, load_profile
from .families import Family
from .fit import Foretold, Parameters, efficiencies, launch_us
from .rewrite import NewFigure
from .scores import score

MANY = 10  # rows of a device that say enough about its error
ENOUGH = 0.5  # share of a device's rows within the factor, for its fit to be worth that name
_TAILS = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The fit of one family.

    Attributes:
        family: The devices.
        parameters: The fit on all their rows.
        seen: The rows, predicted by that fit.
        unseen: The rows, each predicted by a fit without its model.
    """

    family: Family
    parameters: Parameters
    seen: Sequence[Foretold]
    unseen: Sequence[Foretold]


def figures(device: str, fitted: Fitted) -> dict[str, NewFigure]:
    """The figures of one device whose rows were fitted."""
    low, high = error_range(device, fitted)
    launch = launch_us(fitted.parameters, load_profile(device))
    values = {"launch": launch, **_shared(fitted.parameters)}
    if any(item.row.sparse for item in fitted.seen):
        values["sparse_2_4"] = fitted.parameters["sparse_2_4"]
    # A device that the fit of its family does not foretell has it all the same, marked as such.
    own = score(fitted_rows(device, fitted))
    confidence = Confidence.DERIVED if own.within >= ENOUGH else Confidence.LOW
    found = {key: NewFigure(value, "fit", confidence) for key, value in values.items()}
    found["error.low"] = NewFigure(low, "error", Confidence.DERIVED)
    found["error.high"] = NewFigure(high, "error", Confidence.DERIVED)
    return found


def borrowed(parameters: Parameters) -> dict[str, NewFigure]:
    """The figures that a device without published latencies takes over."""
    return {
        key: NewFigure(value, "borrowed", Confidence.LOW)
        for key, value in _shared(parameters).items()
    }


def sources(device: str, fitted: Fitted) -> Mapping[str, str]:
    """Where the figures of one device come from, in words."""
    found = score(fitted.unseen)
    fit = (
        f"fit on {found.rows} published latencies of {found.models} networks on "
        f"{fitted.family.name} devices (hwc.tools.fit_estimator); with a network left out, the "
        f"median error is {found.median:.0%}; launch goes with the clock"
    )
    low, high = error_range(device, fitted)
    error = (
        f"published/estimated of networks, in the fit and left out of it: {low:.2f}-{high:.2f} "
        f"({_basis(device, fitted)}); one kernel alone strays further"
    )
    return {"fit": fit, "error": error}


def error_range(device: str, fitted: Fitted) -> tuple[float, float]:
    """The range of published / estimated of a device; with few rows, of its family too."""
    every = (*fitted.seen, *fitted.unseen)
    own = [item.ratio for item in every if item.row.device == device]
    if len(fitted_rows(device, fitted)) < MANY:
        own += map(float, np.quantile([item.ratio for item in every], _TAILS))
    return min(own), max(own)


def fitted_rows(device: str, fitted: Fitted) -> list[Foretold]:
    """The rows of one device, each predicted without its model."""
    return [item for item in fitted.unseen if item.row.device == device]


def _basis(device: str, fitted: Fitted) -> str:
    """What an error range rests on."""
    count = len(fitted_rows(device, fitted))
    rest = "" if count >= MANY else ", and 5 % to 95 % of its family"
    return f"{count} rows of this device{rest}"


def _shared(parameters: Parameters) -> dict[str, float]:
    """The parameters that do not depend on the clock."""
    classes = {**efficiencies(parameters), "memory": parameters["memory"]}
    found = {f"efficiency.{kind}": value for kind, value in classes.items()}
    return {"grain": parameters["grain"], **found}
