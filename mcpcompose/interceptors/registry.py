"""Makes an interceptor of each entry of the file; what one kind needs is loaded only where that kind is used."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from mcpcompose.interceptors.base import Around, Interceptor, Make
from mcpcompose.spec.interceptor import Interceptor as Spec

MAKERS: Final = {
    "secret-scan": "mcpcompose.interceptors.secret_scan:SecretScan",
    "session-pin": "mcpcompose.interceptors.session_pin:SessionPin",
    "flow": "mcpcompose.interceptors.flow:Flow",
    "rules": "mcpcompose.interceptors.rules:Rules",
    "rate-limit": "mcpcompose.interceptors.rate_limit:RateLimit",
    "size-limit": "mcpcompose.interceptors.size_limit:SizeLimit",
    "approve": "mcpcompose.interceptors.approve:Approve",
    "sanitize": "mcpcompose.interceptors.sanitize:Sanitize",
    "annotate": "mcpcompose.interceptors.annotate:Annotate",
    "check-arguments": "mcpcompose.interceptors.check_arguments:CheckArguments",
    "injection-scan": "mcpcompose.interceptors.injection_scan:InjectionScan",
    "run": "mcpcompose.interceptors.program:Program",
    "python": "mcpcompose.interceptors.python:PythonFunction",
    "url": "mcpcompose.interceptors.webhook:Webhook",
    "image": "mcpcompose.interceptors.container:Container",
}
"""By kind or built-in, the module and the class."""


def make(spec: Spec, around: Around) -> Interceptor:
    """The interceptor that *spec* describes. Raises `McpComposeError` for what cannot be made of it."""
    module, _, name = MAKERS[spec.use or spec.kind].partition(":")
    maker = cast("Make", getattr(import_module(module), name))
    return maker(spec, around)
