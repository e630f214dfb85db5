"""BERT-large and Swin, with attention as one kernel or as its products and softmax."""

from collections.abc import Mapping

from .layers import Kernel, Net

_LAYERS, _WIDE, _DEEP, _HEADS = 24, 1024, 4096, 16


def bert_large(length: int, *, fuses: bool) -> list[Kernel]:
    """BERT-large on `length` tokens: embedding, 24 layers, and a small head.

    Args:
        length: Tokens of one sample.
        fuses: See `Net.fuses`.
    """
    net = Net(_WIDE, length, fuses=fuses)
    net.move()
    net.norm(inputs=3)
    for _ in range(_LAYERS):
        net.gemm(3 * _WIDE)
        _attention(net, rows=length, heads=_HEADS)
        net.gemm(_WIDE)
        net.norm(inputs=2)
        net.gemm(_DEEP)
        net.smooth()
        net.gemm(_WIDE)
        net.norm(inputs=2)
    net.gemm(2)
    return net.kernels


def _attention(net: Net, *, rows: int, heads: int) -> None:
    """Attention of every token to the `rows` of its window, from queries, keys and values.

    The tensor at hand has the three of them as channels, and a third of these after it.
    """
    wide, tokens = net.channels // 3, net.height * net.width
    macs, scores = tokens * rows * wide, tokens * rows * heads
    if net.fuses:
        net.matmul(macs=2 * macs, reads=3 * wide * tokens, writes=wide * tokens)
        net.channels = wide
        return
    net.move()
    net.channels = wide
    net.matmul(macs=macs, reads=2 * wide * tokens, writes=scores)
    net.softmax(scores)
    net.matmul(macs=macs, reads=scores + wide * tokens, writes=wide * tokens)
    net.move()


# Channels and heads of the first stage, layers of each stage, tokens on a window's side.
SWINS: Mapping[str, tuple[int, int, tuple[int, ...], int]] = {
    "Swin-tiny": (96, 3, (2, 2, 6, 2), 7),
    "Swin-base-384": (128, 4, (2, 2, 18, 2), 12),
}


def swin(name: str, size: int) -> list[Kernel]:
    """A Swin transformer without fused attention, such as `Swin-tiny`."""
    wide, heads, depths, window = SWINS[name]
    net = Net(3, size, size, fuses=False)
    net.conv(wide, 4, stride=4)
    net.norm()
    for stage, depth in enumerate(depths):
        if stage:
            _merge(net)
        for layer in range(depth):
            whole = net.height <= window
            _swin_layer(net, window, heads << stage, shifted=layer % 2 == 1 and not whole)
    net.norm()
    net.average()
    net.gemm(1000)
    return net.kernels


def _merge(net: Net) -> None:
    """Four neighbours become one token of twice the channels."""
    net.height, net.width, net.channels = net.height // 2, net.width // 2, 4 * net.channels
    net.move()
    net.norm()
    net.gemm(net.channels // 2)


def _swin_layer(net: Net, window: int, heads: int, *, shifted: bool) -> None:
    wide = net.channels
    net.norm()
    for _ in range(1 + shifted):
        net.move()  # roll, and partition into windows
    net.gemm(3 * wide)
    _attention(net, rows=window**2, heads=heads)
    net.gemm(wide)
    for _ in range(1 + shifted):
        net.move()
    net.elementwise(inputs=2)
    net.norm()
    net.gemm(4 * wide)
    net.smooth()
    net.gemm(wide, add=True)
