"""nginx with examples/nginx.conf, before an API that writes down what reaches it."""

from gateway import Nginx
from proxied import hold

hold(
    Nginx,
    [
        ("proxy_pass http://api; ", "proxy_pass http://api/; ", "T8"),
        ("X-Original-Host   $site; ", "X-Original-Host   $http_host; ", "T12"),
        ("X-Original-For    $remote_addr; ", "X-Original-For    $http_x_forwarded_for; ", "T14"),
        ('default         "";', "default         $http_upgrade;", "T3"),
        ("Connection $hop;", "Connection $http_connection;", "T2"),
        ("access.log without_query;", "access.log;", "T30"),
        ("$request_method $uri ", "$request_method $request_uri ", "T30"),
        ("http {\n", "http { underscores_in_headers on;\n", "T7"),
    ],
)
