"""Interceptors as the file says them: code around MCP requests, in order."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from mcpcompose.spec.base import Model, Names
from mcpcompose.spec.secret import SecretUse
from mcpcompose.spec.server import SecretItem
from mcpcompose.spec.values import Duration, Explained, Flag, PlainName, Size, Template
from mcpcompose.spec.written import Items, OneOrMany, Text, Words

BuiltIn = Annotated[
    Literal[
        "secret-scan",
        "session-pin",
        "flow",
        "rules",
        "rate-limit",
        "size-limit",
        "approve",
        "sanitize",
        "annotate",
        "check-arguments",
        "injection-scan",
    ],
    Explained(
        "Finds secrets in arguments and results.",
        "The first repository (or other key) that a session touches is the only one.",
        "What was read from private or untrusted sources does not reach public sinks.",
        "Rules in the Common Expression Language.",
        "So many requests in so much time.",
        "So many bytes of arguments and results.",
        "Asks the person before tools that destroy something.",
        "Takes invisible and hidden text out of descriptions and results.",
        "Gives tools hints, and results a note.",
        "Arguments must be those that the tool declares.",
        "Finds hidden instructions in results and questions; a hint, no guarantee.",
    ),
]
ACTIONS: dict[str, tuple[str, ...]] = {
    "secret-scan": ("redact", "block", "warn"),
    "session-pin": ("block", "ask"),
    "flow": ("block", "ask"),
    "rate-limit": ("block", "ask"),
    "size-limit": ("block", "truncate"),
    "sanitize": ("redact", "block", "warn"),
    "check-arguments": ("block", "warn"),
    "injection-scan": ("block", "redact", "warn"),
}
"""What `action` may be; the first is the default."""
RELAXING = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
"""What `annotate` may say of a tool for other interceptors to let it pass."""
KINDS = ("use", "run", "url", "image", "python")
"""The keys that say what an interceptor is; exactly one of them is given."""
Hidden = Annotated[
    Literal["ansi", "bidi", "invisible", "markup"],
    Explained(
        "Control sequences of terminals.",
        "Characters that change the direction of text.",
        "Characters that cannot be seen.",
        "Comments and elements that are not shown.",
    ),
]
Rate = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}\s*/\s*([1-9][0-9]{0,5}\s*)?(second|minute|hour|day)s?$")]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class Match(Model):
    """Which requests an interceptor sees: those that fit everything said here; nothing said means all."""

    server: OneOrMany = ()
    """Servers, by name or glob."""
    tools: OneOrMany = ()
    """Globs of tools, by the server's own names; with it, only `tools/call` is seen unless `methods` says more."""
    profile: OneOrMany = ()
    """Profiles; who has no token of its own counts as every profile."""
    client: OneOrMany = ()
    """Clients of the file; who has no token of its own counts as every client."""
    methods: OneOrMany = ()
    """Globs of methods such as `tools/call`, `resources/*`, `elicitation/create`; default: all, in both directions."""
    annotations: Names[Flag] = Field(default_factory=dict)
    """Hints a tool must have, such as `destructiveHint: true`; one that it does not give counts as its default."""


class Rule(Model):
    """One rule in the Common Expression Language; exactly one of `allow`, `deny`, `ask` and `warn`."""

    deny: Text | None = None
    """Refuse the request when this is true; an expression that fails counts as true."""
    allow: Text | None = None
    """Let the request through, past the rules below, when this is true; an expression that fails counts as false."""
    ask: Text | None = None
    """Ask the person when this is true; an expression that fails counts as true."""
    warn: Text | None = None
    """Let it through and write it into the audit log when this is true."""
    message: Text | None = None
    """What the model is told, and what to do instead."""

    @model_validator(mode="after")
    def _is_one(self) -> Rule:
        if sum(one is not None for one in (self.deny, self.allow, self.ask, self.warn)) != 1:
            raise ValueError("say exactly one of `deny`, `allow`, `ask` and `warn`")
        return self


class Flowing(Model):
    """Tools and resources with labels: what is read there (`sources`), or who reads what is written there (`sinks`)."""

    server: OneOrMany = ()
    """Servers, by name or glob; default: all."""
    tools: OneOrMany = ()
    """Globs of tools, by the server's own names; default: all, and resources and prompts too."""
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    """`private` and `untrusted` of sources, `public` of sinks, or words of your own."""


class FlowRule(Model):
    """What may not follow: once all of `after` were read, sinks with the label `to` are closed."""

    after: Annotated[tuple[Label, ...], Field(min_length=1)]
    """Labels that the session has to have read, all of them."""
    to: Label
    """The label of the sink."""


class Excepted(Model):
    """Findings that are no secrets; everything said must fit."""

    rule: Text | None = None
    """The rule's name, as the audit log has it."""
    server: Text | None = None
    """The server, by name or glob."""
    path: Text | None = None
    """Where, as a glob over the path in the message: `arguments.commit`, `result.content.*.text`."""
    matching: Text | None = None
    """A regular expression that the whole found text fits."""


class Interceptor(Model):
    """Code around MCP requests: before a request goes to a server, and after its result came."""

    name: PlainName | None = None
    """What it is called in `ps`, errors and the audit log; default: the built-in's name or its kind."""
    use: BuiltIn | None = None
    """A built-in one."""
    run: Annotated[Words, Field(min_length=1)] | None = None
    """A program on the host, JSON on its standard streams; needs a person's approval."""
    url: Template | None = None
    """A webhook: each request is posted there as JSON."""
    image: Text | None = None
    """A container without network; JSON on its standard streams."""
    command: Words | None = None
    """The container's arguments, as in Compose."""
    python: Annotated[str, StringConstraints(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    """A Python function, as `module:function`, in a process of its own; needs a person's approval."""

    match: Match = Match()
    """Which requests it sees."""
    when: Annotated[
        Literal["before", "after", "both"],
        Explained("Before the request goes to the server.", "After the result came.", "Both times."),
    ] = "both"
    """When it is asked."""
    format: Annotated[
        Literal["mcp-compose", "docker"], Explained("Our contract.", "The payloads of Docker's MCP gateway.")
    ] = "mcp-compose"
    """What programs, webhooks and containers are told, and answer."""
    keep: Flag = False
    """Of a program or container: one long-lived process, a line of JSON for each request; default: one for each."""
    working_dir: Text | None = None
    """The folder that a program or Python function runs in; default: that of the file which holds it."""
    environment: Items = Field(default_factory=dict)
    """Environment variables of a program or container; `${secret:name}` is allowed here. Nothing else is passed on."""
    headers: Items = Field(default_factory=dict)
    """Headers sent to a `url`; `${secret:name}` is allowed here."""
    secrets: tuple[SecretItem, ...] = ()
    """Secrets that a program or container gets as environment variables (`env`)."""
    network: Literal["none"] = "none"
    """Of a container: there is no other."""
    timeout: Duration = 5.0
    """How long one answer may take."""
    output: Size = 1 << 20
    """How large one answer may be."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """How many requests it may have at once; others wait, within `timeout`."""
    on_failure: Annotated[
        Literal["deny", "allow"],
        Explained("Refuse the request.", "Let it through as if there were no interceptor; needs approval."),
    ] = "deny"
    """What becomes of a request when the interceptor fails, is late, or answers nonsense."""

    action: (
        Annotated[
            Literal["redact", "block", "warn", "ask", "truncate"],
            Explained(
                "Take it out and go on.",
                "Refuse the request.",
                "Write it into the audit log only.",
                "Ask the person.",
                "Cut it off at the limit.",
            ),
        ]
        | None
    ) = None
    """What a built-in does with what it finds: `secret-scan` and `sanitize` redact, block or warn; `session-pin`,
    `flow` and `rate-limit` block or ask; `size-limit` block or truncate; `check-arguments` block or warn;
    `injection-scan` block, redact or warn. Default: the first of each."""
    allow: Annotated[tuple[Excepted, ...], Field(max_length=1000)] = ()
    """`secret-scan`: findings that are no secrets."""
    entropy: Flag = True
    """`secret-scan`: also look for random texts beside words such as `password`."""
    key: Text | None = None
    """`session-pin`: what is pinned, made of arguments: `"{owner}/{repo}"`."""
    unpinned: OneOrMany = ()
    """`session-pin`: globs of tools and URIs that may be used without naming a key, such as `get_me`; default: none."""
    sources: Annotated[tuple[Flowing, ...], Field(max_length=1000)] = ()
    """`flow`: where private or untrusted content is read."""
    sinks: Annotated[tuple[Flowing, ...], Field(max_length=1000)] = ()
    """`flow`: where others can read what is written."""
    forbid: Annotated[tuple[FlowRule, ...], Field(max_length=1000)] = ()
    """`flow`: what may not follow; default: `public` after `private`, and `public` after `untrusted`."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=1000)] = ()
    """`rules`: in order; the first that decides, decides."""
    limit: Rate | None = None
    """`rate-limit`: how many requests in what time, such as `30/minute`."""
    per: Annotated[
        Literal["session", "server", "tool", "project"],
        Explained("Each client's session.", "Each server.", "Each tool of each server.", "All requests together."),
    ] = "session"
    """`rate-limit`: what is counted apart."""
    arguments: Size | None = None
    """`size-limit`: the most bytes of arguments."""
    result: Size | None = None
    """`size-limit`: the most bytes of a result."""
    remember: Annotated[
        Literal["call", "session"], Explained("Ask each time.", "Ask once for each tool and session.")
    ] = "call"
    """`approve`: how long an answer holds."""
    message: Text | None = None
    """What the model, or the person, is told."""
    remove: tuple[Hidden, ...] = ("ansi", "bidi", "invisible", "markup")
    """`sanitize`: what is taken out of descriptions and results."""
    annotations: Names[Flag] = Field(default_factory=dict)
    """`annotate`: hints that tools are given in place of their own."""
    note: Text | None = None
    """`annotate`: a text put in front of results."""

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next((kind for kind in KINDS if getattr(self, kind) is not None), "")

    @property
    def acts(self) -> str | None:
        """What it does with what it finds: as said, or the default of the built-in."""
        return self.action or next(iter(ACTIONS.get(self.use or "", ())), None)

    @property
    def pinned_as(self) -> str:
        """Of `session-pin`: the name of its pin, by which sessions know it."""
        return self.name or f"session-pin {','.join(sorted(self.match.server)) or '*'} {self.key}"

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.use or self.kind

    @model_validator(mode="after")
    def _is_one(self) -> Interceptor:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"say exactly one of {', '.join(f'`{kind}`' for kind in KINDS)}")
        return self


class Session(Model):
    """The governed session of a client: what it has read, and what it is pinned to."""

    idle: Annotated[Duration, Field(ge=60)] = 1800.0
    """
    How long a client has to be silent for its session to end, a minute at least; `mcp-compose session reset CLIENT`
    ends it at once.
    """


class Audit(Model):
    """The audit log of every request."""

    enabled: Flag = True
    """Whether it is kept; without it nobody can say later what happened. Turning it off needs approval."""
    values: Annotated[
        Literal["none", "redacted"], Explained("Names and sizes only.", "Arguments and results, secrets hidden.")
    ] = "none"
    """Whether values are written down, too."""
    sync: Annotated[
        Literal["grouped", "always"],
        Explained("On disk within 100 ms, together.", "On disk before the answer leaves; slower."),
    ] = "grouped"
    """When records are safe from a power cut; a killed process loses none either way."""
    rotate: Size = 64 << 20
    """How large one file may become."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 32
    """How many full files are kept."""


__all__ = [
    "Audit",
    "BuiltIn",
    "Excepted",
    "FlowRule",
    "Flowing",
    "Interceptor",
    "Label",
    "Match",
    "Rule",
    "SecretUse",
    "Session",
]
