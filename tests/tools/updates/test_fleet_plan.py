"""`hwc fleet plan`: tables, JSON, the picture, and what it refuses."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hwc.toolchain.errors import HwcError, InputError, OutputError, UsageError
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Compatibility, Dtype, Release, ReleaseFile, Tensor
from hwc.toolchain.update.trust.keys import Keyring
from hwc.toolchain.update.trust.repository import NewArtefact, Repository
from hwc.toolchain.update.trust.roles import METADATA, TARGETS, bundle_path, prefixed
from hwc.tools.updates import fleet_plan
from hwc.tools.updates.fleet import command

KB = 1000
INVENTORY = "device,product,version,link,memory_mb\n"
MIX = ("ethernet", "wifi", "lte", "lte-m", "depot", "visit", "satellite")
PRODUCTS = ("camera", "doorbell")
NEWEST = 5


def release(seq: int) -> Release:
    """A model of 18 kB, all of it new in every release."""
    digest = hashlib.sha256(str(seq).encode()).hexdigest()
    weight = Tensor("w", Dtype.F32, (18 * KB // 4,), 0, 18 * KB, digest)
    file = ReleaseFile("model.onnx", 18 * KB, digest, (weight,))
    return Release("camera", f"1.{seq}", seq, 0, Compatibility(), None, {}, (file,))


RELEASES = [release(seq) for seq in range(1, NEWEST + 1)]


def published(folder: Path) -> Path:
    """A repository with full files, deltas to the next release, and one that needs much memory."""
    keyring = Keyring(folder / "keys", lambda _: "a passphrase")
    keyring.create_all(PRODUCTS)
    repository = Repository.at(folder / "fleet", keyring)
    repository.init(PRODUCTS)

    def update(size: int, base: str, memory: int) -> NewArtefact:
        path = folder / f"{size}.hwcu"
        path.write_bytes(bytes(size))
        return NewArtefact(path, base, memory)

    before = ""
    for now in RELEASES:
        ways = [update(17 * KB, "", 10_000_000)]
        if before:
            ways.append(update(4 * KB, before, 12_000_000))
        if now.seq == NEWEST:
            ways.append(update(6 * KB, RELEASES[1].digest, 60_000_000))
        repository.publish(now, ways)
        before = now.digest
    return repository.folder


class Place:
    """A repository, an inventory, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = folder / "fleet"
        self.inventory = folder / "fleet.csv"
        lines = [
            f"d{i},camera,1.{i % NEWEST + 1},{MIX[i % len(MIX)]},{'' if i % 3 else 20}"
            for i in range(500)
        ]
        self.inventory.write_text(INVENTORY + "\n".join([*lines, "x,camera,0.9,wifi,"]) + "\n")

    def run(self, *options: str) -> Result:
        """Plan; errors are raised."""
        arguments = ["plan", str(self.inventory), "--repo", str(self.repo), *options]
        return CliRunner().invoke(command, arguments, catch_exceptions=False)

    def refused(self, kind: type[HwcError], *options: str) -> str:
        """The message of the error."""
        with pytest.raises(kind) as caught:
            self.run(*options)
        assert caught.value.hint
        return str(caught.value)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for all tests, which copy it."""
    return published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def place(tmp_path: Path, repository: Path) -> Place:
    """Five releases and 501 devices."""
    shutil.copytree(repository, tmp_path / "fleet")
    return Place(tmp_path)


def test_tables(place: Place) -> None:
    text = place.run().stdout
    rows = [line.split() for line in text.splitlines()]
    assert next(row for row in rows if row[:1] == ["0.9"])[:5] == ["0.9", "1", "full", "→", "1.5"]
    assert next(row for row in rows if row[:1] == ["1.5"])[-1] == "current"
    assert any(row[:1] == ["1.2"] and row[2] == "full" and row[-1] == "memory" for row in rows)
    assert "worth making" in text
    assert "~" in text  # what was not made is an estimate
    assert "stopped in 2.0" in text or "stopped in 1." in text


def test_chains_where_agents_take_them(place: Place) -> None:
    rows = [line.split() for line in place.run("--chains").stdout.splitlines()]
    assert any(row[:1] == ["1.2"] and row[2] == "chain" and row[-1] == "memory" for row in rows)


def test_json(place: Place) -> None:
    (report,) = json.loads(place.run("--json").stdout)["products"]
    assert report["plan"]["newest"] == 5
    assert sum(choice["devices"] for choice in report["plan"]["choices"]) == 501
    assert report["forecast"]["devices"] == 401
    assert place.run("--json").stdout == place.run("--json").stdout


def test_the_picture(place: Place) -> None:
    pytest.importorskip("matplotlib")
    picture = place.folder / "plan.png"
    place.run("-o", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "exists already" in place.refused(OutputError, "-o", str(picture))
    place.run("-o", str(picture), "--force")


def test_without_matplotlib_it_says_what_to_install(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_plan, "find_spec", lambda _: None)
    message = place.refused(OutputError, "-o", str(place.folder / "plan.png"))
    assert "pip install 'hwc-compiler[plot]'" in message


def test_products(place: Place) -> None:
    assert "camera" in place.refused(UsageError, "--product", "doorbell")
    with place.inventory.open("a") as file:
        file.write("y,doorbell,1.1,wifi,\n")
    assert "one product" in place.refused(UsageError, "-o", str(place.folder / "plan.png"))
    assert place.run("--product", "camera").exit_code == 0


def test_no_repository(place: Place) -> None:
    shutil.rmtree(place.repo)
    assert "1.root.json" in place.refused(InputError)


def test_a_product_that_is_not_published(place: Place) -> None:
    place.inventory.write_text(INVENTORY + "y,doorbell,1.1,wifi,\n")
    with pytest.raises(Refusal) as caught:
        place.run()
    assert caught.value.code is Code.NOT_SIGNED


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"{}", Code.DIGEST, id="changed"),
        pytest.param(None, Code.NOT_SIGNED, id="gone"),
    ],
)
def test_a_release_that_is_not_what_was_signed(
    content: bytes | None, code: Code, place: Place
) -> None:
    path = place.repo / TARGETS / prefixed(bundle_path("camera", 3), RELEASES[2].digest)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refusal) as caught:
        place.run()
    assert caught.value.code is code


def test_changed_metadata_are_refused(place: Place) -> None:
    """On the operator's own machine, too."""
    for path in (place.repo / METADATA).glob("*.bundles-camera.json"):
        path.write_bytes(path.read_bytes().replace(b"1.4", b"9.9"))
    with pytest.raises(Refusal):
        place.run()
