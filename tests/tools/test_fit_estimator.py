"""The command that fits the estimator: its tables, what it writes, what it refuses."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from hwc.toolchain.device_yaml import parse_profile
from hwc.tools.fit_estimator import PICTURE, PROFILES, main
from hwc.tools.published.rows import COLUMNS


@pytest.fixture(scope="module")
def table() -> Path:
    path = Path(__file__).resolve().parents[2].parent / "shared/facts/published_latency.csv"
    if not path.is_file():
        pytest.skip("the published latencies (shared/facts) are not beside the checkout")
    return path


def test_the_shipped_profiles_hold_what_the_fit_finds(table: Path, tmp_path: Path) -> None:
    for profile in PROFILES.glob("*.yaml"):
        shutil.copy(profile, tmp_path)
    result = CliRunner().invoke(
        main, [str(table), "-v", "--write", "--profiles", str(tmp_path)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    for word in ("the batch size is not published", "dcu_*: no latency", "in_python", "YOLO11n"):
        assert word in result.output
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
    for path in sorted(PROFILES.glob("*.yaml")):
        old, new = (parse_profile(p.read_bytes(), p.name) for p in (path, tmp_path / path.name))
        for (key, _, a), (_, _, b) in zip(old.figures(), new.figures(), strict=True):
            assert a.value == pytest.approx(b.value, rel=0.02), (path.name, key)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("a,b\n1,2\n", "is not a table of published latencies"),
        (
            ",".join(COLUMNS) + "\n" + "x" + "," * 11 + "\n",
            "no published latency of a100_sxm_40gb can be predicted",
        ),
    ],
    ids=["absent", "other", "nothing-to-fit"],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(main, [str(path)])
    assert result.exit_code != 0
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
