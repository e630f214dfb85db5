"""The fit: it finds what made the data, and what is left out is left out of everything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.device import Confidence, Figure
from hwc.toolchain.latency.estimate import estimate_us
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.tools.published.fit import (
    PRIORS,
    Foretold,
    Parameters,
    Samples,
    efficiencies,
    fit,
    foretell,
    launch_us,
    leave_one_out,
    profile_of,
)
from hwc.tools.published.layers import batched
from hwc.tools.published.networks import kernels_of
from hwc.tools.published.rows import Row, read_published
from hwc.tools.published.scores import score

TRUTH: Parameters = {
    **{name: prior.typical for name, prior in PRIORS.items()},
    "launch": 9.0,
    "conv": 0.35,
    "gemm": 0.7,
    "depthwise": 0.01,
    "memory": 0.6,
}
NETWORKS = ("ResNet-50", "BERT-large", "EfficientViT-B1", "GPUNet-1", "YOLO11s")
SIZES = {"BERT-large": "seq=128", "EfficientViT-B1": "3x224x224", "YOLO11s": "3x640x640"}


def _row(model: str, batch: int, precision: Precision, *, sparse: bool = False) -> Row:
    size = SIZES.get(model, "3x224x224")
    kernels = batched(kernels_of(model, size, fuses=True), batch)
    return Row(
        model=model,
        device="a100_sxm_40gb",
        mode="",
        size=size,
        batch=batch,
        precision=precision,
        sparse=sparse,
        us=1.0,
        in_python=model.startswith("YOLO"),
        gmac=None,
        kernels=kernels,
    )


def _made(parameters: Parameters, noise: float) -> list[Row]:
    """Rows whose times the model itself made, and noise."""
    rows = [_row(m, b, p) for m in NETWORKS for b in (1, 16, 128) for p in Precision if p != "int4"]
    rng = np.random.default_rng(0)
    times = Samples(rows).predict(parameters) * np.exp(rng.normal(0, noise, len(rows)))
    return [replace(row, us=float(us)) for row, us in zip(rows, times, strict=True)]


def test_the_fit_finds_the_parameters_that_made_the_data() -> None:
    found = fit(_made(TRUTH, noise=0.02), noise=0.02)
    for name in ("launch", "conv", "gemm", "depthwise", "memory", "in_python"):
        assert found[name] == pytest.approx(TRUTH[name], rel=0.1), name


def test_one_absurd_row_does_not_move_it() -> None:
    rows = _made(TRUTH, noise=0.02)
    before = fit(rows)
    after = fit([replace(rows[0], us=rows[0].us * 50), *rows[1:]])
    for name in ("launch", "conv", "gemm", "memory"):
        assert after[name] == pytest.approx(before[name], rel=0.1), name


def test_a_parameter_that_nothing_speaks_of_keeps_its_prior() -> None:
    found = fit([row for row in _made(TRUTH, noise=0.02) if row.model == "BERT-large"])
    for name in ("sparse_2_4", "in_python", "depthwise"):
        assert found[name] == pytest.approx(PRIORS[name].typical, rel=1e-3)


def test_what_is_left_out_has_no_say_in_its_own_prediction() -> None:
    rows = _made(TRUTH, noise=0.02)[::3]
    spoilt = [replace(r, us=r.us * 3) if r.model == "BERT-large" else r for r in rows]
    first, second = (leave_one_out(some, lambda model: model) for some in (rows, spoilt))
    for a, b in zip(first, second, strict=True):
        if a.row.model == "BERT-large":
            assert a.us == b.us
    assert any(a.us != b.us for a, b in zip(first, second, strict=True))


def test_a_profile_with_the_fitted_figures_estimates_the_same() -> None:
    """The arrays of the fit and the estimator of the product are one model."""

    def figure(value: float) -> Figure:
        return Figure(value, "", Confidence.DERIVED)

    for precision, sparse in ((Precision.FP16, False), (Precision.INT8, True)):
        row = _row("EfficientViT-B1", 8, precision, sparse=sparse)
        plain = profile_of(row)
        profile = replace(
            plain,
            launch=figure(launch_us(TRUTH, plain)),
            grain=figure(TRUTH["grain"]),
            sparse_2_4=figure(TRUTH["sparse_2_4"]),
            efficiency={
                **{kind: figure(value) for kind, value in efficiencies(TRUTH).items()},
                "memory": figure(TRUTH["memory"]),
            },
        )
        us = sum(
            count
            * estimate_us(k.work, k.kind, NodeChoice(row.precision), profile, sparse=sparse).us
            for k, count in row.kernels.items()
        )
        assert foretell([row], TRUTH)[0].us == pytest.approx(us, rel=1e-9)


def test_a_score_by_hand() -> None:
    int8, fp16 = (_row("ResNet-50", 1, p) for p in (Precision.INT8, Precision.FP16))
    found = score([Foretold(replace(int8, us=10), 11), Foretold(replace(fp16, us=20), 10)])
    assert (found.rows, found.models, found.pairs, found.ranked) == (2, 1, 1, 0)
    assert found.median == pytest.approx((0.1 + 0.5) / 2)
    assert found.within == 0.5
    assert (found.low, found.high) == (pytest.approx(10 / 11), 2)


# What the profiles state: the estimator is as good as this on networks that it has not seen.
FLOORS = {
    "a100": ("a100", 0.25, 0.9),
    "orin": ("jetson", 0.25, 0.9),
    "ascend": ("ascend", 0.35, 0.6),
}


@pytest.mark.parametrize(("devices", "median", "within"), FLOORS.values(), ids=FLOORS)
def test_published_latencies_are_foretold(devices: str, median: float, within: float) -> None:
    path = Path(__file__).resolve().parents[3].parent / "shared/facts/published_latency.csv"
    if not path.is_file():
        pytest.skip("the published latencies (shared/facts) are not beside the checkout")
    rows = [row for row in read_published(path).rows if row.device.startswith(devices)]
    found = score(leave_one_out(rows, lambda model: model))
    assert found.median <= median
    assert found.within >= within
    assert found.ranked == found.pairs
