"""HTTP as it really is on the wire, and two who write it down: an API, and a relay before Tollhouse."""

import socket
import threading
from types import SimpleNamespace


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


class Headers(list):
    """Names and values in the order in which they came."""

    def all(self, name):
        return [value for known, value in self if known.lower() == name.lower()]

    def one(self, name):
        [value] = self.all(name)
        return value


def read_head(stream):
    """The first line and the headers, or None at the end of the stream."""
    lines = []
    while (line := stream.readline()) not in (b"\r\n", b"\n"):
        if not line:
            return None
        lines.append(line.rstrip(b"\r\n").decode("latin-1"))
    pairs = (line.partition(":") for line in lines[1:])
    return lines[0], Headers((name, value.strip()) for name, _, value in pairs)


def read_body(stream, headers):
    if any("chunked" in value.lower() for value in headers.all("Transfer-Encoding")):
        body = b""
        while size := int(stream.readline().split(b";")[0], 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return body
    return stream.read(int((headers.all("Content-Length") or ["0"])[0]))


def exchange(port, message, seconds=10):
    """Send these very bytes, and read one answer; one that is no HTTP has the status 0."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as line, line.makefile("rb") as stream:
        try:
            line.sendall(message)
        except OSError:
            pass  # Refused before all of it was read; the answer says why.
        try:
            first, headers = read_head(stream) or ("", Headers())
            status = int(first.split()[1]) if first.startswith("HTTP/") else 0
            bodiless = message.startswith(b"HEAD ") or status in (0, 101, 204, 304)
            body = b"" if bodiless else read_body(stream, headers) if headers.all("Content-Length") else stream.read()
        except (ConnectionError, TimeoutError):
            return SimpleNamespace(status=0, headers=Headers(), body=b"")
    return SimpleNamespace(status=status, headers=headers, body=body)


class Listener:
    """A thread for each connection."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.socket.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def accept(self):
        while True:
            try:
                line, _ = self.socket.accept()
            except OSError:
                return
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.quietly, args=[line], daemon=True).start()

    def quietly(self, line):
        try:
            with line:
                self.serve(line)
        except (OSError, ValueError):
            pass


class Api(Listener):
    """Somebody's API. `arrived` is what reached it, in order."""

    def __init__(self):
        super().__init__()
        self.arrived = []

    def serve(self, line):
        with line.makefile("rb") as stream:
            while head := read_head(stream):
                first, headers = head
                method, target, _ = first.split(" ", 2)
                body = read_body(stream, headers)
                self.arrived.append(
                    SimpleNamespace(line=first, method=method, target=target, headers=headers, body=body)
                )
                if upgrade := headers.all("Upgrade"):
                    # It agrees to anything, and then says everything again.
                    line.sendall(f"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: {upgrade[0]}\r\n\r\n".encode())
                    while some := line.recv(4096):
                        line.sendall(some)
                    return
                line.sendall(self.answer(method, target))

    def answer(self, method, target):
        status, more = "200 OK", ""
        if target == "/public/refuses":
            status, more = (
                "401 No",
                'WWW-Authenticate: Basic realm="api"\r\nX-Tollhouse-Sign-In: http://elsewhere.test/\r\n',
            )
        if target == "/public/sends-elsewhere":
            more = "X-Accel-Redirect: /-/auth\r\n"
        if target == "/public/breaks":
            status = "500 Broken"
        body = "" if method == "HEAD" else "said by the API"
        return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class Relay(Listener):
    """Between the proxy and Tollhouse, to read along; `asked` are the questions, `heard` all else, by the probe that led to them."""

    def __init__(self, port):
        super().__init__()
        self.to, self.asked, self.heard = port, {}, {}

    def serve(self, line):
        with socket.create_connection(("127.0.0.1", self.to)) as onward:
            onward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.back, args=[onward, line], daemon=True).start()
            with line.makefile("rb") as stream:
                while head := read_head(stream):
                    first, headers = head
                    lines = [first, *(f"{name}: {value}" for name, value in headers)]
                    raw = "\r\n".join([*lines, "", ""]).encode("latin-1")
                    question = first.split(" ")[1].startswith("/-/auth")
                    among = self.asked if question else self.heard
                    number = int((headers.all("X-Probe") or ["0"])[0])
                    among.setdefault(number, []).append(SimpleNamespace(line=first, headers=headers))
                    if question:
                        # Its length is said, if at all, of a body that does not come.
                        onward.sendall(raw)
                    else:
                        onward.sendall(raw)
                        onward.sendall(read_body(stream, headers))

    @staticmethod
    def back(onward, line):
        try:
            while some := onward.recv(65536):
                line.sendall(some)
            line.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
