"""Reads a table of published latencies: which rows can be predicted, and why the others cannot."""

import csv
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...toolchain.device import load_profile
from ...toolchain.errors import InputError
from ...toolchain.plan import Precision
from .layers import Kernel, batched
from .networks import kernels_of, known, model_of

COLUMNS = (
    *("model", "input", "batch", "precision", "sparsity", "device", "runtime", "metric", "value"),
    *("gmac_per_sample", "source", "notes"),
)
# A device as it is published: its profile, and the power mode of the measurement.
DEVICES: Mapping[str, tuple[str, str]] = {
    "A100-PCIe-80GB": ("a100_pcie_80gb", ""),
    "A100-SXM4-40GB": ("a100_sxm_40gb", ""),
    "A100-SXM4-80GB": ("a100_sxm_80gb", ""),
    "Jetson AGX Orin 64GB (MaxN)": ("jetson_agx_orin", "MAXN"),
    "Jetson Orin NX 16GB": ("jetson_orin_nx", "MAXN"),
    "Jetson Orin Nano Super 8GB": ("jetson_orin_nano", "MAXN_SUPER"),
    "Jetson Orin Nano 8GB MAXN_SUPER": ("jetson_orin_nano", "MAXN_SUPER"),
    "Ascend 310P3 (Atlas 300I Pro, 1 chip)": ("ascend_310p", ""),
    "Ascend 310 (1 chip; Atlas 300I has 4)": ("ascend_310", ""),
}
# Metrics that are the time of one batch, and how many microseconds their unit has.
_LATENCIES = {"mean_latency_ms": 1e3, "max_latency_ms": 1e3, "latency_ms_per_image": 1e3}
_THROUGHPUT = "throughput_per_s"
_IN_PYTHON = "latency_ms_per_image"  # timed around a call of a Python library


@dataclass(frozen=True, slots=True)
class Row:
    """One published latency that can be predicted.

    Attributes:
        model: The model, as `networks.model_of` names it.
        device: The device's profile.
        mode: Its power mode; empty for the profile's own.
        size: The input, as published.
        batch: Samples that run together.
        precision: What the engine computes in.
        sparse: Whether its weights are 2:4 sparse.
        us: The published time of the batch, in microseconds.
        in_python: Whether the time holds a call of a Python library.
        gmac: Published multiply-accumulates of one sample, in 1e9; None where nobody says.
        kernels: The kernels of the batch, with how often each occurs.
    """

    model: str
    device: str
    mode: str
    size: str
    batch: int
    precision: Precision
    sparse: bool
    us: float
    in_python: bool
    gmac: float | None
    kernels: Mapping[Kernel, int]


@dataclass(frozen=True, slots=True)
class Published:
    """The rows of a table, and how many were left out for which reason."""

    rows: tuple[Row, ...]
    left_out: Mapping[str, int]


def read_published(path: Path) -> Published:
    """Read a table of published latencies.

    Args:
        path: A CSV file with the columns `COLUMNS`.

    Raises:
        InputError: The file is missing or not such a table; the message names the line.
    """
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    for line, fields in _records(path):
        reason = _reason(fields)
        if reason:
            left_out[reason] += 1
        else:
            rows.append(_row(f"{path}:{line}", fields))
    return Published(tuple(rows), dict(left_out.most_common()))


def _records(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The lines of the file as mappings, with their numbers."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                hint = f"its first line must be {','.join(COLUMNS)}"
                raise InputError(f"{path} is not a table of published latencies", hint)
            records = [(reader.line_num, fields) for fields in reader]
    except OSError as cause:
        hint = "give the CSV file of published latencies"
        raise InputError(f"{path} cannot be read: {cause.strerror}", hint) from cause
    except (csv.Error, UnicodeDecodeError) as cause:
        raise InputError(f"{path} is not a CSV file: {cause}") from cause
    for line, fields in records:
        if None in fields or None in fields.values():
            raise InputError(f"{path}:{line}: not {len(COLUMNS)} fields")
    return records


def _reason(fields: Mapping[str, str]) -> str:
    """Why a row cannot be predicted; empty where it can."""
    checks = (
        ("DLA" in fields["device"], "it runs on the DLA, of which no profile knows"),
        ("tokens" in fields["metric"], "tokens a second of a language model are no single run"),
        (not fields["batch"].isdecimal(), "the batch size is not published"),
        (fields["device"] not in DEVICES, "the device is not told precisely, or has no profile"),
        ("<=" in fields["input"], "the length of the inputs varies"),
        (not known(model_of(fields["model"])), "inputs of variable length or volume"),
    )
    return next((reason for applies, reason in checks if applies), "")


def _row(where: str, fields: Mapping[str, str]) -> Row:
    """One row that can be predicted."""
    device, mode = DEVICES[fields["device"]]
    batch, value = int(fields["batch"]), _positive(where, "value", fields)
    metric = fields["metric"]
    if metric not in (*_LATENCIES, _THROUGHPUT) or not batch:
        raise InputError(f"{where}: metric '{metric}' of a batch of {batch} is not a latency")
    word = fields["precision"].split()[0].split("+")[0] if fields["precision"] else ""
    if word not in set(Precision):
        raise InputError(f"{where}: '{fields['precision']}' is not a precision")
    fuses = load_profile(device).backend == "trt"
    model = model_of(fields["model"])
    return Row(
        model=model,
        device=device,
        mode=mode,
        size=fields["input"],
        batch=batch,
        precision=Precision(word),
        sparse=fields["sparsity"] == "2:4",
        us=value * _LATENCIES[metric] if metric in _LATENCIES else batch / value * 1e6,
        in_python=metric == _IN_PYTHON,
        gmac=_positive(where, "gmac_per_sample", fields) if fields["gmac_per_sample"] else None,
        kernels=batched(kernels_of(model, fields["input"], fuses=fuses), batch),
    )


def _positive(where: str, column: str, fields: Mapping[str, str]) -> float:
    """A positive, finite number."""
    try:
        value = float(fields[column])
    except ValueError as cause:
        raise InputError(f"{where}: {column} is '{fields[column]}', not a number") from cause
    if not 0 < value < math.inf:
        raise InputError(f"{where}: {column} is {value:g}, not a positive number")
    return value
