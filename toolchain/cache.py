"""Where things live that can be made again: the user's cache folder."""

from pathlib import Path

import platformdirs


def cache_folder(name: str, version: int) -> Path:
    """The folder of one kind of file; it need not exist.

    Args:
        name: The kind.
        version: Of its format: another version is another folder.
    """
    return platformdirs.user_cache_path("hwc") / name / f"v{version}"
