"""Tests of toolchain/update/agent/audit.py."""

import pytest
from hwc.toolchain.update.agent import audit as module
from hwc.toolchain.update.agent.audit import AUDIT, EARLIER, Audit, Event
from hwc.toolchain.update.agent.disk import read, replace
from hwc.toolchain.update.refusal import Code, Refusal

from .sim_disk import SimDisk, dice


def log(disk: SimDisk, count: int) -> Audit:
    """A log with some entries."""
    if disk.kind("state") is None:
        disk.mkdir("state")
        disk.sync("")
    audit = Audit(disk)
    for number in range(count):
        audit.add(number, Event.BEGIN, release=f"r{number}", note=f"n {number}")
    return audit


def text(disk: SimDisk) -> bytes:
    return read(disk, AUDIT, 1 << 20)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_entries_are_read_as_they_were_written(count: int) -> None:
    entries = log(SimDisk(), count).entries()
    assert [(entry.time, entry.release) for entry in entries] == [
        (number, f"r{number}") for number in range(count)
    ]


@pytest.mark.parametrize("lost", ["nothing", "state", "state/audit.log.tmp", "state/audit.log"])
def test_an_entry_survives_a_power_cut_unless_a_sync_is_left_out(lost: str) -> None:
    found = []
    for count in (1, 2, 3):
        disk = SimDisk()
        disk.mkdir("state")
        disk.sync("")
        sites = {
            "state": "disk.replace < audit.add: state",
            "state/audit.log.tmp": "disk.write_new < disk.replace < audit.add: state/audit.log.tmp",
            "state/audit.log": "audit.add: state/audit.log",
        }
        disk.lost = frozenset({sites.get(lost, "")})
        log(disk, count)
        found += [len(Audit(left).entries()) == count for left in disk.after_power_cut(dice(), 9)]
    assert all(found) == (lost == "nothing")


def test_a_torn_last_line_is_left_out_and_written_over() -> None:
    disk = SimDisk()
    audit = log(disk, 3)
    whole = text(disk)
    for end in range(whole.rindex(b"\n", 0, -1) + 2, len(whole)):
        replace(disk, AUDIT, whole[:end])
        assert len(audit.entries()) == 2
    audit.add(9, Event.COMMIT)
    assert [entry.event for entry in audit.entries()] == [Event.BEGIN, Event.BEGIN, Event.COMMIT]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: lines[1:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: [lines[0], lines[1].replace(b'"r1"', b'"r9"'), *lines[2:]],
        lambda lines: [lines[0], b"junk\n", *lines[1:]],
    ],
    ids=["taken out", "first taken out", "swapped", "twice", "changed", "junk"],
)
def test_a_changed_log_is_noticed(change: object) -> None:
    disk = SimDisk()
    audit = log(disk, 4)
    assert callable(change)
    replace(disk, AUDIT, b"".join(change(text(disk).splitlines(keepends=True))))
    with pytest.raises(Refusal, match="audit log") as caught:
        audit.entries()
    assert caught.value.code is Code.STATE


def test_every_flipped_byte_but_of_the_last_line_is_noticed() -> None:
    disk = SimDisk()
    audit = log(disk, 3)
    whole = text(disk)
    for at in range(whole.rindex(b"\n", 0, -1)):
        replace(disk, AUDIT, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Refusal):
            audit.entries()


def test_a_long_log_goes_on_in_a_new_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROTATE", 500)
    disk = SimDisk()
    audit = log(disk, 20)
    entries = audit.entries()
    assert entries[-1].release == "r19"
    assert 2 < len(entries) < 20
    assert disk.kind(EARLIER) is not None
    replace(disk, EARLIER, read(disk, EARLIER, 1 << 20)[:-1])
    with pytest.raises(Refusal, match="damaged"):
        audit.entries()
