"""`python -m hwc.tools.fit_estimator TABLE.csv`: fit the estimator on published latencies."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ..toolchain.errors import HwcError, InputError
from .published import stored
from .published.families import FAMILIES, Family
from .published.fit import PRIORS, Foretold, fit, foretell, leave_one_out
from .published.networks import design_of
from .published.rewrite import NewFigure, rewrite
from .published.rows import Published, Row, read_published
from .published.scores import FACTOR, Score, score
from .published.stored import Fitted

PROFILES = Path(__file__).resolve().parents[1] / "device_profiles"
PICTURE = "published.png"


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Store the fit in the profiles, and draw the picture.")
@click.option(
    "--profiles",
    type=click.Path(path_type=Path, file_okay=False),
    default=PROFILES,
    show_default="the checkout's",
    help="Where the profiles are.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print every row.")
def main(table: Path, *, write: bool, profiles: Path, verbose: bool) -> None:
    """Fit the estimator on a TABLE of published latencies, and tell how well it foretells them.

    Every number is of predictions by a fit that has not seen the model (or the design, which is all
    sizes of a model): that model's rows are left out on every device.
    """
    out = Console(width=None if Console().is_terminal else 120, highlight=False)
    try:
        published = read_published(table)
        by_family = [_rows(family, published) for family in FAMILIES]
        fitted = [_fitted(family, rows) for family, rows in zip(FAMILIES, by_family, strict=True)]
        _print_left_out(out, published)
        designs = [item for rows in by_family for item in leave_one_out(rows, design_of)]
        _print_scores(out, fitted, designs)
        _print_parameters(out, fitted)
        if verbose:
            _print_rows(out, _all(fitted))
        if write:
            _write(fitted, profiles)
            out.print(f"wrote {profiles}")
    except HwcError as error:
        raise click.ClickException(str(error)) from error


def _rows(family: Family, published: Published) -> list[Row]:
    """The rows of a family, with at least one of each of its devices."""
    rows = [row for row in published.rows if row.device in family.devices]
    for device in family.devices:
        if not any(row.device == device for row in rows):
            hint = "the table must have some of every device that is fitted"
            raise InputError(f"no published latency of {device} can be predicted", hint)
    return rows


def _fitted(family: Family, rows: Sequence[Row]) -> Fitted:
    parameters = fit(rows)
    unseen = leave_one_out(rows, lambda model: model)
    return Fitted(family, parameters, foretell(rows, parameters), unseen)


def _all(fitted: Iterable[Fitted]) -> list[Foretold]:
    return [item for each in fitted for item in each.unseen]


def _print_left_out(out: Console, published: Published) -> None:
    left_out = sum(published.left_out.values())
    out.print(f"{len(published.rows)} published latencies; {left_out} rows are left out:")
    for reason, count in published.left_out.items():
        out.print(f"  {count:3} {reason}", markup=False)


def _print_scores(out: Console, fitted: Sequence[Fitted], designs: Sequence[Foretold]) -> None:
    """One line a device, then all of them, with models and with whole designs left out."""
    table = Table(box=None, pad_edge=False, title="", title_justify="left")
    for head in ("device", "left out"):
        table.add_column(head)
    heads = ("rows", "models", "median error", f"within x{FACTOR}", "published/estimated", "ranked")
    for head in heads:
        table.add_column(head, justify="right")
    for each in fitted:
        for device in each.family.devices:
            table.add_row(device, "model", *_cells(score(stored.fitted_rows(device, each))))
    table.add_row("all", "model", *_cells(score(_all(fitted))))
    table.add_row("all", "design", *_cells(score(designs)))
    out.print(table)
    out.print("dcu_*: no latency of a network is published: nothing is fitted", markup=False)


def _cells(found: Score) -> tuple[str, ...]:
    return (
        str(found.rows),
        str(found.models),
        f"{found.median:.1%}",
        f"{found.within:.0%}",
        f"{found.low:.2f}-{found.high:.2f}",
        f"{found.ranked} of {found.pairs}",
    )


def _print_parameters(out: Console, fitted: Sequence[Fitted]) -> None:
    table = Table(box=None, pad_edge=False, title="", title_justify="left")
    table.add_column("parameter")
    for each in fitted:
        table.add_column(each.family.name, justify="right")
    table.add_column("without data", justify="right")
    for name, prior in PRIORS.items():
        values = (*(each.parameters[name] for each in fitted), prior.typical)
        table.add_row(name, *(f"{float(f'{value:.3g}'):g}" for value in values))
    out.print(table)


def _print_rows(out: Console, foretold: Iterable[Foretold]) -> None:
    table = Table(box=None, pad_edge=False, title="", title_justify="left")
    for head in ("device", "model", "input", "batch", "precision", "ms", "estimated", "ratio"):
        table.add_column(head, justify="left" if head in {"device", "model"} else "right")
    for item in foretold:
        row = item.row
        precision = f"{row.precision} 2:4" if row.sparse else row.precision.value
        names = (row.device, row.model, row.size, str(row.batch), precision)
        table.add_row(*names, f"{row.us / 1e3:.3g}", f"{item.us / 1e3:.3g}", f"{item.ratio:.2f}")
    out.print(table)


def _write(fitted: Sequence[Fitted], profiles: Path) -> None:
    """All texts are made before the first is written."""
    from .published.picture import draw  # noqa: PLC0415 - matplotlib is only needed here

    texts: dict[Path, str] = {}
    for each in fitted:
        for device in each.family.devices:
            figures, words = stored.figures(device, each), stored.sources(device, each)
            _rewritten(texts, profiles / f"{device}.yaml", figures, words)
        for device in each.family.borrowers:
            _rewritten(texts, profiles / f"{device}.yaml", stored.borrowed(each.parameters), {})
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    draw(_all(fitted), profiles / PICTURE)


def _rewritten(
    texts: dict[Path, str],
    path: Path,
    figures: Mapping[str, NewFigure],
    words: Mapping[str, str],
) -> None:
    text = path.read_text(encoding="utf-8")
    texts[path] = rewrite(text, path.name, figures=figures, sources=words)


if __name__ == "__main__":
    main()
