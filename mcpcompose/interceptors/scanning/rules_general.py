"""Secrets of no vendor: private keys, signed tokens, URLs with passwords, headers, assignments."""

from __future__ import annotations

from typing import Final

from mcpcompose.interceptors.scanning.randomness import (
    is_common_word,
    looks_like_password,
    looks_made,
    looks_random,
    says_what_it_is,
)
from mcpcompose.interceptors.scanning.rule import Rule

_LONG: Final = 25_000
"""Bytes of the longest private key."""
_KEY_KIND: Final = r"[ A-Z0-9_\-]{0,60}PRIVATE KEY(?: BLOCK)?-----"
_PEM: Final = rf"(-----BEGIN{_KEY_KIND}[\w\s+/=\\:,.()\-]{{40,}}?-----END{_KEY_KIND})"
_PEM_CUT: Final = rf"(-----BEGIN{_KEY_KIND}(?:[\s\\rn]{{1,8}}[A-Za-z0-9+/=:,. \-]{{16,100}})+)"
"""One whose end is missing."""
_STORES: Final = (
    r"postgres(?:ql)?(?:\+\w+)?|mysql(?:\+\w+)?|mariadb(?:\+\w+)?|mongodb(?:\+srv)?|rediss?|amqps?|mssql(?:\+\w+)?"
    r"|sqlserver|clickhouse|cockroachdb|neo4j(?:\+s)?|bolt|cassandra|influxdb|elasticsearch|nats|kafka|cloudinary"
    r"|couchbase|rabbitmq|mqtts?|snowflake|vertica|db2"
)
_PLACES: Final = r"smtps?|imaps?|ldaps?|s?ftps?|ssh|git|https?|wss?|socks5h?"
_LOGIN: Final = r"://)[^\s:/@\"'`<>{}\[\]$\\]{0,100}:([^\s:/@\"'`<>{}\[\]$&?*\\]{3,200})@[A-Za-z0-9\[_%\-]"
_NAME: Final = (
    r"(?:(?:api|secret|access|private|signing|encryption|auth|license|service|admin|master|account)[_.\- ]?key|"
    r"(?:client|app|consumer|shared|webhook)[_.\- ]?secret|token|secret|credentials?|creds|passphrase|pass(?:word|wd)?|pwd|"
    r"apikey|authkey|accesskey|_key|-key)"
)
_ASSIGN: Final = r"""["'`)\]\\]{0,5}\s{0,3}(?:=>|[:?|]{0,2}=|:{1,2}|,\s{0,3}[\\"']{1,4}value[\\"']{1,4}\s{0,3}:)\s{0,4}[rbu]?\\{0,3}"""
_VALUE: Final = r"[\w\-.~+/=@!#%^*]"

RULES: Final[tuple[Rule, ...]] = (
    Rule("private-key", _PEM, ("-----begin",), before=2, reach=_LONG),
    Rule("private-key", _PEM_CUT, ("-----begin",), before=2, reach=_LONG),
    Rule("putty-key", r"(PuTTY-User-Key-File-\d: [\w\s+/=:.\-]{20,}?Private-MAC: [0-9a-f]{40,64})",
         ("putty-user-key-file",), reach=_LONG),
    Rule("jwt", r"\b(e[yw][A-Za-z0-9_\-]{10,}\.e[yw][\w\-]{10,}\.[\w\-]{10,}={0,2})", prefixes=("eyJ", "eyA", "ewog", "ew0"),
         entropy=3.5, before=2, reach=4000),
    Rule("url-password", rf"(?i:\b(?:{_STORES}){_LOGIN}", ("://",), strong=False, before=20, reach=340,
         check=lambda found: not is_common_word(found)),
    Rule("url-password", rf"(?i:\b(?:{_PLACES}){_LOGIN}", ("://",), strong=False, before=20, reach=340, check=looks_like_password),
    Rule("authorization-header",
         r"""(?i:authorization[\\"']{0,4}\]?\s{0,3}[:=,]\s{0,3}[\\"'`]{0,4}(?:bearer|token|basic|apikey|key)\s{1,3})([\w\-.~+/=]{12,})""",
         ("authorization",), entropy=3.2, strong=False, reach=1100, check=lambda found: not says_what_it_is(found)),
    Rule("authorization-header", r"""(?i:authorization[\\"']{0,4}\]?\s{0,3}[:=]\s{0,3}[\\"'`]{0,4})([\w\-+/=]{18,})(?:[\\"'`,}\s]|\z)""",
         ("authorization",), entropy=3.4, strong=False, reach=1100, check=looks_made),
    Rule("bearer-token", r"(?i:\bbearer\s{1,3})([\w\-.~+/]{20,}=*)", ("bearer ",), entropy=3.4, strong=False, reach=1100,
         check=looks_random),
    Rule("curl-user", r"""\bcurl\b[^\n|;]{0,}?\s(?:-u|--user)[ =]{1,2}[\\"']{0,4}[\w.\-@]{0,60}:([^\s"'`$<{\\]{6,100})""", ("curl",),
         entropy=2.5, strong=False, reach=500, check=lambda found: not is_common_word(found)),
    Rule("command-line-secret",
         r"""--?(?:password|passwd|pass|token|api-?key|secret|secret-?key|access-?key|auth-?token)[ =]{1,2}[\\"']{0,4}([^\s"'`$<{\[\\]{8,200})""",
         ("-pass", "-token", "-api", "-secret", "-access", "-auth"), entropy=3, strong=False, check=looks_like_password),
    Rule("netrc-password", r"\bmachine\s{1,9}\S{1,100}\s{1,9}login\s{1,9}\S{1,100}\s{1,9}password\s{1,9}(\S{4,200})", ("machine",),
         entropy=2, strong=False, before=2, reach=500),
    Rule("connection-password", r"""(?i:(?:;|\b)(?:password|pwd)\s{0,2}=\s{0,2})([^;\s"'`<{$&\\]{6,100});""", ("password", "pwd"),
         entropy=2.5, strong=False, check=looks_like_password),
    Rule("password-assignment", rf"""(?i:pass(?:word|wd|phrase|code)?|pwd){_ASSIGN}["'`]{{1,2}}([^\s"'`<>{{}}$\\]{{8,100}})[\\"'`]""",
         ("pass", "pwd"), entropy=2.8, strong=False, before=2, check=looks_like_password),
    Rule("secret-assignment", rf"""(?i:{_NAME})[\w.\-]{{0,20}}{_ASSIGN}["'`]{{0,2}}({_VALUE}{{10,200}})(?:[^\w\-.~+/=@!#%^*(]|\z)""",
         ("key", "token", "secret", "cred", "pass", "pwd"), entropy=3.3, strong=False, before=24, reach=270, check=looks_random),
)  # fmt: skip
GUESSING: Final = frozenset({"secret-assignment", "password-assignment", "command-line-secret", "bearer-token"})
"""Rules that go by randomness beside a word; `entropy: false` leaves them out."""
