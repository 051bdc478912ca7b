"""What instances stand in on an engine: networks and volumes, as values."""

from __future__ import annotations

from dataclasses import dataclass

from mcpcompose.spec.policy import Signer


@dataclass(frozen=True, slots=True)
class Egress:
    """
    The only destinations that a network's server reaches: `host:port` and `*.domain:port`.

    *image* has the Python that the container between runs on, *port* is the server's own, where it speaks HTTP.
    """

    allow: tuple[str, ...]
    image: str
    port: int | None = None
    signers: tuple[Signer, ...] = ()
    """Who must have signed *image*: all of them."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A server's own network; *internal* means without a way out."""

    name: str
    server: str
    labels: tuple[tuple[str, str], ...]
    internal: bool = True
    instances: int = 1
    """How many instances are on it at most."""
    egress: Egress | None = None
    """What alone is reached from it; then it is internal, and this machine is not in it."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A named volume of the project."""

    name: str
    labels: tuple[tuple[str, str], ...]
