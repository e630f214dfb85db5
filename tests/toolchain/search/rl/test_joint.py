"""The factors of choices, and what their heads learn."""

from collections.abc import Callable

import numpy as np
from hwc.toolchain.search.problem import Problem
from hwc.toolchain.search.rl.features import K_MAX
from hwc.toolchain.search.rl.joint import Factors, Joint, Steps
from hwc.toolchain.search.rl.joint_learner import Learner
from hwc.toolchain.search.rl.sight import SIGHT


def test_a_factor_for_each_part_that_choices_differ_in(
    random_problem: Callable[..., Problem],
) -> None:
    problem = random_problem(1)
    factors = Factors.of(problem)
    precisions = {c.precision for slot in problem.graph.slots for c in slot.choices}
    assert factors.sizes == (len(precisions),)
    by_value: dict[int, set[str]] = {}
    for s, slot in enumerate(problem.graph.slots):
        for k, choice in enumerate(slot.choices):
            by_value.setdefault(int(factors.values[s, k, 0]), set()).add(choice.precision)
    assert sorted(map(len, by_value.values())) == [1] * len(precisions)


def test_learns_what_is_rewarded_and_keeps_to_masks() -> None:
    values = np.tile(np.arange(K_MAX)[:, None] % 4, (2, 1, 1))  # four values: each stands twice
    learner = Learner(Factors((4,), values), Joint(), seed=0)
    rng = np.random.default_rng(0)
    shape = 16, 2
    seen = np.zeros((*shape, SIGHT), np.float32)
    kept = np.zeros((*shape, K_MAX), np.float32)
    masks = np.zeros((*shape, K_MAX), bool)
    masks[..., [0, 1, 3]] = True
    for _ in range(20):
        logs = [
            learner.judge(slot, seen[:, slot], kept[:, slot], masks[:, slot])[0] for slot in (0, 1)
        ]
        scores = np.stack(logs, axis=1)
        taken = (scores + rng.gumbel(size=scores.shape)).argmax(axis=2)
        likelihoods = np.take_along_axis(scores, taken[..., None], 2)[..., 0]
        steps = Steps(seen, kept, masks, taken, likelihoods, np.zeros(shape))
        learner.learn(steps, np.where(taken == 3, 1.0, -1.0))
    probabilities = np.exp(scores[0, 0])
    assert probabilities[3] > 0.8
    assert probabilities[[0, 1, 3]].sum() > 1.0 - 1e-6
