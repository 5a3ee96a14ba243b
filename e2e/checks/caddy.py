"""Caddy with examples/Caddyfile, before an API that writes down what reaches it."""

from gateway import Caddy
from proxied import hold

hold(
    Caddy,
    [
        ("X-Original-Host 127.0.0.1:8000 ", "X-Original-Host {http.request.header.Host} ", "T12"),
        ("@odd method CONNECT TRACE\n", "@odd method NONE\n", "T1"),
        ("@allowed status 204 ", "@allowed status 2xx ", "T3"),
        ("@allowed status 204 ", "@allowed status 204 302 500 ", "T3"),
    ],
)
