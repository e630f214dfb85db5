"""What pruning, storage and training make of the CIFAR networks, beside precision alone.

Run `python tests/bench/compress.py` (hours; it goes on where it was stopped). The reference is the
fp32 network after as many minutes of the same trainer on the same images as the compressed one
gets: what fine-tuning on these images is worth is no merit of compression. Everything is scored on
the 5,000 evaluation images, of which no compilation sees one: training has the 48,000 training
images that are not among those of calibration, and search and report the 2,000 of these.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
from hwc.toolchain.accuracy.samples import Samples
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import HwcError
from hwc.toolchain.timing import Interval
from support.answers import agreement, recording
from support.calibration import arguments
from support.compilation import compile_model
from support.compress_results import Results, Row
from support.compressed import Beside, opened
from support.contest import Engines
from support.devkit import Case, Run, SkipError, cases, evaluate
from support.finetune import AUGMENT, pruned, read, trained, training_samples
from support.published_pruning import FIGURES
from support.tables import markdown, points, say, times

DATA = Path(__file__).resolve().parent / "support" / "cifar.py"
MODELS = ("resnet20_cifar10", "resnet56_cifar10")
PRECISION = ("--methods", "precision")
ENCODERS = ("minilm_l6",)
ENCODED = {  # embeddings may lose a hundredth of their cosine
    "int8 alone": (*PRECISION, "--max-drop", "1%"),
    "low rank + int8": ("--methods", "precision,lowrank", "--recover", "fast", "--max-drop", "1%"),
}
SHARES = (0.3, 0.5)  # of the multiply-accumulates, to be removed
SMALLER = ("--methods", "precision,prune,storage", "--recover", "full", "--augment", AUGMENT)
VARIANTS = {
    "precision alone": (*PRECISION, "--max-drop", "0.5%"),
    "with labels": (*SMALLER, "--max-drop", "0.5%", "--train-data", f"{DATA}:training"),
    "without labels": (*SMALLER, "--max-drop", "1%", "--train-data", f"{DATA}:unlabelled"),
}
ASKED = {
    "with labels": "drop <= 0.5, >= 2.5x fp32, >= 1.3x precision alone, size <= 1/8",
    "without labels": "drop <= 1.0, >= 2.0x fp32",
}


@dataclass(frozen=True, slots=True)
class Bench:
    """One run.

    Attributes:
        asked: The command line.
        results: What there is already.
    """

    asked: argparse.Namespace
    results: Results

    def once(self, row: Row, make: Callable[[Row], Row]) -> None:
        """Make a result unless it is there."""
        if row.key not in self.results.known:
            say(f"{row.part}: {row.model}, {row.variant}")
            self.results.add(make(row))

    def row(self, part: str, case: Case, variant: str) -> Row:
        """An empty result."""
        return Row(part, case.name, variant, self.asked.minutes, self.asked.limit)

    def reference(self, case: Case) -> Beside:
        """The fp32 network after its own training; made once."""
        path: Path = self.asked.work / f"{case.name}-{self.asked.minutes:g}min.onnx"
        if not path.is_file():
            say(f"{case.name}: train the reference for {self.asked.minutes:g} min")
            model = read(case.path)
            samples = training_samples(model, f"{DATA}:training")
            self._save(self._trained(model, None, samples), path)
        return Beside.of(case, path, self.asked.seconds, self.asked.limit)

    def smaller(self, case: Case) -> None:
        """Precision alone, and with structure and training."""
        beside = self.reference(case)
        for variant, words in VARIANTS.items():
            row = self.row("resnet", case, variant)
            self.once(row, partial(self._compiled, beside=beside, words=words))

    def flops(self, case: Case) -> None:
        """Pruning alone, to a share of the multiply-accumulates."""
        beside = self.reference(case)
        for share in SHARES:
            row = self.row("flops", case, f"{share:.0%} asked")
            self.once(row, partial(self._pruned, beside=beside, share=share))

    def encoder(self, case: Case) -> None:
        """A transformer's matrices as products of smaller ones, beside int8 alone."""
        for variant, words in ENCODED.items():
            row = replace(self.row("encoder", case, variant), minutes=0.0)
            self.once(row, partial(self._encoded, case=case, words=words))

    def _encoded(self, row: Row, *, case: Case, words: tuple[str, ...]) -> Row:
        bundle, work = self._bundle(row), self.asked.work
        data = (*arguments(case, work / "data"), "--threads", str(self.asked.threads))
        outcome = compile_model(
            case.path, bundle, "--device", "host", *data, *words, cache=work / "cache"
        )
        if outcome.report is None:
            return replace(row, failure=outcome.message, seconds=outcome.seconds)
        fp32, limit = Engines.of_file(case.path), self.asked.limit
        beside = Beside(case, case.path, np.zeros(0, bool), self.asked.seconds, limit)
        whole = fp32.parallel()
        exact = _answers(case, lambda feeds: list(whole(feeds).values()), limit)
        with (
            opened(bundle) as (engines, run, report),
            opened(self._bundle(replace(row, variant="int8 alone"))) as (rival, _, _),
        ):
            return replace(
                row,
                made=", ".join(f"{name} {n}" for name, n in report.compiled.counts.items()),
                seconds=outcome.seconds,
                score=agreement(case, _answers(case, run, limit), exact),
                over_fp32=beside.faster(fp32, engines),
                over_int8=None if words == ENCODED["int8 alone"] else beside.faster(rival, engines),
                smaller=case.path.stat().st_size / report.compiled.size,
                removed=1 - report.compiled.macs / report.original.macs,
            )

    def _compiled(self, row: Row, *, beside: Beside, words: tuple[str, ...]) -> Row:
        bundle = self._bundle(row)
        training = ("--train-minutes", str(row.minutes)) if "--train-data" in words else ()
        eighth = row.variant == "with labels"
        size = ("--max-size", str(beside.path.stat().st_size / 8e6)) if eighth else ()
        outcome = compile_model(
            *(beside.path, bundle, "--device", "host", "--data", f"{DATA}:judging"),
            *("--threads", str(self.asked.threads), *words, *training, *size),
            cache=self.asked.work / "cache",
        )
        if outcome.report is None:
            return replace(row, failure=outcome.message, seconds=outcome.seconds)
        return self._judged(replace(row, seconds=outcome.seconds), bundle, beside)

    def _judged(self, row: Row, bundle: Path, beside: Beside) -> Row:
        alone = self._bundle(replace(row, part="resnet", variant="precision alone"))
        fp32 = Engines.of_file(beside.path)
        with opened(bundle) as (engines, run, report):
            drop = beside.drop(run)
            over = beside.faster(fp32, engines)
            with opened(alone) as (rival, _, _):
                over_int8 = None if bundle == alone else beside.faster(rival, engines)
            return replace(
                row,
                made=", ".join(f"{name} {n}" for name, n in report.compiled.counts.items()),
                score=beside.score - drop.value,
                drop=drop,
                over_fp32=over,
                over_int8=over_int8,
                smaller=beside.path.stat().st_size / report.compiled.size,
            )

    def _pruned(self, row: Row, *, beside: Beside, share: float) -> Row:
        whole = read(beside.path)
        samples = training_samples(whole, f"{DATA}:training")
        smaller = pruned(whole, samples, share)
        path = self.asked.work / f"{row.model}-{share:g}.onnx"
        self._save(smaller.model, path)
        before = Beside.of(beside.case, path, self.asked.seconds, self.asked.limit).score
        self._save(self._trained(smaller.model, whole, samples), path)
        runner = Engines.of_file(path).parallel()
        drop = beside.drop(lambda feeds: list(runner(feeds).values()))
        fp32 = Engines.of_file(beside.path)
        found = replace(
            row,
            removed=smaller.removed,
            before=before,
            drop=drop,
            score=beside.score - drop.value,
            over_fp32=beside.faster(fp32, Engines.of_file(path)),
            smaller=beside.path.stat().st_size / path.stat().st_size,
        )
        return replace(found, over_int8=self._int8(row, path, beside))

    def _int8(self, row: Row, path: Path, beside: Beside) -> Interval | None:
        """How much faster the pruned network is than the whole one, both with precision alone."""
        bundles = []
        for model, name in ((beside.path, "whole"), (path, "pruned")):
            bundle = self._bundle(replace(row, variant=f"{row.variant} {name}"))
            words = (*PRECISION, "--max-drop", "5%", "--data", f"{DATA}:calibration")
            outcome = compile_model(model, bundle, *words, cache=self.asked.work / "cache")
            if outcome.report is None:
                return None
            bundles.append(bundle)
        with opened(bundles[0]) as (base, _, _), opened(bundles[1]) as (engines, _, _):
            return beside.faster(base, engines)

    def _trained(self, model: ir.Model, teacher: ir.Model | None, samples: Samples) -> ir.Model:
        return trained(model, teacher, samples, minutes=self.asked.minutes)

    def _bundle(self, row: Row) -> Path:
        name = f"{row.part}-{row.model}-{row.variant}-{row.minutes:g}.hwc".replace(" ", "-")
        return self.asked.work / name.replace("%", "")

    def _save(self, model: ir.Model, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        ir.save(model, part)
        part.replace(path)


def tables(results: Results) -> Iterator[str]:
    """What was asked, and what was reached."""
    head = "model|variant|minutes|drop|over fp32|over precision alone|smaller|asked|made"
    yield markdown(
        head.split("|"),
        [
            (
                *(row.model, row.variant, f"{row.minutes:g}"),
                *(row.failure or _interval(row), times(row.over_fp32), times(row.over_int8)),
                f"{row.smaller:.2f}x" if row.smaller else "-",
                *(ASKED.get(row.variant, "-"), row.made),
            )
            for row in results.of("resnet")
        ],
    )
    head = "model|removed|top-1 before training|after|drop|over fp32|over int8, both int8"
    yield markdown(
        head.split("|"),
        [
            (
                *(row.model, f"{row.removed:.1%} ({row.variant})" if row.removed else row.variant),
                *(points(row.before), points(row.score), _interval(row)),
                *(times(row.over_fp32), times(row.over_int8)),
            )
            for row in results.of("flops")
        ],
    )
    head = "model|variant|cosine with fp32|MACs removed|over fp32|over int8 alone|smaller|made"
    yield markdown(
        head.split("|"),
        [
            (
                *(row.model, row.variant, row.failure or f"{row.score:.4f}"),
                f"{row.removed:.1%}" if row.removed is not None else "-",
                *(times(row.over_fp32), times(row.over_int8)),
                *(f"{row.smaller:.2f}x" if row.smaller else "-", row.made),
            )
            for row in results.of("encoder")
        ],
    )
    head = "published, on the original images|model|removed|before|after|source"
    yield markdown(
        head.split("|"),
        [
            (f.method, f.model, f"{f.removed:.0%}", points(f.base), points(f.pruned), f.source)
            for f in FIGURES
        ],
    )


def _answers(case: Case, run: Run, limit: int | None) -> list[Array]:
    recorded, answers = recording(case, run)
    evaluate(case, recorded, limit)
    return answers


def _interval(row: Row) -> str:
    if row.drop is None:
        return "-"
    return f"{100 * row.drop.value:.2f} ({100 * row.drop.low:.2f} to {100 * row.drop.high:.2f})"


def main() -> None:
    """Measure what is not there yet, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("resnet", "flops", "encoder", "all"), default="all")
    parser.add_argument("--models", nargs="*", default=MODELS, metavar="NAME", help="only these")
    parser.add_argument("--minutes", type=float, default=30, help="of training [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="of an inference [%(default)s]")
    parser.add_argument("--seconds", type=float, default=10, help="a comparison [%(default)s]")
    parser.add_argument("--limit", type=int, help="evaluate on the first so many images only")
    parser.add_argument("--work", type=Path, default=Path("build/bench/compress"))
    asked = parser.parse_args()
    asked.work = asked.work.absolute()
    bench = Bench(asked, Results.read(asked.work / "results.jsonl"))
    try:
        for case in cases(ENCODERS) if asked.part in {"encoder", "all"} else ():
            bench.encoder(case)
        for case in cases(asked.models) if asked.part != "encoder" else ():
            if asked.part in {"resnet", "all"}:
                bench.smaller(case)
            if asked.part in {"flops", "all"}:
                bench.flops(case)
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    except HwcError as refused:  # torch is not installed
        say(f"stopped: {refused}")
    say("\n\n".join(["", *tables(bench.results)]))


if __name__ == "__main__":
    main()
