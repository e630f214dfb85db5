"""Ultralytics YOLO11 detection networks, without non-maximum suppression."""

from collections.abc import Mapping

from .layers import Kernel, Net

# Depth multiple, width multiple, most channels, and whether every C3k2 block holds C3k blocks.
SCALES: Mapping[str, tuple[float, float, int, bool]] = {
    "n": (0.5, 0.25, 1024, False),
    "s": (0.5, 0.5, 1024, False),
    "m": (0.5, 1.0, 512, True),
    "l": (1.0, 1.0, 512, True),
    "x": (1.0, 1.5, 512, True),
}
_CLASSES, _BINS = 80, 16


def yolo11(scale: str, size: int = 640) -> list[Kernel]:
    """One network, such as `n`, of an image with `size` pixels on each side."""
    depth, width, most, deep = SCALES[scale]
    repeats = max(round(2 * depth), 1)

    def wide(channels: int) -> int:
        return -int(-min(channels, most) * width // 8) * 8

    net = Net(3, size, size)
    net.conv(wide(64), 3, stride=2)
    net.conv(wide(128), 3, stride=2)
    _c3k2(net, wide(256), repeats, deep=deep, expansion=0.25)
    net.conv(wide(256), 3, stride=2)
    _c3k2(net, wide(512), repeats, deep=deep, expansion=0.25)
    p3 = net.channels
    net.conv(wide(512), 3, stride=2)
    _c3k2(net, wide(512), repeats, deep=True)
    p4 = net.channels
    net.conv(wide(1024), 3, stride=2)
    _c3k2(net, wide(1024), repeats, deep=True)
    _sppf(net)
    _c2psa(net, repeats)
    p5 = net.channels
    net.upsample()
    net.channels += p4
    _c3k2(net, wide(512), repeats, deep=deep)
    n4 = net.channels
    net.upsample()
    net.channels += p3
    _c3k2(net, wide(256), repeats, deep=deep)
    ends = [net.channels]
    net.conv(wide(256), 3, stride=2)
    net.channels += n4
    _c3k2(net, wide(512), repeats, deep=deep)
    ends.append(net.channels)
    net.conv(wide(512), 3, stride=2)
    net.channels += p5
    _c3k2(net, wide(1024), repeats, deep=True)
    ends.append(net.channels)
    _detect(net, ends, size)
    return net.kernels


def _bottleneck(net: Net, inner: int) -> None:
    out = net.channels
    net.conv(inner, 3)
    net.conv(out, 3, add=True)


def _c3k2(net: Net, out: int, repeats: int, *, deep: bool, expansion: float = 0.5) -> None:
    """Split, a chain of bottlenecks or C3k blocks on one half, and a projection of all of them."""
    half = int(out * expansion)
    net.conv(2 * half)
    net.channels = half
    for _ in range(repeats):
        if deep:
            _c3k(net)
        else:
            _bottleneck(net, half // 2)
    net.channels = (2 + repeats) * half
    net.conv(out)


def _c3k(net: Net) -> None:
    """Two 1x1 branches, two bottlenecks on one of them, and a projection of both."""
    out = net.channels
    half = out // 2
    net.conv(half)
    net.channels = out
    net.conv(half)
    for _ in range(2):
        _bottleneck(net, half)
    net.channels = out
    net.conv(out)


def _sppf(net: Net) -> None:
    out = net.channels
    net.conv(out // 2)
    for _ in range(3):
        net.pool(1)
    net.channels = 2 * out
    net.conv(out)


def _c2psa(net: Net, repeats: int) -> None:
    """Self-attention with a positional depthwise convolution, on one half of the channels."""
    out, places = net.channels, net.height * net.width
    half = out // 2
    heads, keys = half // 64, half // 2
    net.conv(2 * half)
    for _ in range(repeats):
        net.channels = half
        net.conv(half + 2 * keys)
        scores = places * places * heads
        net.matmul(macs=places**2 * keys, reads=2 * keys * places, writes=scores)
        net.softmax(scores)
        net.matmul(macs=places**2 * half, reads=scores + half * places, writes=half * places)
        net.channels = half
        net.depthwise(3, add=True)
        net.conv(half, add=True)
        net.conv(2 * half)
        net.conv(half, add=True)
    net.channels = 2 * half
    net.conv(out)


def _detect(net: Net, ends: list[int], size: int) -> None:
    """The heads for boxes and classes, and the decoding of the boxes."""
    boxes, classes = max(16, ends[0] // 4, 4 * _BINS), max(ends[0], min(_CLASSES, 100))
    anchors = 0
    for level, channels in enumerate(ends):
        side = size // (8 << level)
        anchors += side**2
        net.channels, net.height, net.width = channels, side, side
        net.conv(boxes, 3)
        net.conv(boxes, 3)
        net.conv(4 * _BINS)
        net.channels = channels
        net.depthwise(3)
        net.conv(classes)
        net.depthwise(3)
        net.conv(classes)
        net.conv(_CLASSES)
    net.channels, net.height, net.width = 4 * _BINS, anchors, 1
    net.move()
    net.norm()  # softmax over the bins
    net.conv(4, groups=4)  # their expectation
    net.elementwise()  # from distances to a box
    net.channels = _CLASSES
    net.elementwise()  # sigmoid
