"""Monitoring, analytics, identity, wallets."""

from __future__ import annotations

from typing import Final

from mcpcompose.interceptors.scanning.rule import Rule, beside, token, uuid_beside

_UUID: Final = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"

RULES: Final[tuple[Rule, ...]] = (
    # monitoring and analytics
    beside("datadog-key", r"datadog|dd_api|dd_app|dd-api-key|dd-application-key|ddog", r"[a-f0-9]{40}|[a-f0-9]{32}", "datadog",
           "dd_api", "dd_app", "dd-api", "dd-app", "ddog"),
    token("datadog-key", r"dd(?:pat|sat|oat)?_[A-Za-z0-9]{34,40}", "ddpat_", "ddsat_", "dd_", entropy=3.8),
    token("new-relic-key", r"NR(?:AK|II|RA|AA|BR|JS|SP|MA)-[A-Za-z0-9\-_]{19,42}", "nrak-", "nrii-", "nrra-", "nraa-", "nrbr-",
          "nrjs-", "nrsp-", "nrma-", entropy=3),
    token("new-relic-license", r"[a-f0-9]{36}NRAL|eu01xx[a-f0-9]{30}NRAL", "nral"),
    beside("new-relic-key", r"new_?relic", r"[a-f0-9]{40}|[A-Za-z0-9]{64}", "newrelic", "new_relic"),
    token("grafana-cloud-token", r"glc_[A-Za-z0-9+/]{32,}={0,3}", "glc_", reach=440, end=""),
    token("grafana-service-account", r"glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}", "glsa_"),
    token("grafana-api-key", r"eyJrIjoi[A-Za-z0-9+/]{60,}={0,3}", "eyjrijoi", reach=440, end=""),
    token("honeycomb-key", r"hc[abmx][il][kcx]_[a-z0-9]{58}", "hcaik_", "hcbik_", "hcalk_", "hcmik_", "hcxik_", "hcamk_"),
    beside("honeycomb-key", r"honeycomb|x-honeycomb-team", r"[A-Za-z0-9]{22}|[a-f0-9]{32}", "honeycomb"),
    token("sentry-token", r"sntrys_eyJ[A-Za-z0-9+/=]{40,}_[A-Za-z0-9+/]{43}|sntry[us]_[a-f0-9]{64}", "sntrys_", "sntryu_",
          reach=480),
    beside("sentry-token", r"sentry", r"[a-f0-9]{64}"),
    beside("pagerduty-key", r"pager_?duty|pd_api", r"u\+[\w+\-]{18}|[\w+\-]{20}|[a-f0-9]{32}", "pagerduty", "pager_duty",
           "pd_api", entropy=3.3),
    uuid_beside("opsgenie-key", r"opsgenie|statuspage|uptimerobot"),
    token("dynatrace-token", r"dt0[a-z]\d{2}\.[A-Z0-9]{8,24}\.[A-Z0-9]{64}", "dt0"),
    token("posthog-key", r"ph[xs]_[A-Za-z0-9]{40,50}", "phx_", "phs_", entropy=3.5),
    token("axiom-token", rf"xa[ap]t-{_UUID}", "xaat-", "xapt-"),
    token("checkly-key", r"cu_[a-f0-9]{32}", "cu_"),
    token("coralogix-key", r"cx[tuo]p_[A-Za-z0-9]{30,40}", "cxtp_", "cxup_", "cxop_"),
    token("better-stack-or-logtail-key", r"logtail_[A-Za-z0-9]{24,40}", "logtail_"),
    beside("log-service-key", r"rollbar|bugsnag|raygun|loggly|logz(?:io)?|sumo_?logic|papertrail|airbrake|appsignal|honeybadger",
           rf"[a-f0-9]{{32}}|[A-Za-z]{{32}}|[A-Za-z0-9]{{64}}|{_UUID}|[A-Za-z0-9]{{20}}"),
    beside("splunk-token", r"splunk|hec_token", _UUID),
    beside("analytics-key", r"mixpanel|amplitude|segment|heap|fullstory|hotjar|optimizely",
           r"[a-f0-9]{32}|[A-Za-z0-9]{32}|2:[\w\-+/=]{40,80}"),
    token("statsig-key", r"secret-[A-Za-z0-9]{40,48}", "secret-", entropy=3.8),
    token("growthbook-or-split-key", r"secret_(?:admin|user|readonly)_[A-Za-z0-9=]{36,50}", "secret_", end=""),
    # identity
    beside("okta-token", r"okta|ssws", r"00[\w\-]{39,40}"),
    Rule("okta-token", r"\bSSWS (00[\w\-]{39,40})", ("ssws",), entropy=3),
    beside("auth0-secret", r"auth0", r"[\w\-]{64}", entropy=4),
    beside("onelogin-or-ping-secret", r"onelogin|pingidentity|jumpcloud|duo_", r"[a-f0-9]{64}|[a-f0-9]{40}|[A-Za-z0-9]{40}"),
    token("clerk-secret", r"sk_(?:live|test)_[A-Za-z0-9]{40,50}", "sk_live_", "sk_test_", entropy=3.5),
    token("workos-key", r"sk_(?:live|test)_[A-Za-z0-9]{20,100}|sk_[A-Za-z0-9]{40,80}", "workos"),
    token("descope-or-stytch-secret", r"secret-(?:test|live)-[\w\-]{36}={0,2}", "secret-test-", "secret-live-", end=""),
    token("maxmind-key", r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk", "_mmk"),
    token("settlemint-token", r"sm_(?:aat|pat|sat)_[A-Za-z0-9]{16}", "sm_aat_", "sm_pat_", "sm_sat_"),
    token("endor-or-socket-key", r"endr\+[A-Za-z0-9\-]{16}|sktsec_[\w\-]{40,60}_api", "endr+", "sktsec_"),
    token("algolia-or-rapidapi-key", r"[a-f0-9]{10}msh[a-f0-9]{15}p1[a-f0-9]{5}jsn[a-f0-9]{12}", "msh"),
    token("replit-or-circle-token", r"(?:TEST|LIVE)_API_KEY:[a-f0-9]{32}:[a-f0-9]{32}", "_api_key:"),
    token("chef-or-wakatime-key", rf"waka_{_UUID}", "waka_"),
    token("beeceptor-or-ifttt-key", r"maker\.ifttt\.com/trigger/[\w\-]{1,60}/with/key/[\w\-]{20,60}", "maker.ifttt.com", end=""),
    token("rapyd-or-persona-key", r"persona_(?:sandbox|production)_[0-9a-f\-]{36}", "persona_"),
    beside("infura-or-alchemy-key", r"infura|alchemy|etherscan|moralis|quicknode|ethplorer",
           r"[a-f0-9]{32}|[A-Za-z0-9_\-]{32}|[A-Z0-9]{34}|[A-Za-z0-9]{64}"),
    beside("ethereum-private-key", r"(?:eth|ethereum|wallet|deployer|private)[ _\-]?(?:private)?[ _\-]?key", r"0x[a-f0-9]{64}",
           "eth_", "ethereum", "wallet", "deployer", "private_key", "privatekey", "private key"),
    token("bitcoin-extended-key", r"[xyz]prv[1-9A-HJ-NP-Za-km-z]{107}", "xprv", "yprv", "zprv"),
)  # fmt: skip
