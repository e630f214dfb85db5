"""The profile of the machine that hwc runs on, from what was detected."""

from collections.abc import Mapping

from .device import HOST, Confidence, DeviceProfile, ErrorRange, Figure
from .host import Host
from .plan import Precision

# Dense operations per core and clock (a multiply and an add are two), the best set first.
# x86: two vector ports of the set's width; one multiply-add (or, without VNNI, vpmaddubsw, vpmaddwd
# and vpaddd for it) a port and clock; AMX: 16 x 16 x 64 multiply-adds in 16 clocks.
# Arm: two 128-bit ports (Neoverse N1, Cortex-A78AE). Wider and narrower cores exist.
FP32_OPS: Mapping[str, int] = {
    "avx512f": 64,
    "fma": 32,
    "avx": 16,
    "asimd": 16,
    "sse2": 8,
    "scalar": 2,
}
INT8_OPS: Mapping[str, int] = {
    "amx_int8": 2048,
    "avx512_vnni": 256,
    "avx_vnni": 128,
    "i8mm": 128,
    "asimddp": 64,
    "avx2": 43,
    "sse2": 21,
    "asimd": 32,
    "scalar": 2,
}
BASELINE: Mapping[str, str] = {"x86_64": "sse2", "aarch64": "asimd"}

# ONNX Runtime's MLAS keeps the channels of fp32 convolutions in blocks of the vector's width
# (NchwcBlockSize, x86); all else goes through packed columns, 16 at a time on every machine
# (MLAS_SGEMM_ and MLAS_QGEMM_STRIDEN_THREAD_ALIGN).
COLUMNS = 16
BLOCKS: Mapping[str, int] = {"avx512f": 16, "sse2": 8}

EFFICIENCY: Mapping[str, float] = {
    "conv": 0.7,
    "depthwise": 0.2,
    "gemm": 0.6,
    "recurrent": 0.2,
    "other": 0.2,
    "memory": 0.8,
}
COMPARED = (
    "11 fp32 kernels of ONNX Runtime 1.32 on one 2-core AVX-512 machine took 0.27-1.44 of the "
    "estimate; int8 and other machines were not compared"
)

ASSUMED_MHZ = 2000.0
ASSUMED_GBS_A_CORE = 15.0
ASSUMED_CACHE_GBS_A_CORE = 40.0
ASSUMED_CACHE_MIB = 1.0
ASSUMED_MEMORY_GIB = 4.0
ORT_OPSET_MAX = 23  # ONNX Runtime 1.23 and later


def host_profile(host: Host) -> DeviceProfile:
    """The profile of a detected machine: peaks are cores x clock x width of the best ISA."""
    clock = _clock_figure(host)
    fp32, int8 = _best(host, FP32_OPS), _best(host, INT8_OPS)
    peak = {
        Precision.FP32: _peak(host, clock, fp32, FP32_OPS[fp32]),
        Precision.INT8: _peak(host, clock, int8, INT8_OPS[int8]),
        Precision.INT4: _peak(host, clock, fp32, FP32_OPS[fp32]),  # computes in fp32
    }
    cores = Figure(host.cores, "/proc/cpuinfo and the process's affinity", Confidence.MEASURED)
    ort = Figure(ORT_OPSET_MAX, "ONNX Runtime 1.23 release notes", Confidence.DATASHEET)
    return DeviceProfile(
        name=HOST,
        title=f"this machine: {host.model}",
        backend="ort",
        target=f"{host.arch}+{int8}",
        units=host.cores,
        opset_max=ORT_OPSET_MAX,
        peak=peak,
        bandwidth=_assumed(ASSUMED_GBS_A_CORE * host.cores, "15 GB/s a core"),
        cache_bandwidth=_assumed(ASSUMED_CACHE_GBS_A_CORE * host.cores, "40 GB/s a core"),
        cache=_cache_figure(host),
        memory=_memory_figure(host),
        launch=_assumed(2.0, "a node of ONNX Runtime's CPU provider on one stream"),
        efficiency={k: _assumed(v, "typical of ONNX Runtime") for k, v in EFFICIENCY.items()},
        clock=clock,
        grain=_assumed(4096, "output elements that ONNX Runtime gives one thread"),
        error=ErrorRange(_assumed(0.25, COMPARED), _assumed(4.0, COMPARED)),
        origins={"units": cores, "opset_max": ort},
        channel_multiple=_multiples(host),
    )


def _multiples(host: Host) -> Mapping[Precision, Figure]:
    """The multiples of channels that ONNX Runtime's kernels are made for."""
    columns = Figure(COLUMNS, "MLAS: columns of a packed matrix product", Confidence.DERIVED)
    have = host.isa | {BASELINE.get(host.arch, "scalar")}
    isa = next((isa for isa in BLOCKS if isa in have), "")
    blocks = (
        Figure(BLOCKS[isa], f"MLAS: NchwcBlockSize ({isa})", Confidence.DERIVED) if isa else columns
    )
    return {Precision.FP32: blocks, Precision.INT8: columns}


def _assumed(value: float, source: str) -> Figure:
    """A figure that nobody measured on this machine."""
    return Figure(value, f"assumed: {source}", Confidence.LOW)


def _best(host: Host, table: Mapping[str, int]) -> str:
    """The fastest instruction set of `table` that the machine has."""
    have = host.isa | {BASELINE.get(host.arch, "scalar")}
    return next(isa for isa in sorted(table, key=table.__getitem__, reverse=True) if isa in have)


def _peak(host: Host, clock: Figure, isa: str, ops: int) -> Figure:
    """Cores x clock x operations a clock."""
    source = f"{host.cores} cores x {clock.value:.0f} MHz x {ops} ops a clock ({isa})"
    confidence = Confidence.LOW if clock.confidence is Confidence.LOW else Confidence.DERIVED
    return Figure(host.cores * clock.value * ops / 1e6, source, confidence)


def _clock_figure(host: Host) -> Figure:
    """The clock, or an assumption."""
    if host.mhz is None:
        return _assumed(ASSUMED_MHZ, "the system does not say")
    return Figure(host.mhz, "cpufreq in sysfs, or /proc/cpuinfo", Confidence.MEASURED)


def _cache_figure(host: Host) -> Figure:
    """The last-level cache, or an assumption."""
    if not host.caches:
        return _assumed(ASSUMED_CACHE_MIB, "the system does not say")
    level = max(host.caches)
    return Figure(host.caches[level] / 1024, f"sysfs: level {level}", Confidence.MEASURED)


def _memory_figure(host: Host) -> Figure:
    """The memory, or an assumption."""
    if host.memory_gib is None:
        return _assumed(ASSUMED_MEMORY_GIB, "the system does not say")
    return Figure(host.memory_gib, "/proc/meminfo and the control group", Confidence.MEASURED)
