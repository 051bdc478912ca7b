"""
Signatures of images in cosign's formats, checked with a public key and without asking anybody. Pure.

Two formats are read: the payload beside its signature under the tag `sha256-….sig` ("simple signing"), and the Sigstore
bundle that refers to the image (a DSSE envelope around an in-toto statement). In both, what is signed must name the
digest of the image, and be a signature of an image: a signed bill of materials of the same image is none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcpcompose.catalog.reference import Reference, parse
from mcpcompose.errors import FetchFailed

PAYLOAD_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle"
_KIND: Final = "cosign container image signature"
_STATEMENT: Final = "application/vnd.in-toto+json"
_STATEMENTS: Final = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
_PEM_BEGIN: Final = "-----BEGIN "
_PEM_END: Final = "-----END PUBLIC KEY-----"
MAX_KEYS: Final = 16


class NotAKeyError(ValueError):
    """A file that holds no public key that can be used; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Signed:
    """*payload* says what is signed, in an envelope where it is of a bundle; *signature* is the DER of an ECDSA one."""

    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    is_bundle: bool = False

    @property
    def message(self) -> bytes:
        """The very bytes that are signed: always made of the payload, so that nothing else than it is believed."""
        if not self.is_bundle:
            return self.payload
        return b"DSSEv1 %d %b %d %b" % (len(_STATEMENT), _STATEMENT.encode(), len(self.payload), self.payload)


def public_keys(text: str) -> tuple[str, ...]:
    """
    The keys in a PEM file, each as base64 of its DER. Any one of them is enough (a key may be replaced by another).

    Raises `NotAKeyError` unless all are ECDSA keys on P-256, which is what `cosign generate-key-pair` makes.
    """
    if "PRIVATE KEY" in text:
        raise NotAKeyError("holds a private key; only the public one belongs here")
    parts = text.split(_PEM_END)
    blocks = [_PEM_BEGIN + part.rpartition(_PEM_BEGIN)[2] + _PEM_END for part in parts[:-1]]
    if not blocks or _PEM_BEGIN in parts[-1]:
        raise NotAKeyError("holds no public key in PEM form")
    if len(blocks) > MAX_KEYS:
        raise NotAKeyError(f"holds more than {MAX_KEYS} keys")
    return tuple(_der(block) for block in blocks)


def _der(block: str) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  loaded only where keys are
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )

    try:
        key = load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise NotAKeyError("holds something that is not a public key") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise NotAKeyError("holds a key of another kind than ECDSA on P-256")
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def verify(signed: Iterable[Signed], reference: Reference, keys: Iterable[str]) -> tuple[bool, str]:
    """
    Whether one of *signed* is a signature of the image *reference* (a digest) by one of *keys*, and why not.

    A signature is believed before anything that it signs is looked at.
    """
    known = [_key(key) for key in keys]
    reasons: list[str] = []
    for one in signed:
        if not any(_is_signed_by(one, key) for key in known):
            reasons.append("it is signed with another key, or was changed afterwards")
        elif (reason := _mistake(one, reference)) is None:
            return True, ""
        else:
            reasons.append(reason)
    if not reasons:
        return False, "it has no signature"
    return False, "; ".join(dict.fromkeys(reasons))


def _key(text: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    return load_der_public_key(base64.b64decode(text))


def _is_signed_by(signed: Signed, key: Any) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        key.verify(signed.signature, signed.message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _mistake(signed: Signed, reference: Reference) -> str | None:
    """Why a true signature is not one of *reference*."""
    content = _object(signed.payload)
    return _statement_mistake(content, reference) if signed.is_bundle else _payload_mistake(content, reference)


def _payload_mistake(content: Mapping[str, Any], reference: Reference) -> str | None:
    critical = content.get("critical")
    critical = critical if isinstance(critical, dict) else {}
    image, identity = critical.get("image"), critical.get("identity")
    if critical.get("type") != _KIND:
        return "what is signed is not the signature of an image"
    digest = image.get("docker-manifest-digest") if isinstance(image, dict) else None
    if digest != reference.digest:
        return f"the signature is of another image, `{_plain(digest)}`"
    name = identity.get("docker-reference") if isinstance(identity, dict) else None
    if name and not _is_same(name, reference):
        return f"the signature is of `{_plain(name)}`"
    return None


def _statement_mistake(content: Mapping[str, Any], reference: Reference) -> str | None:
    if str(content.get("_type")) not in _STATEMENTS or content.get("predicateType") != _PREDICATE:
        return "what is signed is not the signature of an image"
    subjects = content.get("subject")
    digests = [
        one["digest"].get("sha256")
        for one in (subjects if isinstance(subjects, list) else ())
        if isinstance(one, dict) and isinstance(one.get("digest"), dict)
    ]
    if (reference.digest or "").removeprefix("sha256:") not in digests:
        return f"the signature is of another image, `{_plain(digests[0] if digests else None)}`"
    return None


def _is_same(name: object, reference: Reference) -> bool:
    try:
        return isinstance(name, str) and parse(name).name == reference.name
    except FetchFailed:
        return False


def _plain(text: object) -> str:
    shown = "".join(character for character in str(text) if character.isascii() and character.isprintable())
    return shown.replace("`", "'")[:120]


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object in which nothing is said twice; empty when it is none."""
    try:
        content = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def of_layer(layer: Mapping[str, Any], payload: bytes) -> Signed | None:
    """The signature in the annotation of a payload's *layer*."""
    annotations = layer.get("annotations")
    text = annotations.get(SIGNATURE_ANNOTATION) if isinstance(annotations, dict) else None
    signature = _unpacked(text)
    return Signed(payload, signature) if signature is not None else None


def of_bundle(data: bytes) -> tuple[Signed, ...]:
    """The signatures in a Sigstore bundle with a DSSE envelope; none when it has none."""
    bundle = _object(data)
    envelope = bundle.get("dsseEnvelope")
    if not str(bundle.get("mediaType")).startswith(BUNDLE_TYPE) or not isinstance(envelope, dict):
        return ()
    payload, signatures = _unpacked(envelope.get("payload")), envelope.get("signatures")
    if payload is None or envelope.get("payloadType") != _STATEMENT or not isinstance(signatures, list):
        return ()
    found = [_unpacked(one.get("sig")) for one in signatures[:MAX_KEYS] if isinstance(one, dict)]
    return tuple(Signed(payload, signature, is_bundle=True) for signature in found if signature is not None)


def _unpacked(text: object) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def fingerprint(key: str) -> str:
    """What people compare: the SHA-256 of a key's DER, as `openssl` prints it."""
    return hashlib.sha256(base64.b64decode(key)).hexdigest()
