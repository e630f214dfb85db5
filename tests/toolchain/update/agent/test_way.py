"""Tests of toolchain/update/agent/way.py."""

from dataclasses import replace

import pytest
from hwc.toolchain.update.agent.state import Installed
from hwc.toolchain.update.agent.way import LEGS, Leg, Way, peak, ways
from hwc.toolchain.update.offer import Artefact, Offer, Step

INSTALLED = Installed("r1", "door", "1.1", 1, 0)
FILES = dict[tuple[int, int], int]  # (to, from): bytes; from 0: full


def offer(
    files: FILES, *, sizes: int = 100, memory: dict[tuple[int, int], int] | None = None
) -> Offer:
    """Releases 0 to the highest, with these update files."""
    steps = []
    for seq in range(1 + max(to for to, _ in files)):
        made = tuple(
            Artefact(
                f"{to}/{base}",
                size,
                "a" * 64,
                f"r{base}" if base else "",
                (memory or {}).get((to, base), 0),
            )
            for (to, base), size in files.items()
            if to == seq
        )
        steps.append(Step(f"r{seq}", "door", f"1.{seq}", seq, 0, made, sizes))
    return Offer(tuple(steps), share=10_000, salt="", halted=False, trusted_time=0)


def found(
    asked: Offer, installed: Installed | None = INSTALLED, memory: int | None = None
) -> list[str]:
    """The ways, each as its files."""
    return [
        " ".join(artefact.path for artefact in way.artefacts)
        for way in ways(asked, installed, memory)
    ]


LONG = {(k, k - 1): 1 for k in range(2, LEGS + 3)}
CASES: dict[str, tuple[FILES, list[str]]] = {
    "chain": ({(3, 0): 100, (2, 1): 40, (3, 2): 50}, ["2/1 3/2", "3/0"]),
    "dearer chain": ({(3, 0): 80, (2, 1): 40, (3, 2): 50}, ["3/0", "2/1 3/2"]),
    "chain as dear": ({(3, 0): 90, (2, 1): 40, (3, 2): 50}, ["3/0", "2/1 3/2"]),
    "cheap direct": ({(3, 0): 100, (3, 1): 60, (2, 1): 40, (3, 2): 50}, ["3/1", "3/0"]),
    "dear direct": ({(3, 1): 95, (2, 1): 40, (3, 2): 50}, ["2/1 3/2", "3/1"]),
    "no chain": ({(3, 0): 100, (3, 2): 50}, ["3/0"]),
    "three legs": ({(4, 0): 99, (2, 1): 9, (3, 2): 9, (4, 3): 9}, ["2/1 3/2 4/3", "4/0"]),
    "short cut": ({(4, 0): 99, (2, 1): 9, (3, 2): 9, (4, 3): 9, (4, 2): 17}, ["2/1 4/2", "4/0"]),
    "full in between": ({(3, 0): 100, (2, 0): 1, (3, 2): 1}, ["3/0"]),
    "by way of an older one": ({(0, 1): 1, (3, 0): 100, (3, 99): 1}, ["3/0"]),
    "too long": ({**LONG, (LEGS + 2, 0): 100}, [f"{LEGS + 2}/0"]),
    "just not too long": (
        {**LONG, (LEGS + 2, 0): 100, (3, 1): 2},
        [" ".join(["3/1", *(f"{k}/{k - 1}" for k in range(4, LEGS + 3))]), f"{LEGS + 2}/0"],
    ),
    "nothing": ({(3, 2): 50}, []),
}


@pytest.mark.parametrize("case", CASES)
def test_the_cheapest_way_comes_first(case: str) -> None:
    files, expected = CASES[case]
    assert found(offer(files)) == expected


def test_a_new_device_takes_what_needs_no_base() -> None:
    assert found(offer(CASES["chain"][0]), None) == ["3/0"]


def test_each_file_of_a_chain_has_to_fit_the_memory() -> None:
    files = {(3, 0): 100, (2, 1): 40, (3, 2): 50}
    asked = offer(files, memory={(2, 1): 7, (3, 2): 9})
    assert found(asked, memory=9) == ["2/1 3/2", "3/0"]
    assert found(asked, memory=8) == ["3/0"]
    assert ways(asked, INSTALLED, None)[0].memory == 9


def test_another_chain_is_found_where_the_best_one_needs_too_much_memory() -> None:
    files = {(4, 0): 100, (2, 1): 1, (4, 2): 1, (3, 1): 2, (4, 3): 2}
    assert found(offer(files, memory={(4, 2): 9}), memory=8) == ["3/1 4/3", "4/0"]


def test_it_passes_through_no_release_of_which_the_size_is_not_told() -> None:
    assert found(offer(CASES["chain"][0], sizes=0)) == ["3/0"]


def test_the_newest_release_need_not_tell_its_size() -> None:
    told = offer(CASES["chain"][0])
    asked = replace(told, steps=(*told.steps[:-1], replace(told.newest, size=0)))
    assert found(asked)[0] == "2/1 3/2"


@pytest.mark.parametrize(
    ("sizes", "expected"), [([7], 7), ([7, 2], 9), ([7, 2, 8], 10), ([7, 8, 2], 15)]
)
def test_two_releases_of_a_chain_are_there_at_once(sizes: list[int], expected: int) -> None:
    assert peak(sizes) == expected


def test_the_room_of_a_chain() -> None:
    assert ways(offer(CASES["chain"][0]), INSTALLED, None)[0].room == 90 + 200


@pytest.mark.parametrize(
    ("sizes", "base", "expected"),
    [
        ([12_345], "", "full update, 12.3 kB"),
        ([12_345], "r1", "direct delta, 12.3 kB"),
        ([50_000, 49_000], "r1", "chain of 2 deltas, 99.0 kB, by way of v1.1"),
        ([600_000, 590_000], "r1", "chain of 2 deltas, 1.2 MB, by way of v1.1"),
        ([2_000_000, 0, 0], "r1", "chain of 3 deltas, 2.0 MB, by way of v1.1 and v1.2"),
    ],
)
def test_in_words(sizes: list[int], base: str, expected: str) -> None:
    legs = tuple(
        Leg(Step("", "door", f"1.{k}", k, 0, ()), Artefact("", size, "", base, 0))
        for k, size in enumerate(sizes, start=1)
    )
    assert str(Way(legs)) == expected
