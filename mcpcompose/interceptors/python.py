"""
Python functions (`python: module:function`): called in one long-lived process of the Python that runs mcp-compose.

Modules are looked for in the project's folder last, so that a file there takes no other module's place. The module's
file, when it is the project's, runs only with the content that a person approved; compiled copies beside it are not
looked at.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mcpcompose.interceptors import python_host
from mcpcompose.interceptors.base import Around, InterceptorFailed
from mcpcompose.interceptors.pinned_files import words_of
from mcpcompose.interceptors.program import HostProgram
from mcpcompose.spec.interceptor import Interceptor as Spec

_HOST: Final = str(Path(python_host.__file__).resolve())
_OPTIONS: Final = ("-P", "-B", "-X", f"pycache_prefix={os.devnull}")


class PythonFunction(HostProgram):
    """A `python` interceptor."""

    def __init__(self, spec: Spec, around: Around) -> None:
        if spec.format == "docker":
            raise InterceptorFailed("`format: docker` is of programs, webhooks and containers")
        function = spec.python or ""
        folder = spec.working_dir or str(around.directory)
        argv = (sys.executable, *_OPTIONS, _HOST, function, str(spec.concurrency), folder)
        super().__init__(spec, around, argv, keep=True)

    def named(self, _argv: Sequence[str]) -> tuple[str, ...]:
        """The words that name files of the project: the function's module."""
        return words_of(self.spec)
