"""What is installed: the wheel, the sdist, the public names, and the lists in pyproject.toml."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import hwc
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
FOLDERS = ("backends", "device_profiles", "passes", "toolchain", "tools")
HEAVY = {"click", "numpy", "onnx", "onnx_ir", "onnxruntime", "rich", "scipy", "torch", "yaml"}
EXTRAS = ("torch", "demo", "plot", "gradients", "lowrank", "ray", "rl", "signing", "updates")
NOT_PINNED = {"tensorrt"}  # the user's install: make does not need it


def product_files() -> set[str]:
    """Every file that belongs into the wheel, from the root."""
    return {"__init__.py", "py.typed"}.union(*map(files, FOLDERS))


def files(folder: str) -> set[str]:
    """Every file in a folder, from the root, but for compiled ones."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if path.suffix != ".pyc"}


def requirements(*extras: str) -> dict[str, Requirement]:
    """What the product, or some of its extras, asks for, by distribution."""
    optional = (line for extra in extras for line in PROJECT["optional-dependencies"][extra])
    parsed = map(Requirement, optional if extras else PROJECT["dependencies"])
    return {canonicalize_name(item.name): item for item in parsed}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from the sdist."""
    source, out = tmp_path_factory.mktemp("source") / "any-name", tmp_path_factory.mktemp("dist")
    skip = shutil.ignore_patterns(".*", "demo", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=skip)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source],
        check=True,
        capture_output=True,
    )
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        yield archive


def test_the_packages_are_the_folders() -> None:
    inits = (path for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py"))
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in inits}
    assert set(SETUPTOOLS["packages"]) == {"hwc", *(f"hwc.{name}" for name in folders)}


def test_the_wheel_holds_the_product_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {f"hwc/{name}" for name in product_files()}


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    meta = f"hwc_compiler-{PROJECT['version']}.dist-info"
    assert wheel.read(f"{meta}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "hwc = hwc.tools.cli:main" in wheel.read(f"{meta}/entry_points.txt").decode()
    assert "License-Expression: Apache-2.0" in wheel.read(f"{meta}/METADATA").decode()


def test_the_wheel_works_by_itself(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)  # noqa: S202 - made by this test
    code = "import hwc; print(hwc.__file__); from hwc.tools.cli import main; main(['devices'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path))
    assert "jetson_agx_orin" in done.stdout


def test_the_sdist_can_be_tested(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt", "pyproject.toml"} <= names
    assert files("tests") <= names
    assert not any(name.endswith(".pyc") for name in names)


def test_the_public_names_are_there_when_they_are_asked_for() -> None:
    assert {"Bundle", "Plan", "Request", "compile_model", "load_profile"} <= set(hwc.__all__)
    assert all(getattr(hwc, name) is not None for name in hwc.__all__)
    with pytest.raises(AttributeError, match="no attribute 'compile'"):
        _ = hwc.compile


def test_an_import_loads_nothing_heavy() -> None:
    code = "import json, sys, hwc; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in json.loads(done.stdout)} & HEAVY


def test_one_version() -> None:
    assert hwc.__version__ == PROJECT["version"]


def test_what_is_imported_is_asked_for() -> None:
    distributions = packages_distributions()
    third_party = imported_packages() - sys.stdlib_module_names
    owners = [set(map(canonicalize_name, distributions[name])) for name in third_party]
    asked = requirements().keys()
    assert [names for names in owners if not names & (asked | requirements(*EXTRAS))] == []
    assert asked - set().union(*owners) == set()  # nothing is asked for that is not imported


def test_every_requirement_is_pinned_to_a_version_that_fits() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    asked = requirements() | requirements(*PROJECT["optional-dependencies"])
    for name in asked.keys() - NOT_PINNED - {PROJECT["name"]}:
        assert versions[name] in asked[name].specifier, name


def imported_packages() -> set[str]:
    """The top-level packages that the product's code imports, at start-up or later."""
    found: set[str] = set()
    for name in product_files():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse((ROOT / name).read_bytes())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(str(node.module).partition(".")[0])
    return found
