"""The demonstration's network and pictures are what they are said to be."""

from pathlib import Path

import numpy as np
import pytest
from hwc.tools import demo
from PIL import Image

pytest.importorskip("skimage", reason="the extra [demo] is not installed")
torch = pytest.importorskip("torch", reason="the extra [demo] is not installed")
CATS = range(281, 286)  # ImageNet's classes of domestic cats


def test_no_photograph_is_in_two_parts() -> None:
    places = [place for _, part in demo.PARTS.values() for place in part]
    assert len(set(places)) == len(places) == 7


def test_crops_are_shared_out_and_the_same_each_time(tmp_path: Path) -> None:
    _, places = demo.PARTS["evaluate"]
    for name in ("one", "two"):
        demo.cut(tmp_path / name, places, 5)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [
        *("chelsea-000.png", "chelsea-001.png", "china-000.png"),
        *("rocket-000.png", "rocket-001.png"),
    ]
    for file in files:
        one, two = ((tmp_path / name / file).read_bytes() for name in ("one", "two"))
        assert one == two
        with Image.open(tmp_path / "one" / file) as picture:
            assert (picture.size, picture.mode) == ((demo.SIDE, demo.SIDE), "RGB")


def test_the_network_is_trained_and_knows_a_cat() -> None:
    module, (example,) = demo.network()
    picture = demo.photograph("skimage.data/chelsea.png").resize((demo.SIDE, demo.SIDE))
    pixels = (np.asarray(picture, np.float32) - 127) / 128
    fed = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
    assert fed.shape == example.shape
    with torch.no_grad():
        assert int(module.eval()(fed).argmax()) in CATS
