"""
Which rules of a project are looser than those last in force on this machine.

Pure. The baseline keeps the rules of servers and profiles that are gone, so that removing one and adding it again with
looser rules is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from mcpcompose.orchestrator.forms import Form, form, source_of
from mcpcompose.orchestrator.governed_rules import governed_rules, weaker_forms
from mcpcompose.orchestrator.lock_rules import lock_forms, lock_rules
from mcpcompose.orchestrator.policy_rules import looser_policy, policy_rules
from mcpcompose.spec.project import Project

_INTEGRITY: Final = ("off", "first-sight", "accept")
"""From loose to strict."""
Baseline = Mapping[str, Any]
"""
JSON: `servers` (allow, deny, source, integrity), `profiles` (servers, tools; null: everything), `clients` (profile),
`auth`, `policy`, `governed` (interceptors, session, audit), `lock`.
"""


def rules(project: Project, before: Baseline | None = None) -> dict[str, Any]:
    """The baseline once *project* is in force after *before*."""
    kept = before or {}
    servers = {
        name: {
            "allow": None if s.tools.allow is None else sorted(s.tools.allow),
            "deny": sorted(s.tools.deny),
            "source": source_of(s),
            "integrity": s.integrity,
        }
        for name, s in project.servers.items()
    }
    profiles = {name: _profile(project, name) for name in project.profiles}
    for name, rule in kept.get("profiles", {}).items():
        if rule is not None and name in profiles and profiles[name] is None:
            profiles[name] = _listed(project, name)  # once it named its servers, "all" of a part is not "everything"
    # The client `default` is always there; without a word about it, its profile is `default`.
    clients = {"default": "default", **{name: client.profile for name, client in project.clients.items()}}
    return {
        "servers": {**kept.get("servers", {}), **servers},
        "profiles": {**kept.get("profiles", {}), **profiles},
        "clients": {**kept.get("clients", {}), **clients},
        "auth": project.gateway.auth if isinstance(project.gateway.auth, str) else "other",
        "policy": policy_rules(project),
        "governed": governed_rules(project),
        **({"lock": lock} if (lock := lock_rules(project.lock, kept.get("lock"))) is not None else {}),
    }


def loosening_forms(project: Project, before: Baseline | None) -> tuple[Form, ...]:
    """One form for each rule that is looser than *before*; none without a baseline."""
    if not before:
        return ()
    now = rules(project)
    return (
        *_tools(before.get("servers", {}), now["servers"]),
        *_profiles(before, now["profiles"], sorted(project.servers)),
        *_clients(before.get("clients", {}), now["clients"]),
        *_auth(before.get("auth"), now["auth"]),
        *_policy(before.get("policy"), now["policy"]),
        *weaker_forms(project, before.get("governed"), before.get("servers", {})),
        *lock_forms(project.lock, before.get("lock")),
    )


def door_forms(project: Project) -> tuple[Form, ...]:
    """Who besides loopback may ask: a web page, or who gives this machine another name, is let as far as a token."""
    gateway = project.gateway
    doors = (("allowed_hosts", gateway.allowed_hosts), ("allowed_origins", gateway.allowed_origins))
    return tuple(
        form("wider gateway", key, [f"{name} (auth: {gateway.auth})" for name in sorted(names)])
        for key, names in doors
        if names
    )


def _profile(project: Project, name: str) -> dict[str, Any] | None:
    profile = project.profiles[name]
    if set(profile.servers) == set(project.servers) and not profile.tools:
        return None
    return _listed(project, name)


def _listed(project: Project, name: str) -> dict[str, Any]:
    profile = project.profiles[name]
    return {
        "servers": sorted(profile.servers),
        "tools": {server: sorted(globs) for server, globs in sorted(profile.tools.items())},
    }


def _tools(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Form]:
    for name, rule in now.items():
        if (old := before.get(name)) is not None:
            if lines := list(_looser(old, rule)):
                yield form("looser tools", name, lines, [old, rule], once=True)
            if old["source"] == rule["source"]:
                continue
        # Another name for what had rules under the first one: a rule is not dropped by renaming its server.
        for other, known in before.items():
            lines = list(_looser(known, rule)) if known.get("source") == rule["source"] else []
            if lines:
                again = f"the same as {other} ({rule['source']})"
                yield form("looser tools", name, [again, *lines], [other, known, rule], once=True)


def _looser(old: Mapping[str, Any], rule: Mapping[str, Any]) -> Iterator[str]:
    if old["allow"] is not None:
        if rule["allow"] is None:
            yield f"allows every tool, was {_globs(old['allow'])}"
        elif added := [glob for glob in rule["allow"] if not _covered(glob, old["allow"])]:
            yield f"also allows {_globs(added)}, was {_globs(old['allow'])}"
    before = old.get("integrity", "first-sight")
    if _INTEGRITY.index(rule["integrity"]) < _INTEGRITY.index(before):
        yield f"what it offers is held by `{rule['integrity']}`, was `{before}`"
    if dropped := [glob for glob in old["deny"] if not _covered(glob, rule["deny"])]:
        yield f"no longer denies {_globs(dropped)}"


def _profiles(before: Baseline, now: Mapping[str, Any], everything: list[str]) -> Iterator[Form]:
    known = before.get("servers", {})
    for name, rule in now.items():
        if name not in before.get("profiles", {}):
            continue
        old = before["profiles"][name]
        if old is None:
            continue
        lines: list[str] = []
        servers = everything if rule is None else rule["servers"]
        if added := [server for server in servers if server in known and server not in old["servers"]]:
            lines.append(f"also gets {_globs(added)}")
        for server, globs in old["tools"].items():
            new = None if rule is None else rule["tools"].get(server)
            if new is None:
                if server in servers:
                    lines.append(f"gets every tool of {server}, was {_globs(globs)}")
            elif wider := [glob for glob in new if not _covered(glob, globs)]:
                lines.append(f"also gets {_globs(wider)} of {server}")
        if lines:
            yield form("looser profile", name, lines, [old, rule], once=True)


def _clients(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Form]:
    for name, profile in now.items():
        old = before.get(name, "default" if name == "default" else None)
        if old is not None and old != profile:
            yield form("profile of a client", name, [f"gets profile {profile}, was {old}"], once=True)


def _auth(before: str | None, now: str) -> Iterator[Form]:
    if now == "none" and before not in {None, "none"}:
        yield form("gateway without tokens", "gateway", ["whoever reaches the port gets in (`auth: none`)"], once=True)


def _policy(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[Form]:
    if lines := list(looser_policy(before, now)):
        yield form("looser policy", "policy", lines, [before, now], once=True)


def _covered(glob: str, others: Iterable[str]) -> bool:
    """Whatever *glob* matches, one of *others* surely matches too."""
    literal = not any(character in glob for character in "*?[")
    return any(other in {glob, "*"} or (literal and fnmatchcase(glob, other)) for other in others)


def _globs(globs: Iterable[str]) -> str:
    return ", ".join(globs) or "nothing"
