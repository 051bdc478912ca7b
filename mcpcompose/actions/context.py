"""The composition root: picks the engines, the places of keys, tokens and approvals, and makes one gateway of them."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.actions.clients import token_file
from mcpcompose.actions.locate import Place, load_request
from mcpcompose.actions.port import port_for
from mcpcompose.actions.record import Record, read_record, write_record
from mcpcompose.auth.tokens import Tokens
from mcpcompose.engine.base import ByteStream, Endpoint, Engine
from mcpcompose.errors import McpComposeError
from mcpcompose.gateway.gateway import Governed, ProjectGateway
from mcpcompose.log import ServerLogs
from mcpcompose.orchestrator.approval import accepted_file, approvals_of
from mcpcompose.orchestrator.controller import Controller
from mcpcompose.orchestrator.key import digest_key, sealing_key
from mcpcompose.orchestrator.round import Place as OrchestratorPlace
from mcpcompose.orchestrator.serving import Expand
from mcpcompose.orchestrator.signed import Verify
from mcpcompose.paths import ProjectPaths
from mcpcompose.redact import Redactor
from mcpcompose.secrets.places import keyring_places
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.policy import Signer
from mcpcompose.spec.project import Project

if TYPE_CHECKING:
    from mcpcompose.config.load import Loaded

_log: Final = logging.getLogger(__name__)
_ENGINE_VARIABLES: Final = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


def make_engine(
    kind: str, paths: ProjectPaths, log: Callable[[str, bytes], None], environ: Mapping[str, str]
) -> Engine:
    """The engine of *kind*; its library is imported only here."""
    if kind == "process":
        from mcpcompose.engine.process import ProcessEngine

        return ProcessEngine(paths, log, environ)
    from mcpcompose.engine.docker import DockerEngine
    from mcpcompose.engine.mixed import MixedEngine
    from mcpcompose.engine.process import ProcessEngine

    return MixedEngine(DockerEngine(paths, log, environ), ProcessEngine(paths, log, environ))


def orchestrator_place(place: Place, redactor: Redactor) -> OrchestratorPlace:
    """Where the project runs, for the orchestrator."""
    paths = place.paths.make()
    return OrchestratorPlace(
        owner=place.owner,
        home=place.options.home,
        approvals=approvals_of(paths, place.owner),
        redactor=redactor,
        key=digest_key(paths),
        protected=(
            *(paths.runtime, paths.state, paths.cache),
            *keyring_places(place.options.environ, place.options.home).folders,
        ),
        launches=paths.state / "launches.json",
        uses_engine=lambda kind: remember(place, lambda record: record.on_engine(kind)),
        verify=_verifying(place),
    )


def _verifying(place: Place) -> Verify:
    """Verifies signatures of images; what that takes is loaded when the first one has to be verified."""

    async def verify(image: str, signers: tuple[Signer, ...]) -> None:
        from mcpcompose.catalog.signed import Signatures

        await Signatures(place.options.environ, place.options.home).check(image, signers)

    return verify


class Engines:
    """The engines of one process, each made once."""

    def __init__(self, place: Place, log: Callable[[str, bytes], None]) -> None:
        self._place = place
        self._log = log
        self._made: dict[tuple[str, ...], Engine] = {}
        self.environ: Mapping[str, str] = place.options.environ

    def __call__(self, project: Project) -> Engine:
        """The engine of *project*."""
        return self.of_kind(project.engine)

    def of_kind(self, kind: str) -> Engine:
        """The engine of *kind*, where the environment of the last `up` says."""
        key = (kind, *(self.environ.get(name, "") for name in _ENGINE_VARIABLES if kind == "docker"))
        if key not in self._made:
            self._made[key] = make_engine(kind, self._place.paths, self._log, self.environ)
        return self._made[key]

    async def let_go(self, engine: Engine) -> None:
        """Let go of one; when it is wanted again, it is made again."""
        self._made = {key: made for key, made in self._made.items() if made is not engine}
        await engine.close()

    async def close(self) -> None:
        """Let go of all."""
        for engine in self._made.values():
            await engine.close()
        self._made.clear()


class Context:
    """Everything that one gateway process is made of."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.paths = place.paths.make()
        self.redactor = Redactor()
        self.logs = ServerLogs(self.paths.logs, self.redactor, project=place.name)
        self.engines = Engines(place, self.logs)
        self.source = Source(place, engines=self.engines)
        self.gateway = ProjectGateway(
            cache=self.paths.tool_lists,
            tokens=Tokens(token_file(self.paths)),
            restart=self._restart,
            instances=_Instances(self),
            redact=self.redactor.text,
            key=sealing_key(self.paths),
            accepted=accepted_file(self.paths, place.owner),
            governed=Governed(
                sessions=self.paths.state / "sessions.json",
                audit=self.paths.state / "audit",
                redactor=self.redactor,
                environ=lambda: self.engines.environ,
                containers=_Containers(self),
                log=self.logs,
            ),
        )
        self.serving = ListeningGateway(self.gateway, place)
        self.controller = Controller(
            load=self.source.load,
            engine_for=self.engines,
            serving=self.serving,
            place=orchestrator_place(place, self.redactor),
            host=place.options.environ,
            let_go=self.engines.let_go,
        )

    async def _restart(self, server: str) -> Endpoint:
        return await self.controller.restart_instance(server)

    async def close(self) -> None:
        """End what is under way, stop serving and let go of the engines; instances are left as they are."""
        await self.controller.close()
        await self.gateway.stop()
        await self.engines.close()
        self.logs.close()


class _Instances:
    """Further instances for the gateway, by the controller that is made after it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def start_copy(self, server: str) -> tuple[str, Endpoint]:
        return await self._context.controller.instances.start_copy(server)

    async def stop_copy(self, server: str, copy: str) -> None:
        await self._context.controller.instances.stop_copy(server, copy)

    async def rest(self, server: str) -> None:
        await self._context.controller.instances.rest(server)


class _Containers:
    """Containers of interceptors for the gateway, by the controller that is made after it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def prepare(self, spec: Interceptor) -> None:
        await self._context.controller.containers.prepare(spec)

    async def start(self, spec: Interceptor) -> tuple[str, ByteStream]:
        return await self._context.controller.containers.start(spec)

    async def stop(self, name: str) -> None:
        await self._context.controller.containers.stop(name)


class Source:
    """
    The files of one `up`, whose request is *wire*; without `watch` in it they are read once.

    *engines* are told the environment of that `up` whenever its files are loaded.
    """

    def __init__(self, place: Place, wire: Mapping[str, Any] | None = None, engines: Engines | None = None) -> None:
        self.wire: Mapping[str, Any] = place.wire() if wire is None else wire
        self.watch = bool(self.wire.get("watch", True))
        self._engines = engines
        self._loaded: Loaded | None = None

    async def load(self) -> Loaded:
        """Load them, in a thread. Raises `FileProblems`."""
        if self._engines is not None:
            self._engines.environ = self.wire["environ"]
        if self._loaded is not None and not self.watch:
            return self._loaded
        from mcpcompose.config.load import load

        self._loaded = await asyncio.to_thread(load, load_request(self.wire))
        return self._loaded


class ListeningGateway:
    """
    The gateway as the orchestrator sees it; listens from the first project on.

    What is declared is served at once, from cached lists, while its servers still start. *problem* is what keeps it
    from listening where a later change of the file says; until that is mended it stays where it is.
    """

    def __init__(self, gateway: ProjectGateway, place: Place) -> None:
        self._gateway = gateway
        self._place = place
        self._at: tuple[str, int] | None = None
        self._opening: asyncio.Task[None] | None = None
        self.problem: McpComposeError | None = None
        self.starting, self.attach, self.health = gateway.starting, gateway.attach, gateway.health
        self.detach, self.failed, self.stopped = gateway.detach, gateway.failed, gateway.stopped

    def resolving(self, expand: Expand) -> None:
        """How texts of interceptors get their values."""
        self._gateway.resolving(expand)

    def declare(self, project: Project, fingerprints: Mapping[str, str], written: Mapping[str, str]) -> None:
        """Serve *project* from now on. Raises `McpComposeError` when it is the first and its port is taken."""
        gateway = project.gateway
        if self._at is None:
            record = read_record(self._place.paths.state)
            port = port_for(gateway, record.port if record else None, self._place.owner.id)
        else:
            port = gateway.port or self._at[1]
        self._gateway.declare(project, fingerprints, written)
        at = (_same_host(gateway.listen), port)
        if at == self._at:
            self.problem = None
            return
        before, self._at = self._at, at
        opening = self._open(project, port, self._opening, before)
        self._opening = asyncio.get_running_loop().create_task(opening)

    async def opened(self) -> None:
        """Wait until it listens. Raises `McpComposeError` when it cannot."""
        if self._opening is not None:
            await asyncio.shield(self._opening)
        if self.problem is not None:
            raise self.problem

    async def _open(
        self, project: Project, port: int, other: asyncio.Task[None] | None, before: tuple[str, int] | None
    ) -> None:
        """Listen at *port* after *other* is done; stay at *before* where that cannot be."""
        if other is not None:
            await other
        listen = project.gateway.listen
        try:
            if before is None:
                url = await self._gateway.start(listen, port, self._place.paths.stdio_socket)
            else:
                url = await self._gateway.move(listen, port)
        except McpComposeError as error:
            self.problem, self._at = error, before
            _log.warning("cannot listen", extra={"reason": error.message})
            return
        self.problem = None
        remember(self._place, lambda record: record.listening(url, None if project.gateway.port else port))


def _same_host(listen: str) -> str:
    """One name for the ways to write one address: our own port is not bound twice."""
    if listen == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(listen.strip("[]")))
    except ValueError:
        return listen


def remember(place: Place, change: Callable[[Record], Record]) -> None:
    """Change the project's record."""
    place.paths.make()
    record = read_record(place.paths.state) or Record(place.name, str(place.directory), ())
    write_record(place.paths.state, change(record))


def log_level(environ: Mapping[str, str]) -> int:
    """How much our own log says: `MCP_COMPOSE_DEBUG` for all of it."""
    return 10 if environ.get("MCP_COMPOSE_DEBUG") else 20
