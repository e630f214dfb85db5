"""The machine that hwc runs on: its cores, instruction sets, caches and memory."""

import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# What changes how fast kernels run, in the kernel's names.
ISA = frozenset(
    {
        *("sse2", "avx", "avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16"),
        *("amx_int8", "amx_bf16", "asimd", "asimddp", "asimdhp", "fphp", "i8mm", "bf16", "sve"),
    }
)


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
