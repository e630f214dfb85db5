"""`hwc fleet`: what a whole fleet is sent."""

import click

from ..lazy import LazyGroup

# Name: (module and attribute, one line of help, so that `hwc fleet --help` imports none of them).
COMMANDS = {
    "plan": (".updates.fleet_plan:command", "Choose what each device is sent, and foretell it."),
}


@click.group("fleet", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Plan updates of a whole fleet.

    \b
    hwc fleet plan inventory.csv --repo fleet/
    """  # noqa: D301 - click wants the escape
