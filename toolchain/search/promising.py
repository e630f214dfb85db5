"""What the trials so far make a search believe, and which plans that promises most of."""

import numpy as np

from .feasible import Space
from .ledger import Ledger
from .problem import Indices, Objective
from .surrogate import Surrogate

_LEARNT = 400  # of the best plans a model learns: the time that it takes grows with the cube


def believed(space: Space, ledger: Ledger) -> Surrogate:
    """A model of the losses, from the best trials so far; there has to be one."""
    trials = ledger.ranked()[:_LEARNT]
    return Surrogate.fit(
        space.problem.drops,
        np.array([trial.indices for trial in trials], np.intp),
        np.array([trial.loss for trial in trials]),
    )


def promising(space: Space, ledger: Ledger, plans: Indices, model: Surrogate) -> Indices:
    """Those of several plans that were not scored yet, the most promising first; shape (N, S)."""
    new = ledger.unknown(plans)
    figures = {**space.problem.figures(new), Objective.DROP: model.predict(new)}
    ordered: Indices = new[ledger.goal.order(figures)]
    return ordered
