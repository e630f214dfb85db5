"""Tests of the whole agent: exactly the old or the new release, wherever the power is cut."""

import pytest

from .crash import SCENARIOS, Explorer, Scenario, boot_loop
from .sim_disk import SimDisk, dice
from .world import NEW, OLD, make_agent, run_update

LEAST = 10_000  # distinct disks in all
MOST = 950  # of a scenario
MANY = {"chain": 2500, "chain that fails": 2500}  # in which it takes 1,600 to come to the trial
FEW = {"link that somebody changed": 30, "update that has to wait": 30}  # these have hardly more
STATES = {one.name: FEW.get(one.name, MANY.get(one.name, MOST)) for one in SCENARIOS}

FULL = "update with both slots full"

# Every sync in the agent's code, and the scenario in which its loss is noticed. Those of a new
# audit log are noticed in test_audit.py.
SYNCS = {
    "audit.add: state/audit.log": "update",
    "disk.replace < journal._replace: state": "boot loop",
    "disk.replace < state.write_state: state": FULL,
    "disk.write_new < disk.replace < journal._replace: state/journal.tmp": FULL,
    "disk.write_new < disk.replace < state.write_state: state/state.json.tmp": "update",
    "journal.add: state/journal": "boot loop",
    "journal.clear: state": "update on a broken disk",
    "recover._set_up: .": "first install",
    "slots.close: slots/x.tmp/bundle.json": "update",
    "slots.close: slots/x.tmp/model.onnx": "update",
    "slots.close: slots/x.tmp/weights/w.bin": "update",
    "slots.hold: .": "update",
    "slots.put: slots": "update",
    "slots.put: slots/x.tmp": "update",
    "slots.put: slots/x.tmp/weights": "update",
}
IN_TEST_AUDIT = {
    "disk.replace < audit.add: state",
    "disk.write_new < disk.replace < audit.add: state/audit.log.tmp",
}


def scenario(name: str) -> Scenario:
    """By its name."""
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


@pytest.mark.parametrize("name", STATES)
def test_power_cuts_leave_the_old_or_the_new_release(name: str) -> None:
    """And no sync is asked for whose loss no test notices."""
    explorer = Explorer(scenario(name), most=MANY.get(name, MOST))
    assert explorer.explore() == ""
    assert explorer.states >= STATES[name]
    assert explorer.sites <= SYNCS.keys() | IN_TEST_AUDIT


def test_ten_thousand_disks_are_visited() -> None:
    assert sum(STATES.values()) >= LEAST


@pytest.mark.parametrize("site", SYNCS)
def test_a_sync_that_is_left_out_is_noticed(site: str) -> None:
    lost = frozenset({site})
    if SYNCS[site] == "boot loop":
        assert boot_loop(lost)
    else:
        assert Explorer(scenario(SYNCS[site]), lost=lost, most=MOST).explore()


@pytest.mark.parametrize("site", [site for site in SYNCS if "x.tmp" in site])
def test_a_sync_of_what_a_chain_leads_to_is_noticed(site: str) -> None:
    assert Explorer(scenario("chain"), lost=frozenset({site}), most=MANY["chain"]).explore()


def test_a_release_that_turns_the_device_off_is_tried_no_more_than_four_times() -> None:
    assert boot_loop() == ""


def test_the_simulated_disk_loses_what_was_not_synced() -> None:
    disk = SimDisk()
    disk.mkdir("f")
    disk.sync("")
    file = disk.create("f/x")
    file.write(b"abc")
    left = list(disk.after_power_cut(dice(), 20))
    assert {one.kind("f/x") is None for one in left} == {True, False}
    found = {one.open("f/x").read(0, 9) for one in left if one.kind("f/x")}
    assert {b"", b"a", b"ab", b"abc", b"\0\0\0"} >= found >= {b"", b"a", b"abc", b"\0\0\0"}


def test_the_simulated_disk_keeps_what_was_synced() -> None:
    disk = SimDisk()
    run_update(make_agent(disk), OLD)
    run_update(make_agent(disk), NEW)
    for left in disk.after_power_cut(dice(), 20):
        assert left.list("slots") == ("a", "b")
        assert left.target("current") == "slots/b"
