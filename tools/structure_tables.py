"""What the command line draws of a changed structure: a summary, the nodes, and the stages."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from ..toolchain.report import Report, StageRow, StructureRow

_NAMED = 4  # nodes, those that lost most, in the summary
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_NONE = "-"


def structure_rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """Rows of the table of a compilation: work and weights, and what was cut."""
    before, after = report.original, report.compiled
    if not before.macs and not before.weights:
        return
    yield "MACs", count_text(before.macs), _fewer(before.macs, after.macs)
    yield "weights", count_text(before.weights), _fewer(before.weights, after.weights)
    if report.structure:
        yield "structure", _NONE, _summary(report.structure)


def count_text(count: int) -> str:
    """A count in thousands, millions or billions."""
    for unit, letter in _UNITS:
        if count >= unit:
            return f"{count / unit:.2f} {letter}"
    return str(count)


def structure_table(report: Report) -> Table:
    """One row for each node whose structure was changed."""
    table = Table("node", "channels left", "rank", title="structure", title_justify="left")
    for row in report.structure:
        rank = f"{_rank(row)} ({row.factors})" if row.rank else _NONE
        table.add_row(escape(row.node), _keep(row), escape(rank))
    return table


def stage_table(report: Report) -> Table:
    """One row for each stage of making the model smaller."""
    columns = ("stage", "kernels take", "weights", "loss before recovery", "drop", "")
    table = Table(*columns, title="stages", title_justify="left")
    for row in report.stages:
        table.add_row(*(escape(cell) for cell in _stage(row)))
    return table


def _stage(row: StageRow) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.us:.1f} µs",
        count_text(row.weights),
        _NONE if row.loss is None else f"{row.loss:.3g}",
        f"{row.drop:.2%}",
        "kept" if row.kept else "undone",
    )


def _summary(rows: tuple[StructureRow, ...]) -> str:
    """How many nodes were cut, and those of which least is left."""
    least = sorted(rows, key=lambda row: row.keep)[:_NAMED]
    named = ", ".join(f"{row.node} {_cut(row)}" for row in least)
    more = f" and {len(rows) - len(least)} more" if len(rows) > len(least) else ""
    return f"{len(rows)} {'node' if len(rows) == 1 else 'nodes'} cut: {named}{more}"


def _cut(row: StructureRow) -> str:
    said = [f"keep {_keep(row)}"] if row.keep < 1.0 or not row.rank else []
    return ", ".join([*said, f"rank {_rank(row)}"] if row.rank else said)


def _keep(row: StructureRow) -> str:
    return f"{row.keep:.0%}" if row.keep else "none"


def _rank(row: StructureRow) -> str:
    return "x".join(map(str, row.rank))


def _fewer(before: int, after: int) -> str:
    ratio = f" ({before / after:.2f}x fewer)" if 0 < after < before else ""
    return f"{count_text(after)}{ratio}"
