"""Tests of toolchain/update/agent/{frame,journal,state}.py."""

from dataclasses import dataclass

import pytest
from hwc.toolchain.update.agent import disk as files
from hwc.toolchain.update.agent.frame import frame, unframe
from hwc.toolchain.update.agent.journal import JOURNAL, Journal, Mark, Transaction
from hwc.toolchain.update.agent.state import (
    STATE,
    Installed,
    Slot,
    State,
    read_state,
    write_state,
)
from hwc.toolchain.update.refusal import Code, Refusal

from .sim_disk import SimDisk
from .world import NEW, OLD


@dataclass(frozen=True, slots=True)
class Note:
    """A record."""

    text: str


@pytest.fixture
def disk() -> SimDisk:
    """One with the folder that the agent's files are in."""
    found = SimDisk()
    found.mkdir("state")
    return found


OLD_STATE = State().committed(Slot.A, Installed.of(OLD))
GO = Transaction(Slot.B, Slot.A, Installed.of(NEW))


@pytest.mark.parametrize("texts", [[], [""], ["a", "b\nc", "\u00e9"]], ids=len)
def test_frames_are_read_as_they_were_written(texts: list[str]) -> None:
    data = b"".join(frame(Note(text)) for text in texts)
    assert unframe(Note, data) == (tuple(map(Note, texts)), len(data))


def test_every_cut_leaves_the_records_before_it() -> None:
    data = frame(Note("one")) + frame(Note("two"))
    first = len(frame(Note("one")))
    for end in range(len(data)):
        notes, size = unframe(Note, data[:end])
        assert notes == ((Note("one"),) if end >= first else ())
        assert size == (first if end >= first else 0)


def test_every_flipped_bit_of_a_record_is_noticed() -> None:
    data = frame(Note("one"))
    for at in range(len(data)):
        for bit in range(8):
            flipped = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            assert unframe(Note, flipped) == ((), 0)


def test_a_record_of_another_type_ends_the_reading() -> None:
    assert unframe(Note, frame(GO)) == ((), 0)


def test_a_journal_says_how_far_a_transaction_came(disk: SimDisk) -> None:
    journal = Journal(disk)
    assert journal.settle() == ()
    journal.begin(Mark.BEGIN, GO)
    journal.add(Mark.TRIAL, GO)
    assert [(one.mark, one.transaction) for one in journal.settle()] == [
        (Mark.BEGIN, GO),
        (Mark.TRIAL, GO),
    ]
    journal.clear()
    assert journal.read() == ()


def test_a_torn_journal_can_be_gone_on_with(disk: SimDisk) -> None:
    journal = Journal(disk)
    journal.begin(Mark.TRIAL, GO)
    whole = files.read(disk, JOURNAL, 1 << 16)
    files.replace(disk, JOURNAL, whole + whole[:50])
    journal.settle()
    journal.add(Mark.COMMIT, GO)
    assert [one.mark for one in journal.read()] == [Mark.TRIAL, Mark.COMMIT]


def test_a_journal_without_a_whole_record_is_removed(disk: SimDisk) -> None:
    files.replace(disk, JOURNAL, bytes(30))
    assert Journal(disk).settle() == ()
    assert disk.kind(JOURNAL) is None


def test_a_state_is_read_as_it_was_written(disk: SimDisk) -> None:
    assert read_state(disk) is None
    for state in (State(), OLD_STATE, OLD_STATE.committed(Slot.B, Installed.of(NEW))):
        write_state(disk, state)
        assert read_state(disk) == state


def test_a_damaged_state_is_refused(disk: SimDisk) -> None:
    write_state(disk, OLD_STATE)
    whole = files.read(disk, STATE, 1 << 16)
    for at in range(len(whole)):
        files.replace(disk, STATE, whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(Refusal) as caught:
            read_state(disk)
        assert caught.value.code is Code.STATE


@pytest.mark.parametrize("state", [State(current=Slot.A), State(format=2)], ids=["slot", "format"])
def test_an_impossible_state_is_refused(disk: SimDisk, state: State) -> None:
    write_state(disk, state)
    with pytest.raises(Refusal, match="damaged"):
        read_state(disk)


def test_counters_only_rise() -> None:
    newer = OLD_STATE.committed(Slot.B, Installed.of(NEW))
    back = newer.committed(Slot.A, Installed.of(OLD))
    assert (back.seq, back.sec_epoch, back.current) == (NEW.seq, NEW.sec_epoch, Slot.A)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (State(), "nothing is installed"),
        (OLD_STATE, "kept v1.4, slot A"),
        (
            OLD_STATE.committed(Slot.B, Installed.of(NEW)),
            "kept v1.5, slot B",
        ),
    ],
    ids=["nothing", "old", "new"],
)
def test_what_was_kept(state: State, text: str) -> None:
    assert state.kept == text
