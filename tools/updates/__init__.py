"""The subcommands that publish, fetch and apply updates, one a file."""
