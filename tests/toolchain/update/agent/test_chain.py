"""Tests of toolchain/update/agent/staging.py: a release by way of one that never runs."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hwc.toolchain.update.agent.agent import Agent
from hwc.toolchain.update.agent.audit import Audit, Event
from hwc.toolchain.update.agent.health import Verdict
from hwc.toolchain.update.agent.journal import JOURNAL
from hwc.toolchain.update.agent.machine import Machine
from hwc.toolchain.update.agent.real_disk import RealDisk
from hwc.toolchain.update.agent.recover import recover
from hwc.toolchain.update.agent.state import Slot
from hwc.toolchain.update.agent.status import status
from hwc.toolchain.update.agent.update import Outcome, Result, update
from hwc.toolchain.update.offer import Offer
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Compatibility

from .chain import DELTAS, ChainApplier, chain_offer, run_chain
from .world import (
    NEWER,
    OLD,
    OLDER,
    WHOLE,
    FakeSource,
    contents,
    make_agent,
    make_release,
    run_update,
    state_of,
)

BLOCK, SPARE = 4096, 1 << 20
CHAIN = "chain of 2 deltas, 0.2 kB, by way of v1.5 (next best: full update, 1.0 kB)"
RELEASE_BLOCKS = 3  # two files and bundle.json


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An agent with the old release in slot B, and an older one in slot A."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a disk need not keep anything here
    with RealDisk(tmp_path) as disk:
        found = make_agent(disk, root=tmp_path)
        run_update(found, OLDER)
        run_update(found, OLD)
        yield found


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def bring(
    agent: Agent, offer: Offer | None = None, applier: ChainApplier | None = None
) -> tuple[Outcome, FakeSource, ChainApplier]:
    """Update; what was fetched and applied."""
    source = FakeSource(offer or chain_offer(""), agent.disk)
    applier = applier or ChainApplier()
    return update(agent, source, applier), source, applier


def runs_the_newer(agent: Agent) -> None:
    """Whether the update is over, and exactly the newer release is in slot A."""
    assert (agent.root / "current").readlink() == Path("slots/a")
    assert files(agent.root / "current") == WHOLE[NEWER.version, NEWER.sec_epoch]
    assert agent.disk.list("slots") == ("a", "b")
    assert agent.disk.list("downloads") == ()
    assert agent.disk.kind(JOURNAL) is None


def kept_the_old(agent: Agent) -> None:
    """Whether nothing was changed: the older release is in its slot, too."""
    assert (agent.root / "current").readlink() == Path("slots/b")
    assert files(agent.root / "slots/b") == WHOLE[OLD.version, OLD.sec_epoch]
    assert files(agent.root / "slots/a") == WHOLE[OLDER.version, OLDER.sec_epoch]
    assert agent.disk.list("slots") == ("a", "b")


class Watching:
    """A Health that notes what runs when it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, bytes]] = []

    def check(self, folder: Path) -> Verdict:
        """Note it."""
        self.asked.append(files(folder))
        return Verdict(passed=True)


def test_it_goes_by_way_of_a_release_that_never_runs(agent: Agent) -> None:
    health = Watching()
    links: set[Path] = set()
    slots: set[str] = set()

    def during() -> None:
        links.add((agent.root / "current").readlink())
        slots.update(agent.disk.list("slots"))

    here = replace(agent, health=health)
    outcome, source, applier = bring(here, applier=ChainApplier(during=during))
    assert (outcome.result, outcome.way) == (Result.UPDATED, CHAIN)
    assert source.fetched == 2
    assert applier.applied == list(DELTAS)
    assert links == {Path("slots/b")}
    assert slots == {"a.tmp", "a.1.tmp", "b"}
    assert health.asked == [WHOLE[NEWER.version, NEWER.sec_epoch]]
    runs_the_newer(agent)
    known = {installed.release for installed in state_of(agent.disk).slots.values()}
    assert known == {OLD.digest, NEWER.digest}
    begin = [e for e in Audit(agent.disk).entries() if e.event is Event.BEGIN][-1]
    assert (begin.release, begin.note) == (NEWER.digest, f"{CHAIN}: {' and '.join(DELTAS)}")
    assert status(agent.disk).way == begin.note


def test_a_direct_delta_that_is_as_small_is_taken_instead(agent: Agent) -> None:
    outcome, source, applier = bring(agent, chain_offer(OLD.digest, ""))
    way = "direct delta, 0.1 kB (next best: full update, 1.0 kB)"
    assert (outcome.way, source.fetched) == (way, 1)
    assert applier.applied == ["1.6/" + OLD.digest[:6]]
    runs_the_newer(agent)


@pytest.mark.parametrize("broken", DELTAS, ids=["first", "second"])
def test_where_a_part_of_the_chain_is_no_good_the_full_update_is_taken(
    agent: Agent, broken: str
) -> None:
    outcome, _, applier = bring(agent, applier=ChainApplier(broken=(broken,)))
    why = "the chain of 2 deltas was refused: HWC-U004"
    assert outcome.way == f"full update, 1.0 kB ({why})"
    assert applier.applied == [*DELTAS[: 1 + DELTAS.index(broken)], "1.6/full"]
    runs_the_newer(agent)


def test_a_chain_by_way_of_what_nobody_signed_is_not_begun(agent: Agent) -> None:
    strange = make_release("1.5", 15, sec_epoch=1, provenance={"by": "somebody else"})
    applier = ChainApplier(releases=(OLD, strange, NEWER))
    _, _, applier = bring(agent, applier=applier)
    assert applier.applied == ["1.6/full"]
    refused = [e for e in Audit(agent.disk).entries() if e.event is Event.REFUSED][-1]
    assert refused.note.startswith("HWC-U004")
    runs_the_newer(agent)


def test_a_release_in_between_need_not_be_for_this_machine(agent: Agent) -> None:
    foreign = make_release("1.5", 15, sec_epoch=1, compatibility=Compatibility(arch="s390x"))
    offer = chain_offer("")
    first, second = offer.steps[1], offer.steps[2]
    delta = replace(second.artefacts[0], base=foreign.digest, path=f"1.6/{foreign.digest[:6]}")
    steps = (
        offer.steps[0],
        replace(first, release=foreign.digest),
        replace(second, artefacts=(delta, *second.artefacts[1:])),
    )
    here = replace(agent, machine=Machine(arch="aarch64"))
    applier = ChainApplier(releases=(OLD, foreign, NEWER))
    outcome, _, _ = bring(here, replace(offer, steps=steps), applier)
    assert "by way of v1.5" in outcome.way
    runs_the_newer(agent)


def wide(offer: Offer, size: int) -> Offer:
    """The same where metadata say that the release in between has this size."""
    first, between, newest = offer.steps
    return replace(offer, steps=(first, replace(between, size=size), newest))


@pytest.mark.parametrize(("lacks", "fetched"), [(0, 2), (1, 1)], ids=["just enough", "1 B short"])
def test_a_chain_is_fetched_only_where_there_is_room_for_the_release_in_between(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, lacks: int, fetched: int
) -> None:
    free = 3 * RELEASE_BLOCKS * BLOCK + SPARE
    spare = sum(map(len, WHOLE[OLDER.version, OLDER.sec_epoch].values()))
    deltas = 200
    monkeypatch.setattr(RealDisk, "free", lambda _: free)
    offer = wide(chain_offer(""), free + spare - deltas - NEWER.size + lacks)
    outcome, source, _ = bring(agent, offer)
    why = "chain of 2 deltas, 0.2 kB: needs more disk than is free"
    assert outcome.way == (f"full update, 1.0 kB ({why})" if lacks else CHAIN)
    assert source.fetched == fetched
    runs_the_newer(agent)


def test_where_the_room_turns_out_too_small_the_full_update_is_taken(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RealDisk, "free", lambda _: RELEASE_BLOCKS * BLOCK + SPARE)
    seen: list[tuple[str, ...]] = []
    applier = ChainApplier(during=lambda: seen.append(agent.disk.list("downloads")))
    outcome, source, applier = bring(agent, applier=applier)
    why = "the chain of 2 deltas was refused: HWC-U031"
    assert (outcome.way, source.fetched) == (f"full update, 1.0 kB ({why})", 3)
    assert applier.applied == ["1.6/full"]
    assert {len(names) for names in seen} == {1}  # what the chain fetched made room
    runs_the_newer(agent)


def test_where_nothing_else_leads_there_and_there_is_no_room(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RealDisk, "free", lambda _: 1 << 20)
    source = FakeSource(wide(chain_offer(), 2 << 20), agent.disk)
    with pytest.raises(Refusal, match=r"by way of v1\.5, needs \d+ B of disk") as caught:
        update(agent, source, ChainApplier())
    assert (caught.value.code, caught.value.kept) == (Code.DISK, "kept v1.4, slot B")
    assert source.fetched == 0
    kept_the_old(agent)


def test_where_nothing_else_leads_there_and_it_is_no_good(agent: Agent) -> None:
    with pytest.raises(Refusal, match="made to be broken") as caught:
        bring(agent, chain_offer(), ChainApplier(broken=DELTAS[1:]))
    assert caught.value.kept == "kept v1.4, slot B"
    assert agent.disk.list("slots") == ("b",)
    assert state_of(agent.disk).current is Slot.B
    assert files(agent.root / "current") == WHOLE[OLD.version, OLD.sec_epoch]


class _PowerCut(Exception):  # noqa: N818 - no error
    """The device went off."""


def test_after_a_power_cut_nothing_is_fetched_again(agent: Agent) -> None:
    def cut() -> None:
        if agent.disk.kind("slots/a.tmp/model.onnx") is not None:
            raise _PowerCut

    with pytest.raises(_PowerCut):
        bring(agent, applier=ChainApplier(during=cut))
    assert agent.disk.list("slots") == ("a.1.tmp", "a.tmp", "b")
    recover(agent)
    assert agent.disk.list("slots") == ("b",)
    before = files(agent.root / "downloads")
    assert sorted(data.decode() for data in before.values()) == sorted(DELTAS)
    made = {path: (agent.root / "downloads" / path).stat().st_ino for path in before}
    seen: list[dict[str, int]] = []

    def note() -> None:
        folder = agent.root / "downloads"
        seen.append({path.name: path.stat().st_ino for path in folder.iterdir()})

    assert bring(agent, applier=ChainApplier(during=note))[0].result is Result.UPDATED
    assert all(now == made for now in seen)
    runs_the_newer(agent)


@pytest.mark.parametrize("path", ["slots/a.1.tmp", "slots/a.2.tmp", "slots/a.1"])
def test_links_that_were_planted_in_between_are_not_followed(
    agent: Agent, path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "model.onnx").write_text("precious")
    (agent.root / path).symlink_to(outside)
    assert run_chain(agent).result is Result.UPDATED
    assert [p.read_text() for p in outside.iterdir()] == ["precious"]
    runs_the_newer(agent)


def test_the_release_in_between_is_whole_before_it_is_built_upon(agent: Agent) -> None:
    def tamper() -> None:
        found = agent.root / "slots/a.1.tmp/model.onnx"
        if found.exists():
            found.write_bytes(b"x" + contents("1.5")["model.onnx"][1:])

    _, _, applier = bring(agent, applier=ChainApplier(during=tamper))
    assert applier.applied == [*DELTAS, "1.6/full"]
    runs_the_newer(agent)
