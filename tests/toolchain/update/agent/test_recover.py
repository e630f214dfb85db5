"""Tests of toolchain/update/agent/{recover,status}.py, beside the power cuts of test_crash.py."""

import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest
from hwc.toolchain.update.agent import disk as files
from hwc.toolchain.update.agent.audit import AUDIT
from hwc.toolchain.update.agent.journal import JOURNAL, Journal, Mark, Transaction
from hwc.toolchain.update.agent.recover import recover
from hwc.toolchain.update.agent.state import Installed, Slot
from hwc.toolchain.update.agent.status import status
from hwc.toolchain.update.refusal import Code, Refusal

from .sim_disk import SimDisk
from .world import NEW, OLD, FakeHealth, make_agent, run_update, state_of

GO = Transaction(Slot.B, Slot.A, Installed.of(NEW))


@pytest.fixture
def disk() -> SimDisk:
    """With the old release in slot A."""
    found = SimDisk()
    run_update(make_agent(found), OLD)
    return found


def cut_in_trial(disk: SimDisk) -> None:
    """An update whose trial never ended."""
    health = FakeHealth(during=_cut)
    with pytest.raises(KeyboardInterrupt):
        run_update(make_agent(disk, health=health))


def _cut() -> None:
    raise KeyboardInterrupt


def test_a_new_folder_is_set_up() -> None:
    disk = SimDisk()
    assert recover(make_agent(disk)).found is None
    assert disk.list("") == ("downloads", "metadata", "slots", "state")
    assert status(disk).linked


@pytest.mark.parametrize("passed", [True, False])
def test_a_trial_that_was_cut_off_is_tried_again(disk: SimDisk, passed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    cut_in_trial(disk)
    health = FakeHealth(passed=passed)
    found = recover(make_agent(disk, health=health))
    assert (found.found, health.asked) == (Mark.TRIAL, 1)
    assert found.state.current is (Slot.B if passed else Slot.A)


def test_a_trial_is_not_tried_for_ever(disk: SimDisk) -> None:
    cut_in_trial(disk)
    for boots in range(3):
        assert status(disk).boots == boots
        with pytest.raises(KeyboardInterrupt):
            recover(make_agent(disk, health=FakeHealth(during=_cut)))
    health = FakeHealth()
    found = recover(make_agent(disk, health=health))
    assert (found.found, found.state.current, health.asked) == (Mark.BOOT, Slot.A, 0)
    assert found.state.rejected == NEW.digest


def test_a_slot_that_was_damaged_meanwhile_is_not_tried_again(disk: SimDisk) -> None:
    cut_in_trial(disk)
    with closing(disk.append("slots/b/model.onnx")) as file:
        file.write(b"x")
    health = FakeHealth()
    found = recover(make_agent(disk, health=health))
    assert (found.state.current, health.asked, disk.list("slots")) == (Slot.A, 0, ("a",))


def test_a_link_that_somebody_changed_is_set_right(disk: SimDisk) -> None:
    disk.unlink("current")
    disk.link("current", "/etc")
    assert not status(disk).linked
    recover(make_agent(disk))
    assert status(disk).linked


def test_a_folder_in_place_of_the_link_is_removed(disk: SimDisk) -> None:
    disk.unlink("current")
    disk.mkdir("current")
    files.write_new(disk, "current/x", b"")
    recover(make_agent(disk))
    assert status(disk).linked


def test_status_of_an_update_under_way(disk: SimDisk) -> None:
    cut_in_trial(disk)
    found = status(disk)
    assert found.under_way is not None
    assert (found.under_way.mark, found.under_way.transaction) == (Mark.TRIAL, GO)
    assert (found.linked, found.state.current) == (False, Slot.A)
    assert (found.audit, found.fault) == (6, "")


def test_status_of_a_folder_that_was_never_used() -> None:
    found = status(SimDisk())
    assert (found.state.current, found.linked, found.audit) == (None, True, 0)


def test_status_tells_of_a_changed_log(disk: SimDisk) -> None:
    log = files.read(disk, AUDIT, 1 << 20)
    files.replace(disk, AUDIT, log[100:])
    assert "damaged" in status(disk).fault


def test_a_damaged_state_changes_nothing(disk: SimDisk) -> None:
    files.replace(disk, "state/state.json", b"junk")
    Journal(disk).begin(Mark.BEGIN, GO)
    disk.calls = 0
    with pytest.raises(Refusal) as caught:
        recover(make_agent(disk))
    assert (caught.value.code, disk.kind(JOURNAL) is None) == (Code.STATE, False)
    assert disk.target("current") == "slots/a"
    assert disk.list("slots") == ("a",)


def test_recovering_says_what_was_kept(disk: SimDisk) -> None:
    cut_in_trial(disk)
    broken = FakeHealth(during=_fail)
    with pytest.raises(Refusal) as caught:
        recover(make_agent(disk, health=broken))
    assert (caught.value.code, caught.value.kept) == (Code.DISK, "kept v1.4, slot A")
    assert state_of(disk) == replace(state_of(disk), current=Slot.A, rejected="")


def _fail() -> None:
    raise OSError(5, "Input/output error")


HEAVY = ("click", "ml_dtypes", "onnx", "onnx_ir", "onnxruntime", "rich", "torch", "yaml")
MODULES = ("hook", "real_disk", "recover", "rollback", "status", "update")


def test_the_agent_starts_without_what_a_device_does_not_have() -> None:
    code = (
        "import sys\n"
        f"for name in {HEAVY}: sys.modules[name] = None\n"
        "import importlib\n"
        f"for name in {MODULES}: importlib.import_module('hwc.toolchain.update.agent.' + name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
