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
    "guide_so_far",  # log(predicted loss of the best way to finish now / at the start)
)
PRICE_COLUMNS = (
    "conversion",  # log(1 + what this choice pays for conversions now over its fair share)
    "slack_after",  # of the budget
    "log_slack_after",  # log(1 + the same over the fair share of each slot that is left)
    "fits",
    "cheapest",
    "guide",  # log(predicted loss of the best way to finish after this choice / of all), halved
    "guided",  # whether it is the choice of that best way
)
CONTEXT = (*SLOT_COLUMNS, *STATE_COLUMNS)
OPTION = (*CHOICE_COLUMNS, *TIME_COLUMNS, *PRICE_COLUMNS)
WIDTH = len(CONTEXT) + K_MAX * len(OPTION)

_TINY = 1e-30
_OUTSIDE = (0.0, 1.0, 1.0)  # fp32

Bools = npt.NDArray[np.bool_]
Observations = npt.NDArray[np.float32]


def split(observations: Observations) -> tuple[Observations, Observations]:
    """The two parts of flat observations (N, WIDTH): (N, CONTEXT) and (N, K_MAX, OPTION)."""
    context, options = np.split(observations, [len(CONTEXT)], axis=1)
    return context, options.reshape(len(options), K_MAX, len(OPTION))


@dataclass(frozen=True, slots=True)
class _Options:
    """What each lane may do now, with up to K choices in any of the tasks.

    Attributes:
        paid: What each choice takes of each figure; shape (N, K, R).
        conversion: The microseconds of it that go into conversions; shape (N, K).
        after: The state after it; shape (N, K).
        slack: What is left of the tightest limit when it is followed by the cheapest way to finish,
            as a fraction of the limit; shape (N, K), -inf where there is no such choice.
        promise: The least predicted objective of the ways to finish after it that keep the limits;
            shape (N, K), infinite where none does.
        fits: Whether one does; shape (N, K_MAX).
        cheapest: The choice with most slack; shape (N,).
    """

    paid: Floats
    conversion: Floats
    after: Indices
    slack: Floats
    promise: Floats
    fits: Bools
    cheapest: Indices


class Episodes:
    """N lanes, each an episode on one of several tasks.

    A lane whose plan is complete stays as it is and sees zeros, with choice 0 alone allowed, until
    it is reset.

    Args:
        tasks: What may be played; their bounds limit the same figures in the same order.
        starts: How each lane starts; shape (N,).
    """

    def __init__(self, tasks: Sequence[Task], starts: Sequence[Start]) -> None:
        self.tasks = tasks
        self._tables = Tables.of(tasks)
        count, figures = len(starts), len(tasks[0].bounds.fixed)
        depth = max(len(task.problem.graph.slots) for task in tasks)
        self._lanes = np.arange(count)
        self._task = np.zeros(count, np.intp)
        self._state: Indices = np.zeros(count, np.intp)
        self._row: npt.NDArray[np.intp] = np.zeros(count, np.intp)
        self._first = np.zeros(count, np.intp)
        self._end = np.zeros(count, np.intp)
        self._spent = np.zeros((count, figures))
        self._limit = np.ones((count, figures - 1))
        self._reference = np.zeros(count)
        self._scale = np.ones(count)  # fp32's time over the limit on latency
        self._constant = np.zeros((count, 2))
        self._promised = np.zeros(count)
        self._plans = np.zeros((count, depth + 1), np.intp)
        self._told = np.zeros((count, depth + 2, 3))  # as in Tables; the last is the outside
        self._options: _Options | None = None
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
        self._options = None

    @property
    def done(self) -> Bools:
        """Which plans are complete; shape (N,)."""
        done: Bools = self._row == self._end
        return done

    def plan(self, lane: int) -> Indices:
        """What a lane has chosen so far, zeros beyond; shape (S,)."""
        plan: Indices = self._plans[lane, : self._end[lane] - self._first[lane]].copy()
        return plan

    def masks(self) -> Bools:
        """Which choices leave a plan that can be finished within its limits; (N, K_MAX)."""
        return self._look().fits

    def guided(self) -> Indices:
        """The next step of the plan that is predicted to lose least; shape (N,)."""
        guided: Indices = self._look().promise.argmin(axis=1)
        return guided

    def step(self, actions: Indices) -> tuple[Floats, Indices]:
        """Decide the next slot of each lane.

        Args:
            actions: Indices of choices, shape (N,); one that its mask forbids becomes the first
                step of the cheapest completion.

        Returns:
            Rewards, shape (N,): log((reference + eps) / (loss + eps)) where a plan was completed by
            this step, else 0; and the choices that were taken, shape (N,).
        """
        now, lanes = self._look(), self._lanes
        taken = np.where(now.fits[lanes, actions], actions, now.cheapest)
        going, position = ~self.done, self._row - self._first
        self._plans[lanes, position] = taken
        self._told[lanes, position] = self._tables.told[self._row, taken]
        self._spent += now.paid[lanes, taken]
        self._state = now.after[lanes, taken]
        self._row = self._row + going
        self._options = None
        return self._judge(going & self.done), taken

    def observe(self) -> Observations:
        """What a policy sees of each lane; shape (N, WIDTH), see CONTEXT, OPTION and `split`."""
        seen = np.zeros((len(self), WIDTH), np.float32)
        edges = len(SLOT_COLUMNS), len(CONTEXT)
        seen[:, : edges[0]] = self._tables.slots[self._row]
        seen[:, edges[0] : edges[1]] = np.clip(np.stack(self._state_columns(), 1), -LIMIT, LIMIT)
        options = seen[:, edges[1] :].reshape(len(self), K_MAX, len(OPTION))
        options = options[:, : self._tables.formats.shape[1]]
        own, timed = len(CHOICE_COLUMNS), len(CHOICE_COLUMNS) + len(TIME_COLUMNS)
        options[..., :own] = self._tables.choices[self._row]
        scale = self._scale[:, None, None]
        options[..., own:timed] = log_times(self._tables.times[self._row], scale)
        prices = np.clip(np.stack(self._price_columns(), 2), -LIMIT, LIMIT)
        options[..., timed:] = prices * options[..., :1]
        seen[self.done] = 0.0
        return seen

    def _state_columns(self) -> list[Floats]:
        """One array of shape (N,) for each of STATE_COLUMNS."""
        now, lanes, position = self._look(), self._lanes, self._row - self._first
        slack = now.slack.max(axis=1)
        left = (1.0 - self._spent[:, :-1] / self._limit).min(axis=1)
        weights = self._tables.weights[self._row]
        read = self._told[lanes[:, None], self._tables.producers[self._row]]
        written = (read[..., :1] == np.arange(len(FORMATS))) * weights[..., None]
        epsilon = self._tables.epsilon[self._task]
        promise = now.promise.min(axis=1)
        return [
            left,
            left - slack,
            slack,
            np.log1p(np.maximum(slack, 0.0) / self._share_left()),
            *self._constant.T,
            *written.sum(axis=1).T,
            *(read[..., 1:] * weights[..., None]).sum(axis=1).T,
            *self._told[lanes, position - 1, 1:].T,
            *self._told[lanes, position - 2, 1:].T,
            np.log((promise + epsilon) / (self._promised + epsilon)),
        ]

    def _price_columns(self) -> list[Floats]:
        """One array of shape (N, K) for each of PRICE_COLUMNS."""
        now = self._look()
        slack = np.maximum(now.slack, -1.0)
        unit = (self._tables.unit[self._task] / self._scale)[:, None]
        epsilon = self._tables.epsilon[self._task][:, None]
        promise = now.promise.min(axis=1, keepdims=True)
        return [
            np.log1p(now.conversion / unit),
            slack,
            np.log1p(np.maximum(slack, 0.0) / self._share_left()[:, None]),
            np.isfinite(now.promise),
            np.arange(now.promise.shape[1]) == now.cheapest[:, None],
            np.log((now.promise + epsilon) / (promise + epsilon)) / 2.0,
            now.promise == promise,
        ]

    def _share_left(self) -> Floats:
        """The share of the slots that is not decided yet; shape (N,)."""
        slots = np.maximum(self._end - self._first, 1)
        share: Floats = np.maximum(self._end - self._row, 1) / slots
        return share

    def _start(self, lane: int, start: Start) -> None:
        task, tables = self.tasks[start.task], self._tables
        bounds, count = task.bounds, len(start.limits)
        limits = np.array([max(allowed(limit), _TINY) for limit in start.limits])
        totals = bounds.totals()
        least = totals[:, :count]
        fit = (least <= limits).all(axis=1)
        if not fit.any():
            raise _unreachable(bounds.limited, start.limits, least)
        self._task[lane] = start.task
        self._state[lane] = tables.states[start.task]
        self._first[lane] = self._row[lane] = tables.rows[start.task]
        self._end[lane] = self._row[lane] + len(task.problem.graph.slots)
        self._spent[lane] = bounds.fixed
        self._limit[lane] = limits
        self._reference[lane] = start.reference
        self._promised[lane] = totals[fit, -1].min()
        self._plans[lane] = 0
        self._told[lane] = _OUTSIDE
        fp32 = np.maximum(fp32_figures(task), _TINY)
        us = dict(zip(bounds.limited, limits, strict=True)).get(Objective.LATENCY)
        self._scale[lane] = 1.0 if us is None else task.features.fp32_us / us
        cheapest = np.maximum(least.min(axis=0), _TINY)
        self._constant[lane] = np.log(limits / fp32).min(), np.log(cheapest / limits).max()

    def _look(self) -> _Options:
        """What each lane may do in its state; worked out once a step."""
        if self._options is None:
            self._options = self._options_now()
        return self._options

    def _options_now(self) -> _Options:
        tables, row = self._tables, self._row
        state, formats = self._state[:, None], tables.formats[row]
        conversion, after = tables.boundary_us[state, formats], tables.after[state, formats]
        paid = tables.price[row] + conversion[..., None] * tables.charges
        total = (self._spent[:, None] + paid)[:, :, None] + tables.togo[after]  # (N, K, P, R)
        slack = (1.0 - total[..., :-1] / self._limit[:, None, None]).min(axis=3)
        promise = np.where(slack >= 0.0, total[..., -1], np.inf).min(axis=2)
        most = slack.max(axis=2)
        cheapest = most.argmax(axis=1)
        stuck = np.isinf(promise).all(axis=1)  # rounding says that even the cheapest is too dear
        promise[stuck, cheapest[stuck]] = total[stuck, cheapest[stuck], :, -1].min(axis=1)
        fits = np.zeros((len(self), K_MAX), bool)
        fits[:, : promise.shape[1]] = np.isfinite(promise)
        return _Options(paid, conversion, after, most, promise, fits, cheapest)

    def _judge(self, lanes: Bools) -> Floats:
        """The rewards of lanes that have just been completed; shape (N,)."""
        rewards = np.zeros(len(lanes))
        for which in np.unique(self._task[lanes]):
            task = self.tasks[which]
            here = np.flatnonzero(lanes & (self._task == which))
            plans = self._plans[here, : len(task.problem.graph.slots)]
            losses = task.losses(plans) + task.epsilon
            rewards[here] = np.log((self._reference[here] + task.epsilon) / losses)
        return rewards


def _unreachable(
    limited: Sequence[Objective], limits: Sequence[float], least: Floats
) -> ConstraintError:
    """The error for limits that no plan keeps."""
    nearest = least[(least / np.maximum(limits, _TINY)).max(axis=1).argmin()]
    wanted = ", ".join(f"{f} of {x:.6g}" for f, x in zip(limited, limits, strict=True))
    found = ", ".join(f"{f} of {x:.6g}" for f, x in zip(limited, nearest, strict=True))
    return ConstraintError(f"no plan has a {wanted}: the nearest has a {found}", "allow more")
