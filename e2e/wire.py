"""HTTP as it really is on the wire, and two who write it down: an API, and a relay before Tollhouse."""

import re
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


def read_raw_head(stream):
    """Everything up to the first empty line, or None at the end of the stream."""
    raw = b""
    while line := stream.readline():
        raw += line
        if line in (b"\r\n", b"\n"):
            return raw
    return None


def parsed(raw):
    """The first line and the headers."""
    lines = [line.rstrip(b"\r\n").decode("latin-1") for line in raw.split(b"\n")[:-2]]
    pairs = (line.partition(":") for line in lines[1:])
    return lines[0] if lines else "", Headers((name, value.strip()) for name, _, value in pairs)


def read_head(stream):
    raw = read_raw_head(stream)
    return raw and parsed(raw)


def ambiguities(raw):
    """Why two servers might not agree where this request ends, or what it asks for."""
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if re.search(rb"[\r\n\0]", b"".join([first, *lines])):
        yield "a bare CR or LF, or a NUL"
    if not re.fullmatch(rb"[!-~]+ [^ \t]+ HTTP/1\.[01]", first):
        yield "a first line that is not of three parts"
    pairs = [line.partition(b":") for line in lines]
    if not all(re.fullmatch(rb"[\w!#$%&'*+.^`|~-]+", name) and colon for name, colon, _ in pairs):
        yield "a line that is no header"
    lengths, codings = (
        [value.strip() for name, _, value in pairs if name.strip().lower() == wanted]
        for wanted in (b"content-length", b"transfer-encoding")
    )
    if len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]+", length) for length in lengths):
        yield "more than one Content-Length, or one that is no number"
    if codings not in ([], [b"chunked"]) or (codings and lengths):
        yield "a Transfer-Encoding that is not `chunked` alone"


def read_body(stream, headers):
    if any("chunked" in value.lower() for value in headers.all("Transfer-Encoding")):
        body = b""
        while size := int(stream.readline().split(b";")[0], 16):
            body += stream.read(size)
            stream.readline()
        # Trailers count for nothing.
        while stream.readline().strip():
            pass
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
    """Somebody's API. `arrived` is what reached it, in order; `ambiguous` is what of it could be read in two ways."""

    def __init__(self):
        super().__init__()
        self.arrived, self.ambiguous = [], []

    def serve(self, line):
        with line.makefile("rb") as stream:
            while raw := read_raw_head(stream):
                self.ambiguous += [(why, raw) for why in ambiguities(raw)]
                first, headers = parsed(raw)
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
                if "breaks-off" in target:
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
    """Between the proxy and Tollhouse, to read along; `asked` are the questions, `heard` all else, by the probe that led
    to them. To the next question it says `instead`, if that is a status, and Tollhouse does not hear of it."""

    def __init__(self, port):
        super().__init__()
        self.to, self.asked, self.heard, self.instead = port, {}, {}, None

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
                    if question and self.instead:
                        status, self.instead = self.instead, None
                        line.sendall(f"HTTP/1.1 {status} So\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".encode())
                    elif question:
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
