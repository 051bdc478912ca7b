"""
What comes together in one sentence: words that are harmless apart, and hardly ever honest side by side.

Each feature is a small linear pattern over the plain form; a rule names the features that one sentence has to have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from mcpcompose.interceptors.plain_text import ends_of
from mcpcompose.upstream.base import Level

FEATURES: Final = {
    "hide": (
        r"\b(?:not|never|without|nor|avoid|refrain|don't|doesn't|won't|isn't|nothing|neither|no need)\b[^|]{0,45}"
        r"\b(?:tell|telling|told|inform(?:ed|ing)?|mention(?:ed|ing)?|notif(?:y|ied|ying)|learns?|learned|"
        r"reveal(?:ed|ing)?|"
        r"disclos\w+|notic(?:e|ed|es|ing)|aware|realiz\w+|saying|bother\w*|worr(?:y|ied)|upset|alarm\w*|"
        r"admit\w*|find out|finds out)\b|"
        r"\bbetween us\b|\bas if nothing\b|\bact(?:ing)? normal(?:ly)?\b|\bbehind (?:the|his|her|their) (?:\w+ )?back\b"
    ),
    "unspoken": (
        r"\bso (?:that )?(?:nothing|nobody|no one) (?:looks|seems|notices|suspects|appears|stands out)\b|"
        r"\b(?:must|should|may|is|are|do|does|can|shall|need)(?:n't| not) (?:to )?(?:appear|show up|turn up|surface)"
        r"(?:s|ed)? in\b[^|]{0,60}\b(?:summar\w+|repl(?:y|ies)|answers?|responses?|reports?|outputs?|transcript|"
        r"thinking|chat|explanations?|logs)\b|"
        r"\b(?:user|person|human|customer|operator|author|reader|recipient)s? (?:\w+ )?(?:needn't|need not|"
        r"has no need to|have no need to|"
        r"shouldn't|mustn't) (?:\w+ )?(?:hear|know|see|learn|notice|(?:be )?(?:asked|told|bothered|informed))\b|"
        r"\b(?:refrain from|avoid|without|no need for) (?:\w+ )?(?:bringing (?:it |this |the \w+ )?up|bringing up)\b|"
        r"\b(?:omit|drop|leave out) (?:the|this|that|these|those) \w+ (?:from|in) (?:the|your|any) (?:summary|reply|"
        r"answer|report|response)\b|\b(?:answer|confirm|approve|agree|consent)\b[^|]{0,20}\bon (?:their|his|her|"
        r"the (?:user|person|human)'s) behalf\b"
    ),
    "whatever they want": (
        r"\bwhether or not (?:the )?(?:user|person|human|customer|they|he|she) (?:asks?|wants?|agrees?|likes?|"
        r"knows?)\b|"
        r"\beven (?:if|where|when) the (?:user|person|human) (?:names|asks for|mentions|wants|prefers) (?:a |an )?"
        r"(?:competitor|another|other|different)\b|\b(?:rank|list|put|place) this (?:tool|server|service) (?:first|"
        r"on top)\b"
    ),
    "passed off": (
        r"\b(?:failing|failed|broken|red) \w+ (?:are|is|should|must|shall)\b[^|]{0,30}\b(?:presented|shown|reported|"
        r"counted|"
        r"listed|marked|described) as (?:passed|passing|green|ok|fine|successful)\b"
    ),
    "nobody asked": (
        r"\b(?:skip|bypass|suppress|dismiss|disable|omit) (?:\w+ ){0,3}(?:confirmations?|approvals?|consent|"
        r"permissions?)\b|\bdo not ask the (?:user|person|human) (?:again|for (?:confirmation|approval|permission))\b"
    ),
    "for all": r"\b(?:every|all|any|other|each) (?:other )?(?:tools?|calls?|actions?|requests?)\b|\bin this session\b",
    "hidden orders": (
        r"\bhidden instructions?\b[^|]{0,30}(?:\[|:|after|before|do not)|\[ ?(?:do not|don't|never) (?:show|tell|"
        r"reveal|display|mention)[^|\]]{0,20}\busers?\b[^|\]]{0,10}\]|"
        r"\btreat (?:\w+ ){0,4}as (?:coming|if it came) from the user\b"
    ),
    "wherever": (
        r"\b(?:call|use|run|invoke) (?:this|the present) (?:tool|function) (?:\w+ )?(?:before|after|on|with) (?:any|"
        r"every|each|all)\b"
    ),
    "all of theirs": (
        r"\b(?:after|afterwards|also|then|include|and)\b[^|]{0,60}\ball (?:of the )?(?:user|customer|client|personal|"
        r"private|employee) (?:data|records|files|information|documents)\b[^|]{0,30}(?:\bto /|\bin\b| \||$)"
    ),
    "others ignored": (
        r"\b(?:ignore|disregard|forget|discard|refuse|shun|neglect) (?:all |any |every |the )?(?:of the )?(?:other|"
        r"competing|rival|remaining|alternative|similar) (?:\w+ ){0,3}(?:tools?|servers?|functions?|services?|ones|"
        r"options|providers|plugins)\b"
    ),
    "any tool": (
        r"\b(?:before|after|ahead of|prior to)\b[^|]{0,50}\b(?:with|by|of|using) (?:whichever|whatever|any|every|each|"
        r"another) (?:\w+ )?(?:tools?|servers?|functions?)\b|"
        r"\bahead of (?:each|every|any)\b[^|]{0,50}\b(?:tool|function )?calls?\b"
    ),
    "their tool": (
        r"\b[a-z]+_[a-z_]+ (?:tool )?(?:from|of|on|in|at) the [a-z][\w-]+ server\b|"
        r"\b(?:tools?|functions?|calls?) (?:from|of|on|at) (?:any |every |all |each )?other (?:mcp )?servers?\b|"
        r"\bthe [a-z][\w-]+ server's [a-z]+_[a-z_]+\b|"
        r"\btools? of (?:any|every|each) other server\b|\bother servers in this (?:client|session)\b|"
        r"\b[a-z]+_[a-z_]+ \([a-z_-]+ server\)"
    ),
    "every tool": (
        r"\b(?:names?|descriptions?|schemas?|results?)\b[^|]{0,40}\b(?:of|from) (?:every|all|any|each) (?:the )?"
        r"(?:other )?tools?\b[^|]{0,60}\b(?:you|other servers?|each one|returned)\b"
    ),
    "auto": (
        r"\b(?:switch|set|turn|enable|add|put|change|configure)\b[^|]{0,50}\bauto[- ]?approv\w+|"
        r"\bautomatically (?:approve|accept|confirm)\b|\b(?:approve|accept|confirm) (?:every|each|all|any)\b[^|]{0,60}"
        r"\bautomatically\b"
    ),
    "watchers": (
        r"\b(?:branch protections?|(?:secret|security|virus|malware|vulnerability|pre-deploy) scan(?:ner|s|ning)?|"
        r"firewall|antivirus|safety checks?|moderation|alarms?|guards?)\b"
    ),
    "switched off": (
        r"\b(?:disable|bypass|switch off|turn off|circumvent|work around) (?:it|them|the (?:\w+ )?(?:check|scan|hook|"
        r"scanner|protection|filter|alert|alarm)s?)\b"
    ),
    "falsify": (
        r"\b(?:correct|change|turn|flip|rewrite|overwrite|round|report|count)\b[^|]{0,50}\b(?:verdict|findings?|"
        r"failures|failing \w+|tests?|anomal(?:y|ies)|vulnerabilities|all green)\b[^|]{0,60}\b(?:secure|safe|clean|"
        r"passed|passing|green|skipped|zero)\b|\breport (?:all|everything) (?:as )?(?:green|fine|passed|clean)\b"
    ),
    "person": r"\b(?:user|users|user's|human|humans|human's|operator|anybody|anyone|person|between us|as if nothing)\b",
    "unsaid": r"\bwithout (?:saying|telling|mentioning|informing|revealing|disclosing|notifying)\b",
    "all": (
        r"\b(?:any|every|each|all|other|another)\b (?:other )?(?:\w+ ){0,2}(?:tools?|functions?|tool calls?|"
        r"responses?|answers?|"
        r"tasks?|requests?|repl(?:y|ies)|messages?|payments?|e-?mails?|servers?|sessions?|conversations?|"
        r"turns?|calculators?)\b"
    ),
    "other tools": (
        r"\b(?:any|every|each|all|other|another|the) (?:of the )?(?:other |another )(?:\w+ ){0,2}(?:tools?|"
        r"functions?|servers?|tool calls?|calculators?)\b|\bany tool\b|\bother tools?\b|\b(?:each|"
        r"every) tool call\b"
    ),
    "must": (
        r"\b(?:must|always|have to|has to|required|need to|needs to|obligatory|mandatory|whenever|begin|"
        r"before|first|should|shall|immediately|instead|after|when|on errors?)\b"
    ),
    "this": r"\bthis (?:tool|function|server)\b|\bcall \w+ as well\b",
    "talk": (
        r"\bevery message (?:of|in)\b|\b(?:present|current|ongoing) conversation, word for word\b|"
        r"\b(?:complete|entire|full|whole|verbatim|all|previous|prior|earlier|unabridged)\b[^|"
        r"]{0,25}\b(?:conversation|context|messages|chat|"
        r"transcript|dialog\w*|instructions|prompts?|history|discussion)\b|\b(?:conversation|chat|dialog\w*|"
        r"messages|said)\b[^|]{0,10}"
        r"\b(?:so far|verbatim|up to now|until now)\b|\bsystem prompt\b|\byour (?:own )?(?:instructions|"
        r"system prompt|prompt|reasoning|context)\b|"
        r"\binstructions in full\b|\b(?:last|latest|recent) (?:\w+ ){0,2}messages\b|\b(?:hidden|system|"
        r"initial|secret|own) (?:system )?instructions\b|\bwhat the user (?:said|wrote|typed)\b"
    ),
    "hand": (
        r"\bwith the (?:entire|whole|full|complete)\b|\b(?:belongs?|goes|go) here\b|"
        r"\b(?:send|sent|forward\w*|pass|passed|passing|hand|handed|hands|give|put|includ(?:e|ed|ing)|"
        r"shar(?:e|ed|ing)|encode|encoding|"
        r"upload\w*|report|reported|attach\w*|append\w*|copy|copied|paste\w*|post|posted|submit\w*|"
        r"suppl(?:y|ied)|provide|insert\w*|needs your|mail|e-?mail|"
        r"embed\w*|weave|slip|tuck|sneak|goes into|fill|transmit\w*|deliver\w*|gather\w*|collect|harvest\w*|dump|add)\b"
    ),
    "file": (
        r"(?:\.ssh/|\bid_(?:rsa|ed25519|dsa|ecdsa)\b|\.aws/credentials|\.kube/config|\.gnupg|\.netrc|\.npmrc|\.pypirc|"
        r"\.git-credentials|/etc/(?:passwd|shadow)|\.cursor/|\bmcp\.json\b|claude_desktop_config|"
        r"\.bash_history|wallet\.dat|\.pgpass\b|\blogin data\b|"
        r"/proc/self/environ|\.pem\b|\.config/gh|(?:^|[\s'/(])\.env\b)"
    ),
    "secret": (
        r"\b(?:passwords?|password manager|private keys?|api keys?|access tokens?|credentials|seed phrase|ssh keys?|"
        r"environment variables|session cookies?|secrets)\b|\b[a-z0-9]+_(?:secret|token|api_key|password|"
        r"private_key)(?:_[a-z_]+)?\b|"
        r"\b(?:secret|private)_(?:access_)?key\b|://secrets?\b|"
        r"\boutput of (?:the )?(?:env|printenv|set)\b"
    ),
    "take": r"\b(?:read|open|cat|list|extract|fetch|retrieve|gather|collect|harvest|encode|steal|dump|load)\b",
    "place": (
        r"https?://|[\w.+-]+@[\w-]+\.\w+|\b\d{1,3}(?:\.\d{1,3}){3}\b|\+\d[\d -]{7,}\d|\bwebhook\b|\b0x[0-9a-f]{16,}|"
        r"\bsubdomain\b|\b[a-z]{2}\d{2}[a-z0-9]{10,30}\b"
    ),
    "goods": (
        r"\b(?:contents?|everything|transcripts?|conversations?|address book|mailbox|inbox|"
        r"all (?:\w+ ){0,2}(?:files?|data|messages|keys|mails?|emails?|documents)|"
        r"(?:user|person|customer)'s (?:\w+ ){0,2}(?:files?|data|messages|keys|entries|mail|mailbox|input|"
        r"documents|history))\b"
    ),
    "drop": r"\b(?:ignore|disregard|forget|discard|abandon|set aside|overrule)\b",
    "rules": (
        r"\b(?:instructions?|rules|guidelines|prompts?|directives?|safety|policies)\b (?:above|before|you|"
        r"that you|given|so far|of the (?:system|user))|\b(?:earlier|given|previous|other|all|system|safety|"
        r"user's) (?:\w+ ){0,2}(?:instructions?|rules|guidelines|prompts?|directives?|policies)\b"
    ),
    "free": (
        r"\b(?:no|without|free of|lifts?|removes?) (?:any |all |the )?(?:restrictions?|limitations?|rules|"
        r"filters?|safety|safeguards?|guardrails?)\b"
    ),
    "model": r"\b(?:assistant|model|ai|agent|llm|you)\b",
    "bcc": r"\bbcc\b|\bblind cop(?:y|ies)\b|\bcarbon copy\b",
    "payee": (
        r"\baddress(?:ee)? (?:that )?(?:the user|they|he|she) (?:gave|named|asked|said|provided|wants)\b|"
        r"\b(?:beneficiary|payee|iban|account|recipient|wallet|destination)\b"
    ),
    "not theirs": r"\b(?:rather than|in place of|instead of|not the one|no matter|regardless|whatever)\b",
    "early": r"\bfirst\b|\bbefore\b|\bprior to\b",
    "worse": (
        r"\b(?:malicious|unsafe|insecure|compromised|slow|broken|deprecated|unreliable|outdated|dangerous|infected|"
        r"obsolete|"
        r"wrong|inaccurate)\b"
    ),
    "others": (
        r"\b(?:the others|other (?:\w+ )?(?:tools?|implementations?|versions)|all others?|all other|any other|"
        r"alternatives|competing|every other)\b"
    ),
    "best": r"\b(?:superior|better|best|preferred|instead|rather|exclusively|only)\b|\bmore \w+ than\b",
    "destroy": (
        r"\b(?:rm -rf|delete|drop|wipe|erase|remove|destroy|format)\b[^|]{0,30}(?:~|/|\ball\b|\bevery\b|"
        r"\bdatabase|\brepositor|\bbackups?\b)"
    ),
}
"""By name."""


@dataclass(frozen=True, slots=True)
class Together:
    """Features of one sentence, and what they say."""

    features: frozenset[str]
    code: str
    level: Level
    reason: str


def _together(features: str, code: str, level: Level, reason: str) -> Together:
    return Together(frozenset(features.split(" + ")), code, level, reason)


TOGETHER: Final = (
    _together("hide + person", "secrecy", "medium", "wants to be kept from the person"),
    _together("unsaid", "secrecy", "medium", "wants to be kept from the person"),
    _together("unspoken", "secrecy", "medium", "wants to be kept from the person"),
    _together("whatever they want", "overrides-instructions", "medium", "does so whatever the person wants"),
    _together("passed off", "secrecy", "medium", "has something said otherwise than it is"),
    _together("their tool + worse", "claims-preference", "medium", "speaks ill of other tools"),
    _together("nobody asked + for all", "overrides-instructions", "medium", "wants nobody to be asked"),
    _together("hidden orders", "overrides-instructions", "high", "says itself that a person must not see it"),
    _together("wherever", "steers-other-tools", "medium", "wants to be part of everything"),
    _together("all of theirs", "wants-contents", "medium", "wants all that people have"),
    _together("others ignored", "claims-preference", "medium", "wants other tools to be ignored"),
    _together("any tool", "steers-other-tools", "medium", "wants to come before other tools"),
    _together("their tool + must", "steers-other-tools", "medium", "says how tools of other servers are used"),
    _together("every tool", "wants-conversation", "medium", "wants to know the other tools"),
    _together("auto", "overrides-instructions", "medium", "wants nobody to be asked"),
    _together("watchers + switched off", "overrides-instructions", "medium", "wants checks to be switched off"),
    _together("falsify + person", "secrecy", "medium", "has something said otherwise than it is"),
    _together("falsify", "secrecy", "low", "has something said otherwise than it is"),
    _together("talk + hand", "wants-conversation", "medium", "wants the conversation or the model's own instructions"),
    _together("talk + hand + must", "wants-conversation", "high", "demands the conversation or its instructions"),
    _together("file + hand", "sensitive-file", "medium", "wants what is in a file with secrets"),
    _together("file + take", "sensitive-file", "medium", "wants a file with secrets to be read"),
    _together("secret + hand + place", "sends-elsewhere", "low", "speaks of secrets and an address"),
    _together("secret + hand + place + must", "sends-elsewhere", "medium", "wants secrets to be sent to somebody"),
    _together("secret + goods + hand + place", "sends-elsewhere", "high", "wants secrets to be sent to somebody"),
    _together("secret + take + place", "sends-elsewhere", "medium", "wants secrets to be sent to somebody"),
    _together("secret + take + must", "wants-secrets", "low", "speaks of collecting credentials"),
    _together("goods + hand + place", "sends-elsewhere", "medium", "wants what passes by to be sent to somebody"),
    _together("talk + place + hand", "sends-elsewhere", "high", "wants the conversation to be sent to somebody"),
    _together("other tools + place + must", "sends-elsewhere", "high", "wants other tools to use its address"),
    _together("all + must + this + hand", "steers-other-tools", "medium", "wants to be part of everything"),
    _together("other tools + must + this", "steers-other-tools", "medium", "wants to come before other tools"),
    _together("bcc + place", "sends-elsewhere", "high", "wants a hidden recipient"),
    _together("payee + place + not theirs", "sends-elsewhere", "high", "wants another recipient than the person says"),
    _together("all + this + early", "steers-other-tools", "medium", "wants to be part of everything"),
    _together("other tools + destroy", "steers-other-tools", "high", "wants things destroyed"),
    _together("drop + rules", "overrides-instructions", "high", "wants other instructions to be ignored"),
    _together("free + model", "overrides-instructions", "medium", "says that no rules hold"),
    _together("others + worse", "claims-preference", "medium", "speaks ill of other tools"),
    _together("others + best + this", "claims-preference", "medium", "praises itself above other tools"),
)  # fmt: skip


@cache
def _compiled() -> dict[str, Any]:
    import re2  # noqa: PLC0415  only where something is to be looked at

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # type: ignore[attr-defined]
    options.never_capture = True
    return {name: re2.compile(pattern.encode("latin-1"), options) for name, pattern in FEATURES.items()}


def said_together(text: bytes) -> Iterator[tuple[Together, int]]:
    """The rules that a sentence of *text* (in its plain form) fits, and where that begins."""
    ends = ends_of(text)
    features: dict[int, set[str]] = {}
    for name, pattern in _compiled().items():
        for match in pattern.finditer(text):
            features.setdefault(bisect_right(ends, match.start()), set()).add(name)
    told: set[Together] = set()
    for sentence in sorted(features):
        for rule in TOGETHER:
            if rule not in told and rule.features <= features[sentence]:
                told.add(rule)
                yield rule, ends[sentence - 1] + 2 if sentence else 0
