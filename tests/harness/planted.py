"""Values that are planted as secrets, and the search for them in everything that may be looked at."""

from __future__ import annotations

import base64
import json
import urllib.parse
import uuid
from collections.abc import Iterable
from pathlib import Path


class Planted:
    """Values by name, none like another; with quotes, slashes and blanks, so that every way to write one differs."""

    def __init__(self, names: Iterable[str], *, plain: Iterable[str] = ()) -> None:
        self.values = {name: f"{name} \"{uuid.uuid4().hex}/+?{uuid.uuid4().hex}='" for name in names}
        self.values |= {name: f"{name}-{uuid.uuid4().hex}" for name in plain}
        self._forms = {name: forms(value) for name, value in self.values.items()}

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def in_(self, content: str | bytes) -> set[str]:
        """The names of the values that *content* holds in any form."""
        raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        return {name for name, known in self._forms.items() if any(form in raw for form in known)}


def forms(value: str) -> set[bytes]:
    """The ways in which *value* may be written down, in any alignment of base64, and long parts of it."""
    raw = value.encode()
    texts = {
        value,
        value[::-1],
        json.dumps(value)[1:-1],
        json.dumps(json.dumps(value))[3:-3],
        urllib.parse.quote(value),
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
        raw.hex(),
        raw.hex().upper(),
        value[-24:-1],
        value[8:32],
    }
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        middle = encoded[4 : len(encoded) - len(encoded) % 4 - 4]
        texts |= {middle, middle.translate(str.maketrans("+/", "-_"))}
    return {text.encode() for text in texts}


class Places:
    """Everything that was looked at, by name; what is empty was not there to be looked at."""

    def __init__(self, planted: Planted) -> None:
        self._planted = planted
        self.names: list[str] = []
        self.found: dict[str, set[str]] = {}

    def add(self, name: str, content: str | bytes, *, known: Iterable[str] = ()) -> None:
        """Look at *content*; *known* are values that are there by design and documented to be."""
        assert content, f"nothing at {name}"
        self.names.append(name)
        if leaked := self._planted.in_(content) - set(known):
            self.found[name] = leaked

    def add_files(self, name: str, folder: Path, *, except_for: Iterable[Path] = ()) -> None:
        """Look at every file below *folder*, and at the names of all of them."""
        apart = tuple(except_for)
        files = [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(one) for one in apart)
        ]
        assert files, f"nothing at {name}"
        self.add(f"names of the files: {name}", "\n".join(map(str, files)))
        self.names.append(name)
        for path in files:
            if leaked := self._planted.in_(path.read_bytes()):
                self.found[f"{name}: {path.relative_to(folder)}"] = leaked
