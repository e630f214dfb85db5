"""The version of hwc, where modules below the package's root can import it."""

__version__ = "0.1.0"
