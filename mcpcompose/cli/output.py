"""
The only printer: data goes to stdout, progress and messages to stderr.

Everything that is printed is made printable here, so that no file, server or engine can write to the terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TextIO

from mcpcompose.cli.printable import json_safe, printable, printable_lines

Style = Literal["red", "green", "yellow", "cyan", "bold", "dim"]
_CODES: Final[Mapping[Style, str]] = {
    "red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2",
}  # fmt: skip


class Output:
    """Where one command prints to; *environ* decides about colour (`NO_COLOR`, `TERM=dumb`)."""

    def __init__(self, stdout: TextIO, stderr: TextIO, environ: Mapping[str, str], *, quiet: bool = False) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self.quiet = quiet
        self._colour = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"

    @property
    def interactive(self) -> bool:
        """A person reads stderr and can answer on stdin."""
        return self._stderr.isatty() and sys.stdin is not None and sys.stdin.isatty()

    @property
    def live(self) -> bool:
        """Progress can be redrawn in place."""
        return self._stderr.isatty() and self._colour and not self.quiet

    def line(self, text: str = "") -> None:
        """One line of data."""
        self._write(self._stdout, printable(text))

    def text(self, text: str) -> None:
        """Several lines of data."""
        self._write(self._stdout, printable_lines(text))

    def json(self, value: Any, *, indent: int | None = 2) -> None:
        """One JSON document (*indent* None: one line) as data."""
        self._write(self._stdout, json_safe(json.dumps(value, ensure_ascii=False, indent=indent)))

    def table(
        self, headings: Sequence[str], rows: Iterable[Sequence[str]], colours: Mapping[str, Style] | None = None
    ) -> None:
        """Columns aligned as data; cells whose whole text is in *colours* are coloured."""
        cells = [list(headings), *([printable(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
        for number, row in enumerate(cells):
            padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
            if number and colours:
                padded = [self._cell(shown, cell, colours) for shown, cell in zip(padded, row, strict=False)]
            self._write(self._stdout, "  ".join([*padded, row[-1]]).rstrip())

    def prefixed(self, who: str, text: str, style: Style) -> None:
        """One line of somebody's log as data, with who wrote it in front."""
        self._write(self._stdout, f"{self.styled(printable(who), style)} | {printable(text)}")

    def note(self, text: str) -> None:
        """Progress or a remark, for people; not with `-q`."""
        if not self.quiet:
            self._write(self._stderr, printable_lines(text))

    def warning(self, text: str) -> None:
        """Something a person should know, even with `-q`."""
        self._write(self._stderr, f"{self.styled('warning', 'yellow', self._stderr)}: {printable_lines(text)}")

    def error_lines(self, message: str) -> None:
        """One error message."""
        self._write(self._stderr, f"{self.styled('error', 'red', self._stderr)}: {printable_lines(message)}")

    def detail(self, text: str) -> None:
        """What belongs to the error before it, whatever `-q` says."""
        self._write(self._stderr, printable_lines(text))

    def hint(self, text: str) -> None:
        """The next step, after a blank line."""
        self._write(self._stderr, f"\n{self.styled('hint', 'cyan', self._stderr)}: {printable_lines(text)}")

    def ask(self, question: str) -> str:
        """A person's answer on the terminal, without blanks around it."""
        self._stderr.write(printable_lines(question))
        self._stderr.flush()
        return sys.stdin.readline().strip()

    def styled(self, text: str, style: Style, stream: TextIO | None = None) -> str:
        """*text* in a colour where *stream* (stdout) shows colours; the text alone says it all."""
        if self._colour and (stream or self._stdout).isatty():
            return f"\x1b[{_CODES[style]}m{text}\x1b[0m"
        return text

    def _cell(self, shown: str, cell: str, colours: Mapping[str, Style]) -> str:
        return self.styled(shown, colours[cell]) if cell in colours else shown

    def _write(self, stream: TextIO, text: str) -> None:
        stream.write(text + "\n")
        stream.flush()


def standard_output(environ: Mapping[str, str] | None = None, *, quiet: bool = False) -> Output:
    """The process's own streams; what they cannot encode is escaped instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return Output(sys.stdout, sys.stderr, os.environ if environ is None else environ, quiet=quiet)
