"""A thousand handed-out values, in eight encodings, on every surface: none gets through."""

from __future__ import annotations

import base64
import json
import logging
import random
import string
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from mcpcompose.interceptors.base import TO_CLIENT, Around, Change, Exchange, Refuse
from mcpcompose.interceptors.secret_scan import SecretScan
from mcpcompose.interceptors.sessions import GovernedSession
from mcpcompose.log import setup
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Interceptor as Spec
from mcpcompose.spec.project import Project

SOURCE = random.Random("handed out")
LETTERS = string.ascii_letters + string.digits
MARKS = "!#$%&*+,-./:;<=>?@[]^_{|}~ \"'\\"


def value(number: int) -> str:
    """Tokens, passwords with marks, words with umlauts, several lines."""
    alphabet = (LETTERS, LETTERS + MARKS, LETTERS + "äöüßéñ漢字🔑", string.hexdigits.lower()[:16])[number % 4]
    text = "".join(SOURCE.choice(alphabet) for _ in range(SOURCE.randint(10, 48)))
    return f"{text}\n{text[::-1]}x{number}" if number % 50 == 49 else f"{number:04}{text}".strip()


VALUES = tuple(value(number) for number in range(1000))


def units(text: str) -> str:
    raw = text.encode("utf-16-be")
    return "".join(f"\\u{raw[at]:02x}{raw[at + 1]:02x}" for at in range(0, len(raw), 2))


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "json": lambda text: json.dumps(text)[1:-1],
    "base64": lambda text: base64.b64encode(b"p" * (len(text) % 3) + text.encode() + b"tail").decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(b"p" * (len(text) % 3) + text.encode() + b"tail").decode(),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: quote(text, safe=""),
    "escaped": units,
    "reversed": lambda text: text[::-1],
}
REDACTOR = Redactor(VALUES)


async def as_it_is(_label: str, text: str) -> str:
    return text


SCAN = SecretScan(Spec(use="secret-scan"), Around(Project.model_construct(name="x"), Path("/"), REDACTOR, {}, as_it_is))


def shown(method: str, message: dict[str, object], where: str) -> str:
    """What gets through of *message*, as one text."""
    raw = json.dumps(message, ensure_ascii=len(str(message)) % 2 == 0).encode()
    session = GovernedSession("me", 0.0, lambda: None, tuple)
    said = Exchange("1", method, "s", None, None, message if where == "params" else {}, "me", "default", session,
                    direction=TO_CLIENT if method.startswith("notifications/") else "to_server")  # fmt: skip
    if where == "params":
        decision = SCAN.before(said)
    else:
        setattr(said, where, raw)
        decision = SCAN.after(said)
    match decision:
        case Refuse(message):
            return message
        case Change(params=dict() as params):
            return json.dumps(params, ensure_ascii=False)
        case Change(result=bytes() as changed) | Change(error=bytes() as changed):
            return json.dumps(json.loads(changed), ensure_ascii=False)
    return raw.decode()


SURFACES: dict[str, Callable[[str], str]] = {
    "arguments": lambda text: shown("tools/call", {"name": "x", "arguments": {"it": f"< {text} >"}}, "params"),
    "text": lambda text: shown("tools/call", {"content": [{"type": "text", "text": f"< {text} >"}]}, "result"),
    "structured": lambda text: shown("tools/call", {"content": [], "structuredContent": {"x": [text]}}, "result"),
    "resource": lambda text: shown("resources/read", {"contents": [{"uri": "file:///x", "text": text}]}, "result"),
    "prompt": lambda text: shown("prompts/get", {"messages": [{"role": "user", "content": {"text": text}}]}, "result"),
    "error": lambda text: shown("tools/call", {"code": -1, "message": f"failed: {text}"}, "error"),
    "notification": lambda text: shown("notifications/message", {"level": "info", "data": text}, "params"),
    "audit": lambda text: json.dumps(REDACTOR.tree({"arguments": {"it": f"< {text} >"}}), ensure_ascii=False),
}


@pytest.mark.parametrize("surface", SURFACES)
def test_no_handed_out_value_gets_through_in_any_encoding(surface: str) -> None:
    through = SURFACES[surface]
    leaks = [
        (name, secret)
        for name, encoded in ENCODINGS.items()
        for secret in VALUES
        if (text := encoded(secret)) in (got := through(text)) or secret in got or json.dumps(text)[1:-1] in got
    ]

    assert leaks == []


def test_no_handed_out_value_gets_into_the_log(tmp_path: Path) -> None:
    setup(tmp_path, REDACTOR)
    log = logging.getLogger("mcpcompose.leaks")
    for name, encoded in ENCODINGS.items():
        for secret in VALUES:
            log.warning("server said %s", encoded(secret), extra={"encoding": name})
    for handler in logging.getLogger("mcpcompose").handlers:
        handler.flush()
    written = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())

    assert written.count("server said") == len(ENCODINGS) * len(VALUES)
    assert [secret for encoded in ENCODINGS.values() for secret in VALUES if encoded(secret) in written] == []


def test_blobs_hold_none_either() -> None:
    for secret in VALUES[::7]:
        blob = base64.b64encode(b"\x89PNG" + b"\0" * (len(secret) % 5) + secret.encode() + b"\xff\xfe").decode()
        got = json.loads(shown("resources/read", {"contents": [{"uri": "file:///x", "blob": blob}]}, "result"))

        assert secret.encode() not in base64.b64decode(got["contents"][0]["blob"])
