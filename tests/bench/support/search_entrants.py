"""The strategies that are compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from hwc.toolchain.search.evolution import Evolution
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.explorer import Explorer
from hwc.toolchain.search.greedy import Greedy
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.local import Local
from hwc.toolchain.search.proposals import Proposals
from hwc.toolchain.search.random_search import Random
from hwc.toolchain.search.rl.ddpg import Ddpg
from hwc.toolchain.search.rl.hierarchical import Hierarchical
from hwc.toolchain.search.rl.joint import Joint
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.rl.ppo_explorer import Ppo
from hwc.toolchain.search.uniform import Uniform

RL, EXACT, RIVAL = "rl", "exact", "evolution + local"


@dataclass(frozen=True, slots=True)
class EvolutionThenLocal:
    """Evolution on the first half of the budget, then local search from all that it found."""

    name: str = RIVAL

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Spend the budget."""
        whole = ledger.budget
        ledger.budget = whole // 2
        Evolution(name=self.name).explore(ledger, rng)
        ledger.budget = whole
        Local(name=self.name).explore(ledger, rng)


@dataclass(frozen=True, slots=True)
class Entrant:
    """A strategy in the comparison.

    Attributes:
        make: Makes it, given the policy of the learned search (None: the one of hwc).
        chance: Whether another seed may give another plan.
        guarded: Whether the guard has the last word on a second figure.
    """

    make: Callable[[Policy | None], Explorer]
    chance: bool = True
    guarded: bool = False


ENTRANTS: Mapping[str, Entrant] = {
    EXACT: Entrant(lambda _: Proposals(Exact()), chance=False),
    RL: Entrant(lambda policy: Ppo(policy, name=RL), guarded=True),
    RIVAL: Entrant(lambda _: EvolutionThenLocal(), guarded=True),
    "local": Entrant(lambda _: Local()),
    "evolution": Entrant(lambda _: Evolution()),
    "random": Entrant(lambda _: Random()),
    "greedy": Entrant(lambda _: Proposals(Greedy()), chance=False),
    "uniform": Entrant(lambda _: Proposals(Uniform()), chance=False),
    "ddpg": Entrant(lambda _: Ddpg()),
    "hierarchical": Entrant(lambda _: Hierarchical()),
    "joint": Entrant(lambda _: Joint()),
}
