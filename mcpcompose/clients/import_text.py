"""
Texts of client applications, with their ways to refer to a variable, as templates of ours.

While a text is worked on, every reference in it is one *mark*: a character nobody writes, and a number. So what is
searched for secrets is plain text, and `finished` puts our own references back in the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

_OPEN: Final = "\ue000"
_CLOSE: Final = "\ue001"
MARK: Final = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
"""One mark in a text that is being worked on."""
_STRAY: Final = re.compile(f"[{_OPEN}{_CLOSE}]")

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE: Final = re.compile(
    rf"\$\{{\{{\s*(?:secrets|env|inputs)\.(?P<braced>{_NAME})\s*\}}\}}"
    rf"|\$\{{env[:.](?P<named>{_NAME})\}}"
    r"|\$\{input:(?P<input>[^}\s]{1,200})\}"
    r"|\$\{(?P<folder>workspaceFolder|workspaceRoot|projectDir|cwd|userHome|pathSeparator|/)\}"
    rf"|\{{env:(?P<curly>{_NAME})\}}"
    r"|\{file:(?P<file>[^}\0]{1,1000})\}"
    rf"|\$env:(?P<shell>{_NAME})"
    rf"|\$\{{(?P<plain>{_NAME})(?P<sign>:?-)?(?P<default>(?<=-)[^}}$]*)?\}}"
    rf"|(?P<bare>\$(?P<dollar>{_NAME}))"
)
_OF_FOLDERS: Final = {
    "workspaceFolder": "project",
    "workspaceRoot": "project",
    "projectDir": "project",
    "cwd": "project",
}

Kind = Literal["variable", "input", "file", "project", "home", "secret"]


@dataclass(frozen=True, slots=True)
class Reference:
    """
    Something a text refers to: *name* of the variable, input, file or secret.

    *default* as the client wrote it; of an input: it is a password.
    """

    kind: Kind
    name: str = ""
    default: str | None = None


class Marks:
    """
    The references of one server, by mark.

    *dollar*: the client also knows `$NAME` without braces; *passwords* are inputs that it asks for without an echo.
    """

    def __init__(self, *, dollar: bool = False, passwords: frozenset[str] = frozenset()) -> None:
        self._found: list[Reference] = []
        self._dollar = dollar
        self._passwords = passwords

    def read(self, text: str) -> str:
        """*text* as the client wrote it, with a mark in the place of every reference."""
        return _REFERENCE.sub(self._replace, _STRAY.sub("", text))

    def mark(self, reference: Reference) -> str:
        """A mark for *reference*."""
        if reference not in self._found:
            self._found.append(reference)
        return f"{_OPEN}{self._found.index(reference)}{_CLOSE}"

    def at(self, number: str) -> Reference:
        """What the mark with *number* stands for."""
        return self._found[int(number)]

    def only(self, text: str) -> Reference | None:
        """The one reference that is the whole of *text*."""
        match = MARK.fullmatch(text)
        return self.at(match[1]) if match else None

    def all(self, text: str) -> list[Reference]:
        """The references in *text*, in order."""
        return [self.at(number) for number in MARK.findall(text)]

    def finished(self, text: str) -> str:
        """*text* as a template of ours: every other `$` doubled, every mark a reference."""
        return MARK.sub(lambda match: _ours(self.at(match[1])), text.replace("$", "$$"))

    def _replace(self, match: re.Match[str]) -> str:
        groups = match.groupdict()
        if match["bare"] and not self._dollar:
            return match[0]
        if folder := match["folder"]:
            if folder in {"pathSeparator", "/"}:
                return "/"
            return self.mark(Reference("project" if folder in _OF_FOLDERS else "home"))
        if name := groups["input"]:
            return self.mark(Reference("input", name, "" if name in self._passwords else None))
        if name := groups["file"]:
            return self.mark(Reference("file", name))
        name = next(groups[key] for key in ("braced", "named", "curly", "shell", "plain", "dollar") if groups[key])
        default = match["default"] if match["plain"] and match["sign"] else None
        return self.mark(Reference("variable", name, default))


def plain(text: str) -> str:
    """*text* without its marks."""
    return MARK.sub("", text)


def _ours(reference: Reference) -> str:
    match reference.kind:
        case "secret":
            return f"${{secret:{reference.name}}}"
        case "project":
            return "."
        case "home":
            return "${HOME}"
        case "file":
            return ""
        case "input":
            return f"${{{variable(reference.name)}}}"
        case "variable":
            default = "" if reference.default is None else f":-{reference.default.replace('$', '$$')}"
            return f"${{{reference.name}{default}}}"


def variable(name: str) -> str:
    """*name* as that of an environment variable."""
    word = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").upper()[:60] or "VALUE"
    return f"_{word}" if word[0].isdigit() else word
