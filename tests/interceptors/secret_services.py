"""
What services publish about their tokens, restated for tests without looking at the rules: texts with `{A36}` parts.

A alphanumeric, a lower case and digits, U upper case and digits, h hex, W URL-safe base64, B base64, d digits,
L letters, E what `age` writes (bech32).
"""

from __future__ import annotations

import random
import re
import string
from dataclasses import dataclass

_ALPHABETS = {
    "A": string.ascii_letters + string.digits,
    "a": string.ascii_lowercase + string.digits,
    "U": string.ascii_uppercase + string.digits,
    "h": "0123456789abcdef",
    "W": string.ascii_letters + string.digits + "_-",
    "B": string.ascii_letters + string.digits + "+/",
    "d": string.digits,
    "L": string.ascii_letters,
    "E": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
}
_PART = re.compile(r"\{([A-Za-z])(\d+)\}")
UUID = "{h8}-{h4}-{h4}-{h4}-{h12}"


@dataclass(frozen=True)
class Service:
    """*shape* of its tokens, and *wrong*: the same beginning with a mistake in it."""

    name: str
    shape: str
    wrong: str
    cut: int = 0
    """How many characters must be missing for it to be no token any more; 0: a sixth of it."""

    def positives(self, count: int = 3) -> list[str]:
        return [filled(self.shape, random.Random(f"{self.name} {number}")) for number in range(count)]

    def near_misses(self) -> list[str]:
        """Too short by a few, another beginning, and all the same letter."""
        short = self.positives(1)[0]
        wrong = filled(self.wrong, random.Random(f"{self.name} wrong"))
        same = _PART.sub(lambda part: _ALPHABETS[part[1]][-1] * int(part[2]), self.shape)
        return [short[: len(short) - (self.cut or max(2, len(short) // 6))], wrong, same]


def filled(shape: str, source: random.Random) -> str:
    def part(match: re.Match[str]) -> str:
        letters, size = _ALPHABETS[match[1]], int(match[2])
        text = "".join(source.choice(letters) for _ in range(size))
        return text if text[-1:] not in "-_" else f"{text[:-1]}x"

    return _PART.sub(part, shape)


SERVICES = (
    Service("GitHub, classic", "ghp_{A36}", "ghx_{A36}"),
    Service("GitHub, OAuth", "gho_{A36}", "gh0_{A36}"),
    Service("GitHub, server", "ghs_{A36}", "ghs-{A36}"),
    Service("GitHub, fine-grained", "github_pat_{A22}_{A59}", "github_pub_{A22}_{A59}"),
    Service("GitLab", "glpat-{W20}", "glpet-{W20}"),
    Service("GitLab, deploy", "gldt-{W20}", "gldx-{W20}"),
    Service("Bitbucket", "ATBB{A32}", "ATBC{A32}"),
    Service("Atlassian", "ATATT3xFfG{W180}", "ATATT4xFfG{W40}", 150),
    Service("Sourcegraph", "sgp_{h40}", "sgx_{h40}"),
    Service("CircleCI", "CCIPAT_{A22}_{h40}", "CCIPAX_{A22}_{h40}"),
    Service("Buildkite", "bkua_{h40}", "bkux_{h40}"),
    Service("SonarQube", "squ_{h40}", "sqx_{h40}"),
    Service("Terraform Cloud", "{A14}.atlasv1.{A67}", "{A14}.atlasv2.{A20}"),
    Service("Pulumi", "pul-{h40}", "pol-{h40}"),
    Service("LaunchDarkly", f"sdk-{UUID}", f"sdx-{UUID}"),
    Service("Vault", "hvs.{A90}", "hvx.{A20}", 70),
    Service("Doppler", "dp.pt.{A43}", "dp.px.{A43}"),
    Service("1Password", "ops_eyJ{A250}", "ops_eyX{A20}", 200),
    Service("age", "AGE-SECRET-KEY-1{E58}", "AGE-PUBLIC-KEY-1{U58}"),
    Service("npm", "npm_{A36}", "npx_{A36}"),
    Service("PyPI", "pypi-AgEIcHlwaS5vcmc{W150}", "pypi-AgXIcHlwaS5vcmc{W20}", 120),
    Service("RubyGems", "rubygems_{h48}", "rubygem_{h48}"),
    Service("crates.io", "cio{A32}", "cix{A32}"),
    Service("NuGet", "oy2{a43}", "oy3{a43}"),
    Service("Docker Hub", "dckr_pat_{W27}", "dckr_pax_{W27}"),
    Service("JFrog", "AKCp{A69}", "AKCq{A69}"),
    Service("Clojars", "CLOJARS_{a60}", "CLOJARZ_{a60}"),
    Service("AWS", "AKIA{U16}", "AKIB{U16}"),
    Service("AWS, temporary", "ASIA{U16}", "ASIB{U16}"),
    Service("Google", "AIza{W35}", "AIzb{W35}"),
    Service("Google, OAuth", "GOCSPX-{W28}", "GOCSPY-{W28}"),
    Service("Azure AD", "{A3}8Q~{A34}", "{A3}8Q-{A34}"),
    Service("Azure OpenAI", "{A52}JQQJ99A{A25}", "{A52}JQQX99A{A25}"),
    Service("Alibaba", "LTAI{A20}", "LTAX{A20}", 10),
    Service("Scaleway", "SCW{U17}", "SCX{U17}"),
    Service("DigitalOcean", "dop_v1_{h64}", "dop_v3_{h64}"),
    Service("Heroku", f"HRKU-{UUID}", f"HRKX-{UUID}"),
    Service("Netlify", "nfp_{A40}", "nfx_{A40}"),
    Service("Fly", "fo1_{A43}", "fo7_{A43}"),
    Service("Render", "rnd_{A32}", "rnx_{A32}"),
    Service("Tailscale", "tskey-auth-{A12}CNTRL-{A32}", "tskex-auth-{A12}-{A32}", 40),
    Service("OpenAI, project", "sk-proj-{A74}T3BlbkFJ{A74}", "sk-proj-{A12}", 130),
    Service("OpenAI, old", "sk-{A20}T3BlbkFJ{A20}", "sk-{A20}T3BlbkXX{A10}"),
    Service("Anthropic", "sk-ant-api03-{A93}AA", "sk-ant-zzz03-{A93}AA"),
    Service("Hugging Face", "hf_{L34}", "hx_{L34}"),
    Service("Replicate", "r8_{A37}", "r7_{A37}"),
    Service("Groq", "gsk_{A52}", "gsx_{A52}"),
    Service("Perplexity", "pplx-{A48}", "pplz-{A48}"),
    Service("xAI", "xai-{A80}", "xbi-{A80}"),
    Service("OpenRouter", "sk-or-v1-{h64}", "sk-xr-v1-{h64}"),
    Service("LangSmith", "lsv2_pt_{h32}_{h10}", "lsv9_pt_{h32}_{h10}"),
    Service("NVIDIA", "nvapi-{A64}", "nvapx-{A64}"),
    Service("Tavily", "tvly-{A32}", "tvlx-{A32}"),
    Service("Apify", "apify_api_{A36}", "apifx_app_{A36}", 6),
    Service("Pinecone", "pcsk_{A6}_{A63}", "pcsx_{A6}_{A63}"),
    Service("PlanetScale", "pscale_tkn_{A43}", "pscalx_tkn_{A43}", 16),
    Service("Neon", "napi_{a64}", "napx_{a64}"),
    Service("Supabase", "sbp_{h40}", "sbx_{h40}"),
    Service("Databricks", "dapi{h32}", "dapx{h32}"),
    Service("Airtable", "pat{A14}.{h64}", "pax{A14}.{h64}"),
    Service("Notion", "ntn_{d11}{A35}", "ntx_{d11}{A35}"),
    Service("Slack, bot", "xoxb-{d12}-{d12}-{A24}", "xoxz-{d12}-{d12}-{A24}", 40),
    Service("Slack, app", "xapp-1-{U11}-{d13}-{h64}", "xapq-1-{U11}-{d13}-{h64}"),
    Service(
        "Slack, webhook",
        "https://hooks.slack.com/services/T{U10}/B{U10}/{A24}",
        "https://hooks.slick.com/services/T{U10}/B{U10}/{A24}",
    ),
    Service(
        "Discord, webhook",
        "https://discord.com/api/webhooks/{d19}/{A68}",
        "https://discard.com/api/webhooks/{d19}/{A68}",
    ),
    Service("Telegram", "{d10}:AA{A33}", "{d10}:BB{A33}"),
    Service("SendGrid", "SG.{A22}.{A43}", "SH.{A22}.{A43}"),
    Service("Mailgun", "key-{h32}", "kez-{h32}"),
    Service("Mailchimp", "{h32}-us12", "{h32}-uk12"),
    Service("Brevo", "xkeysib-{h64}-{A16}", "xkeysic-{h64}-{A16}"),
    Service("Resend", "re_{A8}_{A24}", "rf_{A8}_{A24}"),
    Service("Twilio", "SK{h32}", "SL{h32}"),
    Service("Stripe", "sk_live_{A24}", "sx_line_{A24}", 18),
    Service("Stripe, restricted", "rk_live_{A24}", "rx_line_{A24}", 18),
    Service("Square", "sq0atp-{W22}", "sq0btp-{W22}"),
    Service("Braintree", "access_token$production${a16}${h32}", "access_taken$production${a16}${h32}"),
    Service("Plaid", f"access-production-{UUID}", f"axcess-production-{UUID}"),
    Service("Shopify", "shpat_{h32}", "shpaz_{h32}"),
    Service("Razorpay", "rzp_live_{A14}", "rzq_line_{A14}"),
    Service("Flutterwave", "FLWSECK_TEST-{h32}-X", "FLWXECK_TEST-{h32}-X", 28),
    Service("EasyPost", "EZAK{A54}", "EZXK{A54}"),
    Service("Linear", "lin_api_{A40}", "lix_app_{A40}", 20),
    Service("Asana", "1/{d16}:{h32}", "1/{d6}:{h32}"),
    Service("ClickUp", "pk_{d8}_{U32}", "px_{d8}_{U32}"),
    Service("Figma", "figd_{A40}", "figx_{A40}"),
    Service("HubSpot", f"pat-na1-{UUID}", f"pat-xx1-{UUID}"),
    Service("Postman", "PMAK-{h24}-{h34}", "PMAX-{h24}-{h34}"),
    Service("Typeform", "tfp_{A44}", "tfx_{A44}"),
    Service("Contentful", "CFPAT-{W43}", "CFPAX-{W43}"),
    Service("New Relic", "NRAK-{U27}", "NRAX-{U27}", 12),
    Service("Grafana", "glsa_{A32}_{h8}", "glsx_{A32}_{h8}"),
    Service("Sentry", "sntryu_{h64}", "sntryx_{h64}"),
    Service("Dynatrace", "dt0c01.{U24}.{U64}", "dx0c01.{U24}.{U64}"),
    Service("PostHog", "phx_{A43}", "phq_{A43}"),
    Service("Axiom", f"xaat-{UUID}", f"xaax-{UUID}"),
)

NAMED = {
    "AWS": ("aws_secret_access_key", "{B40}"),
    "Datadog": ("DATADOG_API_KEY", "{h32}"),
    "Cloudflare": ("cloudflare_api_token", "{A40}"),
    "Heroku": ("HEROKU_API_KEY", UUID),
    "Linode": ("linode_token", "{h64}"),
    "Mistral": ("MISTRAL_API_KEY", "{A32}"),
    "Cohere": ("COHERE_API_KEY", "{A40}"),
    "Deepgram": ("deepgram_key", "{h40}"),
    "Algolia": ("ALGOLIA_ADMIN_KEY", "{h32}"),
    "Twilio": ("TWILIO_AUTH_TOKEN", "{h32}"),
    "Snyk": ("SNYK_TOKEN", UUID),
    "Okta": ("OKTA_API_TOKEN", "00{A40}"),
    "PagerDuty": ("pagerduty_api_key", "{A20}"),
    "Zendesk": ("zendesk_token", "{A40}"),
    "Fastly": ("FASTLY_API_TOKEN", "{A32}"),
    "anything": ("internal_service_secret", "{A32}"),
}
"""Services whose tokens have no shape of their own: the name they are given, and the value."""
