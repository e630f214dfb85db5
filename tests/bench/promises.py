"""Whether what a compilation promises holds: the latency, and the drop.

Run `python tests/bench/promises.py [MODEL...]`. Each model is compiled for this machine with the
least drop within a latency, at several places between its fastest plan and fp32; and with the least
latency within a drop. Printed is the latency of the delivered engine, as it was measured on one
thread, over the one that was asked for (or, without one, over the predicted one), and the drop on
the report split, which no search has seen, with its interval, beside the one that was allowed.
Asked: 95 % of the plans within 5 % of the latency, and no drop whose interval lies above.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.calibration import arguments
from support.compilation import Outcome, compile_model, write_json
from support.devkit import Case, SkipError, cases
from support.tables import markdown, say

if TYPE_CHECKING:
    from hwc.toolchain.report import Measured

MODELS = ("resnet20_cifar10", "dscnn_kws", "tinyvit_cifar10", "efficientnet_lite0")
SHARES = (0.25, 0.5, 0.75)  # of the way from the fastest plan to fp32
MAX_DROP = 0.01
TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """One compilation.

    Attributes:
        model: Its name.
        asked: What was asked.
        latency: Measured over promised; None where nothing was delivered.
        drop: On the report split.
        low: The lower end of its 95 % interval.
        failure: Why nothing was delivered.
    """

    model: str
    asked: str
    latency: float | None = None
    drop: float = 0.0
    low: float = 0.0
    failure: str = ""


def rows(case: Case, folder: Path, effort: str) -> Iterator[Row]:
    """All compilations of one model."""
    data = arguments(case, folder / "data", labelled=False)
    words = (*data, "--threads", "1", "--effort", effort, "--max-drop", str(MAX_DROP))

    def compiled(*asked: str) -> Outcome:
        return compile_model(case.path, folder / "out.hwc", *words, *asked, cache=folder / "cache")

    fastest = compiled()
    yield row(case, "least latency", fastest, None)
    if fastest.report is None or not fastest.report.compiled.counts:
        return
    low, high = (us(part) for part in (fastest.report.compiled, fastest.report.original))
    if low >= high:
        return
    for share in SHARES:
        limit = (low + share * (high - low)) / 1e3
        outcome = compiled("--objective", "drop", "--max-latency", f"{limit:.5f}")
        yield row(case, f"least drop within {share:.0%}", outcome, limit * 1e3)


def us(column: "Measured") -> float:
    """The latency of a column of the report, in microseconds."""
    assert column.latency is not None  # this machine is the device
    return column.latency.us


def row(case: Case, asked: str, outcome: Outcome, limit: float | None) -> Row:
    """What came of one compilation."""
    report = outcome.report
    if report is None or report.drop is None:
        return Row(case.name, asked, failure=outcome.message)
    promised = limit or (report.predicted.us if report.predicted else us(report.compiled))
    drop = report.drop
    return Row(case.name, asked, us(report.compiled) / promised, drop.value, drop.low)


def table(found: Sequence[Row]) -> str:
    """All rows as Markdown."""
    head = ("model", "asked", "latency over promised", "drop (lower end)")
    cells = [
        (
            each.model,
            each.asked,
            each.failure or f"{each.latency:.3f}",
            f"{each.drop:.2%} ({each.low:.2%})",
        )
        for each in found
    ]
    return markdown(head, cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help=f"[{' '.join(MODELS)}]")
    parser.add_argument("--effort", default="1", help="of the compilations [1]")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    asked = parser.parse_args()
    found: list[Row] = []
    try:
        with tempfile.TemporaryDirectory(prefix="hwc-promises-") as name:
            for case in cases(list(asked.models)):
                for each in rows(case, Path(name), asked.effort):
                    found.append(each)
                    say(f"{each.model}, {each.asked}: {each.failure or each.latency}")
                    if asked.out:
                        write_json(asked.out, [asdict(one) for one in found])
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    say(table(found))
    delivered = [each for each in found if each.latency is not None]
    kept = sum(each.latency is not None and each.latency <= 1 + TOLERANCE for each in delivered)
    held = sum(each.low <= MAX_DROP for each in delivered)
    say(f"latency within +5 %: {kept} of {len(delivered)}; drop within its interval: {held}")


if __name__ == "__main__":
    main()
