"""What a gateway in the foreground tells the person who watches it: its own log's warnings, in words."""

from __future__ import annotations

import logging
from typing import Final

from mcpcompose.cli.output import Output

LOGGER: Final = "mcpcompose"
_GOOD: Final = {"round done again": "the file is good again and in effect"}
_BAD: Final = {"round not done": "the last change did not take effect, what was before goes on"}


class Notices(logging.Handler):
    """Print warnings, and the news that the reason of one is gone."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.INFO)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """One record of our own log."""
        message = record.getMessage()
        if message in _GOOD:
            self._output.note(_GOOD[message])
        elif record.levelno >= logging.WARNING:
            self._output.warning(f"{_BAD.get(message, message)}{_details(record)}")


def watch(output: Output) -> None:
    """Print what the log says from now on."""
    logging.getLogger(LOGGER).addHandler(Notices(output))


def _details(record: logging.LogRecord) -> str:
    given = {**vars(record).get("fields", {})}
    server = given.get("server")
    said = given.get("problem") or given.get("reason") or vars(record).get("reason")
    return (f" (`{server}`)" if server else "") + (f": {said}" if said else "")
