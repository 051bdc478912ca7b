"""
Catalogs as artifacts of a registry: pulled whole and verified, or pushed.

An artifact is one OCI manifest with one layer, which is the catalog. Nothing is handed out before the manifest and
the layer have the digests that name them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mcpcompose.catalog.credentials import DockerLogins
from mcpcompose.catalog.distribution import INDEX, MANIFEST, Manifest, Repository, digest_of
from mcpcompose.catalog.https import Egress, Progress, quiet
from mcpcompose.catalog.reference import Reference
from mcpcompose.errors import FetchFailed

Kind = Literal["own", "docker"]

ARTIFACT: Final[Mapping[Kind, str]] = {
    "own": "application/vnd.mcp-compose.catalog.v1+yaml",
    "docker": "application/vnd.docker.mcp.catalog.v1+json",
}
"""The types of artifacts by the format of what is in them; Docker's is what its own tools push."""
EMPTY: Final = b"{}"
_EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
_TITLE: Final = "org.opencontainers.image.title"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A catalog as it was pulled. *digest* is the manifest's: what a lock file pins."""

    data: bytes = field(repr=False)
    digest: str
    kind: Kind | None
    """The format as the artifact's type says; None when it says nothing that is known."""


async def pull(
    reference: Reference,
    egress: Egress,
    logins: DockerLogins,
    *,
    known: str | None = None,
    progress: Progress = quiet,
) -> Artifact | None:
    """The catalog at *reference*; None when it is still the one with the digest *known*. Raises `FetchFailed`."""
    repository = Repository(reference, egress, logins)
    manifest = await repository.manifest(reference.wanted)
    if manifest is None:
        raise FetchFailed(f"`{reference}` does not exist", hint="check the name and the tag")
    if manifest.digest == known:
        return None
    layer = _layer(manifest, reference)
    data = await repository.blob(str(layer.get("digest")), _size(layer), progress=progress)
    types = {str(manifest.content.get("artifactType")), str(layer.get("mediaType")), _config_type(manifest)}
    kind = next((kind for kind, media_type in ARTIFACT.items() if media_type in types), None)
    return Artifact(data, manifest.digest, kind)


async def push(
    reference: Reference,
    data: bytes,
    kind: Kind,
    egress: Egress,
    logins: DockerLogins,
    *,
    title: str = "catalog.yaml",
    told: Progress = quiet,
) -> str:
    """Push *data* as a catalog to the tag of *reference*; returns the digest, the same for the same data."""
    if reference.digest is not None:
        raise FetchFailed(f"`{reference}` is named by a digest, which cannot be pushed to", hint="name a tag")
    repository = Repository(reference, egress, logins)
    config = await repository.put_blob(EMPTY)
    layer = await repository.put_blob(data)
    told(len(data), len(data))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT[kind],
        "config": {"mediaType": _EMPTY_TYPE, "digest": config, "size": len(EMPTY)},
        "layers": [
            {"mediaType": ARTIFACT[kind], "digest": layer, "size": len(data), "annotations": {_TITLE: title}},
        ],
    }
    return await repository.put_manifest(json.dumps(manifest, separators=(",", ":")).encode(), reference.wanted)


def _layer(manifest: Manifest, reference: Reference) -> Mapping[str, Any]:
    """The one layer of an artifact. An image is no catalog."""
    if manifest.media_type == INDEX or "manifests" in manifest.content:
        raise FetchFailed(f"`{reference}` is a list of images, not a catalog")
    layers = manifest.content.get("layers")
    config = _config_type(manifest)
    if config.endswith(("image.config.v1+json", "container.image.v1+json")) and not manifest.content.get(
        "artifactType"
    ):
        raise FetchFailed(f"`{reference}` is an image, not a catalog")
    if not isinstance(layers, list) or len(layers) != 1 or not isinstance(layers[0], dict):
        raise FetchFailed(f"`{reference}` is not a catalog: an artifact with exactly one part")
    return layers[0]


def _config_type(manifest: Manifest) -> str:
    config = manifest.content.get("config")
    return str(config.get("mediaType")) if isinstance(config, dict) else ""


def _size(layer: Mapping[str, Any]) -> int:
    size = layer.get("size")
    return size if isinstance(size, int) and not isinstance(size, bool) else -1


__all__ = ["ARTIFACT", "Artifact", "Kind", "digest_of", "pull", "push"]
