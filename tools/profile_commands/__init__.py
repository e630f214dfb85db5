"""The subcommands of `hwc profile`, one a file."""
