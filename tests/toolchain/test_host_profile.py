"""The host's profile: peaks from cores, clock and the widest instruction set."""

from dataclasses import replace

import pytest
from hwc.toolchain.device import Confidence
from hwc.toolchain.host import Host
from hwc.toolchain.host_profile import host_profile
from hwc.toolchain.plan import Precision

X86 = Host(
    arch="x86_64",
    model="Some CPU",
    cores=2,
    threads=4,
    mhz=2500.0,
    isa=frozenset({"sse2", "avx", "avx2", "fma"}),
    caches={1: 48, 2: 1024, 3: 32768},
    memory_gib=16.0,
)


@pytest.mark.parametrize(
    ("arch", "isa", "target", "fp32", "int8"),
    [
        ("x86_64", "avx2 fma", "x86_64+avx2", 32, 43),
        ("x86_64", "avx2 fma avx_vnni", "x86_64+avx_vnni", 32, 128),
        ("x86_64", "avx512f fma avx512_vnni avx_vnni", "x86_64+avx512_vnni", 64, 256),
        ("x86_64", "avx512f avx512_vnni amx_int8", "x86_64+amx_int8", 64, 2048),
        ("x86_64", "", "x86_64+sse2", 8, 21),
        ("aarch64", "asimd asimddp", "aarch64+asimddp", 16, 64),
        ("aarch64", "asimd asimddp i8mm", "aarch64+i8mm", 16, 128),
        ("aarch64", "", "aarch64+asimd", 16, 32),
        ("riscv64", "", "riscv64+scalar", 2, 2),
    ],
    ids=lambda value: str(value).replace(" ", "-") or "none",
)
def test_peaks_follow_the_best_instruction_set(
    arch: str, isa: str, target: str, fp32: int, int8: int
) -> None:
    profile = host_profile(replace(X86, arch=arch, isa=frozenset(isa.split())))
    assert profile.target == target
    tera = 2 * 2500e6 / 1e12
    assert profile.peak[Precision.FP32].value == pytest.approx(fp32 * tera)
    assert profile.peak[Precision.INT8].value == pytest.approx(int8 * tera)
    assert profile.peak[Precision.INT4] == profile.peak[Precision.FP32]
    assert profile.peak[Precision.FP32].confidence is Confidence.DERIVED


@pytest.mark.parametrize(
    ("arch", "isa", "fp32"),
    [
        ("x86_64", "avx512f avx2", 16),
        ("x86_64", "avx2 fma", 8),
        ("x86_64", "", 8),
        ("aarch64", "asimd", 16),
    ],
    ids=lambda value: str(value).replace(" ", "-") or "none",
)
def test_channels_fill_the_blocks_of_the_kernels(arch: str, isa: str, fp32: int) -> None:
    profile = host_profile(replace(X86, arch=arch, isa=frozenset(isa.split())))
    values = {precision: f.value for precision, f in profile.channel_multiple.items()}
    assert values == {Precision.FP32: fp32, Precision.INT8: 16}
    sources = {figure.source for figure in profile.channel_multiple.values()}
    assert all(source.startswith("MLAS: ") for source in sources)


def test_what_was_detected_is_what_it_says() -> None:
    profile = host_profile(X86)
    assert (profile.name, profile.backend, profile.units) == ("host", "ort", 2)
    assert (profile.cache.value, profile.memory.value) == (32, 16)
    assert profile.title == "this machine: Some CPU"
    assert profile.bandwidth.confidence is Confidence.LOW  # nobody measured it


def test_what_is_unknown_is_assumed_and_says_so() -> None:
    profile = host_profile(replace(X86, mhz=None, caches={}, memory_gib=None))
    figures = (profile.clock, profile.cache, profile.memory, *profile.peak.values())
    for figure in figures:
        assert figure is not None
        assert figure.confidence is Confidence.LOW
