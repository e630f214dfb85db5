"""What small networks see of a step: the slot, the state, and the main columns of each choice."""

import numpy as np

from .episode import CONTEXT, OPTION, Observations, split
from .features import K_MAX

_COLUMNS = [
    OPTION.index(name)
    for name in ("exists", "time", "log_sensitivity", "slack_after", "fits", "guide")
]
SIGHT = len(CONTEXT) + K_MAX * len(_COLUMNS)


def sight(observations: Observations) -> Observations:
    """From (N, WIDTH) to (N, SIGHT): few evaluations teach a network little about many columns."""
    context, options = split(observations)
    flat = options[..., _COLUMNS].reshape(len(options), -1)
    seen: Observations = np.concatenate([context, flat], axis=1)
    return seen
