"""No value that the gateway hands out is in the audit log, in no form and through no member."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from harness.audit import Shelf

ALPHABET = string.ascii_letters + string.digits + '+/=_-"\\%&'
SECRETS = 1000
ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda value: value,
    "json": lambda value: json.dumps(value)[1:-1],
    "json twice": lambda value: json.dumps(json.dumps(value))[1:-1],
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 within": lambda value: base64.b64encode(f"user:{value}!".encode()).decode(),
    "base64 url": lambda value: base64.urlsafe_b64encode(f"u:{value}".encode()).decode(),
    "hex": lambda value: value.encode().hex(),
    "percent": lambda value: quote(value, safe=""),
}


def values() -> list[str]:
    rng = random.Random(5)
    return ["".join(rng.choices(ALPHABET, k=rng.randrange(16, 48))) for _ in range(SECRETS)]


def core(value: str, name: str) -> str:
    """The part of an encoded value that depends on it alone."""
    if name.startswith("base64"):
        shift = {"base64": 0, "base64 within": 5, "base64 url": 2}[name] % 3
        encode = base64.urlsafe_b64encode if name == "base64 url" else base64.b64encode
        raw = value.encode()
        return encode(b"\0" * shift + raw).decode()[(0, 2, 3)[shift] : 8 * (shift + len(raw)) // 6]
    return ENCODINGS[name](value)


REQUEST: dict[str, Any] = {"client": "c", "profile": "p", "server": "s", "name": "n", "arguments": {"a": "b"}}


def surfaces(text: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """*text* wherever a request or its end can have it."""
    return [
        ({"name": f"file:///{text}"}, {}),
        ({"arguments": {text: 1}}, {}),
        ({"arguments": {"deep": [{"text": text}]}}, {}),
        ({"server": text}, {}),
        ({"client": text, "profile": text}, {}),
        ({}, {"error": text}),
        ({}, {"decisions": [{"interceptor": "i", "decision": "refused", "rule": text, "note": text}]}),
        ({}, {"result": json.dumps({"content": [{"type": "text", "text": text}]}).encode()}),
        ({}, {"result": json.dumps({"structuredContent": {text: text}}).encode()}),
    ]


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_thousand_secrets_are_nowhere_in_the_log(shelf: Shelf, name: str) -> None:
    secrets = values()
    for value in secrets:
        shelf.redactor.add(value)
    log = shelf.log(values="redacted")
    for number, value in enumerate(secrets):
        text = f"x{ENCODINGS[name](value)}y" if name != "base64" else f" {ENCODINGS[name](value)} "
        request, ending = surfaces(text)[number % 9]
        log.began(id=str(number), session="0", method="tools/call", **{**REQUEST, **request})
        log.ended(id=str(number), outcome="ok", **ending)
    log.close()

    content = b"".join(shelf.lines()).decode()
    decoded = "\n".join(map(_texts, map(json.loads, shelf.lines())))
    leaked = [value for value in secrets if core(value, name) in content or core(value, name) in decoded]
    assert leaked == []
    assert content.count("[redacted]") >= SECRETS


def _texts(value: Any) -> str:
    """Every text of a record, as a reader of its JSON has it."""
    if isinstance(value, dict):
        return "\n".join(f"{key}\n{_texts(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(map(_texts, value))
    return str(value)


def test_a_value_that_becomes_known_later_is_hidden_from_then_on(shelf: Shelf) -> None:
    log = shelf.log()
    log.began(id="1", client="c", profile="p", session="0", server="s", method="m", name="turns-secret", arguments=None)
    shelf.redactor.add("turns-secret")
    log.began(id="2", client="c", profile="p", session="0", server="s", method="m", name="turns-secret", arguments=None)
    assert json.loads(shelf.lines()[-1])["name"] == "[redacted]"


def test_what_is_named_like_a_secret_is_hidden_though_nobody_knows_it(shelf: Shelf) -> None:
    log = shelf.log(values="redacted")
    arguments = {
        "password": "hunter2", "apiKey": ["k"], "deep": {"Authorization": {"scheme": "x"}}, "max_tokens": 5, "body": "b"
    }  # fmt: skip
    log.began(
        id="1", client="c", profile="p", session="0", server="s", method="m", name="n", arguments=arguments
    )  # fmt: skip
    assert json.loads(shelf.lines()[-1])["values"] == {
        "password": "[redacted]", "apiKey": "[redacted]", "deep": {"Authorization": "[redacted]"}, "max_tokens": 5,
        "body": "b",
    }  # fmt: skip


def test_a_secret_at_the_edge_of_what_is_cut_is_not_written_in_part(shelf: Shelf) -> None:
    shelf.redactor.add("abcdefghijklmnopqrstuvwxyz")
    log = shelf.log()
    for filling in range(360, 520):
        text = "-" * filling + "abcdefghijklmnopqrstuvwxyz"
        log.began(id="1", client="c", profile="p", session="0", server="s", method="m", name=text, arguments={text: 1})
        log.ended(id="1", outcome="error", error=text, decisions=[{"interceptor": "i", "note": text}])
    records = [json.loads(line) for line in shelf.lines()]
    assert not [one for one in records if "abcd" in str({**one, "hash": "", "prev": ""})]  # they are hexadecimal
