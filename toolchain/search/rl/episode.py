"""Many episodes at once: each makes one plan, slot by slot, and can neither overspend nor stick."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import ConstraintError
from ...latency.wiring import FORMATS
from ..problem import Floats, Indices, Objective, allowed
from .features import CHOICE_COLUMNS, K_MAX, LIMIT, SLOT_COLUMNS, TIME_COLUMNS, log_times
from .tables import Tables
from .task import Start, Task, fp32_figures

STATE_COLUMNS = (
    "left",  # of the budget, what is not spent
    "to_go",  # of the budget, what the cheapest completion takes
    "slack",  # of the budget, left - to go
    "slack_a_slot",  # log(1 + the slack over the fair share of each slot that is left)
    "log_budget",  # over the time of fp32
    "log_cheapest",  # the cheapest plan over the budget
    *(f"reads_{f}" for f in FORMATS),  # share of the elements read that was written in the format
    "producer_weight_bits",
    "producer_activation_bits",
    "last_weight_bits",
    "last_activation_bits",
    "second_last_weight_bits",
    "second_last_activation_bits",
)
PRICE_COLUMNS = (
    "conversion",  # log(1 + what this choice pays for conversions now over its fair share)
    "slack_after",  # of the budget
    "log_slack_after",  # log(1 + the same over the fair share of each slot that is left)
    "fits",
    "cheapest",
)
CONTEXT = (*SLOT_COLUMNS, *STATE_COLUMNS)
OPTION = (*CHOICE_COLUMNS, *TIME_COLUMNS, *PRICE_COLUMNS)
WIDTH = len(CONTEXT) + K_MAX * len(OPTION)

Bools = npt.NDArray[np.bool_]
Observations = npt.NDArray[np.float32]


def split(observations: Observations) -> tuple[Observations, Observations]:
    """The two parts of flat observations (N, WIDTH): (N, CONTEXT) and (N, K_MAX, OPTION)."""
    context, options = np.split(observations, [len(CONTEXT)], axis=1)
    return context, options.reshape(len(options), K_MAX, len(OPTION))


@dataclass(slots=True)
class _Options:
    """What each lane may do now: arrays of shape (N, K_MAX, ...)."""

    paid: Floats  # (N, K, R)
    conversion: Floats  # (N, K)
    after: Indices
    slack: Floats  # least over the figures, of the best way to finish, over the budget
    fits: Bools
    cheapest: Indices  # (N,)


class Episodes:
    """N lanes, each an episode on one of several tasks.

    A lane whose plan is complete stays as it is, with choice 0 alone allowed, until it is reset.

    Args:
        tasks: What may be played; their bounds limit the same figures in the same order.
        starts: How each lane starts; shape (N,).
    """

    def __init__(self, tasks: Sequence[Task], starts: Sequence[Start]) -> None:
        self.tasks = tasks
        self._tables = Tables.of(tasks)
        count, resources = len(starts), len(tasks[0].bounds.resources)
        depth = max(len(task.problem.graph.slots) for task in tasks)
        self._lanes = np.arange(count)
        self._task = np.zeros(count, np.intp)
        self._state: Indices = np.zeros(count, np.intp)
        self._row: npt.NDArray[np.intp] = np.zeros(count, np.intp)
        self._end = np.zeros(count, np.intp)
        self._first = np.zeros(count, np.intp)
        self._spent = np.zeros((count, resources))
        self._limit = np.ones((count, resources))
        self._reference = np.zeros(count)
        self._scale = np.ones(count)
        self._plans = np.zeros((count, depth + 1), np.intp)
        self._told = np.zeros((count, depth + 2, 3))  # format, weight bits, activation bits
        self._constant = np.zeros((count, 2))
        self.reset(self._lanes, starts)

    def __len__(self) -> int:
        return len(self._lanes)

    def reset(self, lanes: Indices, starts: Sequence[Start]) -> None:
        """Start lanes anew.

        Raises:
            ConstraintError: No plan keeps the limits.
        """
        for lane, start in zip(lanes, starts, strict=True):
            self._start(int(lane), start)
        self._options = self._look()

    def plan(self, lane: int) -> Indices:
        """What a lane has chosen so far, zeros beyond; shape (S,)."""
        slots = len(self.tasks[self._task[lane]].problem.graph.slots)
        plan: Indices = self._plans[lane, :slots].copy()
        return plan

    @property
    def done(self) -> Bools:
        """Which plans are complete; shape (N,)."""
        done: Bools = self._row == self._end
        return done

    def masks(self) -> Bools:
        """Which choices leave a plan that can be finished within its limits; (N, K_MAX)."""
        return self._options.fits

    def step(self, actions: Indices) -> tuple[Floats, Indices]:
        """Decide the next slot of each lane.

        Args:
            actions: Indices of choices, shape (N,); one that its mask forbids becomes the first
                step of the cheapest completion.

        Returns:
            Rewards, shape (N,): log((reference + eps) / (loss + eps)) where a plan was completed by
            this step, else 0; and the choices that were taken, shape (N,).
        """
        now, lanes = self._options, self._lanes
        taken = np.where(now.fits[lanes, actions], actions, now.cheapest)
        going = ~self.done
        position = self._row - self._first
        self._plans[lanes, position] = taken
        self._told[lanes, position] = self._tables.told[self._row, taken]
        self._spent += now.paid[lanes, taken]
        self._state = now.after[lanes, taken]
        self._row = self._row + going
        rewards = self._judge(going & self.done)
        self._options = self._look()
        return rewards, taken

    def observe(self) -> Observations:
        """What a policy sees of each lane; shape (N, WIDTH), see CONTEXT, OPTION and `split`."""
        tables, now, lanes, row = self._tables, self._options, self._lanes, self._row
        count = len(lanes)
        fair = 1.0 / np.maximum(self._end - self._first, 1)  # of the budget
        left = np.maximum(self._end - row, 1) * fair
        slack = now.slack[lanes, now.cheapest]
        remaining = (1.0 - self._spent / self._limit).min(axis=1)
        position = row - self._first
        weights = tables.weights[row]
        read = self._told[lanes[:, None], tables.producers[row]]
        formats = [((read[..., 0] == f) * weights).sum(axis=1) for f in range(len(FORMATS))]
        state = [
            remaining,
            remaining - slack,
            slack,
            np.log1p(np.maximum(slack, 0.0) / left),
            *self._constant.T,
            *formats,
            *(read[..., 1:] * weights[..., None]).sum(axis=1).T,
            *self._told[lanes, position - 1, 1:].T,
            *self._told[lanes, position - 2, 1:].T,
        ]
        out = np.zeros((count, WIDTH), np.float32)
        edge = len(SLOT_COLUMNS)
        out[:, :edge] = tables.slots[row]
        out[:, edge : len(CONTEXT)] = np.clip(np.stack(state, axis=1), -LIMIT, LIMIT)
        options = out[:, len(CONTEXT) :].reshape(count, K_MAX, len(OPTION))
        c, t = len(CHOICE_COLUMNS), len(CHOICE_COLUMNS) + len(TIME_COLUMNS)
        scale = self._scale[:, None]
        options[..., :c] = tables.choices[row]
        options[..., c:t] = log_times(tables.times[row], scale[..., None])
        after = np.where(np.isfinite(now.slack), now.slack, -1.0)
        unit = tables.unit[self._task][:, None]
        options[..., t] = np.minimum(np.log1p(now.conversion * scale / unit), LIMIT)
        options[..., t + 1] = np.clip(after, -1.0, 1.0)
        options[..., t + 2] = np.log1p(np.maximum(after, 0.0) / left[:, None])
        options[..., t + 3] = now.fits
        options[lanes, now.cheapest, t + 4] = 1.0
        options[..., t:] *= tables.choices[row][..., :1]
        return out

    def _start(self, lane: int, start: Start) -> None:
        task, tables = self.tasks[start.task], self._tables
        limits = np.array([allowed(limit) for limit in start.limits])
        least = task.bounds.least()
        if not (least <= limits).all(axis=1).any():
            wanted = ", ".join(f"{x:.6g}" for x in start.limits)
            nearest = least[(least / limits).max(axis=1).argmin()]
            found = ", ".join(f"{x:.6g}" for x in nearest)
            names = ", ".join(task.bounds.resources)
            raise ConstraintError(
                f"no plan with {names} of {wanted}: the nearest has {found}", "allow more"
            )
        slots = len(task.problem.graph.slots)
        self._task[lane] = start.task
        self._state[lane] = tables.states[start.task]
        self._first[lane] = self._row[lane] = tables.rows[start.task]
        self._end[lane] = self._first[lane] + slots
        self._spent[lane] = task.bounds.fixed
        self._limit[lane] = limits
        self._reference[lane] = start.reference
        self._plans[lane] = 0
        self._told[lane] = (0.0, 1.0, 1.0)
        us = _latency(task, start)
        self._scale[lane] = task.features.fp32_us / us
        fp32, least = fp32_figures(task.bounds), least.min(axis=0)
        limit = np.maximum(limits, 1e-12)
        self._constant[lane] = (
            np.log(limit / np.maximum(fp32, 1e-12)).min(),
            np.log(np.maximum(least, 1e-12) / limit).max(),
        )

    def _look(self) -> _Options:
        """What each lane may do in its state."""
        tables, row = self._tables, self._row
        formats = tables.formats[row]
        state = self._state[:, None]
        conversion = tables.boundary_us[state, formats]
        after = tables.after[state, formats]
        paid = tables.price[row] + conversion[..., None] * tables.charges
        total = self._spent[:, None] + paid
        limit = self._limit[:, None, None]
        slack = (1.0 - (total[:, :, None] + tables.togo[after]) / limit).min(axis=3).max(axis=2)
        cheapest = slack.argmax(axis=1)
        fits = slack >= 0.0
        fits[self._lanes, cheapest] = True  # where rounding says that even this is too dear
        return _Options(paid, conversion, after, slack, fits, cheapest)

    def _judge(self, lanes: Bools) -> Floats:
        """The rewards of lanes that have just been completed."""
        rewards = np.zeros(len(lanes))
        for which in np.unique(self._task[lanes]):
            task = self.tasks[which]
            here = np.flatnonzero(lanes & (self._task == which))
            plans = self._plans[here, : len(task.problem.graph.slots)]
            losses = task.losses(plans) + task.epsilon
            rewards[here] = np.log((self._reference[here] + task.epsilon) / losses)
        return rewards


def _latency(task: Task, start: Start) -> float:
    """The latency limit of an episode; fp32's time where latency is not limited."""
    limits = dict(zip(task.bounds.resources, start.limits, strict=True))
    return limits.get(Objective.LATENCY, task.features.fp32_us) or 1.0
