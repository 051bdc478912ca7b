"""A catalog in Docker's format with every field that it has; `IMAGE` stands for the image of the server that runs."""

EVERY_FIELD = """\
version: 3
name: docker-mcp
displayName: Docker MCP Catalog
registry:
  everything:
    name: everything
    description: A server with every field.
    title: Everything
    type: server
    longLived: true
    dateAdded: "2025-05-05T20:08:35Z"
    image: IMAGE
    ref: ""
    readme: http://desktop.docker.com/mcp/catalog/v3/readme/everything.md
    toolsUrl: http://desktop.docker.com/mcp/catalog/v3/tools/everything.json
    source: https://github.com/acme/everything/tree/main
    upstream: https://github.com/acme/everything
    icon: https://avatars.example/u/1
    tools:
      - name: environment
        description: What the server was started with
        arguments: [{name: a, type: string, desc: an argument, optional: true}]
        annotations: {title: Environment, readOnlyHint: true}
      - name: never
        policy: {allowed: false, reason: not here}
    secrets:
      - name: everything.api_token
        env: API_TOKEN
        example: your_token
      - name: everything.other
        env: OTHER_TOKEN
        required: false
    env:
      - name: PLAIN
        value: "true"
      - name: URL
        value: '{{everything.jira.url}}'
      - name: WITH_DEFAULT
        value: '{{everything.region|or:eu}}'
      - name: MIXED
        value: 'http://{{everything.host}}:{{everything.port}}/'
      - name: LEFT_OUT
        value: '{{everything.nothing}}'
      - name: HEADERS
        value: '{"Authorization": "Bearer $API_TOKEN", "plain": "${PLAIN}"}'
    command:
      - --transport=stdio
      - --user={{everything.user}}
      - --empty={{everything.nothing}}
      - '{{everything.paths|volume-target|into}}'
      - '{{everything.nothing|into}}'
    volumes:
      - '{{everything.paths|volume|into}}'
      - '{{everything.logs|mount_as:/logs:ro}}'
      - '{{everything.nothing|mount_as:/nothing}}'
      - '{{everything.nothing}}:/nowhere'
      - 'cache:/cache'
    user: '{{everything.user_id}}'
    disableNetwork: true
    allowHosts: []
    extraHosts:
      - myapp.local:192.168.1.100
    prompts: 0
    resources: {}
    prefix: every
    config:
      - name: everything
        description: Configure it
        type: object
        properties:
          jira: {type: object, properties: {url: {type: string}}, required: [url]}
          host: {type: string}
          port: {type: integer}
          region: {type: string}
          nothing: {type: string}
          user: {type: string}
          user_id: {type: string}
          paths: {type: array, items: {type: string}}
          logs: {type: string}
        required: [jira]
    metadata:
      pulls: 10
      stars: 2
      githubStars: 3004
      category: productivity
      tags: [everything, test]
      license: MIT License
      owner: acme
      registryUrl: https://registry.modelcontextprotocol.io/v0/servers/x
    oauth:
      providers:
        - provider: acme
          secret: everything.api_token
          env: API_TOKEN
      scopes: [read]
    policy: {allowed: true}
  sender:
    description: A remote one.
    title: Sender
    type: remote
    remote:
      url: https://mcp.example/{{sender.team}}/mcp
      transport_type: streamable-http
      headers:
        Authorization: Bearer ${SENDER_TOKEN}
        X-Team: '{{sender.team}}'
    secrets: [{name: sender.token, env: SENDER_TOKEN}]
    config: [{name: sender, type: object, properties: {team: {type: string}}, required: [team]}]
  events:
    description: An old remote one.
    title: Events
    type: remote
    remote: {url: https://mcp.example/sse, transport_type: sse}
  older:
    description: An older way to write it.
    title: Older
    sseEndpoint: https://gitmcp.example/moby
  several:
    description: It takes one of two tokens.
    title: Several
    type: server
    image: mcp/several
    secrets: [{name: several.cloud, env: CLOUD}, {name: several.own, env: OWN}]
  open:
    description: It may go out.
    title: Open
    type: server
    image: mcp/open
  hosts:
    description: It may go out to some.
    title: Hosts
    type: server
    image: mcp/hosts
    allowHosts: [api.github.com:443]
  oauth:
    description: It wants a browser.
    title: OAuth
    type: remote
    remote: {url: https://mcp.example/oauth, transport_type: streaming}
    oauth: {providers: [{provider: oauth}]}
    dynamic: {tools: true}
  containers:
    description: Its tools are containers.
    title: Containers
    type: poci
    tools:
      - name: curl
        description: Fetch
        container: {image: curl, command: [curl, '{{url}}'], volumes: []}
        parameters: {type: object, properties: {url: {type: string, description: u}}, required: [url]}
  forbidden:
    description: Not for us.
    title: Forbidden
    type: server
    image: mcp/forbidden
    policy: {allowed: false, reason: nobody may}
  newer:
    description: From the future.
    title: Newer
    type: server
    image: mcp/newer
    gpu: all
  broken:
    description: With a filter nobody knows.
    title: Broken
    type: server
    image: mcp/broken
    command: ['{{broken.x|upper}}']
    env: [{name: A, value: $NOBODY}]
"""
