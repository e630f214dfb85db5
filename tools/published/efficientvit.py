"""EfficientViT-B (Cai et al. 2023): inverted residuals, and multi-scale linear attention."""

from collections.abc import Mapping

from .layers import Kernel, Net

# Channels and depth of the stem and the four stages, and channels of one attention head.
CONFIGS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "EfficientViT-B1": ((16, 32, 64, 128, 256), (1, 2, 3, 3, 4), 16),
    "EfficientViT-B2": ((24, 48, 96, 192, 384), (1, 3, 4, 4, 6), 32),
    "EfficientViT-B3": ((32, 64, 128, 256, 512), (1, 4, 6, 6, 9), 32),
}
# Channels of the two layers of the head.
_HEADS = {
    "EfficientViT-B1": (1536, 1600),
    "EfficientViT-B2": (2304, 2560),
    "EfficientViT-B3": (2304, 2560),
}


def efficientvit(name: str, size: int) -> list[Kernel]:
    """One network of the B series, such as `EfficientViT-B1`."""
    widths, depths, dim = CONFIGS[name]
    net = Net(3, size, size)
    net.conv(widths[0], 3, stride=2)
    for _ in range(depths[0]):
        net.depthwise(3)
        net.conv(widths[0], add=True)
    for stage, (width, depth) in enumerate(zip(widths[1:], depths[1:], strict=True)):
        attends = stage > 1
        for block in range(depth + attends):
            if attends and block:
                _linear_attention(net, dim)
            _inverted_residual(net, width, stride=1 if block else 2)
    first, second = _HEADS[name]
    net.conv(first)
    net.average()
    net.gemm(second)
    net.norm()
    net.gemm(1000)
    return net.kernels


def _inverted_residual(net: Net, out: int, *, stride: int) -> None:
    net.conv(4 * net.channels)
    net.depthwise(3, stride=stride)
    net.conv(out, add=stride == 1)


def _linear_attention(net: Net, dim: int) -> None:
    """LiteMLA: heads on the 1x1 projection and on its 5x5 aggregation, with a ReLU kernel."""
    channels, places = net.channels, net.height * net.width
    net.conv(3 * channels)
    net.depthwise(5)
    net.conv(3 * channels, groups=3 * channels // dim)
    net.channels = 6 * channels
    heads = 2 * channels // dim
    net.elementwise()  # ReLU on queries and keys; values are padded by a row of ones
    product = places * dim * (dim + 1) * heads
    state = dim * (dim + 1) * heads
    net.matmul(macs=product, reads=4 * channels * places, writes=state)
    net.matmul(macs=product, reads=2 * channels * places + state, writes=2 * channels * places)
    net.channels = 2 * channels
    net.elementwise()  # the division
    net.conv(channels, add=True)
