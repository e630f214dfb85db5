"""`hwc profile`: models or a subcommand, and help that imports neither."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from hwc.tools.profiling import COMMANDS, MEASURE, ProfileGroup, command

HELP = """
import sys
from hwc.tools.cli import main
try:
    main(["profile", "--help"])
finally:
    heavy = {"numpy", "onnx", "onnxruntime", "rich", "scipy", "sqlite3"} & set(sys.modules)
    print(sorted(heavy), file=sys.stderr)
"""


@click.command(MEASURE)
@click.argument("models", nargs=-1)
@click.option("--device", default="host")
def measuring(models: tuple[str, ...], device: str) -> None:
    """Measure."""
    click.echo(f"{' '.join(models)} on {device}")


class Group(ProfileGroup):
    """The group with something quick in the place of measuring."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand, or take the quick one."""
        return measuring if cmd_name == MEASURE else super().get_command(ctx, cmd_name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net.onnx"], "net.onnx on host"),
        (["a.onnx", "b.onnx", "--device", "orin"], "a.onnx b.onnx on orin"),
        (["--device", "orin", "net.onnx"], "net.onnx on orin"),
        (["./show"], "./show on host"),
        (["measure", "show"], "show on host"),
        (["net.onnx", "--help"], "Measure."),
        (["show", "--help"], "Show for what a table holds"),
        (["--help"], "look after the tables"),
        (["-h"], "look after the tables"),
        ([], "look after the tables"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_models_unless_it_is_a_subcommand(arguments: list[str], said: str) -> None:
    context = {"help_option_names": ["-h", "--help"]}  # as they come from `hwc`
    group = Group(name="profile", lazy=COMMANDS, help=command.help, context_settings=context)
    assert said in CliRunner().invoke(group, arguments).output


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    for name, (_, text) in COMMANDS.items():
        assert (f"  {name} " in done.stdout) is bool(text)
        assert text in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_teaches_with_an_example(name: str) -> None:
    subcommand = ProfileGroup(name="profile", lazy=COMMANDS).get_command(
        click.Context(command), name
    )
    assert subcommand is not None
    text = subcommand.get_help(click.Context(subcommand, info_name=f"hwc profile {name}"))
    words = "hwc profile" if name == MEASURE else f"hwc profile {name}"
    assert f"\n  {words} " in text
    assert "\\b" not in text
