"""Cut the power before every changing call of the agent, and again while it recovers from that."""

import errno
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hwc.toolchain.update.agent.agent import BOOTS, Agent
from hwc.toolchain.update.agent.audit import Event
from hwc.toolchain.update.agent.health import Health, Verdict
from hwc.toolchain.update.agent.recover import recover
from hwc.toolchain.update.agent.rollback import rollback
from hwc.toolchain.update.agent.state import State, read_state
from hwc.toolchain.update.agent.update import update
from hwc.toolchain.update.refusal import Refusal

from .chain import run_chain
from .sim_disk import SimDisk, dice
from .world import (
    NEW,
    NEWER,
    NOW,
    OLD,
    OLD_1,
    OLDER,
    RELEASES,
    Allowed,
    FakeApplier,
    FakeHealth,
    FakeSource,
    contents,
    faults_after,
    faults_before,
    make_agent,
    offer_of,
    run_update,
    state_of,
)

DEPTH = 4  # times that recovering is cut off after the first cut


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something the agent does, and what may come of it.

    Attributes:
        name: For messages.
        start: Brings an empty folder to where it begins.
        run: What is cut off.
        health: Of what is cut off.
        later: What the health hook says to the first `recover`, to the second, and so on.
        allowed: What may run after it was cut off.
        done: What has to run once it returned.
    """

    name: str
    start: Callable[[Agent], object]
    run: Callable[[Agent], object]
    health: Health
    later: tuple[bool, ...]
    allowed: Allowed
    done: Allowed


class BrokenDisk:
    """A Health during which the disk fails, so that the agent has to undo all."""

    def check(self, folder: Path) -> Verdict:
        """Fail as the disk does."""
        raise OSError(errno.EIO, "made to fail", str(folder))


def _nothing(agent: Agent) -> None:
    """An empty folder."""


def _old(agent: Agent) -> None:
    run_update(agent, OLD)


def _both(agent: Agent) -> None:
    run_update(agent, OLD_1)
    run_update(agent, NEW)


def _older_and_old(agent: Agent) -> None:
    run_update(agent, OLDER)
    run_update(agent, OLD)


def _update_old(agent: Agent) -> None:
    run_update(agent, OLD)


def _changed(agent: Agent) -> None:
    _both(agent)
    agent.slots.point(state_of(agent.disk).spare)


def _wait(agent: Agent) -> None:
    offer = offer_of(NEW, share=0, trusted_time=NOW)
    update(agent, FakeSource(offer, agent.disk), FakeApplier(NEW, contents(NEW.version)))


def _update_newer(agent: Agent) -> None:
    run_update(agent, NEWER)


_NOTHING = State()
_HAD_OLD = State(seq=OLD.seq, sec_epoch=OLD.sec_epoch)
_HAD_NEW = State(seq=NEW.seq, sec_epoch=NEW.sec_epoch)
_HAD_NEWER = State(seq=NEWER.seq, sec_epoch=NEWER.sec_epoch)
_GOOD, _BAD = FakeHealth(passed=True), FakeHealth(passed=False)

_ONLY_NEW = Allowed((NEW,), _HAD_NEW, Event.COMMIT)
_ONLY_NEWER = Allowed((NEWER,), _HAD_NEWER, Event.COMMIT)
_OLD_OR_NEWER = Allowed((OLD, NEWER), _HAD_OLD)  # never the one in between
_EITHER = Allowed((OLD, NEW), _HAD_OLD)
_FAILED = Allowed((OLD,), _HAD_OLD, Event.ROLLBACK)

SCENARIOS = (
    Scenario("update", _old, run_update, _GOOD, (True,), _EITHER, _ONLY_NEW),
    Scenario(
        "update that fails",
        _old,
        run_update,
        _BAD,
        (False,),
        Allowed((OLD,), _HAD_OLD, linked=(OLD, NEW)),
        _FAILED,
    ),
    Scenario("update that passes once", _old, run_update, _GOOD, (False,), _EITHER, _ONLY_NEW),
    Scenario(
        "update that passes twice", _old, run_update, _GOOD, (True, False), _EITHER, _ONLY_NEW
    ),
    Scenario("update that fails once", _old, run_update, _BAD, (True,), _EITHER, _FAILED),
    Scenario(
        "update on a broken disk",
        _old,
        run_update,
        BrokenDisk(),
        (True,),
        _EITHER,
        Allowed((OLD,), _HAD_OLD, Event.ABANDON),
    ),
    Scenario(
        "update with both slots full",
        _both,
        _update_newer,
        _GOOD,
        (True,),
        Allowed((NEW, NEWER), _HAD_NEW),
        _ONLY_NEWER,
    ),
    Scenario("chain", _older_and_old, run_chain, _GOOD, (True,), _OLD_OR_NEWER, _ONLY_NEWER),
    Scenario(
        "chain that fails",
        _old,
        run_chain,
        _BAD,
        (False,),
        Allowed((OLD,), _HAD_OLD, linked=(OLD, NEWER)),
        _FAILED,
    ),
    Scenario(
        "first install",
        _nothing,
        _update_old,
        _GOOD,
        (True,),
        Allowed((None, OLD), _NOTHING),
        Allowed((OLD,), _HAD_OLD, Event.COMMIT),
    ),
    Scenario(
        "first install that fails",
        _nothing,
        _update_old,
        _BAD,
        (False,),
        Allowed((None,), _NOTHING, linked=(None, OLD)),
        Allowed((None,), _NOTHING, Event.ROLLBACK),
    ),
    Scenario(
        "rollback",
        _both,
        rollback,
        _GOOD,
        (True,),
        Allowed((OLD_1, NEW), _HAD_NEW),
        Allowed((OLD_1,), _HAD_NEW, Event.COMMIT),
    ),
    Scenario(
        "rollback that passes once",
        _both,
        rollback,
        _GOOD,
        (False,),
        Allowed((OLD_1, NEW), _HAD_NEW),
        Allowed((OLD_1,), _HAD_NEW, Event.COMMIT),
    ),
    Scenario(
        "link that somebody changed",
        _changed,
        recover,
        _GOOD,
        (True,),
        Allowed((NEW,), _HAD_NEW, linked=(OLD_1, NEW)),
        Allowed((NEW,), _HAD_NEW),
    ),
    Scenario(
        "update that has to wait",
        _old,
        _wait,
        _GOOD,
        (True,),
        Allowed((OLD,), _HAD_OLD),
        Allowed((OLD,), replace(_HAD_OLD, trusted_time=NOW)),
    ),
)


@dataclass(slots=True)
class Explorer:
    """Visits the disks that power cuts leave, each once.

    Attributes:
        scenario: What is cut off.
        lost: Places in the agent's code whose syncs do nothing.
        samples: Random disks at each cut, beside those that are always tried.
        most: Disks to visit.
        states: How many were visited.
        sites: Places in the agent's code that asked for a sync.
        fault: The first that was found.
    """

    scenario: Scenario
    lost: frozenset[str] = frozenset()
    samples: int = 3
    most: int = 1 << 30
    states: int = 0
    sites: set[str] = field(default_factory=set)
    fault: str = ""
    _later: deque["_Cut"] = field(default_factory=deque)
    _known: set[tuple[object, ...]] = field(default_factory=set)
    _rng: random.Random = field(default_factory=dice)

    def explore(self) -> str:
        """The first fault; empty where there is none."""
        scenario, disk = self.scenario, SimDisk()
        scenario.start(make_agent(disk))
        disk = next(disk.after_power_cut(self._rng, 0))  # all is on the disk
        disk.lost = self.lost
        cuts = self._run(disk, scenario.run, scenario.health)
        self._add(cuts, "", 0, scenario.allowed, scenario.done)
        while self._later and not self.fault and self.states < self.most:
            self._visit_all(self._later.popleft())
        return self.fault

    def _run(self, disk: SimDisk, run: Callable[[Agent], object], health: Health) -> list[SimDisk]:
        """The disk before each changing call, and at the end."""
        cuts: list[SimDisk] = []
        disk.before = lambda now, *_: cuts.append(now.copy())
        try:
            run(make_agent(disk, health=health))
        except Refusal:
            if health is _GOOD:
                raise
        disk.before = None
        self.sites |= disk.sites
        return [*cuts, disk]

    def _add(
        self, cuts: list[SimDisk], where: str, depth: int, allowed: Allowed, done: Allowed
    ) -> None:
        for number, cut in enumerate(cuts):
            within = done if number == len(cuts) - 1 else allowed
            self._later.append(_Cut(cut, f"{where} {number}", depth, within))

    def _visit_all(self, cut: "_Cut") -> None:
        if not self._is_new("cut", cut, cut.disk):
            return
        for left in (*cut.disk.after_power_cut(self._rng, self.samples), cut.disk.copy()):
            if self._is_new("left", cut, left):
                self.states += 1
                try:
                    self.fault = self._faults(cut, left)
                except (Refusal, OSError, AssertionError) as error:
                    self.fault = repr(error)
                if self.fault:
                    self.fault = f"{self.scenario.name}, cut{cut.where}: {self.fault}"
                if self.fault or self.states == self.most:
                    return

    def _is_new(self, kind: str, cut: "_Cut", disk: SimDisk) -> bool:
        verdict = min(cut.depth, len(self.scenario.later) - 1)
        key = (kind, verdict, *cut.allowed.key, disk.digest())
        new = key not in self._known
        self._known.add(key)
        return new

    def _faults(self, cut: "_Cut", disk: SimDisk) -> str:
        """What is wrong with a disk that was left, before or after it is recovered."""
        allowed = _never_less(cut.allowed, disk)
        agent = make_agent(disk)
        if fault := faults_before(agent, allowed):
            return fault
        later = self.scenario.later
        passes = later[min(cut.depth, len(later) - 1)]
        cuts = self._run(disk, recover, _GOOD if passes else _BAD)
        if fault := faults_after(agent, allowed) or _again(disk):
            return fault
        if len(cuts) > 1 and cut.depth < DEPTH:
            done = replace(_as_it_is(disk), event=allowed.event)
            self._add(cuts, cut.where, cut.depth + 1, allowed, done)
        return ""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A disk at the moment when the power is cut, how often it was cut before, and what may be."""

    disk: SimDisk
    where: str
    depth: int
    allowed: Allowed


def _again(disk: SimDisk) -> str:
    disk.calls = 0
    recover(make_agent(disk))
    return "recover changed something when done twice" if disk.calls else ""


def _as_it_is(disk: SimDisk) -> Allowed:
    state = state_of(disk)
    installed = state.installed
    return Allowed((RELEASES[installed.release] if installed else None,), state)


def _never_less(allowed: Allowed, disk: SimDisk) -> Allowed:
    state = read_state(disk)
    if state is None:
        return allowed
    least = replace(
        state,
        seq=max(state.seq, allowed.least.seq),
        sec_epoch=max(state.sec_epoch, allowed.least.sec_epoch),
        trusted_time=max(state.trusted_time, allowed.least.trusted_time),
    )
    return replace(allowed, least=least)


class _PowerCut(Exception):  # noqa: N818 - no error
    """The device went off."""


class _Killer:
    """A Health under which the device goes off, each time."""

    def __init__(self) -> None:
        self.asked = 0

    def check(self, folder: Path) -> Verdict:
        """Go off."""
        self.asked += 1
        raise _PowerCut(folder)


def boot_loop(lost: frozenset[str] = frozenset()) -> str:
    """What is wrong where a release makes the device go off: it is to be given up soon."""
    disk, killer = SimDisk(), _Killer()
    _old(make_agent(disk))
    disk = next(disk.after_power_cut(dice(), 0))
    disk.lost = lost
    for _ in range(10):
        try:
            recover(make_agent(disk, health=killer))
            run_update(make_agent(disk, health=killer))
        except _PowerCut:
            _, disk, *_ = disk.after_power_cut(dice(), 0)  # nothing survives by chance
        except Refusal:
            break
    state = state_of(disk)
    if killer.asked != BOOTS + 1:
        return f"it was tried {killer.asked} times"
    return "" if state.rejected == NEW.digest else "it may be tried again"
