"""
Servers as local processes, for machines without a container engine. **No isolation.**

Each runs in a session of its own, with an environment that starts empty: `PATH`, `HOME`, what the file gives, and
`MCP_COMPOSE_SECRETS_DIR` where it has secret files (there is no `/run/secrets` without a container).
"""

from __future__ import annotations

import asyncio
import os
import secrets as randomness
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any, Final, Literal

from mcpcompose.engine import danger, secret_files
from mcpcompose.engine.base import (
    Endpoint,
    EngineEvent,
    HttpEndpoint,
    ImageSource,
    InstanceSpec,
    LogSink,
    NetworkSpec,
    ObservedInstance,
    ObservedState,
    PackageImage,
    Progress,
    Resolved,
    StreamEndpoint,
    Values,
    VolumeSpec,
    silent,
)
from mcpcompose.engine.feed import Feed
from mcpcompose.engine.ownership import hash_of, owner_of, refuse_other_configuration, server_of
from mcpcompose.engine.process_launch import LogPipe, ProcessStream, Strays, signal_group, spawn, watch
from mcpcompose.engine.process_packages import PackageEnvironments
from mcpcompose.engine.process_records import MARK, Record, Records, is_alive, marked, record_of, start_time
from mcpcompose.engine.process_unsupported import refuse_unsupported
from mcpcompose.engine.sendable import refuse_unsendable
from mcpcompose.engine.streams import Lifetime, exit_reason
from mcpcompose.errors import EngineError, ImageMissing, InstanceMissing
from mcpcompose.paths import ProjectPaths
from mcpcompose.spec.identity import Owner

SECRETS_VARIABLE: Final = "MCP_COMPOSE_SECRETS_DIR"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KILL_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 0.5


class Held:
    """A process whose streams this engine object holds."""

    def __init__(self, child: Popen[bytes] | None, stream: ProcessStream | None, log: LogPipe) -> None:
        self.child = child
        self.stream = stream
        self.log = log
        self.ended = asyncio.Event()
        self.life = Lifetime()
        self.stop_watching: Callable[[], None] = _nothing

    async def let_go(self) -> None:
        """Close what is held; the process goes on or ends as it likes."""
        self.stop_watching()
        if self.stream is not None:
            await self.stream.close()
        self.log.close()


class ProcessEngine:
    """An `Engine` whose instances are local processes of this user."""

    kind: Literal["docker", "process", "memory"] = "process"

    def __init__(self, paths: ProjectPaths, log: LogSink, environ: Mapping[str, str]) -> None:
        self._paths = paths
        self._log = log
        self._environ = environ
        self._home = Path(environ.get("HOME") or Path.home())
        self._records = Records(paths.instances)
        self._packages = PackageEnvironments(paths.packages, environ)
        self._held: dict[str, Held] = {}
        self._feed = Feed()
        self._strays = Strays()

    async def check(self) -> Mapping[str, Any]:
        """What the engine says of itself (name, version)."""
        return {"name": "process", "version": sys.platform, "isolation": "none"}

    async def observe(self, owner: Owner, names: frozenset[str], images: frozenset[str]) -> ObservedState:
        """One snapshot; *names* are the names to look up for other owners, *images* the packages to resolve."""
        records = self._records.all()
        found = ((tag, self._packages.identity(tag)) for tag in sorted(images))
        return ObservedState(
            instances=tuple(self._observed(record) for record in records if owner_of(record.labels) == owner),
            images=tuple((tag, identity) for tag, identity in found if identity is not None),
            foreign=tuple(r.name for r in records if r.name in names and owner_of(r.labels) != owner),
        )

    async def ensure_image(self, source: ImageSource, *, refresh: bool = False, progress: Progress = silent) -> str:
        """Install a package; images need a container engine. Returns its identity."""
        if not isinstance(source, PackageImage):
            raise EngineError(
                "the process engine does not run images",
                hint="use a `package` or a `process`, or a container engine: `--engine docker`",
            )
        homes = (self._packages.home(r.package) for r in self._records.all() if r.package and is_alive(r))
        return await self._packages.ensure(
            source, frozenset(home for home in homes if home is not None), refresh=refresh, progress=progress
        )

    async def digest_of(self, reference: str) -> str | None:  # noqa: ARG002  no images without containers
        """None: there are no images here."""
        return None

    async def registry_digest(self, reference: str) -> str:
        """Raises `ImageMissing`: there are no images here."""
        raise ImageMissing(f"engine `process` has no image `{reference}`")

    async def resolve(self, source: PackageImage, progress: Progress = silent) -> Resolved:
        """What installing a package would bring. Raises `BuildFailed`."""
        return await self._packages.resolve(source, progress)

    async def create_network(self, spec: NetworkSpec) -> None:
        """There are no networks. Raises `EngineError`."""
        raise EngineError(f"the process engine has no networks (server `{spec.server}`)", hint="use `--engine docker`")

    async def remove_network(self, name: str) -> None:
        """There is nothing to remove."""

    async def create_volume(self, spec: VolumeSpec) -> None:
        """There are no volumes. Raises `EngineError`."""
        raise EngineError(f"the process engine has no volumes (`{spec.name}`)", hint="use `--engine docker`")

    async def remove_volume(self, name: str) -> None:
        """There is nothing to remove."""

    async def create_instance(self, spec: InstanceSpec, values: Values) -> None:
        """Make an instance, not started. Raises `NameTaken`, `ImageMissing`, `DangerRefused`."""
        danger.refuse(spec, home=self._home, protected=(self._paths.runtime, self._paths.state, self._paths.cache))
        refuse_unsupported(spec)
        refuse_unsendable(spec.name, values)
        if (found := self._records.get(spec.name)) is not None:
            refuse_other_configuration(spec.name, dict(spec.labels), found.labels)
            return
        identity = None
        if isinstance(spec.source, PackageImage):
            identity = self._packages.identity(spec.source.tag)
            if identity is None:
                raise ImageMissing(f"package `{spec.source.requirement}` is not installed", hint="run `mcp-compose up`")
        self._records.put(record_of(spec, identity))  # first: secret files without a record would be nobody's
        try:
            secret_files.write(self._paths.secret_files, spec.name, values.secret_files, mode=0o400)
        except BaseException:
            secret_files.remove(self._paths.secret_files, spec.name)
            self._records.remove(spec.name)
            raise

    async def start_instance(self, name: str, values: Values) -> Endpoint:
        """Start an instance and hold its streams; one that runs unattached is restarted in place."""
        record = self._record(name)
        refuse_unsendable(name, values)
        if is_alive(record) and record.is_http:
            return await self.connect_instance(name)
        await self._end(record, record.grace)
        folder = secret_files.write(self._paths.secret_files, name, values.secret_files, mode=0o400)
        if record.is_http:
            await _refuse_taken_port(record)
        mark = f"{name}:{randomness.token_hex(8)}"
        record = self._records.put(replace(record, pid=None, started="", exit_code=None, mark=mark))
        environment = self._environment(record, values, folder)
        held = await self._launch(record, self._command(record, values), environment)
        self._held[name] = held
        self._feed.publish(record.labels, EngineEvent(name, "started"))
        return StreamEndpoint(held.stream) if held.stream is not None else _http(record, held)

    async def connect_instance(self, name: str) -> Endpoint:
        """Hold a running HTTP instance that an earlier run left. Raises `InstanceMissing` when it does not run."""
        record = self._record(name)
        if not record.is_http or record.pid is None or not is_alive(record):
            raise InstanceMissing(f"instance `{name}` does not run", hint="run `mcp-compose up`")
        if name not in self._held:
            held = Held(None, None, LogPipe())
            await self._read_log(held.log, name)
            self._held[name] = held
            held.stop_watching = watch(record.pid, lambda: self._ended(record, held))
        return _http(record, self._held[name])

    async def stop_instance(self, name: str, grace: float) -> None:
        """Ask it to end, and make it end after *grace* seconds."""
        if (record := self._records.get(name)) is not None:
            await self._end(record, grace)

    async def remove_instance(self, name: str) -> None:
        """Remove an instance, running or not, with its secret files."""
        record = self._records.get(name)
        if record is not None:
            await self._end(record, record.grace)
        self._log_pipe(name).unlink(missing_ok=True)
        secret_files.remove(self._paths.secret_files, name)
        if record is not None:
            self._records.remove(name)
            self._feed.publish(record.labels, EngineEvent(name, "removed"))

    def events(self, owner: Owner) -> AsyncIterator[EngineEvent]:
        """What happens to this owner's instances, until closed."""
        return self._feed.follow(owner)

    async def close(self) -> None:
        """Let go of everything. Processes on stdio see the end of their input; the others go on."""
        held, self._held = self._held, {}
        for one in held.values():
            await one.let_go()
            if one.child is not None:
                one.child.returncode = one.child.returncode if one.child.returncode is not None else 0
        await self._strays.close()
        await asyncio.sleep(0)

    def knows(self, name: str) -> bool:
        """Whether the instance *name* is one of this engine's."""
        return self._records.get(name) is not None

    # --- one process ---

    def _observed(self, record: Record) -> ObservedInstance:
        held = self._held.get(record.name)
        unfinished = record.pid is None and record.exit_code is None and not record.is_http
        running = is_alive(record) or (unfinished and any(marked(record.mark)))
        return ObservedInstance(
            name=record.name,
            server=server_of(record.labels),
            config_hash=hash_of(record.labels),
            running=running,
            attached=running and held is not None and not held.ended.is_set(),
            image_id=record.image_id,
            exit_code=None if running else record.exit_code,
        )

    def _record(self, name: str) -> Record:
        if (record := self._records.get(name)) is None:
            raise InstanceMissing(f"instance `{name}` is gone", hint="run `mcp-compose up`")
        return record

    def _environment(self, record: Record, values: Values, folder: Path) -> dict[str, str]:
        path = self._environ.get("PATH") or DEFAULT_PATH
        if record.package and (home := self._packages.home(record.package)) is not None:
            path = f"{home / 'bin'}:{path}"
        environment = {"PATH": path, "HOME": str(self._home)}
        if values.secret_files:
            environment[SECRETS_VARIABLE] = str(folder)
        return {**environment, **values.environment, MARK: record.mark}

    def _command(self, record: Record, values: Values) -> list[str]:
        command = values.command if values.command is not None else record.command
        entrypoint = values.entrypoint if values.entrypoint is not None else record.entrypoint
        if record.package and entrypoint is None:
            home = self._packages.home(record.package)
            if home is None:
                raise ImageMissing(f"the package of `{record.name}` is not installed", hint="run `mcp-compose pull`")
            entrypoint = (str(home / "server"),)
        words = [*(entrypoint or ()), *(command or ())]
        if not words:
            raise EngineError(f"`{record.name}` has no command")
        return words

    async def _launch(self, record: Record, command: list[str], environment: dict[str, str]) -> Held:
        pipe = self._made_pipe(record.name) if record.is_http else None
        log = LogPipe()
        try:
            if pipe is not None:
                await self._read_log(log, record.name)
            child = await asyncio.to_thread(spawn, command, environment, record.working_dir, pipe)
        except (OSError, ValueError) as error:
            log.close()
            self._records.update(record.name, mark="")
            why = (error.strerror if isinstance(error, OSError) else None) or "the command cannot be run"
            raise EngineError(
                f"cannot start `{record.name}`: {why}",
                hint=f"check the command of server `{server_of(record.labels)}` and its `working_dir`",
            ) from None
        except BaseException:
            log.close()
            raise
        record = self._records.put(replace(record, pid=child.pid, started=start_time(child.pid)))
        stream = None
        if child.stdin is not None and child.stdout is not None and child.stderr is not None:
            stream = ProcessStream()
            await stream.connect(child.stdin, child.stdout)
            await log.connect(child.stderr, lambda data: self._log(record.name, data))
        held = Held(child, stream, log)
        held.stop_watching = watch(child.pid, lambda: self._ended(record, held))
        return held

    def _ended(self, record: Record, held: Held) -> None:
        """The process has ended: what it started ends too, its group at once (before its pid can be anyone else's)."""
        if held.child is not None and record.pid is not None:
            signal_group(record.pid, signal.SIGKILL)
        code = held.child.wait() if held.child is not None else None
        if (current := self._records.get(record.name)) is not None and current.mark == record.mark:
            self._records.put(replace(current, pid=None, started="", exit_code=code))
        self._strays.begin(record.mark).add_done_callback(lambda look: self._reaped(record, look))
        if held.stream is not None:
            held.stream.exited(code)
        held.ended.set()
        held.life.end(exit_reason(code))
        if self._held.get(record.name) is held:
            del self._held[record.name]
        self._feed.publish(record.labels, EngineEvent(record.name, "died"))

    def _reaped(self, record: Record, look: asyncio.Task[None]) -> None:
        """Nothing carries its mark any more, unless *look* was broken off."""
        if look.cancelled() or look.exception() is not None:
            return
        if (current := self._records.get(record.name)) is not None and current.mark == record.mark:
            self._records.put(replace(current, mark=""))

    async def _end(self, record: Record, grace: float) -> None:
        """End the process of *record* and everything it started."""
        held = self._held.get(record.name)
        if held is not None and held.stream is not None:
            held.stream.close_input()
        if record.pid is not None and is_alive(record):
            gone = held.ended if held is not None else asyncio.Event()
            stop = _nothing if held is not None else watch(record.pid, gone.set)
            try:
                signal_group(record.pid, signal.SIGTERM)
                if not await _within(gone, grace) and is_alive(record):
                    signal_group(record.pid, signal.SIGKILL)
                    await _within(gone, KILL_SECONDS)
            finally:
                stop()
        await self._strays.end(record.mark)
        self._records.update(record.name, pid=None, started="", mark="")
        if (left := self._held.pop(record.name, None)) is not None:
            await left.let_go()

    # --- the log of an HTTP instance ---

    def _log_pipe(self, name: str) -> Path:
        return self._paths.instances / f"{name}.log"

    def _made_pipe(self, name: str) -> Path:
        pipe = self._log_pipe(name)
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe, 0o600)
        return pipe

    async def _read_log(self, log: LogPipe, name: str) -> None:
        descriptor = os.open(self._log_pipe(name), os.O_RDONLY | os.O_NONBLOCK)
        await log.connect(os.fdopen(descriptor, "rb", buffering=0), lambda data: self._log(name, data))


def _nothing() -> None:
    """There is nothing to stop watching."""


def _http(record: Record, held: Held) -> HttpEndpoint:
    return HttpEndpoint(f"http://127.0.0.1:{record.port}{record.path}", life=held.life)


async def _within(gone: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await gone.wait()
    except TimeoutError:
        return False
    return True


async def _refuse_taken_port(record: Record) -> None:
    """Raise when somebody else listens where this instance would: its clients would speak to a stranger."""

    def taken() -> bool:
        with socket.socket() as probe:
            probe.settimeout(CONNECT_SECONDS)
            return probe.connect_ex(("127.0.0.1", record.port or 0)) == 0

    if await asyncio.to_thread(taken):
        raise EngineError(
            f"port {record.port} of `{record.name}` is taken on this machine",
            hint="give the server another port, or stop what listens there",
        )
