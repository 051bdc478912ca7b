"""
Entries as the manuals of well-known MCP servers print them, with made-up tokens; and what each has to become.

The tokens are put together here, so that no scanner of secrets takes this file for a leak.
"""

from __future__ import annotations

from typing import Any

_WORD = "a1B2c3D4e5F6g7H8i9J0"
HEX = "0123456789abcdef" * 2
TOKENS = {
    "github": "ghp" + "_" + _WORD + "k1L2m3N4o5P6q7R8",
    "gitlab": "glpat" + "-" + _WORD,
    "slack": "xoxb" + "-1234567890-" + _WORD,
    "stripe": "sk_test" + "_51H8" + _WORD,
    "openai": "sk-proj" + "-" + _WORD + _WORD,
    "notion": "ntn" + "_" + _WORD + _WORD,
    "figma": "figd" + "_" + _WORD + _WORD,
    "supabase": "sbp" + "_" + HEX,
    "tavily": "tvly" + "-dev-" + _WORD,
    "firecrawl": "fc" + "-" + HEX,
    "brave": "BSA" + _WORD + "abcdefg",
    "google": "AIza" + _WORD + _WORD[:15],
    "grafana": "glsa" + "_" + _WORD + "_" + "abcdef12",
    "sentry": "sntryu" + "_" + HEX,
    "jwt": "eyJhbGciOiJIUzI1NiJ9" + "." + _WORD + "." + _WORD,
    "plain": "hunter2-and-more",
    "aws": "AKIA" + "IOSFODNN7EXAMPL3",
    "random": "q8Zr3TnV7xKw2LpM9sYb4HdC",
    "hex": "deadbeef" + HEX,
}
T = TOKENS


def npx(*args: str, **env: str) -> dict[str, Any]:
    """An entry that runs a package of npm."""
    return {"command": "npx", "args": ["-y", *args], **({"env": env} if env else {})}


def uvx(*args: str, **env: str) -> dict[str, Any]:
    """An entry that runs a package of PyPI."""
    return {"command": "uvx", "args": [*args], **({"env": env} if env else {})}


def docker(*args: str, **env: str) -> dict[str, Any]:
    """An entry that runs a container."""
    return {"command": "docker", "args": ["run", "-i", "--rm", *args], **({"env": env} if env else {})}


def secret(source: str, env: str) -> list[dict[str, str]]:
    """What a server says that gets one secret as a variable."""
    return [{"source": source, "env": env}]


SNIPPETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "github-docker": (
        docker(
            "-e",
            "GITHUB_PERSONAL_ACCESS_TOKEN",
            "ghcr.io/github/github-mcp-server",
            GITHUB_PERSONAL_ACCESS_TOKEN=T["github"],
        ),
        {
            "image": "ghcr.io/github/github-mcp-server",
            "network": "open",
            "secrets": secret("github_personal_access_token", "GITHUB_PERSONAL_ACCESS_TOKEN"),
        },
    ),
    "github-toolsets": (
        docker(
            "-e",
            "GITHUB_PERSONAL_ACCESS_TOKEN=" + T["github"],
            "-e",
            "GITHUB_TOOLSETS=repos,issues",
            "ghcr.io/github/github-mcp-server:v0.20.1",
            "stdio",
            "--read-only",
        ),
        {
            "image": "ghcr.io/github/github-mcp-server:v0.20.1",
            "command": ["stdio", "--read-only"],
            "environment": {"GITHUB_TOOLSETS": "repos,issues"},
        },
    ),
    "github-remote": (
        {
            "type": "http",
            "url": "https://api.githubcopilot.com/mcp/",
            "headers": {"Authorization": "Bearer " + T["github"], "X-MCP-Readonly": "true"},
        },
        {
            "url": "https://api.githubcopilot.com/mcp/",
            "headers": {"Authorization": "Bearer ${secret:github_remote_token}", "X-MCP-Readonly": "true"},
        },
    ),
    "github-input": (
        {"url": "https://api.githubcopilot.com/mcp/", "headers": {"Authorization": "Bearer ${input:github_mcp_pat}"}},
        {"headers": {"Authorization": "Bearer ${secret:github_mcp_pat}"}},
    ),
    "gitlab": (
        npx(
            "@zereight/mcp-gitlab",
            GITLAB_PERSONAL_ACCESS_TOKEN=T["gitlab"],
            GITLAB_API_URL="https://gitlab.com/api/v4",
            GITLAB_READ_ONLY_MODE="true",
        ),
        {
            "package": "npm:@zereight/mcp-gitlab",
            "environment": {"GITLAB_API_URL": "https://gitlab.com/api/v4", "GITLAB_READ_ONLY_MODE": "true"},
        },
    ),
    "slack": (
        npx(
            "@modelcontextprotocol/server-slack",
            SLACK_BOT_TOKEN=T["slack"],
            SLACK_TEAM_ID="T01234567",
            SLACK_CHANNEL_IDS="C01234567, C76543210",
        ),
        {
            "environment": {"SLACK_TEAM_ID": "T01234567", "SLACK_CHANNEL_IDS": "C01234567, C76543210"},
            "secrets": secret("slack_bot_token", "SLACK_BOT_TOKEN"),
        },
    ),
    "brave-search": (
        npx("@modelcontextprotocol/server-brave-search", BRAVE_API_KEY=T["brave"]),
        {"secrets": secret("brave_api_key", "BRAVE_API_KEY")},
    ),
    "brave-docker": (
        docker("-e", "BRAVE_API_KEY", "mcp/brave-search", BRAVE_API_KEY="YOUR_API_KEY_HERE"),
        {"image": "mcp/brave-search", "secrets": secret("brave_api_key", "BRAVE_API_KEY")},
    ),
    "filesystem": (
        npx("@modelcontextprotocol/server-filesystem", "/Users/username/Desktop", "/path/to/other/allowed/dir"),
        {
            "package": "npm:@modelcontextprotocol/server-filesystem",
            "network": None,
            "args": ["/Users/username/Desktop", "/path/to/other/allowed/dir"],
        },
    ),
    "memory": (
        npx("@modelcontextprotocol/server-memory", MEMORY_FILE_PATH="/path/to/custom/memory.jsonl"),
        {"network": None, "environment": {"MEMORY_FILE_PATH": "/path/to/custom/memory.jsonl"}},
    ),
    "sequential": (npx("@modelcontextprotocol/server-sequential-thinking"), {"network": None}),
    "git": (uvx("mcp-server-git", "--repository", "path/to/git/repo"), {"package": "pypi:mcp-server-git"}),
    "fetch": (uvx("mcp-server-fetch"), {"package": "pypi:mcp-server-fetch", "network": "open"}),
    "time": (uvx("mcp-server-time", "--local-timezone=America/New_York"), {"network": None}),
    "sqlite-pinned": (uvx("mcp-server-sqlite@2025.4.25"), {"package": "pypi:mcp-server-sqlite==2025.4.25"}),
    "postgres": (
        npx("@modelcontextprotocol/server-postgres", f"postgresql://me:{T['plain']}@localhost:5432/mydb"),
        {"package": "npm:@modelcontextprotocol/server-postgres"},
    ),
    "postgres-pro": (
        docker(
            "-e",
            "DATABASE_URI",
            "crystaldba/postgres-mcp",
            "--access-mode=unrestricted",
            DATABASE_URI=f"postgresql://username:{T['plain']}@localhost:5432/dbname",
        ),
        {"command": ["--access-mode=unrestricted"], "secrets": secret("database_uri", "DATABASE_URI")},
    ),
    "redis": (
        npx("@modelcontextprotocol/server-redis", "redis://localhost:6379"),
        {"args": ["redis://localhost:6379"]},
    ),
    "mongodb": (
        npx("mongodb-mcp-server@latest", "--connectionString", f"mongodb+srv://u:{T['plain']}@c.mongodb.net/db"),
        {"package": "npm:mongodb-mcp-server@latest"},
    ),
    "supabase": (
        npx(
            "@supabase/mcp-server-supabase@latest",
            "--read-only",
            "--project-ref=abcdefghijklmnopqrst",
            "--access-token",
            T["supabase"],
        ),
        {
            "package": "npm:@supabase/mcp-server-supabase@latest",
            "args": ["--read-only", "--project-ref=abcdefghijklmnopqrst", "--access-token"],
            "secrets": secret("supabase_access_token", "SUPABASE_ACCESS_TOKEN"),
        },
    ),
    "figma": (
        npx("figma-developer-mcp", f"--figma-api-key={T['figma']}", "--stdio"),
        {"args": ["--stdio"], "secrets": secret("figma_api_key", "FIGMA_API_KEY")},
    ),
    "stripe": (npx("@stripe/mcp", "--tools=all", f"--api-key={T['stripe']}"), {"args": ["--tools=all"]}),
    "notion": (
        npx(
            "@notionhq/notion-mcp-server",
            OPENAPI_MCP_HEADERS='{"Authorization": "Bearer ' + T["notion"] + '", "Notion-Version": "2022-06-28"}',
        ),
        {"secrets": secret("openapi_mcp_headers", "OPENAPI_MCP_HEADERS")},
    ),
    "linear": (
        npx("mcp-remote", "https://mcp.linear.app/sse"),
        {"url": "https://mcp.linear.app/sse", "transport": "sse"},
    ),
    "atlassian": (
        npx(
            "mcp-remote",
            "https://mcp.example.com/mcp",
            "--header",
            "Authorization: Bearer ${AUTH_TOKEN}",
            AUTH_TOKEN=T["random"],
        ),
        {"url": "https://mcp.example.com/mcp", "headers": {"Authorization": "Bearer ${secret:atlassian_token}"}},
    ),
    "jira-docker": (
        docker(
            "-e",
            "JIRA_URL",
            "-e",
            "JIRA_USERNAME",
            "-e",
            "JIRA_API_TOKEN",
            "ghcr.io/sooperset/mcp-atlassian:latest",
            JIRA_URL="https://you.atlassian.net",
            JIRA_USERNAME="me@example.com",
            JIRA_API_TOKEN=T["random"],
        ),
        {
            "environment": {"JIRA_URL": "https://you.atlassian.net", "JIRA_USERNAME": "me@example.com"},
            "secrets": secret("jira_api_token", "JIRA_API_TOKEN"),
        },
    ),
    "sentry": (
        uvx("mcp-server-sentry", "--auth-token", T["sentry"]),
        {"package": "pypi:mcp-server-sentry", "args": ["--auth-token"]},
    ),
    "grafana": (
        docker(
            "-e",
            "GRAFANA_URL",
            "-e",
            "GRAFANA_SERVICE_ACCOUNT_TOKEN",
            "mcp/grafana",
            "-t",
            "stdio",
            GRAFANA_URL="http://localhost:3000",
            GRAFANA_SERVICE_ACCOUNT_TOKEN=T["grafana"],
        ),
        {"image": "mcp/grafana", "command": ["-t", "stdio"]},
    ),
    "playwright": (npx("@playwright/mcp@latest", "--headless"), {"package": "npm:@playwright/mcp@latest"}),
    "playwright-docker": (
        {
            "command": "docker",
            "args": ["run", "-i", "--rm", "--init", "--pull=always", "mcr.microsoft.com/playwright/mcp"],
        },
        {"image": "mcr.microsoft.com/playwright/mcp", "pull_policy": "always"},
    ),
    "puppeteer": (
        docker("--init", "-e", "DOCKER_CONTAINER=true", "mcp/puppeteer"),
        {"image": "mcp/puppeteer", "environment": {"DOCKER_CONTAINER": "true"}},
    ),
    "context7": (
        {"command": "npx", "args": ["-y", "@upstash/context7-mcp@latest", "--api-key", T["random"]]},
        {"secrets": secret("context7_api_key", "CONTEXT7_API_KEY")},
    ),
    "context7-windows": (
        {"command": "cmd", "args": ["/c", "npx", "-y", "@upstash/context7-mcp"], "disabled": False, "autoApprove": []},
        {"package": "npm:@upstash/context7-mcp"},
    ),
    "context7-remote": (
        {"url": "https://mcp.context7.com/mcp", "headers": {"CONTEXT7_API_KEY": T["random"]}},
        {"headers": {"CONTEXT7_API_KEY": "${secret:context7_remote_context7_api_key}"}},
    ),
    "tavily": (
        {"url": "https://mcp.tavily.com/mcp/?tavilyApiKey=" + T["tavily"]},
        {"url": "https://mcp.tavily.com/mcp/?tavilyApiKey=${secret:tavily_api_key}"},
    ),
    "zapier": (
        {"url": "https://mcp.zapier.com/api/mcp/s/" + T["random"] + "/mcp"},
        {"url": "https://mcp.zapier.com/api/mcp/s/${secret:zapier_url_token}/mcp"},
    ),
    "firecrawl": (
        {
            "command": "npx",
            "args": ["-y", "firecrawl-mcp"],
            "env": {"FIRECRAWL_API_KEY": T["firecrawl"], "FIRECRAWL_RETRY_MAX_ATTEMPTS": 5},
        },
        {"environment": {"FIRECRAWL_RETRY_MAX_ATTEMPTS": "5"}},
    ),
    "exa": (npx("exa-mcp-server", EXA_API_KEY="your-api-key-here"), {"secrets": secret("exa_api_key", "EXA_API_KEY")}),
    "aws-docs": (
        uvx(
            "awslabs.aws-documentation-mcp-server@latest", FASTMCP_LOG_LEVEL="ERROR", AWS_DOCUMENTATION_PARTITION="aws"
        ),
        {
            "package": "pypi:awslabs.aws-documentation-mcp-server",
            "environment": {"FASTMCP_LOG_LEVEL": "ERROR", "AWS_DOCUMENTATION_PARTITION": "aws"},
        },
    ),
    "aws-api": (
        uvx(
            "awslabs.aws-api-mcp-server@latest",
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID=T["aws"],
            AWS_SECRET_ACCESS_KEY=T["random"],
        ),
        {"environment": {"AWS_REGION": "us-east-1"}},
    ),
    "elevenlabs": (
        uvx("elevenlabs-mcp", ELEVENLABS_API_KEY="<insert-your-api-key-here>"),
        {"package": "pypi:elevenlabs-mcp"},
    ),
    "google-maps": (npx("@modelcontextprotocol/server-google-maps", GOOGLE_MAPS_API_KEY=T["google"]), {}),
    "everart": (
        npx("@modelcontextprotocol/server-everart", EVERART_API_KEY="${env:EVERART_API_KEY}"),
        {"secrets": secret("everart_api_key", "EVERART_API_KEY")},
    ),
    "serena": (
        uvx("--from", "git+https://github.com/oraios/serena", "serena", "start-mcp-server"),
        {"process": ["uvx", "--from", "git+https://github.com/oraios/serena", "serena", "start-mcp-server"]},
    ),
    "dbhub": (
        npx(
            "@bytebase/dbhub",
            "--transport",
            "stdio",
            "--dsn",
            f"postgres://user:{T['plain']}@localhost:5432/db?sslmode=disable",
        ),
        {"package": "npm:@bytebase/dbhub"},
    ),
    "obsidian": (
        {
            "command": "/usr/local/bin/uvx",
            "args": ["mcp-obsidian"],
            "env": {"OBSIDIAN_API_KEY": T["hex"], "OBSIDIAN_HOST": "127.0.0.1", "OBSIDIAN_PORT": "27124"},
        },
        {"environment": {"OBSIDIAN_HOST": "127.0.0.1", "OBSIDIAN_PORT": "27124"}},
    ),
    "own-node": (
        {
            "command": "node",
            "args": ["/absolute/path/to/build/index.js"],
            "env": {"PORT": "3333", "AUTH_TOKEN": T["jwt"]},
        },
        {"process": ["node", "/absolute/path/to/build/index.js"], "environment": {"PORT": "3333"}},
    ),
    "own-uv": (
        {"command": "uv", "args": ["--directory", "/absolute/path/to/weather", "run", "weather.py"]},
        {"process": ["uv", "--directory", "/absolute/path/to/weather", "run", "weather.py"]},
    ),
    "own-shell": (
        {"command": "bash", "args": ["-c", "API_KEY=" + T["random"] + " exec ./server"]},
        {},
    ),
    "smithery": (
        npx(
            "@smithery/cli@latest",
            "run",
            "@smithery-ai/github",
            "--config",
            '{"githubPersonalAccessToken":"' + T["github"] + '"}',
        ),
        {"package": "npm:@smithery/cli@latest"},
    ),
    "make": (
        npx("github:integromat/make-mcp-server#main", MAKE_API_KEY="<your-api-key>", MAKE_ZONE="<your-zone>"),
        {"environment": {"MAKE_ZONE": "<your-zone>"}},
    ),
    "openai-env": (
        npx("some-openai-server", OPENAI_API_KEY=T["openai"], MODEL="gpt-5", MAX_TOKENS="4096"),
        {"environment": {"MODEL": "gpt-5", "MAX_TOKENS": "4096"}},
    ),
    "docker-socket": (
        docker("-v", "/var/run/docker.sock:/var/run/docker.sock", "--privileged", "--network", "host", "mcp/docker"),
        {"image": "mcp/docker", "volumes": None, "privileged": None, "network": "open"},
    ),
    "named-volume": (
        docker("-v", "claude-memory:/app/dist", "mcp/memory"),
        {"volumes": ["claude-memory:/app/dist"]},
    ),
}
"""By name: the entry, and keys that its server must have (None: must not have)."""
