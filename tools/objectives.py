"""How `--objective` is read."""

import math
from typing import TypedDict

from ..toolchain.errors import UsageError
from ..toolchain.search.problem import Objective


class Sought(TypedDict):
    """The fields of a request that say what to minimise."""

    objective: Objective
    weights: dict[Objective, float]


def parse_objective(text: str) -> Sought:
    """Read one objective, or the terms of a sum: `latency=1,drop=0.5`.

    Raises:
        UsageError: There is no such objective, or a weight is no number above 0.
    """
    if "=" not in text:
        return Sought(objective=_objective(text), weights={})
    weights: dict[Objective, float] = {}
    for term in text.split(","):
        name, _, number = term.partition("=")
        weights[_objective(name.strip())] = _weight(number, term)
    return Sought(objective=next(iter(weights)), weights=weights)


def _objective(name: str) -> Objective:
    if name not in tuple(Objective):
        raise UsageError(
            f"--objective: there is no {name!r}",
            f"there are {', '.join(Objective)}, or sums such as latency=1,drop=0.5",
        )
    return Objective(name)


def _weight(number: str, term: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0.0 < weight < math.inf:
        raise UsageError(f"--objective: the weight in {term!r} is no number above 0", "e.g. drop=2")
    return weight
