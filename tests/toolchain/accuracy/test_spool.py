"""A spool gives back what was put in, from memory and from disk."""

import numpy as np
import pytest
from hwc.toolchain.accuracy import spool
from hwc.toolchain.accuracy.spool import Spool


@pytest.mark.parametrize("limit", [0, 10, 2**20], ids=["disk", "moves to disk", "memory"])
def test_round_trip(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Rows of any type and shape come back, in any order, also between appends."""
    monkeypatch.setattr(spool, "_IN_MEMORY", limit or 1)
    rng = np.random.default_rng(0)
    rows = [
        {"x": rng.normal(size=(3, i)).astype(np.float32), "n": np.asarray(i), "t": np.array(["é"])}
        for i in range(5)
    ]
    kept = Spool.of(iter(rows[:3]))
    np.testing.assert_array_equal(kept[1]["x"], rows[1]["x"])
    kept.append(rows[3])
    kept.append(rows[4])
    assert len(kept) == 5
    for index in (4, 0, 3, 2, 1):
        assert list(kept[index]) == ["x", "n", "t"]
        for name, array in kept[index].items():
            assert array.dtype == rows[index][name].dtype
            np.testing.assert_array_equal(array, rows[index][name])


def test_objects_are_refused() -> None:
    """Nothing is ever pickled."""
    with pytest.raises(ValueError, match="allow_pickle"):
        Spool().append({"x": np.array([{}], dtype=object)})
