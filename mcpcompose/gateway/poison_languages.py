"""
The plainest signs in other languages than English: hiding, ignoring instructions, secrets and the conversation.

A small vocabulary by the part a word plays, for Spanish, French, German, Portuguese, Italian, Russian, Chinese,
Japanese, Korean and Arabic. Accents are folded, in texts and patterns alike.
"""
# ruff: noqa: RUF001 letters of these languages

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from mcpcompose.upstream.base import Level

_HIDE: Final = (
    r"\b(?:sin|no|nunca|sem|nao|senza|non|mai|sans|ne|jamais|inutile|innecesario|ohne|nicht|nie|niemals|kein\w*)\b[^.|"
    r"!?]{0,50}\b(?:decir\w*|digas|"
    r"diga|coment(?:es|e|ar|arlo|ez|er)|mencion\w*|inform\w*|avis\w+|revel\w+|contar\w*|dizer|conte|dire|dites|menzion\w*|rivel\w*|avvert\w*|"
    r"mentionn\w*|signal\w+|parler|erwahn\w*|sag(?:e|en|t)|mitteil\w*|informier\w*|verrat\w*|benachrichtig\w*|"
    r"bescheid)\b"
    r"[^.|!?]{0,30}|\b(?:erwahne|sage?|verrate|informiere|zeige?|teile)\b[^.|!?]{0,40}\bnicht\b|\b(?:nutzer\w*|benutzer\w*|anwender\w*)\b[^.|!?]{0,40}\b(?:nichts?|nie|kein\w*)\b[^.|"
    r"!?]{0,40}\b(?:sag\w+|"
    r"erwahn\w*|erfahr\w*|mitteil\w*|wissen|merken|verrat\w*)|"
    r"(?:^|[\s,;:(|])не (?:говори|сообща|упомина|рассказыва|показыва|раскрыва)\w*|"
    r"[\s,]тайно[\s,]|[\s,]скрой|"
    r"(?:不要|不得|别|勿|无需|不必|不用|切勿|不能)[^。|]{0,8}(?:告诉|告知|提及|提醒|透露|通知|说明|让用户)|"
    r"(?:不要|不得|別|勿|無需|切勿)[^。|]{0,8}(?:告訴|告知|提及|透露|通知)|"
    r"(?:不要|不得|别|勿|无需|不必|不用)[^。|]{0,4}用户[^。|]{0,8}(?:解释|说明|提起|展示|显示)|"
    r"\b(?:bahsetme|soyleme|bildirme|haber verme|gosterme)\w*|"
    r"(?:ユーザー|利用者)[^。|]{0,25}(?:伝えない|知らせない|言わない|言及しない|教えない|伝えず|知らせず|見せない|気づかれ)|"
    r"(?:言及|報告|通知)(?:しないで|せず|しない)|"
    r"사용자[^.|]{0,25}(?:알리지|말하지|언급하지|보이지|모르게|알려주지)|"
    r"(?:لا تخبر|لا تذكر|دون إخبار|دون علم|لا تبلغ|لا تعلم|دون ذكر)"
)
_PERSON: Final = (
    r"\b(?:usuari[oa]s?|utilisateur\w*|utilizador\w*|utent[ei]\w*|nutzer\w*|benutzer\w*|anwender\w*|cliente|persona)\b|"
    r"\bkullan[iı]c[iı]\w*|пользовател|用户|用戶|使用者|ユーザー|利用者|사용자|المستخدم|言及|報告|通知|告知|提及"
)
_DROP: Final = (
    r"\b(?:ignor(?:a|e|ez|er|ar|iere\w*|ieren)|olvida|desconsider\w+|oubli\w+|vergiss|missacht\w+|dimentica|"
    r"esque[cç]a|omet)\b|игнорир|забуд|не обращай|忽略|无视|無視|忘记|忘れ|무시|잊어|تجاهل|انس "
)
_RULES: Final = (
    r"\b(?:instruc\w+|anweisung\w*|istruzion\w*|regeln?|reglas|regras|regles|regole|consign\w+|vorgaben|directiv\w+)\b|"
    r"инструкци|правил|указани|指令|指示|规则|規則|ルール|说明|지시|규칙|지침|تعليمات|قواعد"
)
_TAKE: Final = (
    r"\b(?:lee|leer|lea|abre|envia\w*|manda\w*|adjunta\w*|copia\w*|incluy\w+|lis|lire|lisez|ouvr\w+|envoy\w+|"
    r"copi\w+|joign\w+|"
    r"lies|lesen|liest|sende\w*|schick\w*|ubermittl\w*|kopier\w*|leia|ler|envie|anexe|inclua|leggi|leggere|invia\w*|"
    r"allega\w*|includ\w*|transmet\w*|insir\w+|inserisc\w+|fug\w+|gib)\b|"
    r"прочита|отправ|перед(?:ай|ава)|скопир|вложи|пришли|добав|读取|讀取|发送|發送|"
    r"复制|提交|传递|附上|写入|填入|"
    r"読み|読ん|送信|送っ|添付|渡し|含め|읽|전송|보내|첨부|복사|포함|اقرأ|أرسل|انسخ|أرفق|ضع"
)
_KEYS: Final = (
    r"\b(?:contrasen\w+|clave (?:privada|api)|claves|credencia\w+|mots? de passe|identifiants|cle privee|passwort\w*|"
    r"kennwort\w*|zugangsdaten|schlussel\w*|senhas?|chave privada|credenzial\w*|chiave privata|"
    r"variables? d'environnement|"
    r"variables de entorno|umgebungsvariable\w*|variaveis de ambiente|variabili d'ambiente|id_rsa|id_ed25519)\b|"
    r"\.ssh\b|\.aws\b|[\s/]\.env\b|парол|секретн|ключ|учетн|"
    r"переменн\p{L}+ окруж|密码|密碼|密钥|私钥|凭据|凭证|令牌|环境变量|"
    r"パスワード|秘密鍵|認証情報|環境変数|비밀번호|개인 키|자격 증명|환경 변수|كلمة المرور|كلمات المرور|"
    r"المفتاح|بيانات الاعتماد"
)
_TALK: Final = (
    r"\b(?:conversac\w+|conversa|historial|historico|historique|conversation entiere|gesprach\w*|chatverlauf|"
    r"unterhaltung|"
    r"conversazione|cronologia|system-?prompt|prompt (?:del|do|di) sistem\w*)\b|"
    r"переписк|разговор|истори\p{L}+ (?:чат|диалог)|системн\p{L}+ (?:промпт|"
    r"подсказ)|对话|對話|聊天记录|系统提示|会話|システムプロンプト|"
    r"대화|시스템 프롬프트|المحادثة|سجل الدردشة"
)
_PLACE: Final = (
    r"https?://|[\w.+-]+@[\w-]+\.\w+|\b(?:parametro|parametre|parameter|"
    r"feld|campo|champ)\b|параметр|参数|參數|字段|"
    r"パラメータ|引数|매개변수|필드|المعلمة|الحقل|الى|إلى"
)
_TOOLS: Final = (
    r"\b(?:herramientas?|outils?|ferramentas?|strument[io]|werkzeuge?n?|araclar\w*)\b|"
    r"инструмент|工具|ツール|도구|أدوات|أداة"
)
_OTHERS: Final = (
    r"\b(?:otr[oa]s?|autres?|outr[oa]s?|altr[eio]|ander(?:e|en|es|er)|concorrent\w*|concurrent\w*|competidor\w*|"
    r"cualquier|qualquer|qualsiasi|diger)\b|друг(?:ие|их|им|ого)|其他|其它|任何|他の|ほかの|다른|أخرى"
)
_BEFORE: Final = (
    r"\b(?:antes de|avant (?:de|d'|tout)|bevor|vor (?:jede|dem|allen)\w*|prima di|once)\b|перед|прежде|"
    r"之前|必须先|前に|전에|قبل"
)
_PARTS: Final = {
    "tools": _TOOLS, "others": _OTHERS, "before": _BEFORE,
    "hide": _HIDE, "person": _PERSON, "drop": _DROP, "rules": _RULES,
    "take": _TAKE, "secret": _KEYS, "talk": _TALK, "place": _PLACE,
}  # fmt: skip
_SIGNS: Final[tuple[tuple[frozenset[str], str, Level, str], ...]] = (
    (frozenset({"hide", "person"}), "secrecy", "medium", "wants to be kept from the person"),
    (frozenset({"drop", "rules"}), "overrides-instructions", "medium", "wants other instructions to be ignored"),
    (frozenset({"drop", "tools", "others"}), "claims-preference", "medium", "wants other tools to be ignored"),
    (frozenset({"before", "tools", "others"}), "steers-other-tools", "medium", "wants to come before other tools"),
    (frozenset({"take", "secret"}), "wants-secrets", "low", "speaks of taking secrets"),
    (frozenset({"take", "secret", "place"}), "wants-secrets", "medium", "wants secrets to be passed on"),
    (frozenset({"take", "talk", "place"}), "wants-conversation", "medium", "wants the conversation to be passed on"),
)
_FEW: Final = 2
"""Blanks that words of languages with blanks have between them, when they say more than a name does."""
_ENDS: Final = str.maketrans(dict.fromkeys("。！？؟\n", "|"))


def folded(text: str) -> str:
    """*text* in lower case, without accents and invisible characters, sentences between bars."""
    kept = text.translate(_ENDS).casefold()
    if not kept.isascii():
        apart = unicodedata.normalize("NFKD", kept)
        kept = unicodedata.normalize("NFC", "".join(c for c in apart if unicodedata.category(c) not in {"Mn", "Cf"}))
    return kept.replace(". ", "|").replace("! ", "|").replace("? ", "|")


@cache
def _compiled() -> dict[str, Any]:
    import re2  # noqa: PLC0415  only where something is to be looked at

    options = re2.Options()
    options.never_capture = True
    options.max_mem = 32 << 20
    return {name: re2.compile(_pattern(text), options) for name, text in _PARTS.items()}


def _pattern(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(c for c in apart if unicodedata.category(c) != "Mn"))


def said_otherwise(text: str) -> Iterator[tuple[str, Level, str]]:
    """Code, level and reason of what *text* says in one of those languages."""
    if text.isascii() and text.count(" ") < _FEW:
        return
    told: set[int] = set()
    parts: dict[int, set[str]] = {}
    read = folded(text)
    bars = [at for at, c in enumerate(read) if c == "|"]
    for name, pattern in _compiled().items():
        for match in pattern.finditer(read):
            parts.setdefault(bisect_right(bars, match.start()), set()).add(name)
    for found in parts.values():
        for number, (needed, code, level, reason) in enumerate(_SIGNS):
            if number not in told and needed <= found:
                told.add(number)
                yield code, level, reason
