"""Tests of toolchain/update/agent/{update,choose,held,machine}.py, on a real disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hwc.toolchain.progress import Progress
from hwc.toolchain.update.agent.agent import Agent
from hwc.toolchain.update.agent.audit import Audit, Event
from hwc.toolchain.update.agent.machine import Machine
from hwc.toolchain.update.agent.real_disk import RealDisk
from hwc.toolchain.update.agent.rollback import rollback
from hwc.toolchain.update.agent.state import Slot
from hwc.toolchain.update.agent.update import Outcome, Result, update
from hwc.toolchain.update.delta.files import Files, Reader, Sink
from hwc.toolchain.update.offer import Offer
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Compatibility, Release

from .world import (
    NEW,
    NEWER,
    NOW,
    OLD,
    FakeApplier,
    FakeHealth,
    FakeSource,
    contents,
    make_agent,
    make_release,
    offer_of,
    run_update,
    state_of,
    step_to,
)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent with the old release in slot A, and a neighbour that is none of its business."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.onnx").write_text("precious")
    root = tmp_path / "root"
    root.mkdir()
    with RealDisk(root) as disk:
        found = make_agent(disk, root=root)
        run_update(found, OLD)
        yield found


def refused(agent: Agent, run: Callable[[], object], code: Code, kept: str = "v1.4, slot A") -> str:
    """The message of a refusal that left the installed release as it was."""
    with pytest.raises(Refusal) as caught:
        run()
    assert caught.value.code is code
    assert caught.value.kept == f"kept {kept}"
    assert (agent.root / "current").resolve().name == kept[-1].lower()
    for path in ("model.onnx", "weights/w.bin"):
        assert (agent.root / "current" / path).read_bytes() == contents(kept[1:4])[path]
    assert not list((agent.root / "slots").glob("*.tmp"))
    assert not (agent.root / "state/journal").exists()
    return str(caught.value)


def bring(agent: Agent, offer: Offer, release: Release = NEW, **more: object) -> Outcome:
    """Update from an offer."""
    applier = FakeApplier(release, contents(release.version))
    return update(agent, FakeSource(offer, agent.disk), applier, **more)


def test_an_update_goes_to_the_other_slot(agent: Agent) -> None:
    assert run_update(agent, NEW).result is Result.UPDATED
    assert (agent.root / "current").readlink() == Path("slots/b")
    assert (agent.root / "current/weights/w.bin").read_bytes() == contents("1.5")["weights/w.bin"]
    state = state_of(agent.disk)
    assert (state.seq, state.sec_epoch, state.trusted_time) == (15, 1, NOW - 1000)
    assert list((agent.root / "downloads").iterdir()) == []
    assert run_update(agent, NEWER).state.current is Slot.A
    events = [entry.event for entry in Audit(agent.disk).entries()]
    assert events == [Event.SETUP, *3 * [Event.BEGIN, Event.TRIAL, Event.COMMIT]]


def test_the_newest_release_is_not_installed_again(agent: Agent) -> None:
    assert run_update(agent, OLD).result is Result.CURRENT


@pytest.mark.parametrize("change", [{"share": 0}, {"halted": True}], ids=["share", "halted"])
def test_a_device_waits_for_its_turn(agent: Agent, change: dict[str, object]) -> None:
    assert bring(agent, offer_of(NEW, **change)).result is Result.WAITING
    assert state_of(agent.disk).current is Slot.A


def test_a_release_that_fails_its_trial_goes_and_does_not_come_back(agent: Agent) -> None:
    sick = replace(agent, health=FakeHealth(passed=False))
    message = refused(agent, lambda: run_update(sick, NEW), Code.HEALTH)
    assert "v1.5 failed its trial: made to fail: kept v1.4, slot A" in message
    assert "before" in refused(agent, lambda: run_update(agent, NEW), Code.HEALTH)
    assert (state_of(agent.disk).seq, agent.disk.list("slots")) == (14, ("a",))
    assert run_update(agent, NEW, again=True).result is Result.UPDATED


OFFERS = {
    "older": (offer_of(make_release("1.3", 13)), Code.ROLLBACK),
    "same seq": (offer_of(make_release("1.4b", 14)), Code.ROLLBACK),
    "no release": (Offer((), 10_000, "s", halted=False, trusted_time=0), Code.NOT_SIGNED),
    "other product": (offer_of(make_release("1.5", 15, product="oven")), Code.COMPATIBILITY),
    "signed later": (offer_of(NEW, trusted_time=NOW + 400), Code.CLOCK),
}


@pytest.mark.parametrize("case", OFFERS)
def test_offers_that_are_refused(agent: Agent, case: str) -> None:
    offer, code = OFFERS[case]
    refused(agent, lambda: bring(agent, offer), code)


def test_an_offer_with_a_lower_epoch_is_refused(agent: Agent) -> None:
    run_update(agent, NEW)
    offer = offer_of(make_release("1.6", 16))
    refused(agent, lambda: bring(agent, offer), Code.ROLLBACK, "v1.5, slot B")


def test_a_clock_that_was_set_back_is_refused(agent: Agent) -> None:
    early = replace(agent, clock=lambda: NOW - 2000)
    source = FakeSource(offer_of(NEW), agent.disk)
    message = refused(agent, lambda: update(early, source, FakeApplier(NEW, {})), Code.CLOCK)
    assert str(NOW - 2000) in message
    assert source.fetched == 0


def test_a_clock_that_jumped_ahead_and_back_is_no_matter(agent: Agent) -> None:
    late = replace(agent, clock=lambda: NOW + 10**9)
    assert bring(late, offer_of(OLD)).result is Result.CURRENT
    assert run_update(agent, NEW).result is Result.UPDATED


RELEASES = {
    "arch": (Compatibility(arch="x86_64"), Code.COMPATIBILITY),
    "accelerator": (Compatibility(accelerator="orin"), Code.COMPATIBILITY),
    "sm": (Compatibility(sm="8.7"), Code.COMPATIBILITY),
    "runtime": (Compatibility(runtime="tensorrt"), Code.COMPATIBILITY),
    "too old": (Compatibility(runtime="onnxruntime", runtime_min="1.18"), Code.COMPATIBILITY),
    "too new": (Compatibility(runtime="onnxruntime", runtime_max="1.9.1"), Code.COMPATIBILITY),
    "memory": (Compatibility(memory=2 << 30), Code.MEMORY),
}


@pytest.mark.parametrize("case", RELEASES)
def test_a_release_for_another_machine_is_refused(agent: Agent, case: str) -> None:
    wanted, code = RELEASES[case]
    machine = Machine(arch="aarch64", runtime="onnxruntime", runtime_version="1.17.3+cu12")
    here = replace(agent, machine=machine)
    release = make_release("1.5", 15, compatibility=wanted)
    refused(agent, lambda: bring(here, offer_of(release), release), code)
    assert agent.disk.list("slots") == ("a",)


def test_a_release_for_this_machine_is_taken(agent: Agent) -> None:
    machine = Machine("aarch64", "orin", "8.7", "onnxruntime", "1.18.0")
    wanted = Compatibility("aarch64", "orin", "8.7", "onnxruntime", "1.18", "1.19", 1 << 20)
    release = make_release("1.5", 15, compatibility=wanted)
    here = replace(agent, machine=machine)
    assert bring(here, offer_of(release), release).result is Result.UPDATED


@dataclass
class Fussy(FakeApplier):
    """Refuses what starts from a base, and notes what it was given."""

    bases: list[bool] = field(default_factory=list)
    code: Code = Code.DIGEST

    def apply(self, update: Reader, base: Files | None, sink: Sink, progress: Progress) -> None:
        """Write, and refuse."""
        super().apply(update, base, sink, progress)
        self.bases.append(base is not None)
        if base is not None:
            raise Refusal(self.code, "the base is damaged")


def test_where_the_delta_is_no_good_the_full_update_is_taken(agent: Agent) -> None:
    offer = replace(offer_of(NEW), steps=(step_to(NEW, OLD.digest, ""),))
    applier = Fussy(NEW, contents("1.5"))
    outcome = update(agent, FakeSource(offer, agent.disk), applier)
    assert (outcome.result, applier.bases) == (Result.UPDATED, [True, False])


def test_a_cut_network_does_not_make_it_fetch_more(agent: Agent) -> None:
    offer = replace(offer_of(NEW), steps=(step_to(NEW, OLD.digest, ""),))
    applier = Fussy(NEW, contents("1.5"), code=Code.NETWORK)
    run = lambda: update(agent, FakeSource(offer, agent.disk), applier)  # noqa: E731
    refused(agent, run, Code.NETWORK)
    assert applier.bases == [True]


def test_the_smallest_update_that_fits_into_memory_is_taken(agent: Agent) -> None:
    step = step_to(NEW, OLD.digest, "", NEWER.digest)
    small = replace(step.artefacts[0], memory=2 << 30)
    offer = replace(offer_of(NEW), steps=(replace(step, artefacts=(small, *step.artefacts[1:])),))
    applier = Fussy(NEW, contents("1.5"))
    update(agent, FakeSource(offer, agent.disk), applier)
    assert applier.bases == [False]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"memory": 2 << 30}, Code.MEMORY),
        ({"base": NEWER.digest}, Code.BASE),
        ({"size": 1 << 60}, Code.LIMIT),
        ({"size": 60 << 30}, Code.DISK),
        ({"size": -1}, Code.MALFORMED),
        ({"sha256": "../../etc"}, Code.MALFORMED),
    ],
    ids=["memory", "base", "limit", "disk", "size", "digest"],
)
def test_update_files_that_are_refused(
    agent: Agent, change: dict[str, object], code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RealDisk, "free", lambda _: 50 << 30)
    step = step_to(NEW)
    step = replace(step, artefacts=(replace(step.artefacts[0], **change),))
    refused(agent, lambda: bring(agent, replace(offer_of(NEW), steps=(step,))), code)


def test_a_release_for_which_there_is_no_room_is_refused(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RealDisk, "free", lambda _: 1 << 20)
    message = refused(agent, lambda: run_update(agent, NEW), Code.DISK)
    assert f"{3 * 4096 + (1 << 20)} B of disk, {1 << 20} B are" in message


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (NEWER, Code.DIGEST),
        (make_release("1.5", 15, sec_epoch=1, product="oven"), Code.NOT_SIGNED),
    ],
    ids=["release", "product"],
)
def test_an_update_that_leads_elsewhere_is_refused(agent: Agent, made: Release, code: Code) -> None:
    offer = offer_of(NEW)
    if code is Code.NOT_SIGNED:  # whoever signed this contradicts what he signed
        offer = replace(offer, steps=(replace(offer.newest, release=made.digest),))
    refused(agent, lambda: bring(agent, offer, made), code)


TAMPER = {
    "changed": lambda slot: (slot / "model.onnx").write_bytes(b"x" * 27),
    "longer": lambda slot: (slot / "model.onnx").write_bytes(contents("1.5")["model.onnx"] + b"x"),
    "one too many": lambda slot: (slot / "extra").write_bytes(b""),
    "linked": lambda slot: _linked(slot / "model.onnx"),
}


def _linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("../../../outside/model.onnx")


@pytest.mark.parametrize("case", TAMPER)
def test_what_is_written_is_read_again_before_it_is_tried(agent: Agent, case: str) -> None:
    health = FakeHealth()

    class Tampering(FakeApplier):
        def apply(self, update: Reader, base: Files | None, sink: Sink, progress: Progress) -> None:
            super().apply(update, base, sink, progress)
            TAMPER[case](agent.root / "slots/b.tmp")

    applier = Tampering(NEW, contents("1.5"))
    here = replace(agent, health=health)
    source = FakeSource(offer_of(NEW), agent.disk)
    with pytest.raises(Refusal) as caught:
        update(here, source, applier)
    assert caught.value.code in (Code.DIGEST, Code.PATH)
    assert health.asked == 0
    assert (agent.root.parent / "outside/model.onnx").read_text() == "precious"


@pytest.mark.parametrize("path", ["slots/b", "slots/b.tmp", "current.tmp", "state/journal.tmp"])
def test_links_that_were_planted_are_not_followed(agent: Agent, path: str) -> None:
    (agent.root / path).symlink_to(agent.root.parent / "outside")
    assert run_update(agent, NEW).result is Result.UPDATED
    assert [p.name for p in (agent.root.parent / "outside").iterdir()] == ["model.onnx"]
    assert (agent.root.parent / "outside/model.onnx").read_text() == "precious"


@pytest.mark.parametrize("folder", ["slots", "state", "downloads"])
def test_folders_that_became_links_are_not_entered(agent: Agent, folder: str) -> None:
    (agent.root / folder).rename(agent.root.parent / folder)
    (agent.root / folder).symlink_to(f"../{folder}")
    before = sorted(str(path) for path in (agent.root.parent / folder).rglob("*"))
    with pytest.raises(Refusal) as caught:
        run_update(agent, NEW)
    assert caught.value.code is Code.PATH
    assert sorted(str(path) for path in (agent.root.parent / folder).rglob("*")) == before


def test_links_that_are_planted_meanwhile_are_not_followed(agent: Agent) -> None:
    stage = agent.root / "slots/b.tmp"

    def plant() -> None:
        if not (stage / "bundle.json").is_symlink():
            (stage / "bundle.json").symlink_to(agent.root.parent / "outside/model.onnx")

    applier = FakeApplier(NEW, contents("1.5"), during=plant)
    run = lambda: update(agent, FakeSource(offer_of(NEW), agent.disk), applier)  # noqa: E731
    refused(agent, run, Code.PATH)
    assert (agent.root.parent / "outside/model.onnx").read_text() == "precious"


def test_a_download_that_became_a_link_is_not_written_through(agent: Agent) -> None:
    name = f"{step_to(NEW).artefacts[0].sha256}.hwcu"
    (agent.root / "downloads" / name).symlink_to(agent.root.parent / "outside/model.onnx")
    assert run_update(agent, NEW).result is Result.UPDATED
    assert (agent.root.parent / "outside/model.onnx").read_text() == "precious"


def test_another_agent_at_work(agent: Agent) -> None:
    with agent.disk.lock(), RealDisk(agent.root) as disk:
        refused(agent, lambda: run_update(replace(agent, disk=disk), NEW), Code.BUSY)


def test_a_lost_state_is_not_taken_for_a_new_device(agent: Agent) -> None:
    (agent.root / "state/state.json").unlink()
    with pytest.raises(Refusal, match="counters") as caught:
        run_update(agent, NEW)
    assert caught.value.code is Code.STATE
    assert (agent.root / "current/model.onnx").exists()


def test_downloads_for_other_releases_are_removed(agent: Agent) -> None:
    (agent.root / "downloads/abc.hwcu.part").write_bytes(b"x")
    step = step_to(NEW)
    (agent.root / f"downloads/{step.artefacts[0].sha256}.hwcu.part").write_bytes(b"x")
    seen: list[tuple[str, ...]] = []
    applier = FakeApplier(
        NEW, contents("1.5"), during=lambda: seen.append(agent.disk.list("downloads"))
    )
    update(agent, FakeSource(offer_of(NEW), agent.disk), applier)
    assert len(seen[0]) == 2
    assert all(name.startswith(step.artefacts[0].sha256) for name in seen[0])


def test_rollback_goes_back_and_the_newer_one_stays_away(agent: Agent) -> None:
    run_update(agent, replace(NEW, sec_epoch=0))
    state, _ = rollback(agent)
    assert (state.current, state.seq) == (Slot.A, 15)
    assert (agent.root / "current").readlink() == Path("slots/a")
    run = lambda: run_update(agent, replace(NEW, sec_epoch=0))  # noqa: E731
    assert "gone back from" in refused(agent, run, Code.HEALTH)
    assert run_update(agent, NEWER).result is Result.UPDATED


def test_rollback_to_a_release_that_must_not_run_is_refused(agent: Agent) -> None:
    run_update(agent, NEW)
    message = refused(agent, lambda: rollback(agent), Code.ROLLBACK, "v1.5, slot B")
    assert "sec_epoch 0" in message


def test_rollback_to_nothing_is_refused(agent: Agent) -> None:
    refused(agent, lambda: rollback(agent), Code.STATE)


def test_rollback_to_what_is_damaged_is_refused(agent: Agent) -> None:
    run_update(agent, replace(NEW, sec_epoch=0))
    (agent.root / "slots/a/model.onnx").write_bytes(b"x")
    refused(agent, lambda: rollback(agent), Code.DIGEST, "v1.5, slot B")


def test_rollback_to_what_fails_its_trial_leaves_both(agent: Agent) -> None:
    run_update(agent, replace(NEW, sec_epoch=0))
    sick = replace(agent, health=FakeHealth(passed=False))
    refused(agent, lambda: rollback(sick), Code.HEALTH, "v1.5, slot B")
    assert agent.disk.list("slots") == ("a", "b")
    assert rollback(agent)[0].current is Slot.A
