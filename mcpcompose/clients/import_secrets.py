"""
Which texts of a client's file are secrets: by the name of what holds them, and by their shape.

Where it is doubtful it is a secret: what was none only stands in a safer place than it had to.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final
from urllib.parse import unquote

from mcpcompose.clients.import_text import MARK, plain

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS: Final = frozenset(
    {
        "token", "secret", "secrets", "password", "passwd", "passphrase", "pwd", "pass", "apikey", "authtoken",
        "accesstoken", "credential", "credentials", "creds", "bearer", "pat", "jwt", "cookie", "dsn", "auth",
        "authorization", "privatekey", "secretkey", "accesskey", "apitoken", "otp", "pin", "webhook", "sig",
        "signature", "key", "keys", "license", "session", "sessionid",
    }
)  # fmt: skip
_WEAK_WORDS: Final = frozenset({"key", "keys", "auth", "pass", "session", "license", "pin", "webhook", "pat", "sig"})
"""Words that are also said of other things: a value has to look like one too."""
_OTHER_LAST: Final = frozenset(
    {
        "file", "path", "dir", "directory", "folder", "type", "mode", "method", "enabled", "disabled", "limit", "max",
        "min", "ttl", "expiry", "expires", "timeout", "count", "name", "names", "header", "prefix", "provider",
        "length", "size", "scheme", "strategy", "format", "region", "host", "port", "endpoint", "url", "uri", "user",
        "username", "email", "algorithm", "alias", "required", "version", "scopes", "scope", "model", "budget", "id",
    }
)  # fmt: skip
"""A name that ends with one of these says something about a secret, and is none."""

_PREFIXES: Final = (
    r"gh[pousr]_[A-Za-z0-9]{16,}", r"github_pat_[A-Za-z0-9_]{16,}", r"gl(?:pat|ptt|dt|rt|soat)-[A-Za-z0-9_.-]{16,}",
    r"(?:sk|rk|pk)[-_](?:live|test|proj|ant|or|svcacct|lf)[-_][A-Za-z0-9_-]{8,}", r"sk-[A-Za-z0-9_-]{16,}",
    r"xox[abeoprs]-[A-Za-z0-9-]{8,}", r"xapp-[A-Za-z0-9-]{8,}", r"(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}",
    r"AIza[A-Za-z0-9_-]{30,}", r"ya29\.[A-Za-z0-9_-]{16,}", r"GOCSPX-[A-Za-z0-9_-]{16,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
    r"(?:ntn|secret)_[A-Za-z0-9]{20,}", r"lin_(?:api|oauth)_[A-Za-z0-9]{16,}", r"figd_[A-Za-z0-9_-]{16,}",
    r"sbp_[A-Za-z0-9]{16,}", r"sb_(?:secret|publishable)_[A-Za-z0-9_-]{16,}", r"npm_[A-Za-z0-9]{20,}",
    r"pypi-[A-Za-z0-9_-]{20,}", r"hf_[A-Za-z0-9]{16,}", r"tvly-[A-Za-z0-9-]{10,}", r"fc-[A-Za-z0-9]{16,}",
    r"r8_[A-Za-z0-9]{16,}", r"do[opr]_v1_[a-f0-9]{32,}", r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16,}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", r"whsec_[A-Za-z0-9+/=]{16,}", r"PMAK-[A-Za-z0-9-]{16,}",
    r"apify_api_[A-Za-z0-9]{16,}", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{16,}", r"glsa_[A-Za-z0-9_]{16,}",
    r"AT(?:ATT|CTT)[A-Za-z0-9_=-]{16,}", r"sntry[su]_[A-Za-z0-9_=+/-]{16,}", r"gsk_[A-Za-z0-9]{16,}",
    r"xai-[A-Za-z0-9]{16,}", r"pplx-[A-Za-z0-9]{16,}", r"nvapi-[A-Za-z0-9_-]{16,}",
    r"pat[A-Za-z0-9]{14}\.[a-f0-9]{32,}",
    r"key-[a-f0-9]{32}", r"BSA[A-Za-z0-9_-]{20,}", r"ctx7sk-[A-Za-z0-9-]{16,}", r"napi_[A-Za-z0-9]{20,}",
    r"dapi[a-f0-9]{32}", r"rnd_[A-Za-z0-9]{20,}", r"phx_[A-Za-z0-9]{20,}", r"ops_eyJ[A-Za-z0-9_-]{20,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
)  # fmt: skip
_SHAPE: Final = re.compile(r"(?<![A-Za-z0-9])(?:" + "|".join(_PREFIXES) + ")")
_USERINFO: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s@:]*:(?P<password>[^/\s]+)@")
_ASSIGNED: Final = re.compile(
    r"(?:^|[\s;&,?'\"-])(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*[\"']?(?P<value>[^\s\"',;&]+)"
)
_RANDOM: Final = re.compile(r"[A-Za-z0-9_+/=.~-]{20,}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PLAIN_VALUE: Final = re.compile(r"true|false|yes|no|on|off|null|none|[-+]?[0-9]{1,6}(?:\.[0-9]+)?", re.IGNORECASE)
_PATH: Final = re.compile(r"(?:[A-Za-z]:[\\/]|~?/|\.{1,2}/)[^\s]*|.*\.(?:json|ya?ml|pem|txt|toml|env|md|js|ts|py)")
_PLACEHOLDER: Final = re.compile(
    r"<[^>]*>|\{\{.*\}\}|\[[A-Za-z _-]*\]|\{[A-Za-z _-]*\}|[xX*.…]{3,}"
    r"|(?:your|insert|enter|paste|replace)[-_ ].*|.*[-_ ](?:your|placeholder|here|goes[-_ ]here)(?:[-_ ].*)?"
    r"|.*\b(?:change[-_]?me|placeholder)\b.*|(?-i:YOUR[A-Z_]*)|(?:[A-Za-z]{2,10}[-_])+[xX*.…]{3,}"
    r"|[A-Za-z0-9_-]{2,10}(?:\.\.\.|…|\*{3,})"
    r"|[A-Za-z]+[-_]?[xX]{6,}",
    re.IGNORECASE | re.DOTALL,
)
_ENOUGH: Final = 3.2
"""Bits per character from which a long word is taken for a random one."""


def is_placeholder(value: str) -> bool:
    """Text from a manual that stands for a value: `<YOUR_TOKEN>`, `your-api-key`, `xxx`."""
    return bool(_PLACEHOLDER.fullmatch(value.strip()))


def names_a_secret(name: str) -> bool:
    """Whether something called *name* usually holds a secret."""
    words = _words(name)
    return bool(words) and words[-1] not in _OTHER_LAST and bool(_SECRET_WORDS & {*words, *_pairs(words)})


def is_secret(name: str, value: str) -> bool:
    """Whether *value*, held by something called *name* (empty: nothing known), is or contains a secret."""
    text = plain(value).strip()
    if not text:
        return False
    if _SHAPE.search(text) or has_password(text) or _nested(text):
        return True
    words = _words(name)
    if not words or words[-1] in _OTHER_LAST:
        return bool(words) and words[-1] not in _HARMLESS_RANDOM and is_random(text)
    found = _SECRET_WORDS & {*words, *_pairs(words)}
    if not found:
        return is_random(text)
    if _PLAIN_VALUE.fullmatch(text) and (found <= _WEAK_WORDS or not text.isdigit()):
        return False
    return not (found <= _WEAK_WORDS and (_PATH.fullmatch(text) or " " in text))


_HARMLESS_RANDOM: Final = frozenset(
    {"id", "name", "names", "path", "dir", "directory", "folder", "file", "url", "uri", "host", "endpoint", "model",
     "version", "user", "username", "email"}
)  # fmt: skip


def secret_words(text: str) -> set[str]:
    """The words in *text* that are secrets by their shape."""
    words = {word for word in re.split(r"[^A-Za-z0-9_+/=.~-]+", text) if is_random(word)}
    return {match[0] for match in _SHAPE.finditer(text)} | words


def is_random(text: str) -> bool:
    """A long word that nobody would write or read: no path, no sentence, no dotted name, no UUID."""
    word = text.strip()
    if not _RANDOM.fullmatch(word) or _UUID.fullmatch(word) or _PATH.fullmatch(word):
        return False
    kinds = [bool(re.search(kind, word)) for kind in ("[a-z]", "[A-Z]", "[0-9]")]
    if not kinds[2] or max(map(len, re.split(r"[-_./=+~]", word))) < 12:  # noqa: PLR2004  longer than words are
        return False
    counts = Counter(word).values()
    bits = -sum(n / len(word) * math.log2(n / len(word)) for n in counts)
    return bits >= _ENOUGH


def has_password(text: str) -> bool:
    """Whether a URL in *text* has a password in front of its host."""
    match = _USERINFO.search(text)
    return match is not None and not is_placeholder(unquote(match["password"]))


def holds_assignment(text: str) -> bool:
    """Whether *text* has something like `API_KEY=…` or `Authorization: …` in it."""
    found = ((m["key"], m["value"]) for m in _ASSIGNED.finditer(MARK.sub("", text)))
    return any(names_a_secret(key) and is_secret(key, value) and not is_placeholder(value) for key, value in found)


def _nested(text: str) -> bool:
    """A JSON text with a secret in it."""
    if text[0] not in "{[":
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return holds_assignment(text.replace('"', " "))
    return any(is_secret(key, leaf) and not is_placeholder(leaf) for key, leaf in _leaves(value, "", 0))


def _leaves(value: Any, key: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > 20:  # noqa: PLR2004  nobody's configuration is deeper
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, str(name), depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key, depth + 1)
    elif isinstance(value, str) and value.strip() and value.strip()[0] not in "{[":
        yield key, value


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _pairs(words: list[str]) -> Iterator[str]:
    yield from (first + second for first, second in pairwise(words))
