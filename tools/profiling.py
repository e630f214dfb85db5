"""`hwc profile`: measures a device's latency table, and looks after tables that were measured."""

import click

from .lazy import LazyGroup

MEASURE = "measure"  # what `hwc profile MODEL...` means
# Name: (module and attribute, one line of help, so that `hwc profile --help` imports none of them).
COMMANDS = {
    MEASURE: (".profile_commands.measure:command", ""),
    "check": (".profile_commands.check:command", "Measure a sample again: does it still hold?"),
    "show": (".profile_commands.show:command", "Show what a table holds."),
    "diff": (".profile_commands.diff:command", "Compare two tables, row by row."),
    "merge": (".profile_commands.merge:command", "Unite tables in a new one."),
    "export": (".profile_commands.export:command", "Write a table as CSV or JSON."),
}


class ProfileGroup(LazyGroup):
    """A group whose arguments are models to be measured unless the first is a subcommand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the subcommand that is left out; a model called `show` is given as `./show`."""
        known = {*self.list_commands(ctx), *self.get_help_option_names(ctx)}
        if args and args[0] not in known:
            args = [MEASURE, *args]
        return super().parse_args(ctx, args)


@click.group(
    "profile",
    cls=ProfileGroup,
    lazy=COMMANDS,
    subcommand_metavar="MODEL... | COMMAND [ARGS]...",
)
def command() -> None:
    """Measure the kernels of models on a device, and look after the tables.

    What a table holds carries over to other models with equal kernels. A command's own help:
    hwc profile COMMAND --help; the help of measuring: hwc profile measure --help.

    \b
    hwc profile model.onnx --device host
    hwc profile show --device host
    hwc profile diff before.sqlite after.sqlite
    """  # noqa: D301 - click wants the escape
