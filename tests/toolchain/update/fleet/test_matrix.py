"""Which update files there are or could be, and what the missing ones are estimated at."""

import hashlib
import math

import pytest
from hwc.toolchain.origin import Origin
from hwc.toolchain.update.fleet.matrix import Hop, Matrix, Rates, delta_matrix
from hwc.toolchain.update.offer import Artefact, Offer, Step
from hwc.toolchain.update.release import Compatibility, Dtype, Release, ReleaseFile, Tensor

SIZE = 4_000_000
GAP = 1000  # bytes of the model that are in no tensor
RATES = Rates(make=0.05, apply=1e6, memory=7)


def digest(text: str) -> str:
    """Some SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def release(seq: int, *weights: str) -> Release:
    """A release with one fp32 tensor for each of these weights."""
    each = SIZE // len(weights)
    tensors = tuple(
        Tensor(f"w{i}", Dtype.F32, (each // 4,), GAP + i * each, each, digest(weight))
        for i, weight in enumerate(weights)
    )
    model = ReleaseFile("model.onnx", GAP + SIZE, digest(" ".join(weights)), tensors)
    labels = ReleaseFile("labels.txt", 500, digest("labels"))
    return Release(
        *("camera", f"1.{seq}", seq, 0, Compatibility(), None, {}), files=(labels, model)
    )


def offer(*found: tuple[Release, list[Artefact]]) -> Offer:
    """What a repository with these releases offers."""
    steps = tuple(
        Step(r.digest, r.product, r.version, r.seq, r.sec_epoch, tuple(artefacts))
        for r, artefacts in found
    )
    return Offer(steps, 10_000, "salt", halted=False, trusted_time=0)


def artefact(size: int, base: Release | None) -> Artefact:
    """An update file of so many bytes."""
    return Artefact("u.hwcu", size, "0" * 64, base.digest if base else "", 9_000_000)


def matrix_of(*found: tuple[Release, list[Artefact]]) -> dict[tuple[int | None, int], Hop]:
    """The hops by their ends."""
    releases = {r.digest: r for r, _ in found}
    hops = delta_matrix(offer(*found), releases, RATES).hops
    table = {(hop.base, hop.target): hop for hop in hops}
    assert len(table) == len(hops)
    return table


ONE, TWO, THREE = release(1, "a", "b"), release(2, "a2", "b"), release(3, "a3", "b")


def test_files_that_are_there_are_told_as_they_are() -> None:
    table = matrix_of((ONE, []), (TWO, [artefact(900_000, ONE), artefact(3_000_000, None)]))
    seconds = TWO.size / 1e6
    assert table == {
        (1, 2): Hop(1, 2, 900_000, 0.0, 9_000_000, seconds, "u.hwcu"),
        (None, 2): Hop(None, 2, 3_000_000, 0.0, 9_000_000, seconds, "u.hwcu"),
    }
    assert {hop.origin for hop in table.values()} == {Origin.MEASURED}


def test_what_could_be_made_is_an_estimate_and_costs() -> None:
    hop = matrix_of((ONE, []), (TWO, [artefact(3_000_000, None)]))[1, 2]
    assert hop.origin is Origin.ESTIMATED
    assert hop.cpu == pytest.approx(0.05 * TWO.size / 1e6)
    assert (hop.memory, hop.seconds) == (7, TWO.size / 1e6)


def test_without_any_delta_nothing_is_promised() -> None:
    table = matrix_of((ONE, []), (TWO, []))
    assert table[1, 2].size == table[None, 2].size == TWO.size


def test_the_ratio_of_a_delta_that_is_there_foretells_the_others() -> None:
    changed = SIZE // 2 + GAP
    table = matrix_of((ONE, []), (TWO, [artefact(500_000, ONE)]), (THREE, []))
    assert table[2, 3].size == round(500_000 / changed * changed)
    longer = SIZE // 2 // 4 * math.log2(2) / 2 / 8  # half a bit for each weight that moved twice
    assert table[1, 3].size == round(500_000 + longer)


def test_the_delta_over_the_most_similar_distance_counts() -> None:
    third = [artefact(700_000, ONE)]
    table = matrix_of((ONE, []), (TWO, [artefact(500_000, ONE)]), (THREE, third))
    assert table[1, 3].size == 700_000
    assert table[2, 3].size == 500_000


def test_what_did_not_change_costs_next_to_nothing() -> None:
    again = release(3, "a2", "b")
    table = matrix_of((ONE, []), (TWO, [artefact(500_000, ONE)]), (again, []))
    assert table[2, 3].size < 200


def test_no_delta_is_estimated_above_a_full_file() -> None:
    table = matrix_of((ONE, []), (TWO, [artefact(2_002_000, ONE)]), (THREE, []))
    full = [artefact(100_000, None)]
    smaller = matrix_of((ONE, []), (TWO, [artefact(2_002_000, ONE)]), (THREE, full))
    assert table[1, 3].size > smaller[1, 3].size == smaller[2, 3].size == 100_000


@pytest.mark.parametrize(
    ("installed", "seq"),
    [
        pytest.param(2, 2, id="seq"),
        pytest.param(1, None, id="unknown seq"),
        pytest.param(99, 99, id="newer than all"),
        pytest.param("1.4", 3, id="version"),
        pytest.param("1.3", 2, id="the oldest of that version"),
        pytest.param("0.9", None, id="unknown version"),
    ],
)
def test_seq_of(installed: int | str, seq: int | None) -> None:
    matrix = Matrix("camera", {2: "1.3", 3: "1.4", 4: "1.3"}, ())
    assert matrix.seq_of(installed) == seq


def test_straight_keeps_what_leads_to_the_newest() -> None:
    hops = [Hop(base, new, 1, 0.0, 0, 1.0) for base, new in ((1, 2), (2, 3), (1, 3), (None, 3))]
    found = Matrix("camera", {1: "1.1", 2: "1.2", 3: "1.3"}, tuple(hops)).straight()
    assert found.hops == tuple(hops[1:])
