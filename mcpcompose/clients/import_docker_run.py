"""
`docker run` and its options, as the keys of a server.

What would be refused here without `unsafe`, or has no counterpart, is not carried over: each such option is a remark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_BARE: Final = frozenset(
    {"i", "t", "d", "P", "interactive", "tty", "rm", "init", "detach", "privileged", "read-only", "publish-all",
     "no-healthcheck", "sig-proxy", "oom-kill-disable", "disable-content-trust", "quiet", "q", "use-api-socket"}
)  # fmt: skip
"""Options without a value; every other option has one."""
_OURS: Final = frozenset(
    {"i", "interactive", "t", "tty", "rm", "d", "detach", "init", "name", "sig-proxy", "q", "quiet", "restart", "a",
     "attach", "cap-drop", "log-driver", "log-opt", "stop-signal", "stop-timeout", "no-healthcheck", "h", "hostname",
     "disable-content-trust", "cidfile", "detach-keys"}
)  # fmt: skip
"""Options that say how the container is started, which is done anyway, or takes away what nobody has here."""
_DANGEROUS: Final = frozenset(
    {"privileged", "cap-add", "device", "security-opt", "pid", "ipc", "userns", "gpus", "device-cgroup-rule",
     "use-api-socket", "volumes-from", "group-add", "uts", "cgroupns", "cgroup-parent", "runtime"}
)  # fmt: skip
_SHORT: Final = {"e": "env", "v": "volume", "m": "memory", "u": "user", "w": "workdir", "l": "label", "p": "publish",
                 "c": "cpu-shares"}  # fmt: skip
_IMAGE: Final = re.compile(r"[A-Za-z0-9][^\s]*")


@dataclass(slots=True)
class DockerRun:
    """What a `docker run` says. *variables*: NAME to value, None where it comes from the client's environment."""

    image: str | None = None
    command: list[str] = field(default_factory=list)
    variables: dict[str, str | None] = field(default_factory=dict)
    mounts: list[tuple[str, str, bool]] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)
    has_network: bool = True
    remarks: list[str] = field(default_factory=list)


def docker_run(words: Sequence[str]) -> DockerRun:
    """Read *words*, everything after `run`; without an image when there is none to be seen."""
    found = DockerRun()
    index = 0
    while index < len(words) and words[index].startswith("-") and words[index] != "-":
        word = words[index]
        index += 1
        if word == "--":
            break
        for name, said in _options(word):
            value = said
            if value is None and name not in _BARE:
                value = words[index] if index < len(words) else ""
                index += 1
            _apply(found, _SHORT.get(name, name), value)
    if index < len(words) and _IMAGE.fullmatch(words[index]):
        found.image = words[index]
        found.command = list(words[index + 1 :])
    return found


def _options(word: str) -> list[tuple[str, str | None]]:
    """`--name=value`, `--name`, `-it`, `-eNAME=value`."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return [(name, value if equals else None)]
    letters = word[1:]
    found: list[tuple[str, str | None]] = []
    while letters:
        name, letters = letters[0], letters[1:]
        if name not in _BARE:
            return [*found, (name, letters.removeprefix("=") or None)]
        found.append((name, ""))
    return found


def _apply(found: DockerRun, name: str, value: str | None) -> None:
    text = value or ""
    if name in _OURS:
        return
    if name in _DANGEROUS:
        found.remarks.append(f"`--{name}` is not carried over: it would have to be named in `unsafe`")
    elif handler := _HANDLERS.get(name):
        handler(found, text)
    elif name in {"publish", "publish-all", "P", "expose"}:
        found.remarks.append("no port is published: the server is reached through the gateway")
    else:
        found.remarks.append(f"`--{_safe(name)}` is not carried over")


def _env(found: DockerRun, text: str) -> None:
    name, equals, value = text.partition("=")
    if name:
        found.variables[name] = value if equals else None


def _volume(found: DockerRun, text: str) -> None:
    drive = re.match(r"[A-Za-z]:[\\/]", text)
    head, rest = (text[:2], text[2:]) if drive else ("", text)
    parts = rest.split(":")
    parts[0] = head + parts[0]
    if len(parts) == 1:
        found.remarks.append("an anonymous volume is not carried over")
    elif not parts[1].startswith("/") and not re.match("\ue000", parts[1]):
        found.remarks.append("a volume without an absolute target is not carried over")
    else:
        found.mounts.append((parts[0], parts[1], "ro" in (parts[2].split(",") if len(parts) > 2 else [])))  # noqa: PLR2004


def _mount(found: DockerRun, text: str) -> None:
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    source = pairs.get("source", pairs.get("src", ""))
    target = pairs.get("target", pairs.get("destination", pairs.get("dst", "")))
    read_only = any(pairs.get(key, "false") in {"", "true", "1"} for key in ("readonly", "ro"))
    if pairs.get("type") == "tmpfs" and target.startswith("/"):
        _scratch(found, target)
    elif pairs.get("type", "volume") in {"bind", "volume"} and source and target.startswith("/"):
        found.mounts.append((source, target, read_only))
    else:
        found.remarks.append("a `--mount` is not carried over")


def _network(found: DockerRun, text: str) -> None:
    if text == "none":
        found.has_network = False
    elif text == "host":
        found.remarks.append("`--network host` is not carried over: `localhost` is the container itself here")
    elif text not in {"bridge", "default"}:
        found.remarks.append("it was in a network of its own on the engine, which is not carried over")


def _tmpfs(found: DockerRun, text: str) -> None:
    target = text.partition(":")[0]
    if target.startswith("/"):
        _scratch(found, target)


def _scratch(found: DockerRun, target: str) -> None:
    """One more of these beside the one that every server has."""
    there = found.keys.setdefault("tmpfs", ["/tmp"])  # noqa: S108  inside the container
    if target not in there:
        there.append(target)


def _pairs(key: str, sign: str) -> Callable[[DockerRun, str], None]:
    def add(found: DockerRun, text: str) -> None:
        name, equals, value = text.partition("=" if "=" in text else sign)
        if name and equals:
            found.keys.setdefault(key, {})[name] = value

    return add


def _item(key: str) -> Callable[[DockerRun, str], None]:
    def add(found: DockerRun, text: str) -> None:
        if text:
            found.keys.setdefault(key, []).append(text)

    return add


def _checked(key: str, pattern: str, convert: Callable[[str], Any] = str) -> Callable[[DockerRun, str], None]:
    def put(found: DockerRun, text: str) -> None:
        if re.fullmatch(pattern, text):
            found.keys[key] = convert(text)
        else:
            found.remarks.append(f"`{key}` is not carried over: its value has no counterpart")

    return put


def _entrypoint(found: DockerRun, text: str) -> None:
    if text:
        found.keys["entrypoint"] = [text]


def _read_only(found: DockerRun, text: str) -> None:
    """It is the default here."""


_SIZE: Final = r"[0-9]+(?:\.[0-9]+)?[bkmgBKMG]?[bB]?"
_HANDLERS: Final[dict[str, Callable[[DockerRun, str], None]]] = {
    "env": _env,
    "env-file": _item("env_file"),
    "volume": _volume,
    "mount": _mount,
    "network": _network,
    "net": _network,
    "tmpfs": _tmpfs,
    "label": _pairs("labels", "="),
    "add-host": _pairs("extra_hosts", ":"),
    "dns": _item("dns"),
    "entrypoint": _entrypoint,
    "user": _checked("user", r"[A-Za-z0-9_.-]+(?::[A-Za-z0-9_.-]+)?"),
    "workdir": _checked("working_dir", r"/\S*"),
    "memory": _checked("mem_limit", _SIZE),
    "shm-size": _checked("shm_size", _SIZE),
    "cpus": _checked("cpus", r"[0-9]+(?:\.[0-9]+)?", float),
    "pids-limit": _checked("pids_limit", r"[1-9][0-9]{0,6}", int),
    "platform": _checked("platform", r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?"),
    "pull": _checked("pull_policy", "always|missing|never"),
    "read-only": _read_only,
}


def _safe(name: str) -> str:
    return re.sub(r"[^a-z0-9-]", "", name.lower())[:40] or "an option"
