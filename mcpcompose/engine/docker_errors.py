"""What the engine and its library raise, as our own errors. Nothing of theirs leaves the docker modules."""

from __future__ import annotations

import http.client
from typing import Final

import docker.errors
import requests
import urllib3.exceptions

from mcpcompose.engine.base import Values
from mcpcompose.errors import (
    BuildFailed,
    EngineError,
    EngineUnreachable,
    ImageMissing,
    InstanceMissing,
    McpComposeError,
    NameTaken,
)

THEIRS: Final = (
    docker.errors.DockerException,
    docker.errors.StreamParseError,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
"""Everything that a call into the library may raise."""

_START: Final = "start the engine, or run without isolation: `--engine process`"
_REGISTRY: Final = "check the image's name; `docker login` if its registry is private"

_RULES: Final[tuple[tuple[type[Exception], type[McpComposeError], str | None], ...]] = (
    (docker.errors.ImageNotFound, ImageMissing, _REGISTRY),
    (docker.errors.InvalidRepository, ImageMissing, _REGISTRY),
    (docker.errors.ImageLoadError, BuildFailed, None),
    (docker.errors.BuildError, BuildFailed, None),
    (docker.errors.NotFound, InstanceMissing, "run `mcp-compose up`"),
    (docker.errors.DockerException, EngineError, None),
    (requests.exceptions.HTTPError, EngineError, None),
    (requests.exceptions.InvalidURL, EngineError, None),
    (requests.exceptions.JSONDecodeError, EngineError, None),
    (requests.exceptions.RequestException, EngineUnreachable, _START),
    (urllib3.exceptions.HTTPError, EngineUnreachable, _START),
    (http.client.HTTPException, EngineUnreachable, _START),
    (OSError, EngineUnreachable, _START),
)
"""Theirs, ours and the next step; the first that fits."""

CONFLICT: Final = 409
HIDDEN: Final = 4
"""Values shorter than this are not looked for in messages."""


def mapped(error: Exception, doing: str, values: Values | None = None) -> McpComposeError:
    """Our error for theirs; *doing* names the thing ("create `a`"), *values* must not show."""
    if isinstance(error, McpComposeError):
        return error
    text = without_values(f"cannot {doing}: {explanation(error)}", values)
    if isinstance(error, docker.errors.APIError) and error.status_code == CONFLICT and "already in use" in text:
        return NameTaken(text, hint="use another project name: `--project-name NAME`")
    if isinstance(error, docker.errors.DockerException) and "fetching server API version" in text:
        return EngineUnreachable(text, hint=_START)
    for theirs, ours, hint in _RULES:
        if isinstance(error, theirs):
            return ours(text, hint=hint or _hint(text))
    return EngineError(text)


def explanation(error: Exception) -> str:
    """What went wrong, in the engine's own words, on one line."""
    said = getattr(error, "explanation", None)
    text = (said.decode(errors="replace") if isinstance(said, bytes) else said) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def without_values(text: str, values: Values | None) -> str:
    """*text* without the values of an instance: engines repeat commands and variables in their messages."""
    if values is None:
        return text
    contents = [content.decode(errors="replace").strip() for content in values.secret_files.values()]
    words = [*values.environment.values(), *contents]
    for word in sorted((word for word in words if len(word) >= HIDDEN), key=len, reverse=True):
        text = text.replace(word, "***")
    return text


def _hint(text: str) -> str | None:
    if "bind source path does not exist" in text:
        return "the engine cannot see this path: it runs on another machine, or in a virtual one that does not share it"
    if "executable file not found" in text:
        return "check `command` and `entrypoint`"
    return None
