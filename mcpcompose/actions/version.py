"""Which version this is."""

from __future__ import annotations


def version_number() -> str:
    """The installed distribution's version; `0+source` when it runs from a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mcpcompose")
    except PackageNotFoundError:
        return "0+source"
