"""Caddy with examples/Caddyfile, before an API that writes down what reaches it."""

from gateway import Caddy
from proxied import hold

hold(Caddy, [("X-Original-Host 127.0.0.1:8000 ", "X-Original-Host {http.request.header.Host} ", "T12")])
