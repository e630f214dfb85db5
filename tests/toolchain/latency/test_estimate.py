"""The roofline: its parts by hand, its laws, and how far it is from published latencies."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hwc.toolchain.device import (
    Confidence,
    DeviceProfile,
    ErrorRange,
    Figure,
    load_profile,
    profile_names,
)
from hwc.toolchain.errors import DeviceError
from hwc.toolchain.latency.estimate import boundary_us, estimate_us, executed
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.slots import Work
from hypothesis import given
from hypothesis import strategies as st

FP32, FP16, INT8, INT4 = (
    NodeChoice(p) for p in (Precision.FP32, Precision.FP16, Precision.INT8, Precision.INT4)
)
CONV = Work(macs=115_605_504, weights=36_864, reads=200_704, writes=200_704)


def _figure(value: float) -> Figure:
    return Figure(value, "test", Confidence.LOW)


def _device(**changes: Any) -> DeviceProfile:  # noqa: ANN401 - fields of any type
    """Ten units, 1 Tera-op/s in fp32 and 4 in int8, 100 GB/s, everything else out of the way."""
    plain = DeviceProfile(
        name="plain",
        title="",
        backend="ort",
        target="",
        units=10,
        opset_max=20,
        peak={Precision.FP32: _figure(1), Precision.INT8: _figure(4)},
        bandwidth=_figure(100),
        cache=_figure(1e-6),
        memory=_figure(1),
        launch=_figure(3),
        grain=_figure(100),
        efficiency={"conv": _figure(0.5), "other": _figure(0.25), "memory": _figure(1)},
        error=ErrorRange(_figure(0.5), _figure(2)),
    )
    return replace(plain, **changes)


ROOFLINE = {
    # 1e9 macs = 2e9 operations at 1 Tera-op/s x 0.5
    "compute": (Work(10**9, 0, 0, 1000), "conv", FP32, 3 + 4000),
    "compute-int8": (Work(10**9, 0, 0, 1000), "conv", INT8, 3 + 1000),
    "kind-not-listed": (Work(10**9, 0, 0, 1000), "gemm", FP32, 3 + 8000),
    # 1e6 elements x 4 bytes at 100 GB/s
    "memory": (Work(0, 500_000, 250_000, 250_000), "move", FP32, 3 + 40),
    "memory-int8": (Work(0, 500_000, 250_000, 250_000), "move", INT8, 3 + 10),
    "nothing": (Work(0, 0, 0, 0), "move", FP32, 3),
    # 100 of the 1000 outputs that fill ten units: a tenth of the peak
    "one-unit": (Work(51_200, 0, 0, 100), "conv", FP32, 3 + 10 * 2 * 51_200 / 5e5),
    # ... but a reduction ten times as deep is split over ten units
    "split": (Work(512_000, 0, 0, 100), "conv", FP32, 3 + 2 * 512_000 / 5e5),
}


@pytest.mark.parametrize(("work", "kind", "choice", "us"), ROOFLINE.values(), ids=ROOFLINE)
def test_by_hand(work: Work, kind: str, choice: NodeChoice, us: float) -> None:
    estimate = estimate_us(work, kind, choice, _device())
    assert estimate.us == pytest.approx(us, rel=1e-4)
    assert estimate.low == pytest.approx(us / 2, rel=1e-4)
    assert estimate.high == pytest.approx(us * 2, rel=1e-4)


def test_activations_that_fit_move_at_cache_speed() -> None:
    work = Work(0, 0, 131_072, 131_072)  # 1 MiB
    slow = _device(cache=_figure(4))
    fast = _device(cache=_figure(4), cache_bandwidth=_figure(400))
    half = _device(cache=_figure(0.5), cache_bandwidth=_figure(400))
    times = [estimate_us(work, "move", FP32, d).us - 3 for d in (slow, half, fast)]
    assert times == pytest.approx([10.486, 10.486 * 5 / 8, 10.486 / 4], rel=1e-3)


def test_a_profile_that_says_little_gets_a_wide_range() -> None:
    estimate = estimate_us(CONV, "conv", FP32, _device(efficiency={}, grain=None, error=None))
    assert estimate.low == estimate.us / 4
    assert estimate.high == estimate.us * 4


BOUNDARY = {
    # 1e6 elements, read and written at 100 GB/s
    "fp32-int8": (Precision.FP32, Precision.INT8, 3 + 50),
    "int8-fp32": (Precision.INT8, Precision.FP32, 3 + 50),
    "fp16-int8": (Precision.FP16, Precision.INT8, 3 + 30),
    "fp32-fp32": (Precision.FP32, Precision.FP32, 0),
    "int8-int8": (Precision.INT8, Precision.INT8, 0),
    "fp32-int4": (Precision.FP32, Precision.INT4, 0),  # only the weights differ
    "int4-int8": (Precision.INT4, Precision.INT8, 3 + 50),
}


@pytest.mark.parametrize(("source", "target", "us"), BOUNDARY.values(), ids=BOUNDARY)
def test_boundary(source: Precision, target: Precision, us: float) -> None:
    device = _device(peak=dict.fromkeys(Precision, _figure(1)))
    estimate = boundary_us(1_000_000, source, target, device)
    found = (estimate.us, estimate.low, estimate.high)
    assert found == pytest.approx((us, us / 2, us * 2))


def test_ascend_runs_fp32_in_fp16() -> None:
    ascend = load_profile("ascend_310p")
    assert executed(Precision.FP32, ascend) is Precision.FP16
    assert estimate_us(CONV, "conv", FP32, ascend) == estimate_us(CONV, "conv", FP16, ascend)
    assert boundary_us(1000, Precision.FP32, Precision.FP16, ascend).us == 0


@pytest.mark.parametrize(
    ("name", "choice"), [("host", FP16), ("ascend_310p", INT4), ("dcu_z100", INT4)]
)
def test_a_precision_that_does_not_run_is_refused(name: str, choice: NodeChoice) -> None:
    with pytest.raises(DeviceError, match="does not run"):
        estimate_us(CONV, "conv", choice, load_profile(name))


WORKS = st.builds(
    Work,
    macs=st.integers(0, 10**12),
    weights=st.integers(0, 10**9),
    reads=st.integers(0, 10**9),
    writes=st.integers(0, 10**9),
)
KINDS = st.sampled_from(["conv", "depthwise", "gemm", "norm", "move", "other"])
PROFILES = {name: load_profile(name) for name in profile_names()}


@given(WORKS, KINDS, st.sampled_from(sorted(PROFILES)))
def test_less_precision_is_never_estimated_slower(work: Work, kind: str, name: str) -> None:
    wide, narrow = (estimate_us(work, kind, c, PROFILES[name]).us for c in (FP32, INT8))
    assert PROFILES[name].launch.value <= narrow <= wide * (1 + 1e-9)


@given(WORKS, st.integers(1, 10**9), st.sampled_from(sorted(PROFILES)))
def test_moving_more_is_never_faster(work: Work, more: int, name: str) -> None:
    bigger = replace(work, weights=work.weights + more)
    before, after = (estimate_us(w, "gemm", INT8, PROFILES[name]).us for w in (work, bigger))
    assert after >= before


@pytest.mark.parametrize("mode", ["50W", "30W", "15W"])
def test_a_lower_power_mode_is_slower(mode: str) -> None:
    orin = load_profile("jetson_agx_orin")
    full, low = (estimate_us(CONV, "conv", INT8, p).us for p in (orin, orin.in_mode(mode)))
    assert low > full


# Published latencies that the profiles are fitted on or checked with, as the facts list them.

Kernel = tuple[str, Work]


def _conv(channels: tuple[int, int], size: int, *, kernel: int = 1, stride: int = 1) -> Work:
    """A convolution of one image; `size` is the input's."""
    cin, cout = channels
    outputs = cout * (size // stride) ** 2
    weights = cin * cout * kernel**2
    return Work(outputs * cin * kernel**2, weights, cin * size**2, outputs)


def _resnet50(batch: int) -> list[Kernel]:
    """ResNet-50 as TensorRT runs it: BatchNorm, ReLU and the residual Add are in the Convs."""
    convs, cin, size = [_conv((3, 64), 224, kernel=7, stride=2)], 64, 56
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first if block == 0 else 1
            convs.append(_conv((cin, width), size))
            convs.append(_conv((width, width), size, kernel=3, stride=stride))
            if block == 0:
                convs.append(_conv((cin, 4 * width), size, stride=stride))
            size //= stride
            last = _conv((width, 4 * width), size)
            convs.append(replace(last, reads=last.reads + last.writes))  # the residual
            cin = 4 * width
    pools = [Work(0, 0, 64 * 112**2, 64 * 56**2), Work(0, 0, 2048 * 49, 2048)]
    head = Work(2048 * 1000, 2048 * 1000, 2048, 1000)
    kernels = [("conv", w) for w in convs] + [("pool", w) for w in pools] + [("gemm", head)]
    return [(kind, _times(work, batch)) for kind, work in kernels]


def _bert_large(rows: int, length: int) -> list[Kernel]:
    """BERT-large, 24 layers, with fused attention; `rows` is batch x length."""
    wide, deep = 1024, 4096
    attention = Work(2 * rows * length * wide, 0, 3 * rows * wide, rows * wide)
    norm = Work(0, 0, 2 * rows * wide, rows * wide)
    layer = [
        ("gemm", _gemm(rows, wide, 3 * wide)),
        ("gemm", attention),
        ("gemm", _gemm(rows, wide, wide)),
        ("norm", norm),
        ("gemm", _gemm(rows, wide, deep)),
        ("gemm", _gemm(rows, deep, wide)),
        ("norm", norm),
    ]
    return layer * 24


def _gemm(rows: int, inner: int, columns: int) -> Work:
    return Work(rows * inner * columns, inner * columns, rows * inner, rows * columns)


def _times(work: Work, batch: int) -> Work:
    return Work(work.macs * batch, work.weights, work.reads * batch, work.writes * batch)


def test_the_networks_are_the_published_ones() -> None:
    assert sum(work.macs for _, work in _resnet50(1)) / 1e9 == pytest.approx(4.1, abs=0.05)
    assert sum(work.macs for _, work in _bert_large(128, 128)) / 1e9 == pytest.approx(
        39.5, rel=0.02
    )


# (profile, power mode, device and model as the facts name them): the published rows.
PUBLISHED = {
    "a100-resnet": ("a100_pcie_80gb", "", "A100-PCIe-80GB", "resnet50"),
    "a100-bert": ("a100_sxm_40gb", "", "A100-SXM4-40GB", "BERT-large"),
    "agx-resnet": ("jetson_agx_orin", "", "Jetson AGX Orin 64GB (MaxN)", "resnet50"),
    "nx-resnet": ("jetson_orin_nx", "", "Jetson Orin NX 16GB", "resnet50"),
    "nano-resnet": (
        "jetson_orin_nano",
        "MAXN_SUPER",
        "Jetson Orin Nano 8GB MAXN_SUPER",
        "ResNet-50",
    ),
}


@pytest.mark.parametrize(("name", "mode", "device", "model"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_latencies_lie_in_the_range(
    name: str, mode: str, device: str, model: str
) -> None:
    profile = load_profile(name)
    profile = profile.in_mode(mode) if mode else profile
    rows = [r for r in _published() if (r["device"], r["model"]) == (device, model)]
    assert len(rows) >= 2
    for row in rows:
        batch = int(row["batch"])
        if model == "BERT-large":
            length = int(row["input"].removeprefix("seq="))
            kernels = _bert_large(batch * length, length)
        else:
            kernels = _resnet50(batch)
        choice = NodeChoice(Precision(row["precision"].removesuffix("+fp16")))
        found = [estimate_us(work, kind, choice, profile) for kind, work in kernels]
        measured = 1e3 * float(row["value"])
        low, high = sum(e.low for e in found), sum(e.high for e in found)
        assert low <= measured <= high, row


def _published() -> list[dict[str, str]]:
    path = Path(__file__).resolve().parents[3].parent / "shared/facts/published_latency.csv"
    if not path.is_file():
        pytest.skip("the published latencies (shared/facts) are not beside the checkout")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [r for r in rows if r["metric"] == "mean_latency_ms" and r["sparsity"] == "dense"]
