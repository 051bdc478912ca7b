"""What the project's own files hold that commands of interceptors name: part of what is approved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mcpcompose.errors import UsageError
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.template import TemplateError, expand


def program_contents(
    interceptors: Iterable[Interceptor], directory: Path, variables: Mapping[str, str]
) -> dict[str, str]:
    """Digests by path. Raises `UsageError` for a file that is there and cannot be read."""
    found: dict[str, str] = {}
    for one in interceptors:
        if one.run is None and one.python is None:
            continue
        from mcpcompose.interceptors.pinned_files import contents, words_of  # noqa: PLC0415  only with programs

        try:
            found |= contents(one, directory, [_filled(word, variables) for word in words_of(one)])
        except OSError as error:
            raise UsageError(f"a file that interceptor `{one.label}` names cannot be read: {error}") from error
    return found


def _filled(word: str, variables: Mapping[str, str]) -> str:
    try:
        return expand(word, variables.get, lambda _name: "")
    except TemplateError:
        return word
