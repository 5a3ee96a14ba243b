"""How often a request waits for PostgreSQL."""

import http.client
import socket
import threading
import time

from .measure import CREDENTIALS, Line
from .reads import singles
from .sites import Broken


class Trips:
    """Stands between a server and PostgreSQL and counts how often somebody there began to speak after it had answered."""

    def __init__(self, postgres):
        self.postgres, self.count = postgres, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, database):
        return f"postgres://tollhouse@127.0.0.1:{self.listener.getsockname()[1]}/{database}"

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self.postgres.folder / ".s.PGSQL.5432"))
            state = {"asking": False}
            for source, sink, asks in (client, server, True), (server, client, False):
                threading.Thread(target=self.pass_on, args=[source, sink, asks, state], daemon=True).start()

    def pass_on(self, source, sink, asks, state):
        try:
            while data := source.recv(65536):
                if asks and not state["asking"]:
                    self.count += 1
                state["asking"] = asks
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def trips(bench, site, requests):
    """Per request, what it does after its answer included; the median of requests one after the other."""
    between = Trips(site.postgres)
    with site.serve(url=between.url(site.name)) as server:
        connection = http.client.HTTPConnection(server.address)
        for what, request in requests.items():
            counts = []
            for _ in range(60):
                before = between.count
                form = {"Content-Type": "application/x-www-form-urlencoded"} if request.body else {}
                connection.request(request.method, request.path, request.body or None, request.headers | form)
                answer = connection.getresponse()
                answer.read()
                if answer.status >= 300:
                    raise Broken(f"{request.path}: {answer.status}")
                time.sleep(0.01)
                counts.append(between.count - before)
            yield Line(f"{what}, round trips", counts[20:])
        connection.close()
    between.listener.close()


def show_trips(bench, engine):
    yield from trips(bench, bench.demo(engine), singles(bench.demo(engine)))


def credentials_trips(bench, engine):
    yield from trips(bench, bench.writes(engine), {"client_credentials": CREDENTIALS})
