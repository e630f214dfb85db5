"""Every development model for every device: does it compile, and what is known of the result.

Run `python tests/bench/matrix.py`. It takes long, keeps each result in the `--work` folder, and
when it is run again measures only what is missing or was not delivered (`--again`: everything).

Each model is compiled with its calibration data, then the delivered graph meets the evaluation data
on ONNX Runtime's CPU: the whole truth for `host`, a simulation for `a100` and `jetson_orin` (whose
graphs hold their precisions), and for `ascend` and `dcu` a check of the float graph only, since
there the device's builder lowers the precision. The drop that `hwc` itself simulated stands beside
it.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
from hwc.backends import ort
from hwc.toolchain import device
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.codec import encode, parse
from hwc.toolchain.errors import BackendError
from hwc.tools.loaded import input_specs
from support.calibration import arguments
from support.cell import ASCEND_OPSET, DEVICES, HEAD, Cell, verdict
from support.compilation import Outcome, compile_model, write_json
from support.devkit import Case, SkipError, as_run, cases, evaluate
from support.tables import markdown, say


def measure(case: Case, target: str, asked: argparse.Namespace, original: float) -> Cell:
    """Compile one model for one device, and score what was delivered."""
    judged = {"labelled": asked.judge == "labels", "fixed": target != "host"}
    outcome = compile_model(
        case.path,
        asked.work / "bundles" / f"{case.name}-{target}.hwc",
        *("--device", target, "--max-drop", "1%"),
        *arguments(case, asked.work / "data", **judged),
        cache=asked.work / "cache",
    )
    if outcome.report is None:
        return Cell(case.name, target, outcome.code, outcome.seconds, outcome.message)
    return _delivered(case, target, outcome, asked.limit, original)


def _delivered(
    case: Case, target: str, outcome: Outcome, limit: int | None, original: float
) -> Cell:
    report = outcome.report
    assert report is not None  # it was delivered
    before, after = report.original.latency, report.compiled.latency
    message, drop = "", None
    with Bundle.open(outcome.bundle) as bundle:
        try:
            run = as_run(ort.Session(bundle.model), input_specs(bundle))
            drop = original - evaluate(case, run, limit)
        except BackendError as refused:
            message = f"not simulated: {refused.message}"
        offenders = tuple(_offenders(bundle.model)) if target == "ascend" else ()
    return Cell(
        *(case.name, target, outcome.code, outcome.seconds, message, report.checks),
        latency_us=after.us if after else None,
        speedup=before.us / after.us if before and after else None,
        origin=after.origin.value if after else "",
        drop=drop,
        own_drop=report.drop.value if report.drop else None,
        counts=dict(report.compiled.counts),
        offenders=offenders,
    )


def _offenders(path: Path) -> Iterator[str]:
    """What of a graph Ascend's table of operators does not have."""
    table = Path(device.__file__).parents[1] / "device_profiles" / "ascend_onnx_ops.csv"
    with table.open(encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        listed = {row["op"] for row in rows}
    model = ir.load(path)
    opset = model.opset_imports.get("", 0)
    if opset > ASCEND_OPSET:
        yield f"opset {opset}"
    used = {f"{node.domain}::{node.op_type}".lstrip(":") for node in model.graph.all_nodes()}
    yield from (f"{op} is not listed" for op in sorted(used - listed))


def _original(case: Case, asked: argparse.Namespace) -> float:
    """The original's score, kept like the cells."""
    path = asked.results / f"{case.name}-original.json"
    if path.exists() and not asked.again:
        return parse(float, path.read_bytes())
    session = ort.Session(case.path)
    score = evaluate(case, lambda feeds: list(session(feeds).values()), asked.limit)
    write_json(path, score)
    return score


def _cell(case: Case, target: str, asked: argparse.Namespace) -> Cell:
    """One cell: as it was kept, or measured now; what failed is tried again."""
    path = asked.results / f"{case.name}-{target}.json"
    if path.exists() and not asked.again:
        kept = parse(Cell, path.read_bytes())
        if kept.code == 0:
            return kept
    cell = measure(case, target, asked, _original(case, asked))
    write_json(path, encode(cell))
    say(" ".join(cell.row))
    return cell


def main() -> None:
    """Measure what is not yet known, and print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=(), metavar="NAME", help="only these")
    parser.add_argument(
        "--devices", nargs="*", default=DEVICES, choices=DEVICES, metavar="NAME", help="only these"
    )
    parser.add_argument("--work", type=Path, default=Path("build/bench/matrix"), help="%(default)s")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    parser.add_argument("--again", action="store_true", help="measure what is known, too")
    parser.add_argument("--limit", type=int, help="evaluate on the first so many samples only")
    parser.add_argument(
        "--judge",
        choices=("labels", "agreement"),
        default="labels",
        help="whether hwc sees the labels of the calibration data [%(default)s]",
    )
    asked = parser.parse_args()
    asked.work = asked.work.absolute()
    # Results of other settings are other results.
    asked.results = asked.work / f"{asked.judge}-{asked.limit or 'all'}"
    for folder in (asked.results, asked.work / "bundles"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        chosen = cases(asked.models)
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    cells = [_cell(case, target, asked) for case in chosen for target in asked.devices]
    say(markdown(HEAD, [cell.row for cell in cells]))
    say(verdict(cells))
    if asked.out:
        write_json(asked.out, encode(cells))


if __name__ == "__main__":
    main()
