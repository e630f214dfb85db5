"""Detection of a machine, on copies of what Linux says about several."""

import platform
from pathlib import Path

import pytest
from hwc.toolchain.host import detect

X86 = """processor\t: {cpu}
model name\t: Some CPU @ 3.00GHz
cpu MHz\t\t: 2600.500
physical id\t: 0
core id\t\t: {core}
flags\t\t: fpu sse2 avx avx2 fma avx512f avx512_vnni
"""
ARM = "processor\t: {cpu}\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd asimddp fphp\n"


def _write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _cache(root: Path, index: int, level: int, kind: str, size: str) -> None:
    folder = f"sys/devices/system/cpu/cpu0/cache/index{index}"
    for name, text in (("level", f"{level}"), ("type", kind), ("size", size)):
        _write(root, f"{folder}/{name}", text + "\n")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two cores with two threads each."""
    cpus = "\n".join(X86.format(cpu=cpu, core=cpu // 2) for cpu in range(4))
    _write(tmp_path, "proc/cpuinfo", cpus)
    _write(tmp_path, "proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 5 kB\n")
    _cache(tmp_path, 0, 1, "Data", "48K")
    _cache(tmp_path, 1, 1, "Instruction", "64K")
    _cache(tmp_path, 2, 2, "Unified", "1M")
    _cache(tmp_path, 3, 3, "Unified", "32768K")
    return tmp_path


def test_threads_share_cores(machine: Path) -> None:
    host = detect(machine)
    assert (host.cores, host.threads) == (2, 4)


def test_what_the_system_says(machine: Path) -> None:
    host = detect(machine)
    assert host.model == "Some CPU @ 3.00GHz"
    assert host.mhz == 2600.5
    assert host.isa == {"sse2", "avx", "avx2", "fma", "avx512f", "avx512_vnni"}
    assert host.caches == {1: 48, 2: 1024, 3: 32768}
    assert host.memory_gib == 16


def test_cpufreq_knows_the_clock_better(machine: Path) -> None:
    _write(machine, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "4100000\n")
    assert detect(machine).mhz == 4100


@pytest.mark.parametrize(
    ("quota", "threads", "cores"),
    [("100000 100000", 1, 1), ("max 100000", 4, 2), ("50000 100000", 1, 1), ("rubbish", 4, 2)],
    ids=["one", "none", "half", "rubbish"],
)
def test_cpu_quota(machine: Path, quota: str, threads: int, cores: int) -> None:
    _write(machine, "sys/fs/cgroup/cpu.max", quota + "\n")
    host = detect(machine)
    assert (host.threads, host.cores) == (threads, cores)


@pytest.mark.parametrize(("limit", "gib"), [(str(2**30), 1), ("max", 16), (str(2**40), 16)])
def test_memory_limit(machine: Path, limit: str, gib: float) -> None:
    _write(machine, "sys/fs/cgroup/memory.max", limit + "\n")
    assert detect(machine).memory_gib == gib


def test_arm_has_no_core_ids_and_no_clock(tmp_path: Path) -> None:
    _write(tmp_path, "proc/cpuinfo", "\n".join(ARM.format(cpu=cpu) for cpu in range(8)))
    host = detect(tmp_path)
    assert (host.cores, host.threads, host.mhz) == (8, 8, None)
    assert host.isa == {"asimd", "asimddp", "fphp"}


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    host = detect(tmp_path)
    assert host.cores >= 1
    assert (host.mhz, host.memory_gib, host.caches, host.isa) == (None, None, {}, frozenset())


def test_this_machine() -> None:
    host = detect()
    assert 1 <= host.cores <= host.threads
    if platform.system() == "Linux":
        assert host.memory_gib is not None
        assert host.isa
