"""
Long work as it goes on: one line per server, redrawn in place on a terminal, one line per event elsewhere.

Everything goes to stderr.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from mcpcompose.cli.output import Output, Style
from mcpcompose.cli.printable import printable

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_COLOURS: Final[Mapping[str, Style]] = {
    "ready": "green", "done": "green", "failed": "red", "starting": "cyan", "working": "cyan", "idle": "dim",
    "stopped": "dim",
}  # fmt: skip
_REDRAW: Final = 0.05


class Progress:
    """
    Shows events of a long action.

    An event has `event`: `step` (a plan's step, with `server`, `text`, `status`), `progress` (a line of what
    is going on) or `server` (a server's `state`, `tools` and `reason`). Others are not shown here.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lines: dict[str, tuple[str, str]] = {}
        self._live: Live | None = None
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()

    def settle(self) -> None:
        """Leave what is shown as it is; what comes from now on is shown below it."""
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
        self._live = None
        self._lines.clear()

    def event(self, event: Mapping[str, Any]) -> None:
        """Show *event*."""
        who = str(event.get("server") or "project")
        match event.get("event"):
            case "step":
                status = str(event["status"])
                self._show(who, status, _text(event), is_worth_a_line=status != "started")
            case "progress":
                self._show(who, "working", str(event["text"]), is_worth_a_line=False)
            case "server":
                self._show(
                    who, str(event["state"]), _state(event), is_worth_a_line=event["state"] in {"ready", "failed"}
                )
            case _:
                pass

    def _show(self, who: str, status: str, text: str, *, is_worth_a_line: bool) -> None:
        if not self._output.live:
            if is_worth_a_line:
                self._output.note(f"{who}: {text}")
            return
        self._lines[who] = (status, text)
        now = time.monotonic()
        if self._live is None:
            self._live = self._start()
        if is_worth_a_line or now - self._drawn > _REDRAW:
            self._drawn = now
            self._live.update(self._table(), refresh=True)

    def _start(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        live = Live(console=Console(stderr=True), auto_refresh=False, transient=False)
        live.start()
        return live

    def _table(self) -> Text:
        from rich.text import Text

        width = max((len(who) for who in self._lines), default=0)
        shown = Text(no_wrap=True, overflow="ellipsis")
        for number, (who, (status, text)) in enumerate(self._lines.items()):
            shown.append("\n" if number else "")
            shown.append(f"{printable(who):{width}}  ")
            shown.append(printable(text), style=_COLOURS.get(status, ""))
        return shown


def _text(event: Mapping[str, Any]) -> str:
    text = str(event["text"])
    match event["status"]:
        case "done":
            return f"{text}: done"
        case "failed":
            return f"{text}: {event.get('detail') or 'failed'}"
        case _:
            return text


def _state(event: Mapping[str, Any]) -> str:
    state = str(event["state"])
    if state == "ready":
        tools = event.get("tools", 0)
        return f"ready, {tools} tool{'' if tools == 1 else 's'}"
    return f"{state}: {event['reason']}" if event.get("reason") else state
