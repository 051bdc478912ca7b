"""The command lines of clients: which package, image or program they launch, and with which arguments. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_EXTENSION: Final = re.compile(r"\.(?:exe|cmd|bat|ps1)$", re.IGNORECASE)
_VERSION: Final = r"[A-Za-z0-9][A-Za-z0-9.+*_-]*"
_NPM: Final = re.compile(rf"(?:@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*(?:@[\^~<>=]*{_VERSION})?")
_PYPI: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._,-]+\])?)"
    r"(?P<version>(?:(?:===?|~=|!=|<=|>=|<|>)[A-Za-z0-9][A-Za-z0-9.*+!_-]*,?)*|@[A-Za-z0-9][A-Za-z0-9.*+!_-]*)"
)
_NPX_VALUES: Final = frozenset({"-p", "--package", "-c", "--call", "--registry", "--cache", "-w", "--workspace"})
_UVX_HARMLESS: Final = frozenset(
    {"-q", "--quiet", "-v", "--verbose", "--refresh", "-U", "--upgrade", "--isolated", "--no-progress", "--no-cache",
     "-n", "--native-tls", "--offline", "--no-config", "-p", "--python"}
)  # fmt: skip
_UVX_VALUES: Final = frozenset(
    {"--from", "-p", "--python", "--with", "--with-editable", "--with-requirements", "--index", "--index-url", "-i",
     "--extra-index-url", "--default-index", "--directory", "--project", "--constraints", "-c", "--env-file",
     "--cache-dir", "--index-strategy", "--prerelease", "--exclude-newer", "-f", "--find-links"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Package:
    """A package of an index; *program* the one of its programs to run, where that was said."""

    requirement: str
    args: tuple[str, ...] = field(repr=False)
    program: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A `docker run`: *words* are what stands after `run`."""

    words: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A program that only connects to a URL."""

    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    is_sse: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """Any other program of this machine; *why* it could be nothing better, where there is something to say."""

    words: tuple[str, ...] = field(repr=False)
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """Another gateway, or this one: nothing to import."""

    what: str


Launch = Package | Run | Bridge | Host | Gateway


def launch(command: str, args: tuple[str, ...], environment: dict[str, str]) -> Launch:
    """What *command* with *args* launches; variables set by `env` go to *environment*."""
    words = (command, *args) if args or " " not in command.strip() else tuple(command.split())
    words = _unwrapped(words, environment)
    program = program_name(words[0])
    rest = words[1:]
    for names, start, read in _LAUNCHERS:
        if program in names and rest[: len(start)] == start:
            return read(words, rest[len(start) :])
    if program == "mcp-compose" or "mcpcompose" in rest[:3]:
        return Gateway("`mcp-compose` itself")
    return Host(words)


def program_name(word: str) -> str:
    """The program that *word* names, without its folder and Windows' extensions."""
    return _EXTENSION.sub("", re.split(r"[\\/]", word)[-1]).lower() if word else ""


def _unwrapped(words: tuple[str, ...], environment: dict[str, str]) -> tuple[str, ...]:
    """Without `cmd /c` and `env NAME=value`."""
    while True:
        program = program_name(words[0])
        if program == "cmd" and len(words) > 2 and words[1].lower() in {"/c", "/k"}:  # noqa: PLR2004  cmd /c X
            words = words[2:] if len(words) > 3 or " " not in words[2] else tuple(words[2].split())  # noqa: PLR2004
        elif (
            program == "env" and len(words) > 1 and (match := re.fullmatch(r"([A-Za-z_]\w*)=(.*)", words[1], re.DOTALL))
        ):
            environment.setdefault(match[1], match[2])
            words = (words[0], *words[2:])
        elif program == "env" and len(words) > 1 and not words[1].startswith("-"):
            words = words[1:]
        else:
            return words


def _npx(words: tuple[str, ...], rest: tuple[str, ...]) -> Launch:
    options, after = _options(rest, _NPX_VALUES)
    packages = [value for flag, value in options if flag in {"-p", "--package"}]
    others = [flag for flag, _ in options if flag in _NPX_VALUES - {"-p", "--package"}]
    if others or len(packages) > 1:
        return Host(words, f"`{_shown(others[0])}` has no counterpart here" if others else "it needs several packages")
    name = packages[0] if packages else (after[0] if after else "")
    if not after or not _NPM.fullmatch(name):
        return Host(words, "it is no package of the npm index")
    plain = re.sub(r"(?<=.)@.*", "", name)
    if plain in {"mcp-remote", "supergateway"} and (bridge := _bridge(after[1:])):
        return bridge
    return Package(f"npm:{name}", after[1:], after[0] if packages else None)


def _options(rest: tuple[str, ...], with_value: frozenset[str]) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The options that *rest* begins with, each with its value, and what follows them."""
    options: list[tuple[str, str]] = []
    index = 0
    while index < len(rest) and rest[index].startswith("-") and rest[index] != "--":
        flag, equals, value = rest[index].partition("=")
        if flag in with_value and not equals:
            index += 1
            value = rest[index] if index < len(rest) else ""
        options.append((flag, value))
        index += 1
    after = rest[index:]
    return options, after[1:] if after[:1] == ("--",) else after


def _uvx(words: tuple[str, ...], rest: tuple[str, ...]) -> Launch:
    options, after = _options(rest, _UVX_VALUES)
    return _from_index(words, options, after, "--from", _UVX_HARMLESS)


def _pipx(words: tuple[str, ...], rest: tuple[str, ...]) -> Launch:
    options, after = _options(rest, frozenset({"--spec"}))
    return _from_index(words, options, after, "--spec", frozenset())


def _from_index(
    words: tuple[str, ...],
    options: list[tuple[str, str]],
    after: tuple[str, ...],
    source_flag: str,
    harmless: frozenset[str],
) -> Launch:
    unknown = [flag for flag, _ in options if flag != source_flag and flag not in harmless]
    if unknown:
        return Host(words, f"`{_shown(unknown[0])}` has no counterpart here")
    source = next((value for flag, value in options if flag == source_flag), None)
    return _pypi(words, source or (after[0] if after else ""), after, is_named=source is not None)


def _shown(flag: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "", flag)[:30]


def _pypi(words: tuple[str, ...], source: str, after: tuple[str, ...], *, is_named: bool) -> Launch:
    match = _PYPI.fullmatch(source)
    if match is None or not after:
        return Host(words, "it is no package of the Python index")
    version = match["version"]
    if version.startswith("@"):
        version = "" if version == "@latest" else f"=={version[1:]}"
    program = after[0] if is_named else None
    if program is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", program):
        return Host(words, "it is no package of the Python index")
    same = program is not None and re.sub(r"[-_.]+", "-", program) == re.sub(r"[-_.]+", "-", match["name"])
    return Package(f"pypi:{match['name']}{version}", after[1:], None if same else program)


def _run(_words: tuple[str, ...], rest: tuple[str, ...]) -> Launch:
    return Run(rest)


def _docker_mcp(_words: tuple[str, ...], _rest: tuple[str, ...]) -> Launch:
    return Gateway("Docker's own gateway; `mcp-compose import docker-mcp` reads its servers")


def _bridged(words: tuple[str, ...], rest: tuple[str, ...]) -> Launch:
    return _bridge(rest) or Host(words)


_LAUNCHERS: Final[
    tuple[tuple[frozenset[str], tuple[str, ...], Callable[[tuple[str, ...], tuple[str, ...]], Launch]], ...]
] = (
    (frozenset({"npx", "bunx", "pnpx"}), (), _npx),
    (frozenset({"pnpm", "yarn"}), ("dlx",), _npx),
    (frozenset({"npm"}), ("exec",), _npx),
    (frozenset({"npm", "bun"}), ("x",), _npx),
    (frozenset({"uvx"}), (), _uvx),
    (frozenset({"uv"}), ("tool", "run"), _uvx),
    (frozenset({"pipx"}), ("run",), _pipx),
    (frozenset({"docker", "podman"}), ("run",), _run),
    (frozenset({"docker", "podman"}), ("container", "run"), _run),
    (frozenset({"docker"}), ("mcp",), _docker_mcp),
    (frozenset({"docker-mcp"}), (), _docker_mcp),
    (frozenset({"mcp-remote", "supergateway"}), (), _bridged),
)
"""Programs that launch something else: their names, the words after them, and what reads the rest."""


def _bridge(args: tuple[str, ...]) -> Bridge | None:
    """`mcp-remote URL --header "K: V"` and `supergateway --sse URL`; None for another use of them."""
    options, plain_words = _scattered(args)
    said = {flag: value for flag, value in options if flag != "--header"}
    if {"--stdio", "--outputTransport"} & {*said, *plain_words}:
        return None
    headers = [(name.strip(), value.strip()) for name, _, value in _headers(options)]
    if bearer := said.get("--oauth2Bearer"):
        headers.append(("Authorization", f"Bearer {bearer}"))
    url = said.get("--sse") or said.get("--streamableHttp") or (plain_words[0] if plain_words else "")
    if not url.startswith(("http://", "https://")):
        return None
    is_old = "--transport" not in said and url.split("?", 1)[0].rstrip("/").endswith("/sse")
    is_sse = "--sse" in said or said.get("--transport", "").startswith("sse") or is_old
    return Bridge(url, tuple(headers), is_sse and "--streamableHttp" not in said)


def _headers(options: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    return [value.partition(":") for flag, value in options if flag == "--header" and ":" in value]


def _scattered(args: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
    """Options with their values, wherever they stand, and the words that are none."""
    options: list[tuple[str, str]] = []
    others: list[str] = []
    words = iter(args)
    for word in words:
        if word in {"--sse", "--streamableHttp", "--header", "--oauth2Bearer", "--transport", "--outputTransport"}:
            options.append((word, next(words, "")))
        else:
            others.append(word)
    return options, [word for word in others if not word.startswith("-") or word == "--stdio"]
