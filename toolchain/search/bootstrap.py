"""Bootstrap intervals of several means on the same samples that hold all at once."""

from math import sqrt

import numpy as np

from .problem import Floats

RESAMPLES = 2000
_CHUNK = 1 << 21  # weights of samples that are held in memory at once
_ROUNDING = 1e-7  # a spread below this fraction of the figure is none
_TAILS = (0.025, 0.975)


def simultaneous(
    samples: Floats, rng: np.random.Generator, *, resamples: int = RESAMPLES
) -> tuple[Floats, Floats]:
    """95 % bounds of means, wide enough for all of them to hold at once.

    Choosing the best of many and then testing it as if it were the only one would call chance a
    discovery. So the bounds come from the largest and the smallest of the studentised means in
    each resample (bootstrap-t, Efron and Tibshirani 1993, section 12.5, with the maximum over the
    means as in White 2000, "A reality check for data snooping").

    Args:
        samples: Finite; shape (C, n), one row for each mean, a column for what is one sample.
        rng: Where chance comes from.
        resamples: How many.

    Returns:
        Lower and upper bounds; shape (C,). Where all samples are 0, so are they; where they are
        alike otherwise, nothing is known of the spread, and the bounds are infinite.
    """
    count = samples.shape[1]
    means, deviations = samples.mean(axis=1), samples.std(axis=1)
    varied = deviations > _ROUNDING * np.abs(means)
    low, high = np.where(means == 0.0, 0.0, [[-np.inf], [np.inf]])
    if varied.any():
        least, most = _extremes((samples - means[:, None])[varied], rng, resamples)
        error = deviations[varied] / sqrt(count)
        low[varied] = means[varied] - np.quantile(most, _TAILS[1], method="higher") * error
        high[varied] = means[varied] - np.quantile(least, _TAILS[0], method="lower") * error
    return low, high


def _extremes(centred: Floats, rng: np.random.Generator, resamples: int) -> tuple[Floats, Floats]:
    """Smallest and largest studentised mean of each resample; shape (resamples,) each.

    Infinite where a resample has no spread: as far off as that, a mean can be.
    """
    count = centred.shape[1]
    both = np.concatenate([centred, centred**2]).T
    parts = []
    step = max(1, _CHUNK // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = rng.multinomial(count, np.full(count, 1.0 / count), size=size)
        means, squares = np.split(weights @ both / count, 2, axis=1)
        errors = np.sqrt(np.maximum(squares - means**2, 0.0) / count)
        spread = errors > _ROUNDING * np.sqrt(squares)
        unbounded = np.where(means == 0.0, 0.0, np.copysign(np.inf, means))
        ratios = np.divide(means, errors, out=unbounded, where=spread)
        parts.append((ratios.min(axis=1), ratios.max(axis=1)))
    least, most = (np.concatenate(part) for part in zip(*parts, strict=True))
    return least, most
