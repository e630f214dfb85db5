"""How many steps a second the environment of the learned search takes, and what it prepares.

Run `python tests/bench/environment.py`. CPU time of one process, all its threads together. Each row
is a network of about EfficientNet-Lite0's size on one device (priced by estimates): slots, choices,
states of the automaton, time to prepare it, and steps per second with N lanes in one engine. A step
is masks, observation and a random allowed choice for one lane, with a new episode where one ends.
"""

import time
from collections.abc import Sequence

import numpy as np
from hwc.toolchain.search.problem import Problem
from hwc.toolchain.search.rl.episode import Episodes
from hwc.toolchain.search.rl.generator import Generator
from hwc.toolchain.search.rl.networks import Family
from hwc.toolchain.search.rl.task import RandomBudgets, Task
from support.tables import markdown, say

DEVICES = ("host", "a100", "jetson_orin")
LANES = (1, 16, 64, 256)
SLOTS = 56  # EfficientNet-Lite0's
SECONDS = 2.0


def main() -> None:
    """Print one row a device."""
    rows = [_row(device) for device in DEVICES]
    lanes = [f"{count} lanes" if count > 1 else "1 lane" for count in LANES]
    say(markdown(["device", "slots", "choices", "states", "prepared", *lanes], rows))


def _row(device: str) -> Sequence[str]:
    problem = _problem(device)
    start = time.process_time()
    task = Task.of(problem)
    prepared = time.process_time() - start
    rates = [_rate(task, count) for count in LANES]
    return (
        device,
        str(len(problem.graph.slots)),
        str(problem.cost.node_us.shape[1]),
        str(len(task.bounds.togo)),
        f"{prepared * 1e3:.0f} ms",
        *(f"{rate:,.0f}/s" for rate in rates),
    )


def _problem(device: str) -> Problem:
    """A network of depthwise convolutions, as many slots as can be had."""
    problems = Generator.of([device], [Family.DEPTHWISE]).problems(range(40))
    return min(problems, key=lambda problem: abs(len(problem.graph.slots) - SLOTS))


def _rate(task: Task, count: int) -> float:
    """Steps a second of CPU time."""
    sampler, rng = RandomBudgets([task]), np.random.default_rng(0)
    episodes = Episodes([task], [sampler.draw(rng) for _ in range(count)])
    for _ in range(count):  # so that lanes do not end together
        episodes.step(episodes.masks().argmax(axis=1))
    steps, start = 0, time.process_time()
    while time.process_time() - start < SECONDS:
        masks = episodes.masks()
        episodes.observe()
        episodes.step((rng.random(masks.shape) * masks).argmax(axis=1))
        ended = np.flatnonzero(episodes.done)
        episodes.reset(ended, [sampler.draw(rng) for _ in ended])
        steps += count
    return steps / (time.process_time() - start)


if __name__ == "__main__":
    main()
