"""Stage 5: the user's limits on size and latency, held against what passed the gate."""

from ...toolchain.errors import ConstraintError
from ...toolchain.report import Report
from ..request import Request


def check_limits(request: Request, report: Report) -> None:
    """Refuse a delivery beyond a limit: the plans that keep it did not pass the gate.

    Raises:
        ConstraintError: It names what was nearest.
    """
    size, latency = report.compiled.size, report.compiled.latency
    broken = []
    if request.max_size is not None and size > request.max_size:
        broken.append(f"--max-size {request.max_size / 1e6:.4g}")
    if latency is not None and latency.us > 1e3 * (request.max_latency_ms or float("inf")):
        broken.append(f"--max-latency {request.max_latency_ms:.4g}")
    if not broken:
        return
    taken = f"{latency.us / 1e3:.4g} ms ({latency.origin}) and " if latency else ""
    raise ConstraintError(
        f"nothing within {' and '.join(broken)} passed the gate: the nearest, "
        f"{report.attempts[-1].plan}, takes {taken}{size / 1e6:.4g} MB",
        "allow more, or see with -v why the gate refused the others",
    )
