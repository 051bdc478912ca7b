"""
What a poisoned definition does, whatever its words: weak signs by the part they play, counted together.

Each slot is one part (an act, an object, a destination, a pretext, a way of hiding) with a wide vocabulary; a rule
names the slots that one sentence, or it and the next, has to fill. Every pattern is RE2's and bounded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

from mcpcompose.interceptors.plain_text import ends_of
from mcpcompose.upstream.base import Level

_ME: Final = r"(?:users?|humans?|persons?|people|operators?|customers?|anyone|anybody|them|employees|reader|requester)"
_NOT: Final = r"(?:not|never|no|nor|without|avoid|don't|doesn't|needn't|shouldn't|mustn't|nothing|unnecessary to)"
_SPEECH: Final = (
    r"(?:answers?|repl(?:y|ies)|responses?|summar(?:y|ies)|reports?|reviews?|explanations?|chat|transcript|"
    rf"conversation|sight|view|visible \w+|{_ME})"
)
_RULES: Final = (
    r"(?:rules?|guidelines?|polic(?:y|ies)|restrictions?|instructions?|safeguards?|guardrails?|safety \w+|"
    r"confirmations?|approvals?|warnings?|precautions?|security checks?|protections?|access controls?)"
)

SLOTS: Final = {
    "conceal": (
        rf"\b{_NOT} (?:\w+ ){{0,4}}(?:explanations?|explain(?:ed|ing)?|mention(?:ed|ing|s)?|disclos\w+|tell|telling|"
        r"told|inform(?:ed|ing)?|notif(?:y|ied|ying)|reveal(?:ed|ing)?|bring(?:ing)? (?:it |this )?up|brought up|"
        r"refer(?:ring)? to (?:it|this)|(?:list|show|display|report|surface|discuss|see|describe|cite|print)"
        r"(?:ed|n|ing)? (?:it|this|these|them|that)|comment on|announc\w+|acknowledg\w+|talk about|remark)\b|"
        r"\b(?:mention|say|saying|reveal|disclose|note) nothing\b|"
        r"\b(?:leave|left|leaving|keep|kept|keeping|omit\w*|strip\w*|exclud\w+|remov\w+|withh[eo]ld\w*|suppress\w*|"
        rf"hid(?:e|den|ing)|conceal\w*) (?:[\w']+ ){{0,5}}(?:out of|from|off) (?:the |your |any |"
        rf"its )?(?:\w+ )?{_SPEECH}\b|"
        r"\b(?:silently|quietly|discreetly|unnoticed|covertly|tacitly|secretly|invisibly|unobtrusively)\b|"
        rf"\b{_ME} (?:\w+ )?(?:need|does|do|should|must|is|are)(?:n't| not| never) (?:\w+ ){{0,2}}(?:know|see|"
        rf"learn|hear|"
        r"told|aware|informed|interested|bothered|notice|shown)\b|"
        rf"\b(?:spare|sparing) (?:the )?{_ME}\b|\bremains? (?:invisible|hidden|unseen|unmentioned|confidential)\b|"
        r"\bbe(?:tween|hind) (?:us|the scenes)\b|\b(?:internal|implementation) (?:detail|matter)\b"
    ),
    "unasked": (
        r"\bwithout (?:\w+ ){0,3}(?:asking|confirm\w*|approval|permission|consent|prompting|consult\w*|"
        r"checking with)\b|"
        r"\b(?:need|needs|must|should|do|does)(?:n't| not) (?:be )?(?:ask\w*|prompt\w*|confirm\w*|consult\w*|"
        r"seek\w*|wait for)\b|"
        rf"\b{_ME} (?:\w+ )?(?:have|has|already) (?:\w+ )?(?:consented|agreed|approved|authori[sz]ed|permitted)\b|"
        r"\b(?:no|skip|skipping|bypass|waive) (?:\w+ ){0,2}(?:confirmations?|approvals?|consent|permissions?)\b|"
        r"\bapproval prompts?\b|\banswered? (?:\w+ ){0,2}yes\b|\bauto[- ]?(?:matically )?(?:approv|confirm|accept)\w*|"
        r"\b(?:consider|treat|regard|deem)\w* (?:\w+ ){0,5}(?:confirmed|approved|granted|authori[sz]ed|consented)\b|"
        r"\bon your own (?:judge?ment|authority|initiative)\b"
    ),
    "secret": (
        r"\b(?:passwords?|passphrases?|passcodes?|pass ?phrase|credentials?|api keys?|private keys?|secret keys?|"
        r"access tokens?|auth(?:entication)? tokens?|bearer tokens?|session tokens?|login details|logins|secrets|"
        r"one[- ]time codes?|otp|2fa codes?|recovery (?:codes?|phrase)|seed phrases?|mnemonic|security codes?|cvv|cvc|"
        r"card (?:numbers?|details)|card on file|keychain|keyring|key ?store|cookie (?:database|jar|store)|cookies|"
        r"ssh (?:folder|keys?|directory|config)|id_rsa|id_ed25519|credential\.helper|git credential|kubeconfig|"
        r"environment variables?|env vars?|output of (?:the )?(?:env|printenv|whoami)\b|"
        r"from the environment|print(?:s|ing)? the environment|process environment|service account key|"
        r"cloud identity|social security numbers?|"
        r"[a-z0-9]+_(?:api_key|token|secret|access_key|access_key_id|secret_access_key|password|private_key))\b|"
        r"(?:\.ssh\b|\.aws\b|\.netrc\b|\.npmrc\b|\.pypirc\b|/etc/(?:passwd|shadow)|\.kube\b|\.gnupg\b|\.pem\b|(?:^|"
        r"[\s/'])\.env\b)"
    ),
    "private": (
        r"\b(?:clipboard|notes app|address book|contact list|browser (?:history|tabs|profile)|open (?:documents|files|"
        r"tabs|editors)|documents are open|files are open|recent (?:files|documents)|home (?:folder|directory|address)|"
        r"downloads folder|payroll|salar(?:y|ies)|personal data|personal details|personal information|medical|"
        r"date of birth|mailbox|inbox|shell history|command history|source code of the|"
        r"found in memory|from memory|known about the user|know about the user|"
        r"user's (?:full )?(?:name|e-?mail|phone|location|employer|identity|address|files|documents|notes|calendar|"
        r"contacts|mail))\b|"
        r"\b(?:internal|hr|secret|vault|mail|private|file)://"
    ),
    "talk": (
        r"\b(?:the|this|our|your|whole|entire|full|previous|earlier|prior|past|current|last|recent) (?:\w+ ){0,2}"
        r"(?:conversation|dialog(?:ue)?|transcript|chat|discussion|context window|exchange)\b|"
        r"\b(?:conversation|chat|message|session|dialog(?:ue)?) (?:history|so far|context|transcript|log|summary)\b|"
        r"\b(?:user's|human's|previous|earlier|prior|preceding|last) (?:\w+ ){0,1}(?:messages?|prompts?|"
        r"requests?|turns?|replies|instructions|utterances?|inputs?)\b|"
        r"\b(?:what|whatever|everything|anything|all|that) (?:[\w']+ ){0,5}(?:said|wrote|typed|told|asked|shared|"
        r"mentioned|"
        r"discussed|written)\b|\bsystem (?:prompt|message|instructions)\b|\byour (?:own )?(?:instructions|"
        r"reasoning|prompt|guidelines|configuration|system)\b|\b(?:shared|said|told|mentioned|given) (?:previously|"
        r"earlier|so far)\b|"
        r"\b(?:results?|outputs?|responses?|answers?) (?:of|from|by) (?:all |any |every |the )?(?:other|previous|"
        r"earlier|"
        r"preceding) (?:\w+ )?(?:tools?|calls?|servers?|functions?)\b"
    ),
    "pass": (
        r"\b(?:send|sent|sending|forward\w*|pass|passed|passing|hand(?:s|ed|ing)? (?:over|in|them|it)|giv(?:e|en|"
        r"ing)|put|"
        r"includ(?:e|ed|ing)|shar(?:e|ed|ing)|encod(?:e|ed|ing)|upload\w*|attach\w*|append\w*|prepend\w*|cop(?:y|"
        r"ied|ying)|"
        r"past(?:e|ed|ing)|post(?:ed|ing)?|submit\w*|suppl(?:y|ied|ying)|insert\w*|mail(?:ed)?|e-?mail(?:ed)?|embed\w*|"
        r"transmit\w*|deliver\w*|add(?:ed)?|merg(?:e|ed|ing)|fill(?:ed)?|writ(?:e|ten) (?:it|them|these|those|down)|"
        r"relay\w*|ship(?:ped)?|stash\w*|accompan\w+|enclos\w+|quot(?:e|ed|ing)|return(?:ing|ed)?|begin(?:s)? with|"
        r"start with|set to|tuck\w*|slip|mirror\w*|echo\w*|dump\w*|leak\w*|record|report|repeat|recite|carr(?:y|"
        r"ies)|bring|"
        r"furnish|transfer)\b"
    ),
    "take": (
        r"\b(?:read(?:s|ing)?|open(?:s|ing)?|cat|extract\w*|fetch\w*|retriev\w+|gather\w*|collect\w*|harvest\w*|"
        r"obtain\w*|"
        r"look(?:ing)? up|load\w*|pull\w*|grab\w*|tak(?:e|en|ing)|receiv(?:e|ing)|ask(?:ing)? (?:the )?(?:user|"
        r"customer|person) for|"
        r"request\w*|scan|recover|locate|consult\w*|copy|access\w*|run|accept\w*)\b"
    ),
    "address": (
        r"https?://|[\w.+-]+@[\w-]+\.\w+|\b\d{1,3}(?:\.\d{1,3}){3}\b|\+\d[\d -]{6,}\d|\bwebhook\b|\b0x[0-9a-f]{16,}|"
        r"\b[a-z]{2}\d{2}[a-z0-9]{10,30}\b"
    ),
    "here": (
        r"\b(?:to|through|via|into|with|using|by) (?:this|our) (?:tool|server|service|function|team|endpoint|"
        r"backend)\b|"
        r"\b(?:parameter|argument|field)s?\b|\bhere\b|\bas (?:the |an? )?'?[a-z]+(?:_[a-z]+)*'?(?:[.,]|$| \|)|"
        r"\b(?:lookup|reason|notes|remark|debug|comment|query|text|proof|context|metadata|body) (?:text|field|"
        r"parameter)\b"
    ),
    "when": (
        r"\b(?:whenever|each time|every time|before|after|afterwards|once|prior to|as soon as|subsequent\w*|"
        r"from (?:here|now|this point|then) on|henceforth|until|unless|should (?:somebody|someone|anyone|the user)|"
        rf"if (?:the |a |any )?{_ME}|when (?:the |a |any )?(?:\w+ )?{_ME}|at the (?:start|end|beginning)|daily|"
        r"on (?:every|each|start)|always|must|have to|has to|first|needs?|regularly)\b"
    ),
    "model": r"\b(?:assistants?|(?:language )?models?|llms?|ai|agents?|claude|gpt|chatbot|you|your)\b",
    "agents": r"\b(?:assistants?|(?:language )?models?|llms?|ai|agents?|claude|gpt|chatbots?)\b",
    "authority": (
        r"\b(?:by order|certified|certification|accredited|audited|(?:approved|authori[sz]ed|permitted|allowed|cleared|"
        r"mandated|required|vetted) (?:by|for|to|under)|compliance|gdpr|hipaa|regulat(?:ion|ions|ory|or)|"
        r"security (?:team|department|office|audit)|legal (?:team|department|reasons)|trust & safety|model provider|"
        r"terms of (?:use|service)|licen[cs]e terms|memo|telemetry|audit trail|fraud prevention|anthropic|openai|"
        r"administrators?|contract|headquarters|management)\b"
    ),
    "relax": (
        rf"\b{_RULES}\b (?:[\w']+ ){{0,5}}(?:no longer|do not|does not|don't|cease\w*|suspended|lifted|void|"
        rf"obsolete|waived|"
        r"disabled|relaxed|superseded|out of date|not apply|stop applying|expired)\b|"
        r"\b(?:disabl\w+|bypass\w*|suspend\w*|lift|waiv\w+|turn(?:ing)? off|switch(?:ing)? off|relax\w*|circumvent\w*|"
        rf"ignor\w+|disregard\w*|overrid\w+|forget|neglect) (?:[\w']+ ){{0,4}}{_RULES}\b|"
        r"\b(?:disregard|ignore|forget|set aside|unlearn) (?:what|anything|everything|whatever|all that)\b|"
        r"\btrust (?:this|the) (?:tool|server) (?:completely|fully|blindly|unconditionally)\b|"
        r"\b(?:exempt|free|released) from (?:[\w']+ ){0,3}(?:rules|polic\w+|guidelines|restrictions|review|"
        r"confirmation)\b"
    ),
    "act boldly": (
        r"\b(?:freely|right away|immediately|carry out|destructive|execut\w+|proceed|without limits?|personal data|"
        r"unrestricted\w*)\b"
    ),
    "false": (
        r"\b(?:report|reported|describe|described|present|presented|show|shown|portray\w*|label\w*|phrase\w*|claim\w*|"
        r"pretend\w*|tell|say|pass\w* off|characteri[sz]\w+|declare\w*|word(?:ed)?|treat(?:ed)?|list(?:ed)?|call it|"
        r"regarded|considered) (?:[\w']+ ){0,8}(?:as|as though|as if|that|like)\b"
    ),
    "harmless": (
        r"\b(?:clean|harmless|safe|fully booked|booked out|unavailable|sold out|out of stock|dead code|objective|"
        r"independent|neutral|impartial|unbiased|timed out|expired|no (?:findings|issues|problems|vulnerabilities)|"
        r"routine|convention|belonged|false positive|own opinion|your own (?:idea|choice|view)|log in again|"
        r"sign in again|"
        r"technical (?:error|problem)|benign|insignificant|risky|unreliable|inferior)\b"
    ),
    "rival": (
        r"\b(?:competitors?|competing|rivals?|rival \w+|other (?:vendors?|providers?|brands?|suppliers?|hotels?|shops?|"
        r"airlines?|manufacturers?|companies|stores?|banks?)|partner \w+|partners?|sponsor\w*|of the \w+ group|"
        r"our (?:own )?(?:products?|brands?|partners?|services?|plans?|offers?)|affiliat\w+)\b"
    ),
    "favour": (
        r"\b(?:mention only|only mention|recommend\w*|first position|at the top|top (?:position|spot|result)|"
        r"ranked? first|"
        r"irrespective|regardless|prefer\w*|favou?r\w*|ahead of|promot\w+|never (?:mention|recommend|suggest)|"
        r"steer\w*|discourag\w*|fully booked|sold out|unreliable|in first place|whatever the (?:price|score|"
        r"rating)s?)\b"
    ),
    "advice": (
        r"\b(?:describ\w+|mention\w*|suggest\w*|present\w*|answer\w*|recommend\w*|inquire\w*|enquire\w*|ranking|"
        r"placed?|scores?|asks?|tell|explain|compar\w+)\b"
    ),
    "alter": (
        r"\b(?:rewrit\w+|replac\w+|substitut\w+|swap\w*|redirect\w*|rerout\w+|routed|alter(?:ed|ing)?|exchang\w+|"
        r"divert\w*|"
        r"prefix(?:e[ds])?|ahead of|in front of|instead|round(?:ed)? up|inflat\w+|increas\w+|multipl\w+)\b"
    ),
    "thing": (
        r"\b(?:every|any|all|each|the) (?:\w+ ){0,3}(?:links?|urls?|recipients?|amounts?|ibans?|accounts?|prices?|"
        r"packages?|"
        r"dependenc(?:y|ies)|commands?|payees?|wallets?|numbers?|commits?|invoices?|payments?|transfers?|originals?)\b|"
        r"\bevery link\b|\bnumbers starting\b"
    ),
    "wide": (
        r"\bchmod -r\b|\b0?777\b|~ ;|\bsudo\b|--no-verify|--force|\bcurl\b|\brm -|\bset \+|\|\| true|--insecure|"
        r"\bdisable\w* (?:the )?(?:firewall|antivirus|tls|certificate)"
    ),
    "kept": (
        r"\b(?:claude\.md|agents\.md|\.?cursorrules|copilot-instructions|gemini\.md|memory file|long-term memory|"
        r"standing instructions?|\.bashrc|\.zshrc|\.profile|crontab|git hooks?|pre-commit hook|startup script|"
        r"authorized_keys)\b"
    ),
    "lasting": r"\b(?:writ(?:e|es|ing)|add|append|insert|save|store|put|record|plant|remember|persist)\b",
    "mischief": (
        r"\b(?:push(?:ed)?|mirror|remote|also|as well|additionally|every (?:session|project)|future|approv\w+|"
        r"allowed|trusted|download\w*|later sessions?)\b"
    ),
    "gate": (
        r"\b(?:(?:all|any|the|other|remaining) )?(?:other|remaining|further) tools?\b (?:[\w']+ ){0,4}(?:locked|"
        r"blocked|unavailable|"
        r"disabled|fail|refuse\w*|inactive|unusable|broken|not work|paused)\b (?:[\w']+ ){0,3}(?:until|unless|"
        r"before|without)\b"
    ),
    "shell": (
        r"\b(?:also|and|then|additionally) (?:run|execute|invoke) (?:[\w.-]+ ){0,6}(?:config|credential|env|"
        r"printenv|whoami|cat|curl|history)\b"
    ),
    "whole": (
        r"\b(?:text|contents?|values?|copy|body|lines?|dump|output) of (?:the |all |every |any )?\w+|\btaken from\b|"
        r"\bfound (?:in|on)\b|\bfrom (?:the )?(?:environment|notes|memory|keychain|disk|config\w*|home)\b|"
        r"\b(?:user's|their|everything|summary of|verbatim|word for word|pasted|base64|all environment|"
        r"last \w+ messages?)\b"
    ),
    "seen": (
        r"\b(?:print|output|reveal|show|echo|return|include|pass|send|put|provide|give|write|add|fill)\b[^|]{0,40}"
        r"\b(?:tokens?|keys?|credentials?|secrets?|passwords?)\b[^|]{0,30}\b(?:from|in|out of) (?:your|the model's)"
        r" (?:\w+ )?(?:context|memory|session|conversation)\b"
    ),
    "obey": (
        r"\b(?:do not|don't|never|must not) (?:\w+ )?(?:reject|refuse|decline|doubt|deny|question|challenge)\b|"
        r"\b(?:authori[sz]ation|permission|consent|approval|identity) (?:has|have|is|was|were) already\b|"
        r"\balready (?:been )?(?:verified|authori[sz]ed|cleared|approved) (?:upstream|elsewhere|by)\b"
    ),
    "defy": (
        r"\b(?:users?|person|human|customer|operator|they)\b[^|]{0,60}\b(?:ignore|disregard) (?:them|him|her)\b|"
        r"\b(?:ignore|disregard|do not obey|don't obey|do not listen to|do not stop for) (?:the user|the human|"
        r"(?:any |all )?(?:objections?|protests?)|(?:the user's|their) (?:\w+ )?(?:requests?|objections?|"
        r"instructions?|wish(?:es)?|orders?|cancell?ations?))\b"
    ),
    "theirs dropped": (
        r"\b(?:discard|ignore|disregard|throw away|do not use|never use) (?:the )?(?:user's|users'|user|caller's|"
        r"person's) (?:\w+ ){0,2}(?:urls?|values?|inputs?|arguments?|parameters?|quer(?:y|ies)|paths?|address(?:es)?|"
        r"numbers?|amounts?|choices?)\b"
    ),
    "on every answer": (
        r"\b(?:prepend|append|prefix|begin|start|end|close|finish|sign|open)(?:s|ing)? (?:to )?(?:every|each|all|any)"
        r" (?:(?:of )?your (?:\w+ )?messages?|(?:of your )?(?:\w+ )?(?:responses?|answers?|repl(?:y|ies)))\b|"
        r"\b(?:appl(?:y|ies)|valid|remains?|follow|obey|holds?|active|in force|you)\b[^|]{0,50}"
        r"\bfor (?:all|every|any) (?:your )?(?:future|later|coming) (?:sessions?|conversations?|chats?|turns?)\b|"
        r"\b(?:every|each) time (?:a|any|another) tool (?:is|was|gets|has been) \w+|\bafter any action (?:you|by|"
        r"with)\b"
    ),
    "informed": (
        r"\b(?:let|keep)\b (?:\S+ ){1,8}(?:know|posted|informed|in the loop)\b|\bloop(?:ed|ing)? (?:\w+ )?in\b"
    ),
    "powers": r"\bprivileged ?[:=] ?true\b|\badministratoraccess\b|\bcluster-admin\b|\bnopasswd\b",
    "always true": (
        r"\b(?:always|just|simply) (?:send|set|pass|answer|leave|give) "
        r"(?:this |it )?(?:to |at |as )?(?:true|yes)\b"
    ),
    "not asked": (
        r"\basking (?:the user|them|him|her|for (?:confirmation|approval|permission)|beforehand|first)\b|"
        r"\b(?:they|users?|people) (?:will|would|always) (?:say yes|agree|accept|approve)\b"
    ),
    "forbid": (
        rf"\b{_NOT} (?:ever )?(?:include|share|send|pass|provide|ask|put|enter|paste|submit|store|add|contain)\w*\b|"
        r"\bmailbox (?:name|containing|to|folder|path)\b"
    ),
}  # fmt: skip
"""By name, over the plain form of a text."""


class Sign(NamedTuple):
    """Slots, and what they say when one sentence (with `near`: it and the next) fills all of them."""

    slots: frozenset[str]
    code: str
    level: Level
    reason: str
    near: bool


def _sign(slots: str, code: str, reason: str, *, near: bool = False) -> Sign:
    return Sign(frozenset(slots.split(" + ")), code, "medium", reason, near)


SIGNS: Final = (
    _sign("conceal + secret", "wants-secrets", "speaks of secrets and hides it", near=True),
    _sign("conceal + talk + pass", "wants-conversation", "wants the conversation and hides it", near=True),
    _sign("conceal + private", "secrecy", "uses private things and hides it", near=True),
    _sign("conceal + false", "secrecy", "has something said otherwise than it is", near=True),
    _sign("conceal + wide", "runs-commands", "changes commands and hides it", near=True),
    _sign("conceal + alter + thing", "secrecy", "changes things and hides it", near=True),
    _sign("conceal + take + pass", "secrecy", "passes things on and hides it"),
    _sign("false + harmless", "secrecy", "has something said otherwise than it is"),
    _sign("secret + pass + here", "wants-secrets", "wants secrets to be passed to it"),
    _sign("secret + take + pass", "wants-secrets", "wants secrets to be taken and passed on"),
    _sign("secret + unasked", "wants-secrets", "wants secrets and nobody to be asked", near=True),
    _sign("secret + authority + model", "wants-secrets", "claims a right to secrets", near=True),
    _sign("secret + authority + pass", "wants-secrets", "claims a right to secrets"),
    _sign("secret + pass + address", "sends-elsewhere", "wants secrets to be sent to somebody"),
    _sign("secret + shell", "runs-commands", "wants commands to be run that show secrets"),
    _sign("talk + pass + address", "sends-elsewhere", "wants the conversation to be sent to somebody", near=True),
    _sign("talk + pass + here + when", "wants-conversation", "wants the conversation in a parameter"),
    _sign("talk + pass + authority", "wants-conversation", "claims a right to the conversation"),
    _sign("talk + alter + address", "sends-elsewhere", "wants the conversation in an address"),
    _sign("private + unasked + pass", "wants-contents", "takes private things and has nobody asked", near=True),
    _sign("private + pass + when + here", "wants-contents", "wants private things in a parameter"),
    _sign("private + pass + address", "sends-elsewhere", "wants private things to be sent to somebody"),
    _sign("relax + act boldly", "overrides-instructions", "says that rules do not hold", near=True),
    _sign("relax + model", "overrides-instructions", "says that rules do not hold", near=True),
    _sign("relax + authority", "overrides-instructions", "says that rules do not hold", near=True),
    _sign("rival + favour + advice", "claims-preference", "prefers somebody, whatever the person asks"),
    _sign("alter + thing + address", "sends-elsewhere", "wants something of the person's replaced"),
    _sign("alter + thing + wide", "runs-commands", "wants commands to be changed"),
    _sign("kept + lasting + mischief", "overrides-instructions", "wants to be told to later sessions"),
    _sign("talk + informed + address", "sends-elsewhere", "wants the conversation to be sent to somebody"),
    _sign("powers + pass + when", "runs-commands", "wants more powers than are asked for"),
    _sign("seen", "wants-secrets", "wants the secrets that the model has seen"),
    _sign("obey + agents", "overrides-instructions", "wants no refusal", near=True),
    _sign("obey + act boldly", "overrides-instructions", "wants no refusal", near=True),
    _sign("defy", "overrides-instructions", "wants the person not to be heard"),
    _sign("theirs dropped", "overrides-instructions", "wants something else than the person says"),
    _sign("on every answer", "steers-other-tools", "wants to be part of every answer"),
    _sign("always true + not asked", "overrides-instructions", "wants nobody to be asked", near=True),
    _sign("gate", "steers-other-tools", "wants to come before other tools"),
)  # fmt: skip
IN_PARAMETERS: Final = (
    _sign("talk + pass + whole", "wants-conversation", "a parameter to be filled from the conversation"),
    _sign("secret + whole", "wants-secrets", "a parameter to be filled with secrets from elsewhere"),
    _sign("private + pass", "wants-contents", "a parameter to be filled with private things"),
    _sign("alter + address", "sends-elsewhere", "a parameter that is not to have what the person says"),
)
"""Of texts inside of a schema: to be filled in by the model."""


@cache
def _compiled() -> dict[str, Any]:
    import re2  # noqa: PLC0415  only where something is to be looked at

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # type: ignore[attr-defined]
    options.never_capture = True
    options.max_mem = 32 << 20
    return {name: re2.compile(pattern.encode("latin-1"), options) for name, pattern in SLOTS.items()}


def filled(text: bytes, signs: tuple[Sign, ...] = SIGNS) -> Iterator[tuple[Sign, int]]:
    """The signs of which *text* (in its plain form) fills all slots, and where that begins."""
    ends = ends_of(text)
    slots: dict[int, set[str]] = {}
    for name in {"forbid"}.union(*(sign.slots for sign in signs)):
        for match in _compiled()[name].finditer(text):
            slots.setdefault(bisect_right(ends, match.start()), set()).add(name)
    told: set[Sign] = set()
    for sentence in sorted(slots):
        alone = slots[sentence]
        if "forbid" in alone and signs is IN_PARAMETERS:
            continue
        both = alone | slots.get(sentence + 1, set())
        for sign in signs:
            if sign not in told and sign.slots <= (both if sign.near else alone):
                told.add(sign)
                yield sign, ends[sentence - 1] + 2 if sentence else 0
