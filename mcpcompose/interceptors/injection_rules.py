"""
What instructions in content look like, as patterns over the plain form of a text (`plain_text.plain`).

Patterns find what is written plainly, not what is meant: a rewritten sentence gets through. They are a hint for people
and a hurdle for copied attacks; what must not happen is stopped by `flow`, `session-pin` and `rules`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import re2

Level = Literal["high", "medium"]


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: its *code*, how sure it is, and what it means, for people."""

    code: str
    level: Level
    reason: str


_TOLD = r"(?:instructions?|prompts?|rules?|directions?|directives?|guidelines?|context|commands?)"
_PRIVATE = (
    r"(?:conversation|chat (?:history|log)|message history|system prompt|hidden (?:instructions|context)|credentials?"
    r"|(?:access |oauth |auth |api |session |current )+(?:tokens?|keys?)|tokens?|passwords?"
    r"|passphrases?|private keys?"
    r"|ssh keys?|environment variables|\.env\b|inbox|home address|saved address|session cookies?"
    r"|full (?:prior|previous) \w+|all (?:the |your |user )?(?:files|data|emails|contacts))"
)
_SEND = (
    r"(?:send|post|forward|upload|e-?mail|transmit|exfiltrat\w+|leak|submit|report|deliver|relay|append|copy|bcc)"
    r"(?:s|ing|ed)?"
)
_AWAY = r"(?:https?://|\bto [\w.+-]+@|[\w-]+\.(?:example|com|net|org|io|dev|xyz|ru|cn|top)\b|webhook|attacker)"

_RULES: Final[tuple[tuple[str, Level, str, tuple[str, ...]], ...]] = (
    (
        "override",
        "high",
        "it tells the model to drop its instructions",
        (
            r"\b(?:ignore|disregard|forget|override|bypass|discard|drop)\b(?: \S+){0,4} (?:previous"
            r"|prior|above|earlier"
            r"|preceding|existing|initial|original|system|safety|developer)\b(?: \S+){0,3} " + _TOLD + r"\b",
            (
                r"\b(?:ignore|disregard|forget) (?:all|any|everything|every)\b(?: \S+){0,4} "
                r"(?:instructions?|prompts?|rules?|told|said)\b"
            ),
            r"\bnew (?:system )?(?:instructions?|directives?) ?:",
        ),
    ),
    (
        "role",
        "high",
        "it speaks in the place of the system or gives the model a role",
        (
            (
                r"(?:^|\| |\. |<|\[|\()(?:system|assistant|developer)(?: message| prompt| note"
                r"| override)?[\])]? ?[:>] ?"
                r"(?:you |ignore|from now|delete|act |do |must|new )"
            ),
            (
                r"\byou are (?:now|henceforth) (?:in |an? |the )?(?:\S+ ){0,2}(?:admin|administrator"
                r"|root|developer|debug|god"
                r"|unrestricted|jailbroken|dan|maintenance|exfiltration)\b"
            ),
            r"\byou are an? (?:exfiltration|unrestricted|malicious) (?:agent|assistant|model)\b",
            r"\benter(?:ed|ing)? (?:admin|developer|debug|god|root|maintenance) mode\b",
        ),
    ),
    (
        "conceal",
        "high",
        "it tells the model to hide something from the person",
        (
            (
                r"\b(?:do not|don't|never|without|avoid)(?: ever)? (?:tell|mention|inform|notify"
                r"|reveal|alert|show|disclos|say"
                r"|telling|mentioning|informing|notifying|alerting)(?:e|ing)?\b(?: \S+){0,5} ?"
                r"(?:user|human|person|operator|anyone|anybody|instructions?|step)\b"
            ),
            (
                r"\b(?:secretly|silently|covertly|quietly) (?:send|forward|read|include|append|call|run"
                r"|copy|upload|add)\b"
            ),
        ),
    ),
    (
        "send-away",
        "high",
        "it tells the model to send something private away",
        (
            r"\b" + _SEND + r"\b(?: \S+){0,8} " + _PRIVATE + r"\b(?: \S+){0,8} ?" + _AWAY,
            r"\b"
            + _PRIVATE
            + r"\b(?: \S+){0,6} (?:and )?"
            + _SEND
            + r" (?:it|them|this|that|these|those)?\b(?: \S+){0,4} ?"
            + _AWAY,
            (
                r"\b(?:forward|send|post|exfiltrate) (?:it|them|this|these"
                r"|those)? ?to https?://\S*(?:attacker|evil|collect|exfil"
                r"|steal|verify|webhook)"
            ),
            r"\bsend (?:it |this |them )?to https?://attacker",
            r"\b(?:exfiltrate|leak|steal) (?:the |all |any )?" + _PRIVATE,
        ),
    ),
    (
        "solicit",
        "high",
        "it asks the model for its prompt or for credentials",
        (
            (
                r"\b(?:reply|respond|answer|return|output|print|repeat|reveal|pass|provide|include"
                r"|share|give|paste|show)\b"
                r"(?: \S+){0,4} (?:your|the) (?:\S+ ){0,2}(?:system prompt|hidden (?:instructions"
                r"|prompt|context)|initial prompt"
                r"|developer message)\b"
            ),
            (
                r"\b(?:your|current)(?: \S+){0,3} (?:access token|oauth token|api key|session token"
                r"|password|private key)\b"
                r"(?: \S+){0,6} (?:send|post|call|forward|https?://)"
            ),
            (
                r"\bre-?enter your(?: \S+){0,4} (?:password|passphrase|api key|access token|private key"
                r"|pin|credentials)\b"
            ),
            (
                r"\b(?:confirm|provide|enter|supply) your(?: \S+){0,3} (?:api key|access token"
                r"|private key|seed phrase)\b"
                r"(?: \S+){0,4} (?:to|so|or) (?:continue|go on|proceed|your account)"
            ),
            r"\w+\(\w* ?= ?<your (?:current )?(?:\S+ )?(?:access )?(?:token|key|password)",
        ),
    ),
    (
        "markup",
        "high",
        "it hides instructions in markup that people do not see",
        (
            r"<!--(?: \S+){0,6} ?(?:ai|assistant|llm|model|agent|claude|gpt|copilot|chatbot|system)\b ?[:,]",
            r"<!--(?: \S+){0,12} (?:ignore|instructions?|must|do not tell|exfiltrat\w+)\b",
            (
                r"<(?:important|system|instructions?|assistant|hidden|secret)\S*(?: \S+){0,40} (?:read"
                r"|send|call|ignore|must|before"
                r"|always|post|include|do not)\b"
            ),
        ),
    ),
    (
        "steer",
        "medium",
        "it tells the model to call another tool",
        (
            (
                r"\b(?:retry|try again|proceed|continue|instead|succeed"
                r"|fix this)\b(?: \S+){0,4} (?:with|using|by calling|via|call"
                r"|run|use) [a-z]+[_-][a-z_-]+ ?\("
            ),
            (
                r"\b(?:please|also|now|must|then|next)\b(?: also| now| first)? (?:run|call|execute|invoke|trigger)"
                r" [a-z]+_[a-z_]+\b(?: \S+){0,3} (?:on|in|from|via|with|to)\b"
            ),
            (
                r"\b(?:delete|wipe|erase|remove|drop) (?:all|every|any|the) (?:\S+ )?(?:files?|tables?"
                r"|data|databases?|repos\w*"
                r"|branches)\b(?: \S+){0,4} (?:server|tool|then reply|and reply)"
            ),
            r"\band (?:delete|wipe|erase) all (?:files|data)\b",
        ),
    ),
)


@cache
def _compiled() -> tuple[tuple[str, Level, str, tuple[object, ...]], ...]:
    options = re2.Options()
    options.max_mem = 64 << 20
    options.log_errors = False
    return tuple(
        (code, level, why, tuple(re2.compile(one, options) for one in many)) for code, level, why, many in _RULES
    )


def findings(plain: str) -> Iterator[Found]:
    """What is found in the *plain* form of a text; each code once."""
    for code, level, reason, patterns in _compiled():
        if any(pattern.search(plain) for pattern in patterns):  # type: ignore[attr-defined]
            yield Found(code, level, reason)
