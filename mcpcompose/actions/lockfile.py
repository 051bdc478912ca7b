"""
Write `mcp-compose.lock`, and say what is not as it says.

To know what servers offer they have to run: those of the running gateway are asked, else a gateway is started for it
and taken down again. The file is written at the very end, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.actions.admin_client import AdminClient, Event
from mcpcompose.actions.locate import Place
from mcpcompose.actions.spawn import running_gateway
from mcpcompose.errors import ApprovalNeeded, McpComposeError
from mcpcompose.spec.lockfile import accept_command
from mcpcompose.upstream.base import Withheld

if TYPE_CHECKING:
    from mcpcompose.config.load import Loaded
    from mcpcompose.orchestrator.lock_accept import Accepted
    from mcpcompose.orchestrator.lock_changes import Change
    from mcpcompose.orchestrator.lock_differences import Difference
    from mcpcompose.orchestrator.lock_pinning import Pinned
    from mcpcompose.spec.lockfile import Lock, LockedServer

OnEvent = Callable[[Event], None]
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Report:
    """
    What `lock` found and did.

    *changes* were written, *drift* is not accepted, *differences* need no start to be seen; *failed* are servers that
    could not be looked at, *notes* what could not be known.
    """

    is_written: bool = False
    changes: tuple[Change, ...] = ()
    drift: tuple[Change, ...] = ()
    differences: tuple[Difference, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    servers: tuple[Mapping[str, Any], ...] = ()
    """As `ps` shows them, those of which some definitions look poisoned."""
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Something is not as the lock says."""
        return bool(self.drift or self.differences)


def check(place: Place, *, live: bool, on_event: OnEvent) -> Report:
    """
    Compare the project with its lock; *live* also asks registries, and the servers what they offer.

    Raises `LockedStateDiffers` when there is no lock.
    """
    from mcpcompose.orchestrator.lock_accept import drift
    from mcpcompose.orchestrator.lock_differences import differences

    loaded, launches = _loaded(place)
    lock = loaded.project.lock
    if lock is None:
        raise _no_lock(loaded)
    found = differences(loaded.project, launches, whole=place.options.profile is None)
    if not live:
        return Report(differences=found)
    moved, notes = _moved(place, loaded)
    with _looking(place, None, on_event) as gateway:
        offers, suspect = gateway.offers(), _suspect(gateway)
    entries = {name: entry for name, entry in lock.servers.items() if name in loaded.project.servers}
    changed = tuple(
        one for name, entry in entries.items() if name in offers for one in drift(name, entry, offers[name])
    )
    unknown = {name: "does not serve" for name in entries if name not in offers}
    return Report(drift=(*moved, *changed), differences=found, failed=unknown, servers=suspect, notes=notes)


def lock(place: Place, accept: Sequence[str], on_event: OnEvent) -> Report:
    """
    Write the lock: new servers as they are now, those to *accept* (`SERVER` or `SERVER/NAME`) too, others as they were.

    Raises `ApprovalNeeded` before anything runs that was not approved, and what keeps the project from coming up.
    """
    from mcpcompose.actions.direct import place_of
    from mcpcompose.config.lockfile import lock_path, lock_text, write_lock
    from mcpcompose.orchestrator.lock_accept import accepted
    from mcpcompose.orchestrator.lock_changes import changes

    loaded, _ = _loaded(place)
    choice = accepted(accept, loaded.project.servers)
    before = loaded.project.lock
    _refuse_unapproved(place, loaded, _ours(loaded, choice))
    if before is None:
        _refuse_withheld(place, choice)
    found = _pinned(place, loaded, choice.servers, on_event)
    text = lock_text(found.lock) if before is None or found.lock != before else None
    with _looking(place, text, on_event) as gateway:
        offers, suspect = gateway.offers(), _suspect(gateway)
        after, drifted, failed = _next(place, loaded, found, offers, choice)
        place_of(place).approvals.accept_lock(after)
        file = lock_path(loaded.project.directory)
        is_new = before is None and not loaded.project.servers
        is_written = is_new or lock_text(after) != lock_text(before or _empty())
        if is_written:
            write_lock(file, after)
    from mcpcompose.orchestrator.lock_differences import differences

    project = loaded.project.model_copy(update={"lock": after})
    left = differences(project, found.launches, whole=False)
    left = tuple(one for one in left if one.server not in failed)
    return Report(is_written, changes(before or _empty(), after), drifted, left, failed, suspect)


def _suspect(gateway: AdminClient) -> tuple[Mapping[str, Any], ...]:
    """What was found in the definitions that are locked or could be."""
    return tuple({**one, "withheld": []} for one in gateway.status()["servers"] if one.get("findings"))


def _next(
    place: Place, loaded: Loaded, found: Pinned, offers: Mapping[str, Any], choice: Accepted
) -> tuple[Lock, tuple[Change, ...], dict[str, str]]:
    """The lock to write, what is left unaccepted, and the servers that could not be looked at."""
    from mcpcompose.orchestrator.lock_accept import drift, next_entry, without
    from mcpcompose.orchestrator.lock_differences import catalog_digests

    project, before = loaded.project, loaded.project.lock or _empty()
    failed = {name: error.message for name, error in found.failed.items()}
    entries: dict[str, LockedServer] = {}
    drifted: list[Change] = []
    for name in project.servers:
        held = before.servers.get(name)
        if name in offers and name not in failed:
            entries[name] = next_entry(name, held, found.lock.servers[name], offers[name], choice)
            drifted += drift(name, entries[name], offers[name])
        else:
            failed.setdefault(name, "does not serve")
            if held is not None:
                entries[name] = held
    gone = [name for name in before.servers if name not in project.servers and place.options.profile is None]
    kept = without(before, gone)
    digests = catalog_digests(project)
    whole = kept.model_copy(update={"servers": {**kept.servers, **entries}, "catalogs": dict(digests)})
    return whole, tuple(drifted), failed


def _empty() -> Lock:
    from mcpcompose.spec.lockfile import Lock

    return Lock()


def _loaded(place: Place) -> tuple[Loaded, Mapping[str, str]]:
    """The project with its lock, and the launch identities of now."""
    from mcpcompose.actions.config import load
    from mcpcompose.actions.direct import run
    from mcpcompose.orchestrator.lock_identity import launch_identities
    from mcpcompose.orchestrator.round import build_digests

    loaded = load(place)
    contexts = run(lambda: build_digests(loaded.project))
    return loaded, launch_identities(loaded.project, place.options.home, contexts)


def _no_lock(loaded: Loaded) -> McpComposeError:
    from mcpcompose.errors import LockedStateDiffers
    from mcpcompose.spec.lockfile import FILE_NAME

    folder = loaded.project.directory
    return LockedStateDiffers(f"there is no `{FILE_NAME}` in `{folder}`", hint="write it with `mcp-compose lock`")


def _ours(loaded: Loaded, choice: Accepted) -> frozenset[str]:
    """The subjects of approval that running this command is: what it takes as a whole, whatever the file said of it."""
    from mcpcompose.spec.lockfile import FILE_NAME

    held = loaded.project.lock.servers if loaded.project.lock is not None else {}
    return choice.servers | {FILE_NAME} | {name for name in loaded.project.servers if name not in held}


def _refuse_unapproved(place: Place, loaded: Loaded, ours: frozenset[str]) -> None:
    """Nothing is looked up or started for what waits for approval, but for the looser lock that this makes itself."""
    from mcpcompose.actions.direct import place_of, run
    from mcpcompose.orchestrator.lock_rules import LOOSER_LOCK
    from mcpcompose.orchestrator.round import raise_pending, unapproved

    waiting = run(lambda: unapproved(loaded, place_of(place)))
    if others := tuple(form for form in waiting if form.kind != LOOSER_LOCK or form.subject not in ours):
        raise_pending(others)


def _refuse_withheld(place: Place, choice: Accepted) -> None:
    """A first lock takes everything as it is, but not what the running gateway withholds: that a person has to say."""
    gateway = running_gateway(place)
    for server in gateway.status()["servers"] if gateway is not None else ():
        name, waiting = server["server"], server["withheld"]
        if waiting and name not in choice.servers:
            said = ", ".join(str(Withheld(one["kind"], one["name"], one["why"])) for one in waiting[:_SHOWN])
            raise ApprovalNeeded(
                f"server `{name}` offers what nobody accepted: {said}",
                hint=f"look at it with `mcp-compose trust`, and accept it there or with `{accept_command(name)}`",
            )


def _pinned(place: Place, loaded: Loaded, renew: frozenset[str], on_event: OnEvent) -> Pinned:
    from mcpcompose.actions.direct import engine_of, run
    from mcpcompose.orchestrator.lock_pinning import pinned
    from mcpcompose.orchestrator.round import build_digests

    async def pin() -> Pinned:
        async with engine_of(place, loaded.project.engine) as engine:
            return await pinned(
                loaded.project,
                engine,
                renew=renew,
                home=place.options.home,
                contexts=await build_digests(loaded.project),
                told=lambda server, line: on_event({"event": "progress", "server": server, "text": line}),
            )

    return run(pin)


def _moved(place: Place, loaded: Loaded) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """The images whose tag stands for another one in their registry by now, and what could not be asked."""
    from mcpcompose.actions.direct import engine_of, run
    from mcpcompose.orchestrator.lock_moved import moved

    async def ask() -> tuple[tuple[Change, ...], tuple[str, ...]]:
        async with engine_of(place, loaded.project.engine) as engine:
            return await moved(loaded.project, engine)

    return run(ask)


@contextmanager
def _looking(place: Place, lock_text: str | None, on_event: OnEvent) -> Iterator[AdminClient]:
    """A gateway whose servers have settled with *lock_text* as their lock; what was started for it goes again."""
    from mcpcompose.actions.down import down
    from mcpcompose.actions.up import Wish, hand_over

    running = running_gateway(place)
    if running is None:
        try:
            hand_over(place, Wish(watch=False, lock=lock_text), on_event)
            yield AdminClient(place.paths.admin_socket)
        finally:
            down(place, volumes=False, on_event=on_event)
        return
    if lock_text is None:
        yield running
        _again(running, None, on_event)
        return
    try:
        _again(running, lock_text, on_event)
        yield running
    finally:
        _again(running, None, on_event)


def _again(gateway: AdminClient, lock_text: str | None, on_event: OnEvent) -> None:
    for event in gateway.apply({"again": True, "lock": lock_text}):
        if event.get("event") != "done":
            on_event(event)
