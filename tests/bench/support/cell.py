"""One model on one device: what came of compiling it, and the counts over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hwc.toolchain.engine import Check, Status

from .tables import points

DEVICES = ("host", "a100", "jetson_orin", "ascend", "dcu")
MAX_DROP = 0.01
ASCEND_OPSET = 18
HEAD = (
    *("model", "device", "ends", "passed", "failed", "owed", "latency", "speed-up"),
    *("drop (1 allowed)", "hwc says", "plan", "s", "remark"),
)
_REMARK = 160  # characters of it that a table shows


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one device.

    Attributes:
        model: The model.
        device: The device.
        code: Exit code of `hwc compile`; 0 is a delivery.
        seconds: That it took.
        message: What went wrong.
        checks: What it checked of the delivery.
        latency_us: Of the delivery, measured or estimated.
        speedup: Over the original, measured or estimated.
        origin: Where both come from.
        drop: On the evaluation data; None where the delivered graph cannot run here.
        own_drop: What the report says, on data that `hwc` held back.
        counts: Slots in each precision.
        offenders: Ascend: operators that its table lacks, and an opset above 18.
    """

    model: str
    device: str
    code: int
    seconds: float
    message: str = ""
    checks: tuple[Check, ...] = ()
    latency_us: float | None = None
    speedup: float | None = None
    origin: str = ""
    drop: float | None = None
    own_drop: float | None = None
    counts: dict[str, int] | None = None
    offenders: tuple[str, ...] = ()

    def with_status(self, status: Status) -> list[Check]:
        """The checks that ended so."""
        return [check for check in self.checks if check.status is status]

    @property
    def row(self) -> tuple[str, ...]:
        """As text."""
        failed = [f"{check.name}: {check.detail}" for check in self.with_status(Status.FAILED)]
        remark = "; ".join((self.message, *failed, *self.offenders)).strip("; ")
        latency = "-" if self.latency_us is None else f"{self.latency_us / 1e3:.3f} ms"
        return (
            *(self.model, self.device, "delivered" if self.code == 0 else f"exit {self.code}"),
            *(str(len(self.with_status(status))) for status in Status),
            f"{latency} {self.origin}",
            "-" if self.speedup is None else f"{self.speedup:.2f}x",
            *(points(self.drop), points(self.own_drop)),
            ", ".join(f"{name} {n}" for name, n in (self.counts or {}).items()),
            *(f"{self.seconds:.0f}", remark[:_REMARK]),
        )


def verdict(cells: Sequence[Cell]) -> str:
    """The counts that the project asks for."""
    lines = []
    for target in DEVICES:
        here = [cell for cell in cells if cell.device == target]
        delivered = [cell for cell in here if cell.code == 0]
        failed = sum(bool(cell.with_status(Status.FAILED)) for cell in delivered)
        outside = sum(cell.drop is not None and cell.drop > MAX_DROP for cell in delivered)
        line = f"{target}: {len(delivered)} of {len(here)} delivered, {failed} with a failed check"
        line += f", {outside} lose more than 1 point"
        if target in ("a100", "jetson_orin"):
            built = sum(_built(cell) for cell in delivered)
            line += f", {built} of {len(here)} built by TensorRT-RTX"
        if target == "ascend":
            legal = sum(not cell.offenders for cell in delivered)
            line += f", {legal} of {len(here)} with listed operators only, opset <= {ASCEND_OPSET}"
        if here:
            lines.append(line)
    return "\n".join(lines)


def _built(cell: Cell) -> bool:
    return any(
        check.status is Status.PASSED and "TensorRT" in f"{check.name} {check.detail}"
        for check in cell.checks
    )
