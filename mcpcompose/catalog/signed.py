"""
Images must be signed before anything is made of them: signatures found in the image's registry, and kept.

What was found is kept by the image's digest, so that a signed image starts without a network. The kept signatures are
checked anew each time with the keys that the policy names now: whoever changes what is kept can only break it.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mcpcompose.catalog.copies import Supply
from mcpcompose.catalog.distribution import Repository
from mcpcompose.catalog.reference import DIGEST, Reference, parse
from mcpcompose.catalog.signature import BUNDLE_TYPE, PAYLOAD_TYPE, Signed, of_bundle, of_layer, verify
from mcpcompose.errors import FetchFailed, SignatureRefused
from mcpcompose.paths import private_folder, project_paths
from mcpcompose.spec.policy import Signer

MAX_SIGNATURES: Final = 32
"""How many signatures of one image are looked at."""
_MAX_PAYLOAD: Final = 1 << 20
_MAX_KEPT: Final = 8 << 20


class Signatures:
    """Checks images, as the person whose environment and home these are."""

    def __init__(self, environ: Mapping[str, str], home: Path) -> None:
        self._supply = Supply(environ, home)
        self._folder = project_paths("signatures", environ).cache

    async def check(self, image: str, signers: Iterable[Signer]) -> None:
        """Raise `SignatureRefused` unless *image*, which is named by digest, is signed by each of *signers*."""
        wanted = tuple(signers)
        if not wanted:
            return
        try:
            reference = parse(image)
        except FetchFailed as error:
            raise SignatureRefused(error.message) from error
        if reference.digest is None:
            raise SignatureRefused(f"image `{image}` is not named by its digest, so no signature can be of it")
        kept = self._kept(reference)
        if kept and all(verify(kept, reference, signer.keys)[0] for signer in wanted):
            return
        found = await self._found(reference)
        for signer in wanted:
            is_signed, why = verify(found, reference, signer.keys)
            if not is_signed:
                raise SignatureRefused(
                    f"image `{image}` is not signed by `{signer.file}`: {why}",
                    hint="nothing was started; sign it with `cosign sign --key`, or name the digest of a signed image",
                )
        self._keep(reference, found)

    async def _found(self, reference: Reference) -> tuple[Signed, ...]:
        """What the registry has. Raises `SignatureRefused` when it cannot be asked: unknown is not signed."""
        repository = Repository(reference, self._supply.egress, self._supply.logins)
        try:
            return (*await _tagged(repository, reference), *await _referring(repository, reference))
        except FetchFailed as error:
            raise SignatureRefused(
                f"the signatures of image `{reference}` cannot be had: {error.message}", hint=error.hint
            ) from error

    def _file(self, reference: Reference) -> Path:
        return self._folder / f"{(reference.digest or '').removeprefix('sha256:')}.json"

    def _kept(self, reference: Reference) -> tuple[Signed, ...]:
        try:
            with self._file(reference).open("rb") as file:
                listed = json.loads(file.read(_MAX_KEPT))
            return tuple(_read(one) for one in listed)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ()

    def _keep(self, reference: Reference, found: Iterable[Signed]) -> None:
        content = json.dumps([_written(one) for one in found]).encode()
        descriptor, name = tempfile.mkstemp(dir=private_folder(self._folder), prefix=".signatures-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(self._file(reference))
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


async def _tagged(repository: Repository, reference: Reference) -> tuple[Signed, ...]:
    """Payloads and their signatures under the tag that is made of the digest."""
    manifest = await repository.manifest(f"{(reference.digest or '').replace(':', '-')}.sig")
    layers = manifest.content.get("layers") if manifest is not None else None
    found: list[Signed] = []
    for layer in (layers if isinstance(layers, list) else ())[:MAX_SIGNATURES]:
        if isinstance(layer, dict) and layer.get("mediaType") == PAYLOAD_TYPE:
            payload = await _blob(repository, layer)
            if (signed := of_layer(layer, payload)) is not None:
                found.append(signed)
    return tuple(found)


async def _referring(repository: Repository, reference: Reference) -> tuple[Signed, ...]:
    """Bundles that refer to the digest. What else refers to it is passed over."""
    found: list[Signed] = []
    listed = await repository.referrers(reference.digest or "")
    bundles = [one for one in listed if str(one.get("artifactType", BUNDLE_TYPE)).startswith(BUNDLE_TYPE)]
    for descriptor in bundles[:MAX_SIGNATURES]:
        if not DIGEST.fullmatch(digest := str(descriptor.get("digest"))):
            continue
        manifest = await repository.manifest(digest)
        layers = manifest.content.get("layers") if manifest is not None else None
        for layer in (layers if isinstance(layers, list) else ())[:1]:
            if isinstance(layer, dict) and str(layer.get("mediaType")).startswith(BUNDLE_TYPE):
                found += of_bundle(await _blob(repository, layer))
    return tuple(found)


async def _blob(repository: Repository, layer: Mapping[str, Any]) -> bytes:
    size = layer.get("size")
    return await repository.blob(str(layer.get("digest")), size if isinstance(size, int) else -1, limit=_MAX_PAYLOAD)


def _written(signed: Signed) -> dict[str, Any]:
    return {
        "payload": base64.b64encode(signed.payload).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
        "is_bundle": signed.is_bundle,
    }


def _read(one: Mapping[str, Any]) -> Signed:
    payload, signature = (base64.b64decode(one[key], validate=True) for key in ("payload", "signature"))
    return Signed(payload, signature, is_bundle=one["is_bundle"] is True)
