"""What is well signed and says what it must not: paths, texts, fields and lists of metadata."""

import hashlib
from typing import Any

from hwc.toolchain.update.refusal import Code
from hwc.toolchain.update.release import Compatibility, Release, ReleaseFile

from .tamper_thief import Change, crafted, target_of
from .tamper_world import NEW, PRODUCT

PATHS = {
    "up": "../up",
    "up within": "weights/../../../up",
    "absolute": "/etc/hwc-was-here",
    "NUL": "a\0b",
    "long": "x" * 241,
    "long in bytes": "\N{SNOWMAN}" * 100,
    "backslash": "..\\up",
    "drive": "C:up",
    "dot": "./a",
    "empty": "",
    "empty part": "a//b",
    "bundle.json": "bundle.json",
    "line": "a\nb",
}


def told(*files: ReleaseFile) -> bytes:
    """The `bundle.json` of release 1.3, with these files."""
    return Release(PRODUCT, "1.3", NEW + 1, 1, Compatibility(), None, {}, files).text()


def hostile(*paths: str) -> tuple[bytes, bytes]:
    """The same with files of these paths, and an update file that leads to it."""
    digest = hashlib.sha256(b"x").hexdigest()
    text = told(*(ReleaseFile(path, 1, digest) for path in paths))
    return text, crafted(text, [b"x"] * len(paths))


_ONE = hostile("a")[0]

TEXTS = {
    "no JSON": (b"{", Code.MALFORMED),
    "nested": (b"[" * 100_000, Code.MALFORMED),
    "surrogate": (_ONE.replace(b'"1.3"', b'"\\ud800"'), Code.MALFORMED),
    "surrogate in a path": (_ONE.replace(b'"a"', b'"\\ud800"'), Code.MALFORMED),
    "long number": (_ONE.replace(b'"seq":13', b'"seq":' + b"9" * 5000), Code.MALFORMED),
    "infinite": (_ONE.replace(b'"seq":13', b'"seq":1e999'), Code.MALFORMED),
    "no UTF-8": (_ONE.replace(b'"1.3"', b'"\xff"'), Code.MALFORMED),
    "not canonical": (_ONE + b" ", Code.MALFORMED),
    "huge": (told(ReleaseFile("a", 1 << 50, "a" * 64)), Code.LIMIT),
    "a file twice": (hostile("a", "a")[0], Code.MALFORMED),
}

ROLLOUTS = {
    "surrogate": b'{"halted":false,"release":"","salt":"\\ud800","share":10000}',
    "share": b'{"halted":false,"release":"","salt":"","share":10001}',
    "no share": b'{"halted":false,"release":"","salt":"","share":true}',
    "nested": b"[" * 100_000,
    "nothing": b"",
}

FIELDS = {  # put into metadata that they make another text of
    "surrogate": b'"\\ud800":"\\ud800",',
    "infinite": b'"a":1e999,',
    "no number": b'"a":NaN,',
    "long number": b'"a":' + b"9" * 5000 + b",",
    "fraction": b'"a":1.5,',
}


def _about(**custom: object) -> Change:
    def change(deltas: Any) -> None:  # noqa: ANN401 - tuf's
        for target in deltas.targets.values():
            target.unrecognized_fields["custom"] = {**target.custom, **custom}

    return change


def _of_targets(**about: object) -> Change:
    def change(deltas: Any) -> None:  # noqa: ANN401 - tuf's
        for target in deltas.targets.values():
            for name, value in about.items():
                setattr(target, name, value)

    return change


def _elsewhere(path: str) -> Change:
    def change(deltas: Any) -> None:  # noqa: ANN401 - tuf's
        deltas.targets = {
            path: target_of(path, b"", {"release": "a" * 64, "base": "", "memory": 0})
        }

    return change


LISTED = {
    "no memory is that large": (_about(memory=1 << 60), Code.MEMORY),
    "memory": (_about(memory=-1), Code.MALFORMED),
    "memory is text": (_about(memory="1"), Code.MALFORMED),
    "base": (_about(base="../x"), Code.MALFORMED),
    "base of nobody": (_about(base="a" * 64), Code.BASE),
    "release of nobody": (_about(release="a" * 64), Code.BASE),
    "size": (_of_targets(length=1 << 50), Code.LIMIT),
    "size is less": (_of_targets(length=10), Code.LIMIT),
    "size is more": (_of_targets(length=10**6), Code.NETWORK),
    "digest": (_of_targets(hashes={"sha256": "../../x"}), Code.MALFORMED),
    "no digest": (_of_targets(hashes={"sha512": "a" * 128}), Code.MALFORMED),
    "path of another": (_elsewhere("bundles/door/12/bundle.json"), Code.NOT_SIGNED),
    "path upwards": (_elsewhere("deltas/door/../x.hwcu"), Code.NOT_SIGNED),
    "nothing": (lambda deltas: deltas.targets.clear(), Code.BASE),
}
