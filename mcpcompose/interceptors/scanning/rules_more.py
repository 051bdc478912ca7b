"""Services that are used less."""

from __future__ import annotations

from typing import Final

from mcpcompose.interceptors.scanning.randomness import looks_made
from mcpcompose.interceptors.scanning.rule import Rule, beside, token

_WORD: Final = r"(?:[^\w\-]|\z)"
_UUID: Final = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"

RULES: Final[tuple[Rule, ...]] = (
    token("aikido-token", r"AIK_(?:CI|SECRET|CLIENT|API|RUNTIME|PAT)_[A-Za-z0-9_]{20,80}", "aik_"),
    beside("aiven-token", r"aiven", r"[A-Za-z0-9+/=]{300,500}|[A-Za-z0-9+/=]{64,200}"),
    Rule("alibaba-sts-key", r"\b(STS\.[A-Za-z0-9]{10,30})\b", prefixes=("STS.",), entropy=3, before=2, check=looks_made),
    Rule("asaas-token", r"(\$aact_(?:prod_|hmlg_)?[A-Za-z0-9:_\-=]{20,250})", ("$aact_",), entropy=3, reach=260),
    token("bitbucket-data-center-token", r"BBDC-[A-Za-z0-9+/@_\-]{30,60}", "bbdc-", end=""),
    token("buildkite-token", r"bka[rj]_[A-Za-z0-9]{40,80}", "bkar_", "bkaj_"),
    token("canva-secret", r"cnv(?:ca|api|at)[A-Za-z0-9_\-]{40,60}", "cnvca", "cnvapi", "cnvat", end=_WORD),
    token("cartesia-key", r"sk_car_[A-Za-z0-9]{18,30}", "sk_car_"),
    token("astra-token", r"AstraCS:[A-Za-z0-9]{16,40}(?::[a-f0-9]{64})?", "astracs:"),
    token("devcycle-key", r"dvc_(?:server|client|mobile)_[A-Za-z0-9_]{8,80}", "dvc_", entropy=2.8),
    token("devin-key", r"(?:cog_[a-z2-7]{40,60}|apk_(?:user_)?[A-Za-z0-9_\-=]{60,140})", "cog_", "apk_", end=""),
    token("docker-swarm-token", r"SWM(?:TKN-1-[a-z0-9]{50}-[a-z0-9]{25}|KEY-1-[A-Za-z0-9+/]{43})", "swmtkn-1-", "swmkey-1-"),
    Rule("fly-token", r"(FlyV1 [A-Za-z0-9+/=_,\-]{60,})", prefixes=("FlyV1 ",), before=2, reach=2000),
    token("infracost-key", r"ico-[A-Za-z0-9]{32}", "ico-"),
    token("intra42-secret", r"s-s4t2(?:ud|af)-[a-f0-9]{64}", "s-s4t2"),
    token("ionic-token", r"ion_[A-Za-z0-9]{36,46}", "ion_", entropy=3.5),
    token("lichess-token", r"lip_[A-Za-z0-9]{20}", "lip_", entropy=3.3),
    token("llama-cloud-key", r"llx-[A-Za-z0-9]{48,52}", "llx-"),
    token("nylas-key", r"nyk_(?:v0_)?[A-Za-z0-9]{50,70}", "nyk_"),
    token("pinterest-token", r"pin[ar]_[A-Za-z0-9]{24,100}", "pina_", "pinr_", entropy=3.3),
    token("proof-or-thunderstore-key", r"(?:prf|tss)_[A-Za-z0-9]{24,40}", "prf_", "tss_", entropy=3.5),
    token("redirect-pizza-token", r"rpa_[A-Za-z0-9]{28,40}", "rpa_", entropy=3.5),
    token("rootly-key", r"rootly_[a-f0-9]{64}", "rootly_"),
    token("upcloud-token", r"ucat_[A-Z0-9]{26}|ucat_[A-Za-z0-9]{26,36}", "ucat_", entropy=3.3),
    token("unkey-key", r"unkey_[A-Za-z0-9]{20,40}", "unkey_", entropy=3.5),
    token("val-town-token", r"vtwn_[A-Za-z0-9]{20,40}", "vtwn_", entropy=3.5),
    token("workato-token", r"wrka-eyJ[\w\-.]{60,}", "wrka-", reach=2000, end=""),
    token("zuplo-key", r"zpka_[a-z0-9]{32}_[a-f0-9]{8}", "zpka_"),
    token("notify-key", rf"gcntfy-[\w\-]{{1,60}}-{_UUID}-{_UUID}", "gcntfy-"),
    token("govuk-notify-key", rf"[a-z0-9_]{{2,40}}-{_UUID}-{_UUID}", "notify"),
    token("minimax-key", r"sk-(?:api|cp)-[\w\-]{60,140}", "sk-api-", "sk-cp-", end=""),
    token("onfido-token", r"api_(?:live|sandbox)(?:_[a-z]{2})?\.[\w\-]{11}\.[\w\-]{32}|api_(?:live|sandbox)(?:_[a-z]{2})?\.[\w\-]{22,44}",
          "api_live", "api_sandbox", entropy=3.5, end=_WORD),
    token("supabase-key", r"sbp_[a-z0-9]{40}", "sbp_"),
    token("tailscale-key", r"tskey-[a-z]{2,12}-[\w\-]{16,80}", "tskey-", end=""),
    beside("telegram-bot-token", r"telegr(?:am)?", r"\d{5,16}:[A-Za-z0-9_\-]{34,36}", entropy=3.3),
    beside("bitly-or-shortener-token", r"bitly|bit\.ly|rebrandly|tinyurl", r"[a-f0-9]{40}|[a-f0-9]{32}|[A-Za-z0-9]{60}"),
    beside("device-test-key", r"browserstack|saucelabs|sauce_access|lambdatest|applitools|percy",
           rf"[A-Za-z0-9]{{20}}|{_UUID}|[A-Za-z0-9]{{50}}|[a-f0-9]{{64}}"),
    beside("video-key", r"mux|wistia|vimeo|jwplayer|livekit|agora|daily_co|twitch",
           r"[A-Za-z0-9+/]{75}|[a-f0-9]{64}|[a-f0-9]{32}|[A-Za-z0-9]{43,44}"),
    beside("adafruit-key", r"adafruit|io_key", r"aio_[A-Za-z0-9]{28}|[a-z0-9_\-]{32}"),
    token("adafruit-key", r"aio_[A-Za-z]{4}[0-9]{2}[A-Za-z0-9]{22}", "aio_"),
    beside("abuse-data-key", r"abuseipdb|greynoise|securitytrails|hunter_?io|intelx|urlscan|alienvault|otx|hibp",
           rf"[a-f0-9]{{80}}|[A-Za-z0-9]{{64}}|[A-Za-z0-9]{{32}}|[a-f0-9]{{40}}|{_UUID}"),
    beside("delivery-key", r"easyship|shipstation|aftership|sendcloud|ebay|etsy|walmart",
           rf"[a-f0-9]{{32}}|[a-z0-9]{{24}}|[A-Za-z0-9\-]{{36,64}}|{_UUID}"),
    beside("email-data-key", r"clearbit|hunter|apollo|zerobounce|neverbounce|lusha|fullcontact", r"sk_[a-f0-9]{32}|[a-f0-9]{40}|[\w\-]{22}|[a-f0-9]{32}"),
    beside("form-or-survey-key", r"jotform|surveymonkey|qualtrics|formstack", r"[a-f0-9]{32}|[\w.\-]{80,140}|[A-Za-z0-9]{40}"),
    beside("contract-key", r"docusign|hellosign|pandadoc|dropboxsign", rf"[a-f0-9]{{64}}|[a-f0-9]{{40}}|{_UUID}"),
    beside("crm-key", r"activecampaign|keap|insightly|intercom|drift|gong|outreach|salesloft",
           r"[a-f0-9]{72}|[A-Za-z0-9+/=_\-]{40,80}"),
    beside("sidekiq-secret", r"contribsys__com|sidekiq", r"[a-f0-9]{8}:[a-f0-9]{8}"),
    token("tableau-token", r"[A-Za-z0-9+/]{22}==:[A-Za-z0-9]{32}", "==:", end=""),
    Rule("kubernetes-secret", r"(?i:kind:\s{0,3}[\"']?secret\b)[^\x00]{0,600}?(?:data|stringData):\s{1,4}[\w.\-]{1,60}:\s{1,3}[\"']?([A-Za-z0-9+/]{8,}={0,2})",
         ("kind: secret", "kind:secret"), before=2, reach=2000, entropy=2.8, strong=False),
    Rule("nuget-password", r"""(?i:cleartextpassword["']\s{1,4}value\s{0,2}=\s{0,2}["'])([^"'%\s]{6,100})["']""", ("cleartextpassword",), strong=False),
    Rule("hashed-password", r"(\$(?:2[aby]\$\d\d\$[./A-Za-z0-9]{53}|argon2id?\$v=\d+\$[\w=,]{5,40}\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{20,90}|6\$[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}))",
         ("$2a$", "$2b$", "$2y$", "$argon2", "$6$")),
)  # fmt: skip
