"""
Seal a table of values with a key: AES-256-GCM over the whole of it, names too, so that no entry can be read, swapped or
put back on its own. Pure, except for randomness; the only importer of `cryptography` here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

FORMAT: Final = "mcp-compose keyring"
VERSION: Final = 1
KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
_COST: Final = {"n": 1 << 15, "r": 8, "p": 1}
_MOST: Final = {"n": 1 << 20, "r": 8, "p": 4}
_ID: Final = b"mcp-compose keyring: which key"


class SealBrokenError(Exception):
    """The sealed text is not what the key sealed; the text says how, for people."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and the header that says how another process gets the same one."""

    header: Mapping[str, Any]
    secret: bytes = field(repr=False)


def file_key(secret: bytes) -> Key:
    """The key that a file holds; the header tells it from other keys and gives nothing away."""
    return Key({"kind": "file", "id": hmac.digest(secret, _ID, "sha256")[:8].hex()}, secret)


def passphrase_key(passphrase: bytes, header: Mapping[str, Any] | None = None) -> Key:
    """The key that scrypt makes of *passphrase*, with the salt and cost of *header* (None: fresh ones)."""
    if header is None:
        header = {"kind": "scrypt", "salt": _text(os.urandom(_SALT_BYTES)), **_COST}
    cost = {name: header.get(name) for name in _COST}
    if not all(isinstance(cost[name], int) and 0 < cost[name] <= _MOST[name] for name in _COST):  # type: ignore[operator]
        raise SealBrokenError("its header makes no sense")
    salt = _bytes(header.get("salt"))
    known = hashlib.sha256(repr((passphrase, salt, sorted(cost.items()))).encode()).digest()
    if known not in _derived:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415  only where something is sealed

        try:
            _derived[known] = Scrypt(salt, KEY_BYTES, **cost).derive(passphrase)  # type: ignore[arg-type]
        except (ValueError, MemoryError) as error:
            raise SealBrokenError("its header makes no sense") from error
    return Key(dict(header), _derived[known])


_derived: Final[dict[bytes, bytes]] = {}
"""What scrypt took a tenth of a second for, in this process."""


def seal(values: Mapping[str, bytes], key: Key) -> bytes:
    """The sealed *values*, as the text of a file."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  only where something is sealed

    plain = json.dumps({name: _text(value) for name, value in sorted(values.items())}).encode()
    nonce = os.urandom(_NONCE_BYTES)
    head = {"format": FORMAT, "version": VERSION, "key": dict(key.header)}
    sealed = AESGCM(key.secret).encrypt(nonce, plain, _bound(head))
    return json.dumps({**head, "nonce": _text(nonce), "sealed": _text(sealed)}, indent=1).encode() + b"\n"


def unseal(content: bytes, key_for: Callable[[Mapping[str, Any]], Key]) -> tuple[dict[str, bytes], Key]:
    """The values in *content*, and their key, which *key_for* finds by its header. Raises `SealBrokenError`."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  only where something is sealed
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  the same

    document = _document(content)
    key = key_for(document["key"])
    head = {name: document[name] for name in ("format", "version", "key")}
    try:
        plain = AESGCM(key.secret).decrypt(_bytes(document.get("nonce")), _bytes(document.get("sealed")), _bound(head))
    except InvalidTag:
        raise SealBrokenError("it was changed, or sealed with another key") from None
    except ValueError as error:
        raise SealBrokenError("it was changed") from error
    return {name: _bytes(text) for name, text in json.loads(plain).items()}, key


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SealBrokenError("it is damaged") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT or not isinstance(document.get("key"), dict):
        raise SealBrokenError("it is damaged")
    if document.get("version") != VERSION:
        raise SealBrokenError("it was written by a newer `mcp-compose`")
    return document


def _bound(head: Mapping[str, Any]) -> bytes:
    """What is sealed along: nobody can give the values another header."""
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError as error:
        raise SealBrokenError("it is damaged") from error
