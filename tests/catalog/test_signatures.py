"""Signatures on a real registry, made the way cosign makes them: what is believed, and what is not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cosign import Signer, bundle, payload, put_bundle, put_simple, statement
from harness.registry import Registry, registry
from mcpcompose.catalog.copies import Supply
from mcpcompose.catalog.distribution import MANIFEST, Repository, digest_of
from mcpcompose.catalog.reference import parse
from mcpcompose.catalog.signature import NotAKeyError, public_keys
from mcpcompose.catalog.signed import Signatures
from mcpcompose.errors import SignatureRefused
from mcpcompose.spec import policy

pytestmark = pytest.mark.docker  # what brings the engine brings the registry

OTHER = "sha256:" + "0" * 64


class Image:
    """One image of its own in a registry, and where its signatures go."""

    def __init__(self, running: Registry, home: Path, name: str) -> None:
        supply = Supply({"MCP_COMPOSE_HOME": str(home / "push")}, home)
        self.name = f"{running.host}/{name}"
        self.repository = Repository(parse(self.name), supply.egress, supply.logins)
        self.digest = asyncio.run(self._pushed(name))
        self.home = home

    async def _pushed(self, name: str) -> str:
        config = await self.repository.put_blob(json.dumps({"os": "linux", "of": name}).encode())
        size = len(json.dumps({"os": "linux", "of": name}))
        described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}
        return await self.repository.put_manifest(json.dumps(manifest).encode(), "1")

    def signed(self, *parts: tuple[bytes, str]) -> None:
        asyncio.run(put_simple(self.repository, self.digest, list(parts)))

    def bundled(self, content: bytes) -> None:
        asyncio.run(put_bundle(self.repository, self.digest, content))

    def check(self, *pems: str, digest: str | None = None) -> None:
        signatures = Signatures({"MCP_COMPOSE_HOME": str(self.home / "check")}, self.home)
        signers = [policy.Signer(file=f"{index}.pub", keys=public_keys(pem)) for index, pem in enumerate(pems)]
        asyncio.run(signatures.check(f"{self.name}@{digest or self.digest}", signers))

    def refused(self, *pems: str, match: str, digest: str | None = None) -> None:
        with pytest.raises(SignatureRefused, match=match):
            self.check(*pems, digest=digest)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def image(shared: Registry, tmp_path: Path, request: pytest.FixtureRequest) -> Image:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-60:].strip("-")
    return Image(shared, tmp_path, f"acme/{name}")


@pytest.fixture
def acme() -> Signer:
    return Signer()


def simple(signer: Signer, image: Image, content: bytes | None = None) -> tuple[bytes, str]:
    content = payload(image.name, image.digest) if content is None else content
    return content, signer.signature(content)


def test_an_image_that_is_signed_with_the_key_is_accepted(image: Image, acme: Signer) -> None:
    image.signed(simple(acme, image))

    image.check(acme.pem)


def test_an_image_that_is_signed_in_the_newer_format_is_accepted(image: Image, acme: Signer) -> None:
    image.bundled(bundle(acme, statement(image.digest)))

    image.check(acme.pem)


def test_an_image_without_a_signature_is_refused(image: Image, acme: Signer) -> None:
    image.refused(acme.pem, match="it has no signature")


def test_a_signature_of_another_key_is_refused(image: Image, acme: Signer) -> None:
    image.signed(simple(Signer(), image))
    image.bundled(bundle(Signer(), statement(image.digest)))

    image.refused(acme.pem, match="signed with another key")


def test_one_good_signature_among_others_is_enough(image: Image, acme: Signer) -> None:
    image.signed(simple(Signer(), image), (b"no json", acme.signature(b"no json")), simple(acme, image))

    image.check(acme.pem)


def test_a_payload_that_was_changed_after_signing_is_refused(image: Image, acme: Signer) -> None:
    honest = payload(image.name, OTHER)
    image.signed((payload(image.name, image.digest), acme.signature(honest)))
    image.bundled(bundle(acme, statement(image.digest), signed=statement(OTHER)))

    image.refused(acme.pem, match="was changed afterwards")


def test_a_true_signature_of_another_image_is_refused(image: Image, acme: Signer) -> None:
    image.signed(simple(acme, image, payload(image.name, OTHER)))
    image.bundled(bundle(acme, statement(OTHER)))

    image.refused(acme.pem, match="of another image")


def test_a_true_signature_of_another_repository_is_refused(image: Image, acme: Signer) -> None:
    image.signed(simple(acme, image, payload("registry.example/acme/other", image.digest)))

    image.refused(acme.pem, match="the signature is of `registry.example/acme/other`")


@pytest.mark.parametrize("kind", ["atomic container signature", "", "cosign something else"])
def test_a_signed_text_of_another_kind_is_no_signature(image: Image, acme: Signer, kind: str) -> None:
    image.signed(simple(acme, image, payload(image.name, image.digest, kind)))

    image.refused(acme.pem, match="not the signature of an image")


def test_a_signed_bill_of_materials_is_no_signature(image: Image, acme: Signer) -> None:
    image.bundled(bundle(acme, statement(image.digest, "https://spdx.dev/Document")))

    image.refused(acme.pem, match="not the signature of an image")


def test_a_payload_that_says_its_digest_twice_is_refused(image: Image, acme: Signer) -> None:
    twice = payload(image.name, OTHER).replace(
        b'"image":{', f'"image":{{"docker-manifest-digest":"{image.digest}",'.encode()
    )
    image.signed(simple(acme, image, twice))

    image.refused(acme.pem, match="not the signature of an image")


def test_all_signers_must_have_signed_and_any_key_of_one_is_enough(image: Image, acme: Signer) -> None:
    other, third = Signer(), Signer()
    image.signed(simple(acme, image))
    image.refused(acme.pem, other.pem, match=r"not signed by `1.pub`")

    image.check(third.pem + acme.pem)
    image.signed(simple(acme, image), simple(other, image))
    image.check(acme.pem, other.pem)


def test_what_was_found_is_enough_without_a_network_and_only_for_the_same_key(tmp_path: Path, acme: Signer) -> None:
    with registry(tmp_path / "registry") as running:
        image = Image(running, tmp_path, "acme/offline")
        image.signed(simple(acme, image))
        image.check(acme.pem)

    image.check(acme.pem)
    image.refused(Signer().pem, match="cannot be had")
    image.refused(acme.pem, match="cannot be had", digest=OTHER)


def test_what_is_kept_cannot_be_made_to_say_more(tmp_path: Path, acme: Signer) -> None:
    with registry(tmp_path / "registry") as running:
        image = Image(running, tmp_path, "acme/kept")
        image.bundled(bundle(acme, statement(image.digest)))
        image.check(acme.pem)

    (kept,) = (tmp_path / "check").rglob(f"{image.digest.removeprefix('sha256:')}.json")
    kept.rename(kept.with_name(f"{OTHER.removeprefix('sha256:')}.json"))

    image.refused(acme.pem, match="cannot be had", digest=OTHER)


def test_a_signature_that_is_half_there_is_refused(image: Image, acme: Signer, shared: Registry) -> None:
    content, signature = simple(acme, image)
    image.signed((content, signature))
    shared.blob_file(digest_of(content)).write_bytes(content[:20])

    image.refused(acme.pem, match="cannot be had")


def test_an_image_without_a_digest_cannot_be_signed(image: Image, acme: Signer) -> None:
    signer = policy.Signer(file="a.pub", keys=public_keys(acme.pem))
    signatures = Signatures({"MCP_COMPOSE_HOME": str(image.home)}, image.home)

    with pytest.raises(SignatureRefused, match="not named by its digest"):
        asyncio.run(signatures.check(f"{image.name}:1", [signer]))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "holds no public key"),
        ("nonsense", "holds no public key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
    ],
)
def test_files_that_hold_no_key_are_refused(text: str, match: str) -> None:
    with pytest.raises(NotAKeyError, match=match):
        public_keys(text)


def test_keys_of_other_kinds_are_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    with pytest.raises(NotAKeyError, match="another kind"):
        public_keys(Signer(ec.generate_private_key(ec.SECP384R1())).pem)
