"""Checking a bundle on this machine: what `hwc verify` and `hwc build` both do."""

import math
from dataclasses import dataclass
from pathlib import Path

from ..toolchain.accuracy.data import load_samples
from ..toolchain.accuracy.samples import each
from ..toolchain.bundle import Bundle
from ..toolchain.engine import Backend, Check, Runner, Status
from ..toolchain.errors import UsageError
from ..toolchain.timing import Open, Paired, Timing
from ..toolchain.verify import (
    BUILDS,
    DATA,
    DIGESTS,
    LATENCY,
    NUMBERS,
    SAME_RUNTIME,
    Numbers,
    Slack,
    compare_outputs,
    owed,
    regressions,
)
from .loaded import (
    clock_of,
    compare,
    find_original,
    input_specs,
    load_engine,
    original_opener,
    why_no_original,
)
from .render import interval_text

_NO_PROMISE = Numbers(same_shape=False, sqnr_db=-math.inf)


@dataclass(frozen=True, slots=True)
class Request:
    """What to verify a bundle against.

    Attributes:
        original: The original model; None: where it was when it was compiled.
        data: A data set as `--data` takes it; None: the golden inputs only.
        threads: Threads of one inference.
        slack: How far the golden outputs may be from those that were recorded.
    """

    original: Path | None = None
    data: str | None = None
    threads: int = 1
    slack: Slack = SAME_RUNTIME


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked, and the figures behind it; None where a check is owed.

    Attributes:
        checks: One entry a check.
        golden: Outputs on the golden inputs against the original's as they were recorded.
        data: Outputs on the data against the original, run now.
        paired: The original (a) and the bundle (b), in turns.
    """

    checks: tuple[Check, ...]
    golden: Numbers | None = None
    data: Numbers | None = None
    paired: Paired | None = None

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that a bundle did not pass."""
        return tuple(check for check in self.checks if check.status is Status.FAILED)


def verify_bundle(bundle: Bundle, backend: Backend, request: Request) -> Verification:
    """Check an opened bundle as far as this machine can.

    Raises:
        UsageError: Data is given, but the original or the device is not at hand.
        InputError: The data does not fit, or the given original is another model.
    """
    manifest = bundle.manifest
    digests = Check(DIGESTS, Status.PASSED, f"{len(manifest.files)} files")
    checks = (digests, *backend.check(bundle.model, manifest.profile))
    path = find_original(bundle, request.original)
    here = manifest.engine is not None and backend.runs_here(manifest.profile)
    if request.data is not None and (path is None or not here):
        lack = why_no_original(bundle) if path is None else "the device is not here"
        raise UsageError(
            f"--data compares the bundle with the original, and {lack}",
            "give --original" if path is None else "give the same command on the device",
        )
    if not here:
        return Verification((*checks, *owed(manifest.profile.title)))
    engine = load_engine(bundle, backend, request.threads)
    golden = golden_numbers(bundle, engine)
    checks = (
        *checks,
        Check(BUILDS, Status.PASSED, ""),
        _judge_golden(bundle, golden, request.slack),
    )
    if path is None:
        unknown = Check(LATENCY, Status.OWED, f"{why_no_original(bundle)}: --original")
        return Verification((*checks, unknown), golden)
    threads = request.threads
    with original_opener(path, bundle, backend, threads) as reference:
        data = _on_data(bundle, request.data, reference, engine)
        del engine  # it would be a third one, and its threads may spin
        timing = Timing(clock=clock_of(bundle, threads))
        paired = compare(bundle, backend, reference, threads=threads, timing=timing)
    checks = (*checks, _judge_latency(bundle, paired, timing), *_judge_data(data))
    return Verification(checks, golden, data, paired)


def golden_numbers(bundle: Bundle, engine: Runner) -> Numbers:
    """Run the golden inputs and compare with the original's outputs; the worst counts."""
    pairs = bundle.golden()
    return Numbers.worst_of(compare_outputs(wanted, engine(feeds)) for feeds, wanted in pairs)


def _judge_golden(bundle: Bundle, golden: Numbers, slack: Slack) -> Check:
    recorded = bundle.report().golden
    if problems := regressions(recorded or _NO_PROMISE, golden, slack):
        return Check(NUMBERS, Status.FAILED, "; ".join(problems))
    known = f", recorded {recorded.sqnr_db:.1f} dB" if recorded else ""
    return Check(NUMBERS, Status.PASSED, f"SQNR {golden.sqnr_db:.1f} dB{known}")


def _judge_latency(bundle: Bundle, paired: Paired, timing: Timing) -> Check:
    """A bundle that promised a gain must not be surely slower than the original."""
    ratio, promised = paired.ratio[timing.clock], bundle.report().speedup
    text = f"{interval_text(ratio, '{:.3f}x')} the speed, {timing.clock}"
    if promised is None or promised.low <= 1.0:
        return Check(LATENCY, Status.PASSED, f"{text}; no gain was promised")
    broken = ratio.high < 1.0
    text = f"{text}; promised {interval_text(promised, '{:.3f}x')}"
    return Check(LATENCY, Status.FAILED if broken else Status.PASSED, text)


def _on_data(bundle: Bundle, data: str | None, original: Open, engine: Runner) -> Numbers | None:
    if data is None:
        return None
    samples, reference = load_samples(data, input_specs(bundle)), original()
    return Numbers.worst_of(
        compare_outputs(reference(sample.feeds), engine(sample.feeds)) for sample in each(samples)
    )


def _judge_data(data: Numbers | None) -> tuple[Check, ...]:
    if data is None:
        return ()
    if problems := regressions(_NO_PROMISE, data):
        return (Check(DATA, Status.FAILED, "; ".join(problems)),)
    return (Check(DATA, Status.PASSED, f"SQNR {data.sqnr_db:.1f} dB at worst"),)
