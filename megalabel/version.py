"""The version of megalabel."""

__version__ = "0.2.0"
