"""Power cuts on real file systems: images of a disk in the middle of an update, mounted anew.

An image holds what the file system had handed to its device, as a disk does when the power goes;
what was in the page cache alone is not in it. One is taken before every call that makes a change.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hwc.toolchain.update.agent.real_disk import RealDisk

from .faulty_disk import FaultyDisk
from .test_kill import CHANGES, check
from .world import OLD, make_agent, run_update

SIZES = {"ext4": 32, "xfs": 320, "btrfs": 128}  # MiB; what mkfs asks for at least

pytestmark = pytest.mark.skipif(
    "HWC_TEST_IMAGES" not in os.environ or os.geteuid() != 0,
    reason="mounts file systems: set HWC_TEST_IMAGES, and be root",
)


@contextmanager
def mounted(image: Path, kind: str) -> Iterator[Path]:
    """An image as a folder."""
    place = image.with_name("mount")
    place.mkdir(exist_ok=True)
    options = "loop,nouuid" if kind == "xfs" else "loop"
    subprocess.run(["mount", "-t", kind, "-o", options, image, place], check=True)  # noqa: S607
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)  # noqa: S607


@pytest.mark.parametrize("kind", SIZES)
def test_an_image_of_any_moment_ends_at_the_old_or_the_new_release(
    tmp_path: Path, kind: str
) -> None:
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"there is no mkfs.{kind}")
    image, cuts = tmp_path / "disk", list[Path]()
    with image.open("wb") as file:
        file.truncate(SIZES[kind] << 20)
    subprocess.run([f"mkfs.{kind}", image], check=True, capture_output=True)

    def cut(number: int, name: str) -> None:
        if name in CHANGES:
            cuts.append(tmp_path / f"cut{number}")
            subprocess.run(["cp", "--sparse=always", image, cuts[-1]], check=True)  # noqa: S607

    with mounted(image, kind) as root:
        with RealDisk(root) as disk:
            run_update(make_agent(disk, root=root), OLD)
        with RealDisk(root) as disk:
            run_update(make_agent(FaultyDisk(disk, cut), root=root))
    assert len(cuts) > 40
    for each in cuts:
        with mounted(each, kind) as root, RealDisk(root) as disk:
            check(disk)
        each.unlink()
