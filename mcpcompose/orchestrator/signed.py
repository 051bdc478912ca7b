"""
Images that the policy wants signed are signed, before anything is made of them.

Asked twice: before a server's work begins, so that what serves goes on when the new image is refused, and wherever the
values of an instance are given out, without which nothing is made or started.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from mcpcompose.engine.base import BuiltImage, HostCommand, InstanceSpec, PackageImage, RegistryImage
from mcpcompose.errors import SignatureRefused
from mcpcompose.spec.policy import Signer

Verify = Callable[[str, tuple[Signer, ...]], Awaitable[None]]
"""Raises `SignatureRefused` unless the image with this reference is signed by all of these."""


async def nobody_knows(image: str, signers: tuple[Signer, ...]) -> None:
    """Where nothing can verify, nothing is signed."""
    if signers:
        raise SignatureRefused(f"nothing here can verify the signatures of image `{image}`")


async def refuse_unsigned(spec: InstanceSpec, verify: Verify) -> None:
    """Raise `SignatureRefused` unless what *spec* is made of is signed as its policy says."""
    if not spec.signers:
        return
    match spec.source:
        case RegistryImage() as image:
            await verify(image.reference, spec.signers)  # what the engine is asked for, a lock's pin and all
        case PackageImage(runner=runner):
            await verify(runner, spec.signers)
        case BuiltImage(tag):
            raise SignatureRefused(f"`{tag}` is built here, and nobody has signed it")
        case HostCommand():
            pass
        case other:
            assert_never(other)
