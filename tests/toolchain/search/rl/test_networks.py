"""Networks that are drawn for training."""

import numpy as np
import pytest
from hwc.toolchain.plan import Precision
from hwc.toolchain.search.rl.networks import Family, draw_network
from hwc.toolchain.slots import SlotGraph

OFFERS = {
    Precision.INT8: frozenset({"Conv", "Gemm", "MatMul", "Add"}),
    Precision.INT4: frozenset({"Gemm", "MatMul"}),
}
DRAWS = [(family, seed) for family in Family for seed in range(8)]


def network(family: Family, seed: int) -> SlotGraph:
    return draw_network(np.random.default_rng(seed), family, OFFERS)


@pytest.mark.parametrize(("family", "seed"), DRAWS)
def test_the_edges_are_what_the_slots_read_and_write(family: Family, seed: int) -> None:
    graph = network(family, seed)
    for index, edge in enumerate(graph.edges):
        assert edge.producer == index - 1
        assert all(reader > edge.producer for reader in edge.consumers)
        assert all(edge.tensor in graph.slots[reader].inputs for reader in edge.consumers)
        assert bool(edge.consumers) != edge.is_output
    for i, slot in enumerate(graph.slots):
        assert slot.work.reads == sum(e.elements for e in graph.edges if i in e.consumers)
        assert slot.work.writes == graph.edges[i + 1].elements


@pytest.mark.parametrize(("family", "seed"), DRAWS)
def test_choices_are_what_is_offered_and_four_bits_need_weights(family: Family, seed: int) -> None:
    for slot in network(family, seed).slots:
        chosen = [choice.precision for choice in slot.choices]
        assert chosen[0] is Precision.FP32
        assert (Precision.INT8 in chosen) == (slot.op in OFFERS[Precision.INT8])
        weighted = slot.op in {"Gemm", "MatMul"} and slot.work.weights > 0
        assert (Precision.INT4 in chosen) == weighted


def test_the_same_seed_draws_the_same_network_and_another_another() -> None:
    assert network(Family.BRANCHED, 1) == network(Family.BRANCHED, 1)
    assert network(Family.BRANCHED, 1) != network(Family.BRANCHED, 2)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (Family.DEPTHWISE, "depthwise"),
        (Family.ATTENTION, "norm"),
        (Family.RESIDUAL, "elementwise"),
        (Family.BRANCHED, "move"),
        (Family.PLAIN, "pool"),
    ],
)
def test_each_family_has_what_it_is_known_for(family: Family, kind: str) -> None:
    assert all(kind in {s.kind for s in network(family, seed).slots} for seed in range(5))


@pytest.mark.parametrize("seed", range(5))
def test_a_convolution_multiplies_its_weights_once_a_place(seed: int) -> None:
    for slot in network(Family.RESIDUAL, seed).slots:
        if slot.op == "Conv":
            places = slot.work.macs // slot.work.weights
            assert slot.work.macs == places * slot.work.weights
            assert slot.work.writes % places == 0
