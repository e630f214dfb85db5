"""What bounds a kernel, on a device whose numbers are round."""

import pytest
from hwc.toolchain.device import Confidence, DeviceProfile, Figure
from hwc.toolchain.latency.bound import Bound, bound_of
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.slots import Work


def figure(value: float) -> Figure:
    return Figure(value, "a test", Confidence.LOW)


DEVICE = DeviceProfile(
    name="round",
    title="Round numbers",
    backend="trt",
    target="sm80",
    units=1,
    opset_max=21,
    peak={Precision.FP16: figure(1.0), Precision.INT8: figure(4.0)},  # 1e6 operations a µs
    bandwidth=figure(1.0),  # 1000 bytes a µs
    cache=figure(0.0),
    memory=figure(1.0),
    launch=figure(10.0),
    efficiency={"conv": figure(1.0), "memory": figure(1.0), "elementwise": figure(1.0)},
    grain=figure(1.0),
)


@pytest.mark.parametrize(
    ("work", "precision", "bound"),
    [
        (Work(macs=50_000_000, weights=0, reads=0, writes=5000), "fp16", Bound.COMPUTE),
        (Work(macs=0, weights=50_000, reads=0, writes=0), "fp16", Bound.BANDWIDTH),
        (Work(macs=0, weights=0, reads=4000, writes=0), "fp16", Bound.LAUNCH),
        (Work(macs=0, weights=0, reads=0, writes=0), "fp16", Bound.LAUNCH),
        # 25 µs of arithmetic in fp16 and 6 in int8, beside 20 and 10 of moving.
        (Work(macs=12_500_000, weights=10_000, reads=0, writes=0), "fp16", Bound.COMPUTE),
        (Work(macs=12_500_000, weights=20_000, reads=0, writes=0), "int8", Bound.BANDWIDTH),
        # fp32 does not run there: the widest that does takes its place.
        (Work(macs=0, weights=50_000, reads=0, writes=0), "fp32", Bound.BANDWIDTH),
    ],
    ids=["arithmetic", "weights", "small", "nothing", "half", "int8", "fallen"],
)
def test_what_bounds_a_kernel(work: Work, precision: str, bound: Bound) -> None:
    assert bound_of(work, "conv", NodeChoice(Precision(precision)), DEVICE) is bound
