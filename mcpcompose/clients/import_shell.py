"""
Arguments that hold secrets: the file cannot hold them, and a list of arguments has no place for references to secrets.

So the program is started by `sh`, which takes them from variables: `exec program "$1" --key "$KEY"`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from mcpcompose.clients.import_sort import Sorter
from mcpcompose.clients.import_text import MARK, variable

_FLAG: Final = re.compile(r"--?[A-Za-z][A-Za-z0-9_.-]*=?")


@dataclass(slots=True)
class Arguments:
    """*args* without secrets; *script* (a template) what `sh` runs otherwise, with *secrets* and *environment*."""

    args: list[str] = field(default_factory=list)
    script: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def arguments(words: list[str], sorter: Sorter, *, fallback: bool = False) -> Arguments:
    """
    *words* without secrets in them.

    With *fallback* there is no shell to be had: a secret becomes a variable of the environment of `mcp-compose`.
    """
    sorted_words = [sorter.argument(_flag_before(words, index), word) for index, word in enumerate(words)]
    if not any(sorter.holds_secret(word) for word in sorted_words):
        return Arguments(args=sorted_words)
    if fallback:
        return Arguments(args=[_as_variable(word, sorter) for word in sorted_words])
    made = Arguments()
    parts: list[str] = []
    for word in sorted_words:
        if sorter.holds_secret(word):
            parts.append(_from_variable(word, sorter, made))
        else:
            made.args.append(word)
            number = len(made.args)
            parts.append(f'"$${number}"' if number < 10 else f'"$${{{number}}}"')  # noqa: PLR2004  how `sh` counts
    made.script = " ".join(parts)
    return made


def _flag_before(words: list[str], index: int) -> str:
    before = words[index - 1] if index else ""
    return before if _FLAG.fullmatch(before) and not before.endswith("=") else ""


def _from_variable(word: str, sorter: Sorter, made: Arguments) -> str:
    match = re.fullmatch(f"(?P<flag>{_FLAG.pattern})?(?P<mark>{MARK.pattern})", word)
    if match and (match["flag"] is None or match["flag"].endswith("=")):
        secret = sorter.secret_of(match["mark"])
        name = variable(secret)
        if made.secrets.setdefault(name, secret) == secret and name not in {*sorter.environment, *sorter.secrets}:
            return f'{match["flag"] or ""}"$${name}"'
    name = f"MCP_ARGUMENT_{len(made.environment) + 1}"
    made.environment[name] = word
    return f'"$${name}"'


def _as_variable(word: str, sorter: Sorter) -> str:
    def instead(match: re.Match[str]) -> str:
        if not sorter.holds_secret(match[0]):
            return match[0]
        name = variable(sorter.secret_of(match[0]))
        sorter.remarks.append(
            f"its arguments cannot hold a secret: set the variable `{name}` to what is kept as"
            f" `{sorter.secret_of(match[0])}`, or give it as `secrets` where the server can read it"
        )
        return sorter.variable_mark(name)

    return MARK.sub(instead, word)
