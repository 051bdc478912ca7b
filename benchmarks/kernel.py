"""
What the pipeline costs one call in the kernel, without HTTP: µs more than without interceptors and audit log.

`python benchmarks/kernel.py`; each row is the median of rounds that take turns, so that a noisy machine hits all alike.
Calls come eight in a turn of the loop, as with sixteen busy clients: what began in a turn is written down together.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from mcpcompose.audit.log import AuditLog
from mcpcompose.gateway.compiler import compile_table
from mcpcompose.gateway.envelope import Request
from mcpcompose.gateway.governance import Governance
from mcpcompose.gateway.kernel import Kernel, handshake_caller
from mcpcompose.gateway.listeners import Listeners
from mcpcompose.interceptors.base import Around
from mcpcompose.interceptors.sessions import GovernedSessions
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.project import Gateway, Profile, Project, Runners
from mcpcompose.spec.server import Server
from mcpcompose.upstream.base import ServerLists
from mcpcompose.upstream.call import Call, Origin, Reply

CALLS: Final = 2_000
AT_ONCE: Final = 8
ROUNDS: Final = 25
ELSEWHERE: Final = {"use": "size-limit", "arguments": "1k", "match": {"server": ["nobody"]}}
ROWS: Final[dict[str, dict[str, Any]]] = {
    "neither": {},
    "one that does not match": {"interceptors": [ELSEWHERE]},
    "twenty that do not match": {"interceptors": [ELSEWHERE] * 20},
    "audit": {"audit": True},
    "secret-scan": {"interceptors": [{"use": "secret-scan"}]},
    "secret-scan and audit": {"interceptors": [{"use": "secret-scan"}], "audit": True},
}


class Servers:
    """A supervisor whose server answers at once."""

    def __init__(self, size: int) -> None:
        text = ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]
        self.reply = Reply(result=b'{"content":[{"type":"text","text":"%b"}]}' % text.encode())

    def submit(self, _server: str, call: Call) -> None:
        call.finish(self.reply)

    def timeouts(self, _server: str) -> tuple[float, float]:
        return 60.0, 1800.0


def kernel(folder: Path, size: int, interceptors: tuple[Any, ...] = (), *, audit: bool = False) -> Any:
    """Returns what makes so many calls."""
    specs = tuple(Interceptor.model_validate(one) for one in interceptors)
    project = Project(
        name="bench", directory=folder, servers={"a": Server(process=("x",))}, secrets={}, clients={},
        profiles={"default": Profile(servers=("a",))}, gateway=Gateway(), runners=Runners(), interceptors=specs,
    )  # fmt: skip
    log = AuditLog(folder / "audit", project.audit, Redactor()) if audit else None
    governance = Governance(GovernedSessions(), log)
    made = Kernel(Servers(size), Listeners(), governance=governance)  # type: ignore[arg-type]

    async def expand(_owner: str, text: str) -> str:
        return text

    governance.follow(project, Around(project, folder, Redactor(), {}, expand) if specs else None)
    lists = {"a": ServerLists(tools=({"name": "echo", "inputSchema": {"type": "object"}},))}
    governance.routes(lists)
    made.table = compile_table(project, lists)
    endpoint = made.table.endpoint("default")
    caller = handshake_caller(Origin("default", "s"), "default", None, "2025-11-25")
    request = Request(1, "tools/call", {"name": "a__echo", "arguments": {"text": "hello", "count": 3}})

    async def calls(number: int) -> None:
        for _ in range(number // AT_ONCE):
            begun = [made.begin(request, caller, endpoint) for _ in range(AT_ONCE)]
            for one in begun:
                if one.call.reply is None:
                    await one.call.news()

    return calls


async def main() -> None:
    """Print a table."""
    for size in (200, 10_240):
        with tempfile.TemporaryDirectory() as folder:
            calls = {
                name: kernel(Path(folder) / str(at), size, tuple(row.get("interceptors", ())), audit="audit" in row)
                for at, (name, row) in enumerate(ROWS.items())
            }
            times: dict[str, list[float]] = {name: [] for name in calls}
            number = CALLS // 10 if size > 1000 else CALLS
            for _ in range(ROUNDS):
                for name, call in calls.items():
                    began = time.perf_counter()
                    await call(number)
                    times[name].append((time.perf_counter() - began) / number * 1e6)
            ground = statistics.median(times["neither"])
            print(f"results of {size} bytes: {ground:.1f} µs a call with neither")
            for name, spent_all in times.items():
                print(f"  {name:28} {statistics.median(spent_all) - ground:+8.1f} µs")


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # as the gateway has it
    uvloop.run(main())
