"""The strategies that `--strategy` names."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ..toolchain.errors import UsageError
from ..toolchain.search.evolution import Evolution
from ..toolchain.search.exact import Exact
from ..toolchain.search.explorer import Explorer
from ..toolchain.search.greedy import Greedy
from ..toolchain.search.local import Local
from ..toolchain.search.problem import Strategy
from ..toolchain.search.proposals import Proposals
from ..toolchain.search.random_search import Random
from ..toolchain.search.rl.ddpg import Ddpg
from ..toolchain.search.rl.decode import Pretrained
from ..toolchain.search.rl.hierarchical import Hierarchical
from ..toolchain.search.rl.joint import Joint
from ..toolchain.search.rl.policy_file import read_policy, shipped
from ..toolchain.search.rl.ppo_explorer import Ppo
from ..toolchain.search.uniform import Uniform

RL = "rl"
LEARNED = (RL, "ddpg", "hierarchical", "joint")  # they look at a slot's choices side by side
_LEARNERS = ("ddpg", "joint")  # they learn with the libraries of the extra [rl]
_LIBRARIES = ("torch", "stable_baselines3", "sb3_contrib", "gymnasium")

# They propose plans from predictions alone.
PROPOSERS: Mapping[str, Callable[[], Strategy]] = {
    "exact": Exact,
    "greedy": Greedy,
    "uniform": Uniform,
}
# They spend true evaluations.
_EXPLORERS: Mapping[str, Callable[[], Explorer]] = {
    "evolution": Evolution,
    "local": Local,
    "random": Random,
    "ddpg": Ddpg,
    "hierarchical": Hierarchical,
    "joint": Joint,
}


def explorer(name: str, policy: Path | None = None) -> Explorer:
    """What `name` stands for; of a strategy that only proposes, what it proposes is scored.

    Args:
        name: One of `hwc.tools.options.STRATEGIES`.
        policy: The file of the learned search's policy; None: the one that comes with hwc.

    Raises:
        InputError: The file is not a policy of this version.
        UsageError: What the strategy learns with is not installed.
    """
    if name == RL:
        return Ppo((read_policy(policy) if policy else shipped()).policy, name=RL)
    missing = [library for library in _LIBRARIES if find_spec(library) is None]
    if name in _LEARNERS and missing:
        raise UsageError(
            f"the strategy {name!r} learns with {missing[0]}, which is not installed",
            "pip install 'hwc-compiler[rl]'",
        )
    make = _EXPLORERS.get(name) or partial(Proposals, PROPOSERS[name]())
    return make()


def pretrained(policy: Path | None = None) -> Pretrained:
    """The policy by itself; None: the one that comes with hwc.

    Raises:
        InputError: The file is not a policy of this version.
    """
    return Pretrained(read_policy(policy).policy if policy else None)


def proposer(name: str) -> Strategy:
    """What finds the plans that a search starts from, and is held against."""
    return PROPOSERS.get(name, Exact)()
