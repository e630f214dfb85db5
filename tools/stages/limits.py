"""Stage 5: the user's limits on size and latency, held against what passed the gate."""

from math import inf

from ...toolchain.errors import ConstraintError
from ...toolchain.origin import Origin
from ...toolchain.report import Latency, Report
from ..request import Request

ALLOWANCE = 0.05  # of a measured latency: by so much two measurements of one engine may differ


def check_limits(request: Request, report: Report) -> str:
    """Refuse a delivery beyond a limit: the plans that keep it did not pass the gate.

    Returns:
        What the user should know of a latency that is within a limit only by the allowance.

    Raises:
        ConstraintError: It names what was nearest.
    """
    size, latency = report.compiled.size, report.compiled.latency
    over = _over(request, latency)
    broken = []
    if request.max_size is not None and size > request.max_size:
        broken.append(f"--max-size {request.max_size / 1e6:.4g}")
    if latency is not None and over > (ALLOWANCE if latency.origin is Origin.MEASURED else 0.0):
        broken.append(f"--max-latency {request.max_latency_ms:.4g}")
    if not broken:
        near = f"measured {over:.1%} over --max-latency: measurements differ by up to "
        return f"{near}{ALLOWANCE:.0%}" if over > 0.0 else ""
    taken = f"{latency.us / 1e3:.4g} ms ({latency.origin}) and " if latency else ""
    raise ConstraintError(
        f"nothing within {' and '.join(broken)} passed the gate: the nearest, "
        f"{report.attempts[-1].plan}, takes {taken}{size / 1e6:.4g} MB",
        "allow more, or see with -v why the gate refused the others",
    )


def _over(request: Request, latency: Latency | None) -> float:
    """How far a latency is over the limit, as a fraction of it; below 0 within it."""
    if request.max_latency_ms is None or latency is None:
        return -inf
    return latency.us / (1e3 * request.max_latency_ms) - 1.0
