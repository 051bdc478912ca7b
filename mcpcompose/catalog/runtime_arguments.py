"""What a `server.json` wants to tell `docker run`, `npx` or `uvx`, as keys of a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mcpcompose.catalog.inputs import Inputs
from mcpcompose.catalog.marked import Value
from mcpcompose.catalog.reading import Reading, shown

_DONE_ANYWAY: Final = {
    "oci": frozenset({"run", "-i", "--interactive", "-it", "--rm", "--init", "--pull"}),
    "npm": frozenset({"-y", "--yes"}),
    "pypi": frozenset(),
}
"""What is so without being said."""
_LONG: Final = {
    "-v": "--volume",
    "-e": "--env",
    "-u": "--user",
    "-w": "--workdir",
    "-m": "--memory",
    "--net": "--network",
}
_SCALARS: Final = {
    "--user": "user",
    "--workdir": "working_dir",
    "--memory": "mem_limit",
    "--cpus": "cpus",
    "--shm-size": "shm_size",
}


def runtime_arguments(
    kind: str, items: Iterable[Value], inputs: Inputs, reading: Reading, out: dict[str, Value]
) -> None:
    """Put *items* into the server *out*; refuse those that it has no key for."""
    for at, flag, value in _pairs(items, inputs):
        if flag in _DONE_ANYWAY[kind]:
            continue
        if kind != "oci" or value is None or not _put(_LONG.get(flag, flag), value, at, out):
            told = f"{flag} {value}" if value is not None else flag
            reading.refuse(at, f"the runtime argument `{shown(told)}` is not supported")


def _pairs(items: Iterable[Value], inputs: Inputs) -> Iterable[tuple[Value, str, str | None]]:
    """Flags with their values: `--flag=value` of one argument, or a flag and the argument after it."""
    waiting: Value | None = None
    for item in items:
        for made in inputs.argument(item):
            text = made.text or ""
            if waiting is not None and not text.startswith("-"):
                yield waiting, waiting.text or "", text
                waiting = None
                continue
            if waiting is not None:
                yield waiting, waiting.text or "", None
                waiting = None
            flag, equals, value = text.partition("=")
            if equals:
                yield made, flag, value
            elif flag.startswith("-"):
                waiting = made
            else:
                yield made, flag, None
    if waiting is not None:
        yield waiting, waiting.text or "", None


def _put(flag: str, value: str, at: Value, out: dict[str, Value]) -> bool:
    """Whether the server has a key for it."""
    match flag:
        case "--volume":
            _append(out, "volumes", at.but(value))
        case "--mount":
            return _mount(value, at, out)
        case "--env":
            name, equals, text = value.partition("=")
            if not equals:
                return False
            known = out.get("environment", at.but({}))
            out["environment"] = known.but({**known.fields, name: at.but(text)})
        case "--network":
            if value not in {"none", "host"}:
                return value == "bridge"
            out["network"] = at.but(value)
        case "--entrypoint":
            out["entrypoint"] = at.but([at.but(value)])
        case "--add-host":
            name, _, address = value.partition(":")
            known = out.get("extra_hosts", at.but({}))
            out["extra_hosts"] = known.but({**known.fields, name: at.but(address)})
        case _ if flag in _SCALARS:
            out[_SCALARS[flag]] = at.but(value)
        case _:
            return False
    return True


def _mount(value: str, at: Value, out: dict[str, Value]) -> bool:
    """`type=bind,src=…,dst=…,readonly`."""
    said = {part.partition("=")[0].strip(): part.partition("=")[2] for part in value.split(",")}
    source = said.pop("src", None) or said.pop("source", None)
    target = said.pop("dst", None) or said.pop("target", None) or said.pop("destination", None)
    mode = ":ro" if "readonly" in said or "ro" in said else ""
    kind = said.pop("type", "volume")
    if source is None or target is None or kind not in {"bind", "volume"} or said.keys() - {"readonly", "ro"}:
        return False
    _append(out, "volumes", at.but(f"{source}:{target}{mode}"))
    return True


def _append(out: dict[str, Value], key: str, item: Value) -> None:
    known = out.get(key, item.but([]))
    out[key] = known.but([*known.items, item])
