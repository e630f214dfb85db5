"""Training from seeds alone."""

from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.device import load_profile
from hwc.toolchain.errors import InputError
from hwc.toolchain.plan import Precision
from hwc.toolchain.search.rl.clone import Cloning
from hwc.toolchain.search.rl.generator import Generator, Network
from hwc.toolchain.search.rl.networks import Family, draw_network
from hwc.toolchain.search.rl.policy_file import to_bytes
from hwc.toolchain.search.rl.ppo import Refining
from hwc.toolchain.search.rl.train import Recipe, train

SMALL = Recipe(
    devices=("jetson_orin_nano",),
    families=(Family.PLAIN,),
    problems=8,
    judged=8,
    cloning=Cloning(hidden=(8,), epochs=2),
    refining=None,
)


def network() -> Network:
    offers = {Precision.INT8: frozenset({"Conv", "Gemm"})}
    graph = draw_network(np.random.default_rng(0), Family.RESIDUAL, offers)
    return graph, load_profile("jetson_orin_nano")


def test_equal_recipes_give_equal_files() -> None:
    recipe = replace(SMALL, refining=Refining(steps=512, lanes=8, steps_a_lane=32, critic=8))
    one, two = (train(recipe, command="again") for _ in range(2))
    assert to_bytes(one) == to_bytes(two)
    assert one.training.command == "again"
    assert one.training.devices == ("jetson_orin_nano",)
    assert {"validation_cloned", "validation_played"} <= one.training.figures.keys()


def test_networks_that_are_given_are_learnt_from() -> None:
    drawn = train(SMALL, command="")
    both = train(replace(SMALL, networks=(network(),)), command="")
    assert to_bytes(both) != to_bytes(drawn)


def test_a_given_network_has_other_prices_and_sensitivities_each_time() -> None:
    pairs = Generator.of(["jetson_orin_nano"]).given((network(),) * 2, 7)
    (one, _), (two, _) = pairs
    assert one.graph == two.graph
    assert not np.array_equal(one.cost.node_us, two.cost.node_us)
    assert not np.array_equal(one.drops, two.drops, equal_nan=True)


def test_nothing_to_choose_is_an_error() -> None:
    with pytest.raises(InputError, match="none of 0 problems has anything to choose"):
        train(replace(SMALL, problems=0), command="")
