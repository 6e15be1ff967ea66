"""The configuration that `stixbridge init` writes."""

CONFIGURATION = """\
# stixbridge configuration. Every setting is described in docs/configuration.md.
# Secrets are references, never values: { env = "NAME" }, { file = "PATH" } or { keyring = "NAME" }.

[store]
path = "stixbridge.db"                      # SQLite: received objects and deliveries

[sources.acme]
type = "taxii21"                            # or "taxii20", or "files" with paths = ["inbox/*.json"]
# preset = "opencti"                        # what a known server needs; see docs/configuration.md
url = "https://taxii.example.com/taxii2/"   # discovery, API root or collection
collections = ["indicators"]                # by title or id; all readable ones when left out
since = "5d"                                # first run only: how far back
default_tlp = "tlp:amber"                   # where nothing is marked
auth = { type = "basic", user = "me", password = { env = "ACME_PASSWORD" } }
# auth = { type = "bearer", token = { env = "ACME_TOKEN" } }
# auth = { type = "header", name = "x-api-key", value = { env = "ACME_KEY" } }
# ca = "/etc/ssl/acme-ca.pem"               # the server's own certificate authority
# cert = "/etc/ssl/me.pem"                  # a client certificate, with its key
# proxy = "http://proxy.example.com:3128"
# types = ["indicator", "report"]           # let in less; also max_age = "90d", min_confidence = 50
# vanished = "to_ids_off"                   # what the server has no longer; also keep, tag, delete

[sinks.misp]
type = "misp"
url = "https://misp.example.com"
key = { env = "MISP_KEY" }
# ca = "/etc/ssl/misp-ca.pem"
# foreign = "adopt"                         # events that an older script made; also skip, extend

[sinks.feed]
type = "feed"                               # a folder that any MISP can subscribe to
path = "feed"
# orgc = { name = "My CERT", uuid = "00000000-0000-4000-8000-000000000000" }

[pipelines.acme]
source = "acme"
sinks = ["misp"]                            # or ["misp", "feed"]
# every = "15m"                             # with stixbridge run --watch
# guard = { add = "10000", withdraw = "20%" } # stop a run that would do more; --confirm goes on
# group = "report"                          # objects in no report: by day; or input, creator
# labels = ["*"]                            # labels that become tags
# preserve = "source"                       # attach the STIX objects behind each event
# custom = "drop"                           # types no table knows: "objects" (MISP objects), "all"
enrich = { info = "{report.name}", threat_level = 1, tags = ["tlp:green"] }
# enrich also takes analysis, distribution, sharing_group, publish
"""
