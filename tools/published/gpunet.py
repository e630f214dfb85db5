"""NVIDIA's GPUNet family, from its published configurations (DeepLearningExamples, GPUNet)."""

from collections.abc import Mapping
from dataclasses import dataclass

from .layers import Kernel, Net, divisible


@dataclass(frozen=True, slots=True)
class Blocks:
    """Equal layers of one stage.

    Attributes:
        block: `conv`, `fused` (fused inverted residual) or `mb` (inverted residual).
        out: Output channels.
        kernels: Kernel size of each layer.
        stride: Stride of the first layer.
        expansions: Expansion of each layer; one where they are all alike.
        squeeze: Whether the layers have squeeze and excitation.
    """

    block: str
    out: int
    kernels: tuple[int, ...]
    stride: int = 1
    expansions: tuple[float, ...] = (1,)
    squeeze: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """One network: side of the image, channels of the stem, its stages, channels of the tail."""

    size: int
    stem: int
    stages: tuple[Blocks, ...]
    tail: tuple[int, ...] = (1280,)


_D_TAIL = (1152, 1984)  # a pointwise convolution before, and one after the mean

CONFIGS: Mapping[str, Config] = {
    "GPUNet-0": Config(
        320,
        32,
        (
            Blocks("conv", 32, (3, 3)),
            Blocks("fused", 32, (3, 3), 2, (5,)),
            Blocks("fused", 64, (3, 3, 3), 2, (5,)),
            Blocks("mb", 256, (3, 3, 3), 2, (5,)),
            Blocks("mb", 704, (3, 3), 2, (5,), squeeze=True),
        ),
    ),
    "GPUNet-1": Config(
        288,
        24,
        (
            Blocks("conv", 24, (3,)),
            Blocks("fused", 64, (3, 3), 2, (4,)),
            Blocks("fused", 96, (3, 3), 2, (4,)),
            Blocks("mb", 160, (3,), 2, (2,), squeeze=True),
            Blocks("mb", 288, (3, 3, 3, 3), 1, (5,)),
            Blocks("mb", 448, (3, 3, 3, 3), 2, (4,), squeeze=True),
        ),
    ),
    "GPUNet-2": Config(
        384,
        32,
        (
            Blocks("conv", 32, (3, 3, 3)),
            Blocks("fused", 32, (5,), 2, (6,), squeeze=True),
            Blocks("fused", 112, (3, 3, 3), 2, (3,)),
            Blocks("mb", 144, (3,) * 6, 2, (6,)),
            Blocks("mb", 160, (5,) * 4, 1, (3,)),
            Blocks("mb", 224, (3,) * 8, 2, (3,), squeeze=True),
            Blocks("mb", 832, (5,) * 7, 1, (2,)),
        ),
    ),
    "GPUNet-P0": Config(
        224,
        32,
        (
            Blocks("conv", 32, (3, 3)),
            Blocks("conv", 64, (3,), 2),
            Blocks("mb", 96, (3, 3, 3), 2, (8, 7.67, 7.67)),
            Blocks("mb", 256, (3, 5, 3), 2, (7.67, 4.25, 4.75)),
            Blocks("mb", 704, (3, 5, 3, 3), 2, (8, 3.82, 3.36, 2.55)),
            Blocks("mb", 704, (3,), 2, (5.73,)),
        ),
        (1984,),
    ),
    "GPUNet-P1": Config(
        224,
        32,
        (
            Blocks("conv", 32, (3, 3)),
            Blocks("conv", 64, (5,), 2),
            Blocks("mb", 64, (3, 3), 1, (8,)),
            Blocks("mb", 96, (5, 5), 2, (8,)),
            Blocks("mb", 256, (5, 5, 3), 2, (8, 7.5, 7.88)),
            Blocks("mb", 704, (5, 5, 3, 5), 2, (7.88, 8, 7.41, 8)),
            Blocks("mb", 704, (5,), 2, (7.95,)),
        ),
        (1984,),
    ),
    "GPUNet-D1": Config(
        456,
        33,
        (
            Blocks("mb", 33, (3,), 1, (1,)),
            Blocks("mb", 44, (3, 5, 3), 2, (3, 4, 3)),
            Blocks("mb", 67, (5, 5, 3, 5), 2, (4, 4, 6, 3)),
            Blocks("mb", 134, (7, 5, 3, 5), 2, (6, 6, 3, 4)),
            Blocks("mb", 190, (3, 5, 7, 3), 1, (6, 6, 6, 4)),
            Blocks("mb", 268, (3, 3, 5, 3, 3, 3), 2, (6, 6, 6, 3, 3, 3)),
        ),
        _D_TAIL,
    ),
    "GPUNet-D2": Config(
        528,
        48,
        (
            Blocks("conv", 48, (3, 3)),
            Blocks("mb", 48, (3,), 1, (1,)),
            Blocks("mb", 64, (3, 5, 3), 2, (3, 4, 3)),
            Blocks("mb", 96, (5, 5, 3, 5), 2, (4, 4, 6, 3)),
            Blocks("mb", 192, (7, 5, 3, 5, 5), 2, (6, 6, 3, 4, 4)),
            Blocks("mb", 272, (3, 5, 7, 5, 3), 1, (6, 6, 6, 6, 4)),
            Blocks("mb", 384, (3, 3, 5, 3, 3, 3, 3), 2, (6, 6, 6, 3, 3, 3, 3)),
        ),
        _D_TAIL,
    ),
}


def gpunet(name: str) -> list[Kernel]:
    """One network of the family, such as `GPUNet-0`."""
    config = CONFIGS[name]
    net = Net(3, config.size, config.size)
    net.conv(config.stem, 3, stride=2)
    for stage in config.stages:
        for layer, kernel in enumerate(stage.kernels):
            expansion = stage.expansions[min(layer, len(stage.expansions) - 1)]
            _layer(net, stage, kernel, expansion=expansion, stride=stage.stride if not layer else 1)
    net.conv(config.tail[0])
    net.average()
    for channels in (*config.tail[1:], 1000):
        net.gemm(channels)
    return net.kernels


def _layer(net: Net, stage: Blocks, kernel: int, *, expansion: float, stride: int) -> None:
    """One layer of a stage."""
    if stage.block == "conv":
        net.conv(stage.out, kernel, stride=stride)
        return
    squeezed, add = round(net.channels / 4), stride == 1 and net.channels == stage.out
    # The networks with a tail of two convolutions do not round their channels.
    wide = net.channels * expansion
    wide = int(wide) if wide == int(wide) else divisible(wide)
    if stage.block == "fused":
        net.conv(wide, kernel, stride=stride)
    else:
        net.conv(wide)
        net.depthwise(kernel, stride=stride)
    if stage.squeeze:
        net.squeeze_excite(squeezed)
    net.conv(stage.out, add=add)
