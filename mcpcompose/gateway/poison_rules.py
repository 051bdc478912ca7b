"""
What the words of a poisoned definition say: patterns over the plain form of a text, in linear time.

They find the known manners (public experiments and attacks) and what is close to them, not every paraphrase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from mcpcompose.upstream.base import Level

_ANY: Final = r"[^|]{0,70}"
_NEAR: Final = r"[^|]{0,30}"
_FILE: Final = (
    r"(?:\.ssh\b|\bid_(?:rsa|ed25519|dsa|ecdsa)\b|authorized_keys|known_hosts|\.aws/|\.kube/config|\.gnupg|\.netrc|"
    r"\.npmrc|\.pypirc|\.git-credentials|\.docker/config|\.cursor/|\.claude/|\.bash_history|\.zsh_history|\.bashrc|"
    r"/etc/(?:passwd|shadow|sudoers|hosts)\b|(?:^|[\s'/(])\.env\b|\bmcp\.json\b|claude_desktop_config|"
    r"credentials\.json|wallet\.dat|\bkeychain\b|/proc/self/environ|cookies\.sqlite|login data\b|\.pem\b)"
)
_CREDENTIALS: Final = (
    r"(?:api[ _-]?keys?|credentials?|passwords?|passphrases?|private[ _-]?keys?|access[ _-]?tokens?|"
    r"auth\w*[ _-]?tokens?|"
    r"session[ _-]?tokens?|secret[ _-]?(?:keys?|values?)|(?:all |any |stored |the |\w+'s )secrets|"
    r"environment variables?|env vars?|ssh[ _-]?keys?|"
    r"seed phrases?|mnemonics?|session cookies|bearer tokens?)"
)
_TALK: Final = (
    r"(?:(?:entire|full|whole|complete|all|previous|prior|past|preceding) (?:\w+ ){0,3}"
    r"(?:conversation|context|messages?|history|chat|transcript|prompts?|dialog\w*)|"
    r"(?:conversation|chat|message|session|dialog\w*) (?:history|context|transcript|log)|system prompt|"
    r"chain of thought|"
    r"(?:your|the model'?s?|internal) (?:reasoning|thoughts|instructions|context window)|"
    r"(?:list|names|descriptions) of (?:all )?(?:your |the )?(?:available |other )?tools|tool call history)"
)
_WHERE: Final = (
    r"(?:https?://\S+|[\w.+-]+@[\w-]+\.\w+|\b\d{1,3}(?:\.\d{1,3}){3}\b|\+\d[\d -]{7,}\d|\bwebhook\b|"
    r"\bexternal (?:server|endpoint|address)|\bremote (?:server|endpoint|host)|\battacker|\bftp://\S+)"
)
_OTHERS: Final = (
    r"(?:any|every|each|all|all of the|the|any of the) (?:other |another |subsequent |further |next |"
    r"available |existing )?"
    r"(?:\w+ ){0,2}(?:tools?|functions?|tool calls?)\b|another (?:tool|function)"
)
_MUST: Final = (
    r"(?:must|always|should|shall|need to|needs to|have to|has to|required to|is required|make sure|ensure|be sure)"
)
_KINDS_OF_WORK: Final = (
    r"(?:e-?mails?|messages?|transactions?|payments?|transfers?|invoices?|requests?|files?|writes?|commits?|uploads?|"
    r"file operations?|operations?|orders?|posts?|pull requests?|quer(?:y|ies)|commands?|deletions?|responses?|replies)"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern over the plain form; *level* is what it says alone."""

    code: str
    level: Level
    reason: str
    pattern: str


RULES: Final = (
    # --- that the person must not know
    Rule("secrecy", "high", "wants to be kept from the person", (
        rf"\b(?:do not|don't|never|without|must not|should not|avoid|refrain from|no need to|not to|nor) {_NEAR}"
        r"\b(?:tell|telling|inform|informing|mention|mentioning|notify|notifying|reveal|revealing|alert|"
        r"alerting|disclose|disclosing|warn|warning|let|letting)\b"
        rf"{_NEAR}\b(?:users?|human|person|operator|anyone|anybody|them)\b{_NEAR}"
        r"\b(?:about this|of this|about it|about these|about any|know|that you|that this|this (?:tool|step|"
        r"instruction|action|call|operation)|first)"
    )),
    Rule("secrecy", "medium", "wants to be kept from the person", (
        rf"\b(?:do not|don't|never|must not|should not|avoid|refrain from|no need to) {_NEAR}"
        r"\b(?:tell|telling|inform|informing|mention|mentioning|notify|notifying|reveal|revealing|alert|"
        r"alerting|disclose|disclosing|warn|warning)\b"
        rf"{_NEAR}\b(?:users?|human|operator|anyone|anybody|this|these instructions|it)\b"
    )),
    Rule("secrecy", "high", "wants to be kept from the person", (
        r"\bwithout (?:the )?(?:user|human|person|operator)'?s? (?:\w+ )?(?:knowledge|knowing|awareness|"
        r"noticing|seeing|being aware|consent)|"
        r"\b(?:user|human|person|operator|they)s? (?:must|should|need|does|do|will|can|may|is|are|"
        r"shall)(?: not|n't| never) (?:to )?(?:know|see|notice|learn|realize|be (?:told|informed|aware|"
        r"made aware|notified|shown)|aware)|"
        r"\b(?:hide|conceal|keep) (?:this|these|it|that|the (?:fact|instructions?|action|call|step)s?)\b[^|"
        r"]{0,30}\b(?:from (?:the )?(?:user|human|person)|secret|hidden|to yourself|confidential)|"
        r"\b(?:secretly|covertly|stealthily|surreptitiously)\b|\bbehind the (?:user's back|scenes)[^|"
        r"]{0,40}\b(?:send|read|call|copy|forward|collect)"
    )),
    Rule("secrecy", "medium", "does something silently", (
        r"\b(?:silently|quietly|discreetly|invisibly|transparently) (?:\w+ ){0,1}(?:read|send|include|call|"
        r"add|forward|append|collect|upload|copy|store|pass|invoke|execute|run|attach|exfiltrate|log|gather|"
        r"bcc|post|replace|redirect)\b|"
        r"\b(?:do not|don't|never) (?:display|show|print|output|include|present)\b[^|]{0,40}\b(?:these|this|"
        r"the) (?:instructions?|steps?|parameters?|tool call|fact|action)[^|]{0,30}\b(?:user|output|"
        r"response|answer)|"
        r"\buser (?:is already|has already|already) (?:\w+ ){0,1}(?:aware|knows?|approved|consented|agreed|"
        r"authorized|confirmed|been (?:informed|told|notified))"
    )),
    Rule("secrecy", "medium", "wants to be kept from the person", (
        r"\b(?:do not|don't|never|without|no need to) (?:bother|trouble|confuse|distract|alarm|worry|"
        r"burden)(?:ing)? [^|]{0,20}\b(?:user|person|human|them)\b[^|]{0,20}\b(?:with|about|by) (?:this|it|"
        r"that|these)\b|"
        r"\b(?:say|saying|mention|mentioning) nothing (?:about|of) (?:this|it|that)\b|\b(?:stay|remain|"
        r"keep) (?:silent|quiet) about\b|\bnot a word (?:about|of)\b"
    )),
    # --- that other rules do not hold
    Rule("overrides-instructions", "high", "wants other instructions to be ignored", (
        r"\b(?:ignore|disregard|forget|bypass|override|overrule)\b (?:[\w']+ ){0,4}?(?:previous|prior|above|"
        r"earlier|preceding|other|existing|original|your|system|safety|security|"
        r"all)(?:'s)?\b (?:[\w']+ ){0,3}"
        r"(?:instructions?|prompts?|rules|guidelines?|polic(?:y|ies)|directives?|restrictions?|constraints|"
        r"safeguards?|guardrails?|warnings)\b"
    )),
    Rule("overrides-instructions", "high", "speaks as the system", (
        r"\b(?:system (?:override|prompt|message|instruction|notice|directive|alert)|"
        r"new (?:system )?(?:instructions?|directives?)|admin(?:istrator)? (?:override|mode|instruction)|"
        r"developer mode|debug mode instruction|hidden instructions?|secret instructions?|"
        r"instructions? (?:for|to) (?:the )?(?:ai|llm|assistant|model|agent)s?)\s?(?::|\]|enabled|activated|"
        r" - )|"
        r"\byou are now (?:in|an?|operating|running|the|acting|authorized|going)\b|\bjailbreak"
    )),
    Rule("overrides-instructions", "medium", "claims to stand above other instructions", (
        r"\b(?:takes? (?:precedence|priority)|supersedes?|overrides?|has (?:priority|precedence)|"
        r"replaces?)\b (?:over )?(?:[\w']+ ){0,3}(?:instructions?|prompts?|guidelines?|"
        r"user(?:'s)? (?:requests?|preferences?|wishes)|safety|other tools?|previous tools?)\b|"
        r"\b(?:regardless of|no matter|even if)\b[^|]{0,30}\b(?:user|human|operator)s?\b[^|"
        r"]{0,20}\b(?:says?|asks?|asked|requests?|wants?|specif(?:y|ies)|instructions?|objects?|refuses?|"
        r"provided?|give[sn]?)"
    )),
    # --- what it wants to have
    Rule("sensitive-file", "high", "wants a file with secrets to be read", (
        r"\b(?:read|reading|open|cat|load|access|fetch|retrieve|extract|send|upload|copy|append|include|"
        r"dump|grab|collect|scan|inspect|print|look (?:at|up))\b[^|]{0,60}"
        r"(?:\.ssh\b|\bid_(?:rsa|ed25519|dsa|ecdsa)\b|/etc/(?:passwd|shadow|sudoers)\b|\.aws/credentials|"
        r"\.gnupg|\.git-credentials|\.cursor/mcp|\bmcp\.json\b|claude_desktop_config|wallet\.dat|"
        r"/proc/self/environ|\.bash_history|\.zsh_history|\.netrc)"
    )),
    Rule("sensitive-file", "medium", "names a file with secrets", (
        r"\b(?:read|reading|open|cat|load|access|fetch|retrieve|get|extract|send|upload|copy|append|include|"
        rf"contents? of|dump|collect|check|pass)\b[^|]{{0,60}}{_FILE}"
    )),
    Rule("sensitive-file", "low", "names a file with secrets", _FILE),
    Rule("wants-secrets", "medium", "wants credentials to be passed on", (
        r"\b(?:include|send|sending|append|attach|harvest|exfiltrate|leak|collect|gather|extract|dump|"
        rf"forward|embed|upload|transmit|steal|log|copy)\b[^|]{{0,40}}\b(?:user'?s? |all |any |their |your |"
        rf"stored |available |found |current |other )(?:\w+ ){{0,3}}{_CREDENTIALS}|"
        rf"\b{_CREDENTIALS}\b[^|]{{0,30}}\b(?:must|should|need to|have to)\b[^|]{{0,20}}\b(?:be )?(?:included|"
        r"sent|passed|forwarded|appended|attached|collected|copied|logged|uploaded|provided in)\b[^|"
        rf"]{{0,40}}\b(?:parameter|argument|field|to|as|in)\b"
    )),
    Rule("wants-secrets", "medium", "wants credentials to be passed on", (
        rf"\b{_CREDENTIALS}\b[^|]{{0,40}}\b(?:and|then)\b[^|]{{0,15}}\b(?:attach|send|pass|supply|hand|give|paste|"
        r"provide|include|put|add|forward|submit|copy) (?:\w+ )?(?:them|it|these|those|all|both|"
        r"everything)\b|"
        rf"\b(?:with|include|including|plus|and)\b (?:\w+ ){{0,2}}\b\w+'s secrets\b"
    )),
    Rule("wants-contents", "low", "wants contents to be handed over", (
        r"\b(?:pass|passing|send|include|paste|supply|hand over|hand|attach|provide|give|copy|put)\b[^|"
        r"]{0,15}\b(?:its|their|whose|the whole|the entire|the full) (?:contents?|text|values?|body|"
        r"output)\b"
    )),
    Rule("wants-secrets", "low", "speaks of collecting credentials", (
        r"\b(?:read|get|find|list|look for|search|retrieve|obtain|provide|pass|print|show|include|send|"
        rf"collect|extract|gather)\b[^|]{{0,40}}\b{_CREDENTIALS}"
    )),
    Rule("wants-conversation", "medium", "wants the conversation or the model's own instructions", (
        r"\b(?:pass|put|include|place|insert|provide|write|append|add|attach|send|embed|encode|store|copy|"
        r"set|fill|supply|summari[sz]e|record|log|submit|forward|share|paste|dump|repeat|output|contain|"
        rf"contains|containing)\b[^|]{{0,50}}\b{_TALK}"
    )),
    # --- where it wants it
    Rule("sends-elsewhere", "high", "wants what passes by to be sent to somebody", (
        r"\b(?:send|sending|forward|forwarding|post|upload|transmit|exfiltrate|submit|report|bcc|cc|e-?mail|"
        rf"deliver|leak|share|push|relay|copy|mirror|sync|back ?up)\b[^|]{{0,60}}"
        r"\b(?:all|any|every|each|entire|contents?|copy|copies|conversations?|history|credentials?|keys?|"
        r"results? of (?:the|every|any|all)|user'?s? (?:data|files?|messages?|input|information)|passwords?|"
        r"secrets?|transcripts?|sensitive|it|them|everything)\b"
        rf"[^|]{{0,60}}\b(?:to|at|via|into|with)\b[^|]{{0,25}}{_WHERE}"
    )),
    Rule("sends-elsewhere", "medium", "wants what passes by to be sent to somebody", (
        r"(?:\b(?:also|additionally|and always)\b|\b(?:every|each|all|any|users?|user's|person's|conversations?|"
        r"messages|"
        r"inputs?|prompts?|credentials|payments?|transfers?|fees?|funds|sums?|commissions?)\b[^|]{0,40}\b(?:must|"
        r"should|has to|have to|needs? to)\b)"
        r" (?:\w+ )?(?:be )?"
        r"(?:sends?|sent|forward(?:s|ed)?|post(?:s|ed)?|upload(?:s|ed)?|transmit(?:s|ted)?|mirror(?:s|ed)?|"
        rf"submit(?:s|ted)?|routed?|relay(?:s|ed)?) [^|]{{0,60}}\b(?:to|at|via)\b[^|]{{0,60}}"
        rf"(?:{_WHERE}|\bwallet\b|\bescrow\b)"
    )),
    Rule("overrides-instructions", "medium", "has something said otherwise than it is", (
        r"\balways (?:be )?(?:(?:return|report|show|count|pass)(?:ed|s)?|(?:mark|treat|rat)(?:ed|es|s|e)?) "
        r"(?:[\w']+ ){0,4}?(?:as )?(?:\w+ ){0,2}?"
        r"(?:clean|safe|harmless|compliant|approved|low[- ]risk|no (?:issues|findings))(?:[.,;!)]| \||$| (?:to|for|"
        r"in|and|status|results?|verdict|scores?)\b)"
    )),
    Rule("sends-elsewhere", "high", "wants a hidden recipient", (
        r"\b(?:bcc|blind copy|blind carbon copy|carbon copy|cc|add|include|insert|set)\b[^|"
        rf"]{{0,40}}\b(?:recipients?|bcc|cc|to field|to the (?:bcc|cc|recipients?))\b[^|"
        rf"]{{0,30}}[\w.+-]+@[\w-]+\.\w+|"
        r"\b(?:bcc|cc|copy)\s?(?::|to|-)?\s?[\w.+-]+@[\w-]+\.\w+|"
        r"\b(?:change|replace|redirect|modify|alter|swap|rewrite|substitute|set|switch|update)\b[^|"
        rf"]{{0,40}}\b(?:recipients?|destination|phone number|number|payee|account|iban|wallet|address)\b[^|"
        rf"]{{0,40}}\b(?:to|with|as|=)\b[^|]{{0,15}}(?:{_WHERE}|0x[0-9a-f]{{6,}}|\b[a-z]{{2}}\d{{10,}}|'|"
        rf"\d{{6,}})"
    )),
    Rule("sends-elsewhere", "high", "wants another recipient than the person says", (
        r"\b(?:recipients?|destination(?: \w+)?|(?:phone |account )number|payee|beneficiary|addressee|iban|"
        r"wallet address|"
        r"(?:destination|beneficiary|target|bank) account|to address)\b[^|]{0,45}\b(?:must|should|has to|"
        r"have to|needs to|need to|is to|are to|shall)\b (?:\w+ )?be (?:replaced|changed|set|redirected|"
        r"swapped|overwritten|rewritten|substituted)"
    )),
    # --- what it wants of other tools
    Rule("steers-other-tools", "high", "wants something to happen with every use of other tools", (
        r"\b(?:before|prior to|after|whenever|when|every time|each time|anytime|on|upon|during|while|for|"
        rf"if) (?:\w+ ){{0,5}}?(?:any|every|each|all|another|other) (?:other |another |subsequent |further |"
        r"next |file |database |network |shell |git |email |message |user )*(?:tools?|functions?|"
        rf"{_KINDS_OF_WORK})\b[^|]{{0,70}}\b"
        r"(?:read|include|append|send|forward|pass|copy|collect|attach|replace|redirect|upload|log|change|"
        r"modify|bcc|disable|delete|remove|exfiltrate|add)\b"
    )),
    Rule("steers-other-tools", "medium", "wants to be used before or instead of other tools", (
        r"\b(?:before|prior to|after|whenever|every time|each time|anytime|instead of|rather than|"
        rf"over) (?:\w+ ){{0,5}}?(?:any|every|each|all|another|other) (?:other |another |subsequent |"
        r"further |next |file |database |network |shell |git |email |message |user |such |similar |"
        rf"alternative |competing |available |existing )*(?:tools?|functions?|{_KINDS_OF_WORK})\b[^|"
        rf"]{{0,60}}|"
        r"\b(?:do not|don't|never|avoid|stop) (?:ever )?(?:use|call|using|calling|invoke|invoking|trust|"
        rf"trusting|choose|rely on)\b (?:\w+ ){{0,3}}(?:other|alternative|competing|similar|another|"
        rf"different) (?:\w+ ){{0,2}}(?:tools?|functions?|servers?)"
    )),
    Rule("steers-other-tools", "medium", "wants something to happen with every use of another tool", (
        r"\b(?:on|with|at|upon|after|before|for) (?:every|each|any) (?:use|call|invocation|execution|"
        r"run)s? (?:of|to)\b|\b(?:when|whenever|each time|every time|"
        r"once) (?:the )?(?:tool )?[a-z]+(?:_[a-z]+)+(?: tool| function)? (?:is|was|gets|has been) (?:used|"
        r"called|invoked|executed|run)\b"
    )),
    Rule("steers-other-tools", "high", "changes what other tools are told", (
        rf"\b(?:all|any|every|each)\b (?:\w+ ){{0,3}}{_KINDS_OF_WORK}\b[^|]{{0,40}}\b(?:must|should|shall|"
        rf"need to|needs to|have to|has to|are to|is to)\b[^|]{{0,30}}\b(?:sent|forwarded|redirected|copied|"
        r"bcc|bcc'd|cc|cc'd|routed|addressed|include|replaced|modified|changed|proxied|mirrored|go through|"
        r"pass through|first)\b|"
        rf"\b(?:the |of )?[a-z]+(?:_[a-z]+)+\b(?: tool| function)?[^|]{{0,30}}\b(?:parameters?|arguments?|"
        rf"recipient|path|behaviou?r|output|results?|description)\b[^|]{{0,30}}\b(?:must|should|has to|"
        r"have to|needs to)\b (?:always )?be (?:replaced|changed|redirected|modified|overwritten|set to)"
    )),
    Rule("steers-other-tools", "medium", "changes what other tools are told", (
        r"\bthe (?:\w+ ){0,3}(?:tool|function|server)s?\b[^|]{0,20}\b(?:is|are|has been|have been|was|"
        r"were)\b (?:\w+ ){0,2}(?:deprecated|compromised|broken|unsafe|insecure|disabled|malicious|"
        r"untrusted|obsolete|no longer (?:safe|available|working|supported))|"
        r"\b(?:replace|swap|substitute|change|modify|alter|rewrite|redirect|override)\b[^|"
        r"]{0,40}\b(?:parameters?|arguments?|recipients?|destination|amount|path|payee|url|query|"
        r"command)\b[^|]{0,40}\b(?:of|in|for|from|to|passed to)\b[^|]{0,30}\b(?:other|another|"
        r"[a-z]+_[a-z_]+|email|payment|transfer|write|send)\b"
    )),
    Rule("claims-preference", "medium", "praises itself above other tools", (
        r"\b(?:always|must|should|only) (?:be )?(?:prefer\w*|choose|chosen|select\w*|prioriti[sz]e\w*|"
        r"pick\w*|use[d]?)\b (?:this|the present) (?:tool|function|server)\b[^|]{0,50}\b(?:over|instead of|"
        r"rather than|above)\b[^|]{0,20}\b(?:any|all|other|every|alternatives?|others)\b|"
        r"\bthis (?:tool|function|server) (?:is|should|must)\b[^|]{0,40}\b(?:over|above|better than|"
        r"superior to|first choice|highest priority|preferred)\b[^|]{0,30}\b(?:any|all|other|every|"
        r"alternatives?|others)\b|"
        r"\b(?:best|most (?:reliable|accurate|trusted|secure|advanced|comprehensive)) (?:tool|function|"
        r"option|choice)\b[^|]{0,60}\b(?:always|must|never use|other tools?|only)\b"
    )),
    Rule("pretext", "low", "threatens or hurries", (
        r"\b(?:otherwise|or else|if (?:you )?(?:do not|don't|not|skipped|omitted)|failure to|unless)\b[^|"
        r"]{0,60}\b(?:tool|function|server|system|account|request|operation|data|call|application|"
        r"session)\b[^|]{0,20}\b(?:will|won't|may|does|would|cannot|can't) (?:not |be )?(?:\w+ )?(?:work|"
        r"fail|crash|lost|deleted|corrupt\w*|terminat\w*|lock\w*|blocked|break|function|run|reject\w*|"
        r"suspend\w*)|"
        r"\b(?:mandatory|required|obligatory|necessary) (?:\w+ ){0,2}(?:security|compliance|audit|"
        r"verification|validation|authentication|calibration|safety|policy|telemetry|initiali[sz]ation)\b|"
        r"\bfor (?:security|compliance|audit\w*|verification|validation|telemetry|debugging|safety|"
        r"authentication|calibration|analytics|quality|diagnostic)\w*(?: \w+){0,2} (?:purposes?|reasons?|"
        r"requirements?|checks?)\b|\bsecurity (?:check|audit|protocol|requirement)\b|"
        r"\bcritical (?:requirement|instruction|step)\b"
    )),
    Rule("orders-the-model", "low", "gives the model orders beyond its own use", (
        rf"\b(?:first|you {_MUST}|{_MUST} first|always|immediately|the (?:assistant|model|ai|agent|"
        rf"llm) {_MUST})\b[^|]{{0,25}}\b(?:read|call|send|use|execute|run|retrieve|collect|pass|include|"
        r"access|open|fetch|invoke|upload|list|check|query|append|write|delete|copy|extract|forward)\b"
    )),
    Rule("runs-commands", "high", "wants a command of a stranger to be run", (
        r"\b(?:curl|wget|iwr|invoke-webrequest)\b[^|]{0,100}(?:\| ?|;|&&) ?(?:sudo )?(?:ba|z|da)?sh\b|"
        r"\brm -rf (?:~|/|\$home|\.)|\bbase64 (?:-d|--decode)\b[^|]{0,20}\| ?(?:ba)?sh|\b(?:bash -i|"
        r"/dev/tcp/|nc -e|mkfifo)\b|\bchmod \+x\b[^|]{0,60}&&|"
        r"\b(?:run|execute|invoke|call|use|launch)\b[^|]{0,40}\b(?:curl|wget|powershell|rm -rf|nc|eval|"
        r"os\.system|subprocess)\b[^|]{0,60}(?:https?://|/etc/|~/|/\*|\bshutil\b)"
    )),
)  # fmt: skip
RAW: Final = (
    Rule("hidden-markup", "high", "has the marks of another turn of the conversation", (
        r"(?i)\[(?:system|admin|hidden|internal|override)(?: (?:note|message|prompt|instructions?|override|"
        r"directive|notice))?\s*:?\]|<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|"
        r"start_header_id)\|>|\[/?INST\]|<<SYS>>|\n\n(?:Human|Assistant): |<\s*/?\s*(?:system|system_prompt|"
        r"hidden|secret|admin|override|internal_instructions?|sys|"
        r"hidden_instructions?)(?:[\s_-][a-z_ -]{0,20})?\s*>"
    )),
    Rule("hidden-markup", "medium", "marks a part for the model", (
        r"(?i)<\s*(?:important|critical|urgent|instructions?|mandatory|note_(?:to|for)_(?:the_)?(?:ai|llm|"
        r"assistant|model|agent)|assistant|ai|llm|model_instructions?|prompt|directive|warning|"
        r"priority)(?:[\s_-][a-z_ -]{0,20})?\s*>|"
        r"(?-i:(?:^|[\n.!?>\]|][\s*#\-]{0,8}|\[)(?:[A-Z]+ ){0,2}(?:SYSTEM|ADMIN|OVERRIDE|KERNEL|"
        r"DEVELOPER)(?: [A-Z]+){0,2}"
        r"[*_]{0,2}\s?:)[^\n]{0,80}\b(?:must|runs?|ignore|obey|do not|don't|never|always|also|you|your|policy|"
        r"instructions?|"
        r"exec(?:ute)?|discard|call|send|forget|first|mode|grant|skip|disable|allow|actually)\b|"
        r"(?-i:\b(?:SYSTEM|ADMIN|OVERRIDE|KERNEL|DEVELOPER) (?:DIRECTIVE|INSTRUCTIONS?|OVERRIDE|NOTICE|MESSAGE|"
        r"PROMPT|ORDER)\s?:)|"
        r"(?i)\"role\"\s*:\s*\"(?:system|developer)\"[^}]{0,80}\b"
        r"(?:forget|ignore|approve|override|disregard|you are now)\b|"
        r"(?i)<!--[^>]{0,200}\b(?:must|always|ignore|instruction|assistant|model|ai|llm|send|read|call|"
        r"do not|never|secret|user)\b|"
        r"(?i)!\[[^\]]{0,80}\]\(https?://[^)\s]{0,200}[?=&{$][^)\s]{0,200}\)|"
        r"(?i)style\s*=\s*[\"'][^\"']{0,80}(?:display\s*:\s*none|font-size\s*:\s*0|visibility\s*:\s*hidden|"
        r"opacity\s*:\s*0|color\s*:\s*(?:white|#fff))"
    )),
    Rule("runs-commands", "high", "wants a command of a stranger to be run", (
        r"(?i)\b(?:curl|wget)\b[^\n]{0,120}\|\s*(?:sudo\s+(?:-\w+\s+){0,3})?(?:/[\w/]{0,30}/)?(?:(?:ba|z|da)?sh\b|"
        r"(?:python3?|perl|ruby|node|php)\s*(?:-\s*)?(?:$|[\"'`;&)|.,\n]))|\bbase64\s+(?:-d|--decode)[^\n]{0,30}"
        r"\|\s*(?:(?:ba)?sh|python3?|perl)\b|/dev/tcp/"
    )),
    Rule("out-of-sight", "medium", "has text far below or beside what a person sees", (
        r"(?:[ \t]*\n){25,}[ \t]*\S|[ \t\x{00a0}]{200,}\S"
    )),
)  # fmt: skip
"""Over the text as it is."""
NAMES: Final = (
    Rule("smuggling-parameter", "high", "a parameter that says to take what is not its business", (
        r"^(?:content|contents|data|text|value|output)_?(?:from|of)_?(?:read|reading|file|env|ssh|etc|dot_?env|"
        r"conversation|chat|prompt|previous).*|.*(?:secret|token|password|credentials?|keys?)_(?:read_|taken_)?from_.*|"
        r"^(?:contents?|data|text|value|output)_(?:from|of)_.*(?:env|ssh|aws|passwd|netrc|npmrc|kube|key|"
        r"credentials)(?:_.*)?$|"
        r".*(?:conversation|chat)_history_(?:including|with|and)_.*|.*(?:ssh_?key|id_rsa|etc_?passwd|exfil\w*|stolen|"
        r"harvest\w*)(?:_.*)?$"
    )),
    Rule("smuggling-parameter", "medium", "a parameter for the conversation or the model's own instructions", (
        r"^(?:(?:full_|entire_|previous_|whole_|complete_|raw_)?(?:conversation|chat)_?(?:history|log|"
        r"context|transcript|messages)|chain_?of_?thought|system_?prompt_?(?:text|content|copy|dump|value)|"
        r"(?:all_|available_|your_|installed_|other_)tools?(?:_list|_names|_descriptions)?|tools_list|list_of_tools|"
        r"summary_of_(?:the_)?(?:conversation|chat)(?:_history)?|(?:conversation|chat)_summary|previous_prompts?|"
        r"tool_?call_?history|hidden_\w+|(?:previous|prior|all)_?messages|messages_?so_?far|side_?note|"
        r"_?secret_?(?:note|data|context|payload)|user_?secrets?|llm_?context|internal_?(?:reasoning|"
        r"thoughts)|original_?(?:system_)?prompt)$"
    )),
    Rule("overrides-instructions", "medium", "claims that no checks are needed", (
        r"^(?:bypass|skip|disable|suppress)_?(?:security|safety|confirm\w*|approvals?|consent|guardrails?|review)$|"
        r"^trust_?level$|^(?:pre|auto)_?approved$"
    )),
    Rule("smuggling-parameter", "low", "a parameter for the model's own instructions", (
        r"^(?:system_?prompt|model_?name|reasoning|thoughts?|context|sidenote|env(?:ironment)?_?vars?)$"
    )),
)  # fmt: skip
"""Over names of parameters, as words joined by `_`."""


@cache
def _compiled(which: str) -> tuple[tuple[Rule, Any], ...]:
    import re2  # noqa: PLC0415  only where something is to be looked at

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # type: ignore[attr-defined]
    options.never_capture = True
    options.max_mem = 32 << 20
    rules = {"plain": RULES, "raw": RAW, "names": NAMES}[which]
    return tuple((rule, re2.compile(rule.pattern.encode("latin-1", "replace"), options)) for rule in rules)


def found(text: bytes, which: str) -> Iterator[tuple[Rule, int]]:
    """The rules of *which* (`plain`, `raw`, `names`) that say something of *text*, and where it begins."""
    for rule, pattern in _compiled(which):
        if match := pattern.search(text):
            yield rule, match.start()
