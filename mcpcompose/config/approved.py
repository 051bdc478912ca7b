"""
What the policy refuses, with its place: servers that come from nowhere approved, overrides that would make something
else of an approved entry, and images that are not named by their digest.

Static: nothing is fetched or started. Signatures are checked when an image is had (`mcpcompose.catalog.signed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from mcpcompose.catalog.reference import parse
from mcpcompose.config.tree import Map, Node, Path, Scalar, Seq, key_position, value_position
from mcpcompose.errors import FetchFailed, Problem
from mcpcompose.spec.policy import Policy
from mcpcompose.spec.project import ComposeFile, EngineKind
from mcpcompose.spec.server import NetworkAllow, Server

if TYPE_CHECKING:
    from mcpcompose.catalog.entry import Secret

HARMLESS: Final = frozenset(
    {
        "from", "extends", "config", "secrets", "tools", "prefix", "title", "depends_on", "restart",
        "stop_grace_period", "timeouts", "limits", "scope", "instances", "idle_timeout", "cpus", "mem_limit",
        "pids_limit", "pull_policy",
    }
)  # fmt: skip
"""What a project may say of a server from an approved entry: nothing of it changes what is launched."""
_NARROWING: Final = frozenset({"deny"})
"""Keys of `tools` that take away and never give."""
_OF_ENTRIES: Final = frozenset({"tools", "secrets"})
"""Harmless keys of which an entry's own part has to stay."""


def unapproved_servers(policy: Policy, tree: Map, replaced: frozenset[Path] = frozenset()) -> Iterator[Problem]:
    """
    Problems of the servers in *tree*, which holds what the project's files say before entries are filled in.

    *replaced*: where they say `!reset` or `!override` to what an entry says.
    """
    if policy.servers is None:
        return
    servers = tree.get("servers")
    for name, entry in (servers.entries if isinstance(servers, Map) else {}).items():
        if not isinstance(entry.node, Map):
            continue
        came = entry.node.get("from")
        if not isinstance(came, Scalar) or not isinstance(came.value, str):
            kind = next(
                (key for key in ("process", "url", "image", "build", "package") if key in entry.node.entries), None
            )
            at = entry.node.entries[kind].key if kind else entry.key
            message = f"server `{name}` is written out here, and the policy accepts servers from a catalog only"
            yield Problem(message, at, _accepted(policy))
        elif not policy.accepts(came.value.partition("@")[0]):
            message = f"server `{name}` comes from `{came.value}`, which the policy does not accept"
            yield Problem(message, came.position, _accepted(policy))
        else:
            yield from _overrides(name, entry.node)
            yield from _replacements(name, entry.node, replaced)
    if _is_exclusive(servers):
        yield from _runners(tree)


def _is_exclusive(servers: Node | None) -> bool:
    return isinstance(servers, Map) and bool(servers.entries)


def _accepted(policy: Policy) -> str:
    patterns = ", ".join(f"`{pattern}`" for pattern in policy.servers or ())
    return f"the policy accepts {patterns or 'no server at all'}"


def _overrides(name: str, server: Map) -> Iterator[Problem]:
    for key, entry in server.entries.items():
        if key.startswith("x-") or (isinstance(entry.node, Scalar) and entry.node.value is None):
            continue
        if key not in HARMLESS:
            message = f"`{key}` would make something else of the approved entry that server `{name}` comes from"
            yield Problem(
                message, entry.key, "the policy accepts the entry as it is; what it can be told is its `config`"
            )
        elif key == "tools" and isinstance(entry.node, Map):
            for inner, below in entry.node.entries.items():
                if inner not in _NARROWING:
                    message = f"`tools.{inner}` would change what the approved entry of server `{name}` offers"
                    yield Problem(message, below.key, "`tools.deny` and `profiles` take tools away")


def _replacements(name: str, server: Map, replaced: frozenset[Path]) -> Iterator[Problem]:
    """What an entry says is not the project's to take away."""
    keys = {str(path[2]) for path in replaced if path[:2] == ("servers", name) and len(path) > 2}  # noqa: PLR2004
    for key in sorted(keys & _OF_ENTRIES | (keys - HARMLESS)):
        at = server.entries[key].key if key in server.entries else server.entries["from"].key
        message = f"what the approved entry of server `{name}` says of `{key}` cannot be reset or overridden"
        yield Problem(message, at, "the policy accepts the entry as it is")


def unapproved_secrets(policy: Policy) -> Callable[[str, Map, tuple[Secret, ...]], Iterator[Problem]]:
    """Says which secrets a project would deliver in places that an entry does not have."""

    def judge(name: str, server: Map, secrets: tuple[Secret, ...]) -> Iterator[Problem]:
        if policy.servers is None:
            return
        places = {("env", one.env) if one.env else ("file", one.target or one.name) for one in secrets}
        node = server.get("secrets")
        for item in node.items if isinstance(node, Seq) else ():
            if (place := _place(item)) not in places:
                what = f"variable `{place[1]}`" if place[0] == "env" else f"file `{place[1]}`"
                message = f"the approved entry of server `{name}` has no secret that goes to the {what}"
                yield Problem(message, item.position, "`mcp-compose catalog show` prints the secrets of an entry")

    return judge


def _place(item: Node) -> tuple[str, str]:
    """Where a secret of a server is delivered."""
    if isinstance(item, Scalar):
        return "file", item.text
    fields = item.entries if isinstance(item, Map) else {}
    texts = {key: one.node.text for key, one in fields.items() if isinstance(one.node, Scalar)}
    if "env" in texts:
        return "env", texts["env"]
    return "file", texts.get("target") or texts.get("source", "")


def _runners(tree: Map) -> Iterator[Problem]:
    """What a package of an approved entry is installed on is not the project's to say."""
    node = tree.get("runners")
    for key, entry in (node.entries if isinstance(node, Map) else {}).items():
        message = f"`runners.{key}` would put the packages of approved entries on another image"
        yield Problem(message, entry.key, "the policy accepts entries as they are; an entry names its own `runner`")


def unpinned_images(policy: Policy, file: ComposeFile, tree: Map, engine: EngineKind) -> Iterator[Problem]:
    """Problems of images that the policy wants named by their digest."""
    if not policy.images.wants_digests:
        return
    for name, server in file.servers.items():
        path: Path = ("servers", name)
        if server.image is not None:
            yield from _unpinned(server.image, (*path, "image"), tree, policy)
        elif server.build is not None:
            message = f"server `{name}` is built here, and the policy wants images that are named by their digest"
            hint = "push what was built, and name it by its digest with `image`"
            yield Problem(message, key_position(tree, (*path, "build")), hint)
        elif server.package is not None and engine != "process":
            yield from _unpinned(*_runner(server, name, file), tree, policy)
        if isinstance(server.network, NetworkAllow) and engine != "process":
            named = "pypi" in file.runners.model_fields_set
            yield from _unpinned(file.runners.pypi, ("runners", "pypi") if named else (*path, "network"), tree, policy)
    for index, interceptor in enumerate(file.interceptors):
        if interceptor.image is not None:
            yield from _unpinned(interceptor.image, ("interceptors", index, "image"), tree, policy)


def _runner(server: Server, name: str, file: ComposeFile) -> tuple[str, Path]:
    """The image that a package is installed on, and where it is named."""
    if server.runner is not None:
        return server.runner, ("servers", name, "runner")
    kind = "pypi" if (server.package or "").startswith("pypi:") else "npm"
    is_named = kind in file.runners.model_fields_set
    return getattr(file.runners, kind), (("runners", kind) if is_named else ("servers", name, "package"))


def _unpinned(image: str, path: Path, tree: Map, policy: Policy) -> Iterator[Problem]:
    why = "the policy wants images that are named by their digest"
    if policy.images.signed_by:
        why = "the policy wants signed images, and a signature is one of a digest"
    try:
        digest = parse(image).digest
    except FetchFailed as error:
        yield Problem(
            f"`{image}` is no image that a digest could be checked of: {error.message}", value_position(tree, path)
        )
        return
    if digest is None:
        hint = f"write `{image.partition('@')[0]}@sha256:…`; `docker buildx imagetools inspect {image}` shows it"
        what = {"image": "", "network": "its way out runs on "}.get(str(path[-1]), "the packages are installed on ")
        yield Problem(f"{what}`{image}` is not named by its digest: {why}", value_position(tree, path), hint)
