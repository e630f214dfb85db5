"""Published figures of structured pruning on CIFAR-10, to stand beside measured ones.

Drops are of the papers' own baselines, trained for hundreds of epochs on the original pictures and
judged on the original 10,000 test pictures: not the data, nor the minutes, of these benchmarks.
"""

from dataclasses import dataclass

_TABLE = "benchmark table of Torch-Pruning (VainF/Torch-Pruning, benchmarks)"
_MEMORY = "quoted from memory, not looked up"


@dataclass(frozen=True, slots=True)
class Published:
    """One figure.

    Attributes:
        model: The development model of the same architecture.
        method: Authors, year and title.
        removed: Fraction of the multiply-accumulates that went.
        base: Top-1 before.
        pruned: Top-1 after.
        source: Where the figure was read.
    """

    model: str
    method: str
    removed: float
    base: float
    pruned: float
    source: str


FIGURES = (
    Published("resnet20_cifar10", "He 2018, SFP", 0.422, 0.9220, 0.9083, _MEMORY),
    Published("resnet20_cifar10", "He 2019, FPGM", 0.422, 0.9220, 0.9109, _MEMORY),
    Published("resnet20_cifar10", "He 2019, FPGM", 0.540, 0.9220, 0.9044, _MEMORY),
    Published("resnet56_cifar10", "Li 2017, Pruning filters", 0.276, 0.9304, 0.9306, _MEMORY),
    Published("resnet56_cifar10", "He 2019, FPGM", 1 - 1 / 1.70, 0.9359, 0.9326, _TABLE),
    Published("resnet56_cifar10", "He 2017, Channel pruning", 0.500, 0.9280, 0.9180, _TABLE),
    Published("resnet56_cifar10", "He 2018, AMC", 0.500, 0.9280, 0.9190, _TABLE),
    Published(
        *("resnet56_cifar10", "Lin 2020, HRank", 0.500, 0.9326, 0.9317),
        "README of lmbxmu/HRank",
    ),
    Published("resnet56_cifar10", "He 2018, SFP", 1 - 1 / 2.11, 0.9359, 0.9336, _TABLE),
    Published("resnet56_cifar10", "Fang 2023, DepGraph", 1 - 1 / 2.13, 0.9353, 0.9377, _TABLE),
)
