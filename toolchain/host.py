"""The machine that hwc runs on: its cores, instruction sets, caches and memory."""

import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .device import HOST, Confidence, DeviceProfile, ErrorRange, Figure
from .plan import Precision

# Dense operations per core and clock (a multiply and an add are two), the best set first.
# x86: two vector ports of the set's width; one multiply-add (or, without VNNI, vpmaddubsw, vpmaddwd
# and vpaddd for it) a port and clock; AMX: 16 x 16 x 64 multiply-adds in 16 clocks.
# Arm: two 128-bit ports (Neoverse N1, Cortex-A78AE). Wider and narrower cores exist.
FP32_OPS: Mapping[str, int] = {"avx512f": 64, "fma": 32, "avx": 16, "sse2": 8, "asimd": 16}
INT8_OPS: Mapping[str, int] = {
    "amx_int8": 2048,
    "avx512_vnni": 256,
    "avx_vnni": 128,
    "i8mm": 128,
    "asimddp": 64,
    "avx2": 43,
    "sse2": 21,
    "asimd": 32,
}
ISA = frozenset({*FP32_OPS, *INT8_OPS, "avx512_bf16", "amx_bf16", "bf16", "fphp", "asimdhp", "sve"})
BASELINE: Mapping[str, str] = {"x86_64": "sse2", "aarch64": "asimd"}

ASSUMED_MHZ = 2000.0
ASSUMED_GBS_A_CORE = 10.0
ASSUMED_CACHE_MIB = 1.0
ASSUMED_MEMORY_GIB = 4.0
ORT_OPSET_MAX = 23  # ONNX Runtime 1.23 and later


@dataclass(frozen=True, slots=True)
class Host:
    """What was found out about this machine; None where the system does not say.

    Attributes:
        arch: `x86_64` or `aarch64`, as the system says it.
        model: The processor's name.
        cores: Physical cores that this process may use.
        threads: Logical processors that this process may use.
        mhz: The highest clock that the system admits, in MHz.
        isa: The instruction sets that matter here, in the kernel's names (`avx512_vnni`).
        caches: Size of one cache of each level, in KiB, data and unified, by level.
        memory_gib: Memory that this process may use, in GiB.
    """

    arch: str
    model: str
    cores: int
    threads: int
    mhz: float | None
    isa: frozenset[str]
    caches: Mapping[int, int]
    memory_gib: float | None


def detect(root: Path = Path("/")) -> Host:
    """Look at this machine: /proc and sysfs under `root`; whatever is missing is left out."""
    cpus = _cpuinfo(root)
    allowed = _allowed(root)
    mine = [cpu for cpu in cpus if int(cpu.get("processor", 0)) in allowed] or cpus
    threads = min(len(allowed), _quota(root) or len(allowed))
    first = mine[0] if mine else {}
    flags = first.get("flags", first.get("Features", "")).split()
    return Host(
        arch=platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64"),
        model=first.get("model name", "") or platform.processor() or "unknown processor",
        cores=min(_physical(mine) or threads, threads),
        threads=threads,
        mhz=_clock(root, first),
        isa=ISA & frozenset(flags),
        caches=_caches(root),
        memory_gib=_memory(root),
    )


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
        bandwidth=_assumed(ASSUMED_GBS_A_CORE * host.cores, "10 GB/s a core"),
        cache=_cache_figure(host),
        memory=_memory_figure(host),
        launch=_assumed(2.0, "a node of ONNX Runtime's CPU provider on one stream"),
        efficiency={k: _assumed(v, "typical of ONNX Runtime") for k, v in _EFFICIENCY.items()},
        clock=clock,
        grain=_assumed(4096, "output elements that ONNX Runtime gives one thread"),
        error=ErrorRange(_assumed(0.25, "not yet measured"), _assumed(4.0, "not yet measured")),
        origins={"units": cores, "opset_max": ort},
    )


_EFFICIENCY: Mapping[str, float] = {
    "conv": 0.6,
    "depthwise": 0.1,
    "gemm": 0.6,
    "recurrent": 0.2,
    "other": 0.2,
    "memory": 0.7,
}


def _assumed(value: float, source: str) -> Figure:
    """A figure that nobody measured on this machine."""
    return Figure(value, f"assumed: {source}; `hwc profile` measures", Confidence.LOW)


def _best(host: Host, table: Mapping[str, int]) -> str:
    """The fastest instruction set of `table` that the machine has."""
    have = host.isa | {BASELINE.get(host.arch, "sse2")}
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


def _read(path: Path) -> str:
    """The text of a small system file; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(text: str) -> float | None:
    """The first number in a text."""
    found = re.search(r"\d+(\.\d+)?", text)
    return float(found.group()) if found else None


def _cpuinfo(root: Path) -> list[dict[str, str]]:
    """One dictionary for each logical processor of /proc/cpuinfo."""
    blocks = _read(root / "proc/cpuinfo").split("\n\n")
    tables = [dict(_fields(block)) for block in blocks]
    return [table for table in tables if "processor" in table]


def _fields(block: str) -> Iterator[tuple[str, str]]:
    """The `key : value` lines of a block."""
    for line in block.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()


def _allowed(root: Path) -> frozenset[int]:
    """The logical processors that this process may run on."""
    if root == Path("/") and hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    count = len(_cpuinfo(root)) or os.cpu_count() or 1
    return frozenset(range(count))


def _quota(root: Path) -> int | None:
    """Whole processors of a control group's CPU quota (at least one); None without a quota."""
    limit, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if not limit.isdigit() or not period.strip().isdigit():
        return None
    return max(1, int(limit) // int(period))


def _physical(cpus: list[dict[str, str]]) -> int:
    """Distinct cores; 0 where the system does not number them (Arm: one thread a core)."""
    return len({(c.get("physical id", ""), c["core id"]) for c in cpus if "core id" in c})


def _clock(root: Path, cpu: Mapping[str, str]) -> float | None:
    """The highest clock of the first processor, in MHz."""
    khz = _number(_read(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"))
    mhz = khz / 1000 if khz else _number(cpu.get("cpu MHz", ""))
    return mhz or None


def _caches(root: Path) -> dict[int, int]:
    """KiB of the first processor's data and unified caches, by level."""
    sizes: dict[int, int] = {}
    for index in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index[0-9]*")):
        level, size = _number(_read(index / "level")), _read(index / "size").strip()
        kib = _number(size)
        if level and kib and _read(index / "type").strip() != "Instruction":
            sizes[int(level)] = int(kib * {"M": 1024, "G": 1024**2}.get(size[-1], 1))
    return sizes


def _memory(root: Path) -> float | None:
    """GiB of memory, the control group's limit included."""
    kib = _number(dict(_fields(_read(root / "proc/meminfo"))).get("MemTotal", ""))
    limit = _read(root / "sys/fs/cgroup/memory.max").strip()
    found = [kib / 2**20] if kib else []
    if limit.isdigit() and int(limit) > 0:
        found.append(int(limit) / 2**30)
    return min(found, default=None)
