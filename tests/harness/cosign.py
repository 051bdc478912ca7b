"""Signatures as cosign makes them, put where cosign puts them: its own keys, formats and tags; no cosign is needed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mcpcompose.catalog.distribution import INDEX, MANIFEST, Repository, digest_of

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"


@dataclass
class Signer:
    """One key pair, as `cosign generate-key-pair` makes it."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> str:
        """What is in `cosign.pub`."""
        public = self.key.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def signature(self, message: bytes) -> str:
        """Base64 of the signature of *message*."""
        return base64.b64encode(self.key.sign(message, ec.ECDSA(hashes.SHA256()))).decode()


def payload(name: str, digest: str, kind: str = "cosign container image signature") -> bytes:
    """What the older format signs."""
    critical = {"identity": {"docker-reference": name}, "image": {"docker-manifest-digest": digest}, "type": kind}
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def statement(digest: str, predicate: str = SIGN) -> bytes:
    """What the newer format signs."""
    subject = [{"digest": {"sha256": digest.removeprefix("sha256:")}, "annotations": {}}]
    whole = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": predicate,
        "predicate": {},
    }
    return json.dumps(whole).encode()


def bundle(signer: Signer, content: bytes, signed: bytes | None = None) -> bytes:
    """A Sigstore bundle around *content*; with *signed*, the signature is of that instead."""
    kind = b"application/vnd.in-toto+json"
    body = content if signed is None else signed
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)
    envelope = {
        "payload": base64.b64encode(content).decode(),
        "payloadType": kind.decode(),
        "signatures": [{"sig": signer.signature(message)}],
    }
    material = {"publicKey": {"hint": "key"}, "tlogEntries": []}
    return json.dumps({"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}).encode()


async def put_simple(repository: Repository, digest: str, parts: list[tuple[bytes, str]]) -> None:
    """Store payloads with their signatures under the tag of *digest*."""
    config = await repository.put_blob(b"{}")
    layers = []
    for content, signature in parts:
        await repository.put_blob(content)
        layers.append(
            {
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "size": len(content),
                "digest": digest_of(content),
                "annotations": {"dev.cosignproject.cosign/signature": signature},
            }
        )
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}
    await repository.put_manifest(json.dumps(manifest).encode(), f"{digest.replace(':', '-')}.sig")


async def put_bundle(repository: Repository, digest: str, content: bytes) -> None:
    """Store a bundle that refers to *digest*, with the tag that stands for referrers where a registry has no API."""
    config = await repository.put_blob(b"{}")
    await repository.put_blob(content)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": BUNDLE, "digest": digest_of(content), "size": len(content)}],
        "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1},
        "annotations": {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": SIGN},
    }
    data = json.dumps(manifest).encode()
    await repository.put_manifest(data, digest_of(data))
    descriptor = {"mediaType": MANIFEST, "digest": digest_of(data), "size": len(data), "artifactType": BUNDLE}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]}
    await repository.put_manifest(json.dumps(index).encode(), digest.replace(":", "-"), INDEX)
