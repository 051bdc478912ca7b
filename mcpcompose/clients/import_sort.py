"""
Sort a server's texts into what may stand in the file and what is a secret.

Every method takes and gives texts with marks (`import_text`); a secret's mark stands where its value was.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from mcpcompose.clients.import_secrets import (
    holds_assignment,
    is_placeholder,
    is_random,
    is_secret,
    names_a_secret,
    secret_words,
)
from mcpcompose.clients.import_text import MARK, Marks, Reference, plain, variable
from mcpcompose.clients.import_vault import Vault, secret_name

_SCHEME: Final = re.compile(
    r"(?P<scheme>(?:Bearer|Basic|Token|ApiKey|Api-Key|Key|Bot|OAuth)\s+)(?P<rest>.+)", re.IGNORECASE | re.DOTALL
)
_URL: Final = re.compile(
    r"(?P<start>[A-Za-z][A-Za-z0-9+.-]*://)(?:(?P<user>[^/?#\s]*)@)?(?P<host>[^/?#]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?",
    re.DOTALL,
)
_STRUCTURED: Final = re.compile(r"[{}\[\]\s]")
_LONG_SEGMENT: Final = 20


class Sorter:
    """The texts of one server. *environment* and *secrets* (variable to secret) are what it gets in the end."""

    def __init__(self, server: str, marks: Marks, vault: Vault) -> None:
        self.environment: dict[str, str | None] = {}
        self.secrets: dict[str, str] = {}
        self.remarks: list[str] = []
        self._server = server
        self._marks = marks
        self._vault = vault

    # --- variables ----------------------------------------------------------------------------------------------------

    def variable(self, name: str, text: str) -> None:
        """One variable of a launched server."""
        if (one := self._marks.only(text)) is not None and (secret := self._referred(name, one)):
            self.secrets[name] = secret
        elif not self._marks.all(text) and self._hides(name, text):
            self.secrets[name] = self._literal(name, text)
        else:
            self.environment[name] = self.mixed(name, text)

    def inherited(self, name: str) -> None:
        """A variable taken from the client's own environment."""
        if names_a_secret(name):
            self.secrets[name] = self._vault.refer(name, {"environment": name}, self._server)
        elif name not in self.environment:
            self.environment[name] = None

    def of_variable(self, name: str) -> str:
        """The mark of a secret that is in the environment variable *name*."""
        return self._mark(self._vault.refer(name, {"environment": name}, self._server))

    def mixed(self, name: str, text: str) -> str:
        """*text* with secrets in the place of references that hold one, and of what it says itself."""
        for one in self._marks.all(text):
            if secret := self._referred(one.name or name, one):
                text = text.replace(self._marks.mark(one), self._mark(secret))
        if not self._marks.all(text):
            return text
        if names_a_secret(name) and not _STRUCTURED.search(plain(text)):
            return self._pieces(name, text)
        return self.url(text) if _URL.fullmatch(text) else self._words_of(name, text)

    # --- headers and URLs ---------------------------------------------------------------------------------------------

    def header(self, name: str, text: str) -> str:
        """One header's value."""
        wanted = f"{self._server}_token" if name.lower() == "authorization" else self._named(name)
        match = _SCHEME.fullmatch(text.strip())
        scheme, rest = (match["scheme"], match["rest"]) if match else ("", text.strip())
        holds = names_a_secret(name) or bool(match)
        if (one := self._marks.only(rest)) is not None:
            secret = self._referred(wanted, one) or (holds and self._of(wanted, one))
            return scheme + (self._mark(secret) if secret else rest)
        if not self._marks.all(rest) and rest and (holds or self._hides(name, rest)):
            return scheme + self._mark(self._literal(wanted, rest))
        return scheme + self.mixed(wanted, rest)

    def url(self, text: str) -> str:
        """A URL: its user information, the parameters of its query and long random words of its path are looked at."""
        match = _URL.fullmatch(text)
        if match is None:
            return self.mixed(f"{self._server}_url", text)
        user = match["user"]
        if user is not None:
            login, colon, password = user.partition(":")
            held, what = (password, "password") if colon else (login, "user")
            held = self._part(self._named(what), held) if held else held
            user = f"{login}:{held}@" if colon else f"{held}@"
        path = "/".join(self._segment(one) for one in match["path"].split("/"))
        query = match["query"]
        if query is not None:
            query = "?" + "&".join(map(self._parameter, query.split("&")))
        return f"{match['start']}{user or ''}{match['host']}{path}{query or ''}{match['fragment'] or ''}"

    def _parameter(self, pair: str) -> str:
        key, equals, value = pair.partition("=")
        if not equals or not value:
            return pair
        name = unquote(plain(key))
        one = self._marks.only(value)
        if one is not None or self._hides(name, unquote(plain(value))):
            return f"{key}={self._part(self._named(name), value, names_a_secret(name))}"
        return pair

    def _segment(self, text: str) -> str:
        word = unquote(plain(text))
        looks = self._hides("", word) or (len(word) >= _LONG_SEGMENT and is_random(word)) or is_placeholder_word(word)
        return self._part(f"{self._server}_url_token", text) if word and looks else self._references(text)

    def _part(self, wanted: str, text: str, holds: bool = True) -> str:
        """One part of a URL that is a secret, as it is written there (percent signs and all)."""
        if (one := self._marks.only(text)) is not None:
            secret = self._referred(wanted, one) or (holds and self._of(wanted, one))
            return self._mark(secret) if secret else text
        if self._marks.all(text):
            return self.mixed(wanted, text)
        return self._mark(self._literal(wanted, text))

    def _references(self, text: str) -> str:
        return self.mixed(f"{self._server}_url", text) if self._marks.all(text) else text

    # --- arguments ----------------------------------------------------------------------------------------------------

    def argument(self, flag: str, text: str) -> str:
        """One argument, after *flag* (empty: after none); secrets in it as marks."""
        head, equals, tail = text.partition("=") if re.match(r"-{1,2}[A-Za-z]", text) else ("", "", text)
        if equals:
            return f"{head}={self.argument(head, tail)}"
        if not text or text.startswith("-"):
            return text
        name = flag.lstrip("-")
        wanted = self._named(name) if name else f"{self._server}_argument"
        if (one := self._marks.only(text)) is not None:
            secret = self._referred(wanted, one)
            return self._mark(secret) if secret else text
        words = plain(text)
        if name and self._hides(name, words) and names_a_secret(name):
            return self._pieces(wanted, text) if self._marks.all(text) else self._mark(self._literal(wanted, text))
        if self._hides("", words):
            return self._of_argument(wanted, text)
        return self.mixed(wanted, text)

    def _of_argument(self, wanted: str, text: str) -> str:
        if self._marks.all(text):
            return self._pieces(wanted, text)
        header = re.fullmatch(r"(?P<name>[A-Za-z0-9-]+)(?P<colon>:\s*)(?P<value>\S.*)", text, re.DOTALL)
        if header and not _URL.fullmatch(text):
            return header["name"] + header["colon"] + self.header(header["name"], header["value"])
        return self._mark(self._literal(wanted, text))

    # --- secrets ------------------------------------------------------------------------------------------------------

    def _hides(self, name: str, text: str) -> bool:
        known = any(value in text for value in self._vault.known)
        return (
            known or is_secret(name, text) or (names_a_secret(name) and is_placeholder(text)) or holds_assignment(text)
        )

    def _literal(self, wanted: str, text: str) -> str:
        if is_placeholder(text):
            return self._vault.ask(wanted, self._server)
        return self._vault.keep(wanted, text, self._server)

    def _words_of(self, wanted: str, text: str) -> str:
        """*text*, which has references too, without the words in it that are secrets by their shape."""
        for word in sorted({*secret_words(plain(text)), *(v for v in self._vault.known if v in text)}, key=len)[::-1]:
            text = text.replace(word, self._mark(self._literal(wanted, word)))
        return text

    def _pieces(self, wanted: str, text: str) -> str:
        """*text*, which has references too: every stretch between them is a secret of its own, where it says much."""
        parts = re.split(f"({MARK.pattern.replace('(', '(?:')})", text)
        return "".join(
            part if MARK.fullmatch(part) or len(part) < 4 else self._mark(self._literal(wanted, part))  # noqa: PLR2004
            for part in parts
        )

    def _referred(self, wanted: str, one: Reference) -> str | None:
        """The secret that *one* stands for; None when it is an ordinary variable."""
        match one.kind:
            case "file":
                return self._vault.refer(wanted, {"file": one.name}, self._server)
            case "input" if one.default is not None or names_a_secret(one.name) or names_a_secret(wanted):
                return self._vault.ask(one.name, self._server)
            case "variable" if one.default is None and (names_a_secret(one.name) or names_a_secret(wanted)):
                return self._vault.refer(one.name, {"environment": one.name}, self._server)
            case "input":
                self.remarks.append(f"the client asked for a value; set the variable `{variable(one.name)}`")
            case _:
                pass
        return None

    def _of(self, wanted: str, one: Reference) -> str | None:
        if one.kind == "variable" and one.default is None:
            return self._vault.refer(wanted, {"environment": one.name}, self._server)
        if one.kind == "input":
            return self._vault.ask(wanted, self._server)
        return None

    def _named(self, what: str) -> str:
        """A name for a secret of this server that says what it is."""
        said = secret_name(what)
        server = secret_name(self._server)
        return said if said == server or said.startswith(f"{server}_") else f"{server}_{said}"

    def holds_secret(self, text: str) -> bool:
        """Whether a secret's mark is in *text*."""
        return any(one.kind == "secret" for one in self._marks.all(text))

    def secret_of(self, mark: str) -> str:
        """The secret that *mark* stands for."""
        return self._marks.all(mark)[0].name

    def variable_mark(self, name: str) -> str:
        """A mark for the variable *name*."""
        return self._marks.mark(Reference("variable", name))

    def _mark(self, secret: str) -> str:
        return self._marks.mark(Reference("secret", secret))


def is_placeholder_word(word: str) -> bool:
    """A part of a URL that a manual left to fill in."""
    return len(word) > 2 and is_placeholder(word)  # noqa: PLR2004  `**` is no word
