"""ResNet-50 with its relatives, RetinaNet, MobileNetV3 and EfficientNetV2."""

from .layers import Kernel, Net, divisible

# Width of the 3x3 convolution, blocks, stride of the first.
_RESNET_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


def resnet50(size: int = 224, *, squeeze: bool = False) -> list[Kernel]:
    """ResNet-50 v1.5, or with `squeeze` SE-ResNet-50 (Hu et al. 2018, stride in the first 1x1)."""
    net = Net(3, size, size)
    _resnet_body(net, squeeze=squeeze)
    net.average()
    net.gemm(1000)
    return net.kernels


def _resnet_body(net: Net, *, squeeze: bool = False, groups: int = 1) -> list[tuple[int, int]]:
    """The stem and the four stages; returns the (channels, size) of each stage's output."""
    net.conv(64, 7, stride=2)
    net.pool()
    ends = []
    for width, blocks, first in _RESNET_STAGES:
        inner = 2 * width if groups > 1 else width
        for block in range(blocks):
            stride = first if block == 0 else 1
            _bottleneck(net, (inner, 4 * width), stride, groups=groups, squeeze=squeeze)
        ends.append((net.channels, net.height))
    return ends


def _bottleneck(
    net: Net, widths: tuple[int, int], stride: int, *, groups: int, squeeze: bool
) -> None:
    inner, out = widths
    if net.channels != out or stride > 1:
        branch = Net(net.channels, net.height, net.width, kernels=net.kernels)
        branch.conv(out, stride=stride)
    first, second = (stride, 1) if squeeze else (1, stride)
    net.conv(inner, stride=first)
    net.conv(inner, 3, stride=second, groups=groups)
    net.conv(out, add=not squeeze)
    if squeeze:
        net.squeeze_excite(out // 16, add=True)


def retinanet(size: int = 800) -> list[Kernel]:
    """MLPerf's RetinaNet: ResNeXt-50 32x4d, feature pyramid, heads for 264 classes.

    Of the non-maximum suppression only the passes over all scores are here: they are gathered, and
    compared with the threshold.
    """
    net = Net(3, size, size)
    ends = _resnet_body(net, groups=32)
    levels: list[int] = []
    for channels, side in ends[:0:-1]:
        net.channels, net.height, net.width = channels, side, side
        net.conv(256, add=bool(levels))
        if levels:
            net.kernels.append(_upsampled(levels[-1]))
        net.conv(256, 3)
        levels.append(side)
    net.channels, net.height, net.width = ends[-1][0], ends[-1][1], ends[-1][1]
    for _ in range(2):
        net.conv(256, 3, stride=2)
        levels.append(net.height)
    for side in levels:
        for out in (9 * 264, 9 * 4):
            net.channels, net.height, net.width = 256, side, side
            for _ in range(4):
                net.conv(256, 3)
            net.conv(out, 3)
    net.channels, net.height, net.width = 9 * 264, sum(side**2 for side in levels), 1
    net.move()
    net.elementwise()
    return net.kernels


def _upsampled(side: int) -> Kernel:
    small = Net(256, side, side)
    small.upsample()
    return small.kernels[0]


# Kernel, expanded channels, output channels, squeeze and excitation, stride.
_MOBILENET_V3_SMALL = (
    (3, 16, 16, True, 2),
    (3, 72, 24, False, 2),
    (3, 88, 24, False, 1),
    (5, 96, 40, True, 2),
    (5, 240, 40, True, 1),
    (5, 240, 40, True, 1),
    (5, 120, 48, True, 1),
    (5, 144, 48, True, 1),
    (5, 288, 96, True, 2),
    (5, 576, 96, True, 1),
    (5, 576, 96, True, 1),
)
_FIRST_SMOOTH = 40  # output channels from which on blocks have hard-swish instead of ReLU


def mobilenet_v3_small(size: int = 224, *, fuses: bool) -> list[Kernel]:
    """MobileNetV3-Small as github.com/xiaolai-sqlai/mobilenetv3 has it: every block has a skip."""
    net = Net(3, size, size, fuses=fuses)
    net.conv(16, 3, stride=2)
    net.smooth()
    for kernel, wide, out, squeeze, stride in _MOBILENET_V3_SMALL:
        skip = Net(net.channels, net.height, net.width, kernels=net.kernels)
        if stride > 1:
            skip.depthwise(3, stride=stride)
        if net.channels != out:
            skip.conv(out)
        act = net.smooth if out >= _FIRST_SMOOTH else lambda: None
        net.conv(wide)
        act()
        net.depthwise(kernel, stride=stride)
        act()
        if squeeze:
            net.squeeze_excite(max(wide // 4, 8))
        net.conv(out, add=True)
        act()
    net.conv(576)
    net.smooth()
    net.average()
    net.gemm(1280)
    net.gemm(1000)
    return net.kernels


# Fused, layers, kernel, stride, expansion, channels of EfficientNetV2-S before scaling.
_EFFICIENTNET_V2_S = (
    ("conv", 2, 1, 1, 24),
    ("fused", 4, 2, 4, 48),
    ("fused", 4, 2, 4, 64),
    ("mb", 6, 2, 4, 128),
    ("mb", 9, 1, 6, 160),
    ("mb", 15, 2, 6, 256),
)
_T_WIDTH, _T_DEPTH = 0.8, 0.9


def efficientnet_v2_t(size: int = 288, *, fuses: bool) -> list[Kernel]:
    """`efficientnetv2_rw_t` of timm, which the 82.3 % top-1 at 288 pixels points to."""
    net = Net(3, size, size, fuses=fuses)
    net.conv(24, 3, stride=2)
    net.smooth()
    for block, layers, first, expansion, channels in _EFFICIENTNET_V2_S:
        out = divisible(channels * _T_WIDTH)
        for layer in range(-int(-layers * _T_DEPTH // 1)):
            stride = first if layer == 0 else 1
            add, wide = stride == 1 and net.channels == out, net.channels * expansion
            if block == "conv":
                net.conv(out, 3, add=add)
                net.smooth()
                continue
            squeezed = net.channels // 4
            if block == "fused":
                net.conv(wide, 3, stride=stride)
                net.smooth()
            else:
                net.conv(wide)
                net.smooth()
                net.depthwise(3, stride=stride)
                net.smooth()
                net.squeeze_excite(squeezed)
            net.conv(out, add=add)
    net.conv(1024)
    net.smooth()
    net.average()
    net.gemm(1000)
    return net.kernels
