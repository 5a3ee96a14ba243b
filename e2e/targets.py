"""Targets as nobody means well with, and every way in which an API might read them."""

import random
import re
from itertools import product
from urllib.parse import unquote_to_bytes

# What anybody may ask for, and what lies beside it or inside of it for administrators alone.
OPEN = [b"/public", b"/open", b"/files"]
GUARDED = [b"/admin", b"/open/admin", b"/files/admin"]

UP = [
    b"/..",
    b"/../..",
    b"/./..",
    b"/%2e%2e",
    b"/%2E%2e",
    b"/.%2e",
    b"/%2e.",
    b"/%252e%252e",
    b"/%25%32%65.",
    b"%2f..",
    b"%2F%2e%2E",
    b"%252f..%252f",
    b"%5c..",
    b"\\..",
    b"%255c..",
    b"/..;",
    b"/..;/..",
    b"/..;x=y",
    b"/..%3b",
    b"/%c0%ae%c0%ae",
    b"/\xc0\xae\xc0\xae",
    b"/%e0%80%ae%e0%80%ae",
    b"%c0%af..",
    b"%c1%9c..",
    b"/%u002e%u002e",
    b"/%25u002e%25u002e",
    b"/%c2%85..",
    b"/..%00",
    b"/..\x00",
    b"/..%20",
    b"/..\t",
    b"/..%09",
    b"/..%0a",
    b"/..%0d%0a",
    b"/...",
    b"/.%00.",
    b"/%ef%bc%8e%ef%bc%8e",
    b"//..",
]
SLASHES = [
    b"/",
    b"//",
    b"///",
    b"%2f",
    b"%2F",
    b"%252f",
    b"%5c",
    b"\\",
    b"/./",
    b"/%2e/",
    b"/;/",
    b";/",
    b"/;x/",
    b"%00/",
    b"/\xc0\xaf",
]
ADMINS = [
    b"admin",
    b"%61dmin",
    b"ad%6Din",
    b"%2561dmin",
    b"admin.",
    b"admin%2e",
    b"admin;x",
    b"admin%3bx",
    b"admin%00",
    b"admin%20",
    b"admin\t",
    b"admin%09",
    b"admin#",
    b"admin%23",
    b"admin%3f",
    b"adm%69n",
    b"%c1%a1dmin",
]
ENDS = [
    b"",
    b"/",
    b"/x",
    b"?",
    b"?x",
    b"?/public/x",
    b"#",
    b"#/public/x",
    b";",
    b";x=y",
    b".",
    b"..",
    b"/.",
    b"/..",
    b"%",
    b"%2",
    b"%zz",
    b"%00",
    b"\t",
    b"/x%3f",
    b"%25",
    b"/%2e%2e/public/x",
    b"%0d%0aX-Tollhouse-User-Id:%201",
]
WORDS = [
    b"x",
    b"a.b",
    b"a-b_c~d",
    b"%C3%A9",
    b"%c3%a9",
    b"...",
    b"%21",
    b"a,b",
    b"@",
    b"a:b",
    b"admin",
    b"100%25",
    b"%E2%82%AC",
    b"+",
    b"'()*",
    b"!$&=",
]


def generate(seed, count, site):
    """Pairs of a target and whether it is one that must pass."""
    dice = random.Random(seed)
    one = dice.choice
    site = site.encode()

    def hidden():
        """Something of somebody's path, then up and down again to what is guarded."""
        down = b"".join(one([b"/x", b"/a%20b", b"/admin", b""]) for _ in range(dice.randrange(3)))
        up = b"".join(one(UP) for _ in range(dice.randrange(4)))
        return one(OPEN) + down + up + one(SLASHES) + one([b"", b"", b"open/"]) + one(ADMINS) + one(ENDS)

    def mixed():
        pieces = UP + SLASHES + ADMINS + ENDS + WORDS
        return one(OPEN + [b"", b"/"]) + b"".join(one(pieces) for _ in range(dice.randrange(1, 7)))

    def absolute():
        scheme = one([b"http", b"HTTP", b"https", b"ftp", b"", b"//"])
        host = one([site, site, site, b"elsewhere.example.test", b"x@" + site, site + b"@x", b"", b"[::1]"])
        return scheme + one([b"://", b":/", b":", b":///", b"://"]) + host + one([hidden, mixed, asking])()

    def asking():
        """A query that looks like a path, and the other way round."""
        before = one([b"", b"/", *OPEN, *GUARDED]) + one([b"", b"/", b"/x", *UP])
        return before + one([b"?", b"%3f", b"??", b"?%23", b"#", b"#?", b"%23"]) + one([b"", b"/"]) + hidden()[1:]

    def bare():
        return one(
            [
                b"*",
                b"admin/x",
                b"",
                b"/\\admin/x",
                b"\\admin\\x",
                b".",
                b"..",
                b"../admin/x",
                b"%2fadmin%2fx",
                b"%61",
                site,
                b":80/admin/x",
            ]
        ) + one(ENDS)

    def respelt():
        """A guarded path itself, with some of its letters and slashes spelt in other ways."""
        path = one(GUARDED) + one([b"", b"/", b"/x"])
        spell = [
            lambda c: b"%%%02x" % c[0],
            lambda c: b"%%%02X" % c[0],
            lambda c: b"%%25%02x" % c[0],
            lambda c: c * 2 if c == b"/" else c,
        ]
        letters = (bytes([c]) for c in path)
        return b"".join(c if dice.random() < 0.8 else one(spell)(c) for c in letters) + one(ENDS)

    def good():
        query = one([b"", b"", b"?x=1", b"?to=/admin/x", b"?a=%2F..%2F&b=//"])
        return (
            one(OPEN)
            + b"".join(b"/" + one([w for w in WORDS if w != b"admin"]) for _ in range(dice.randrange(4)))
            + query
        )

    kinds = [hidden, hidden, mixed, mixed, absolute, asking, bare, respelt]
    for number in range(count):
        # Every tenth is harmless, so that letting nothing through is no way out.
        yield (good(), True) if number % 10 == 0 else (one(kinds)(), False)


def path_of(target):
    return re.sub(rb"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", b"", target) or b"/"


def without_dots(path):
    kept = []
    for segment in path.split(b"/"):
        if segment == b"..":
            kept = kept[:-1] if len(kept) > 1 else kept
        elif segment != b".":
            kept.append(segment)
    return b"/".join(kept)


def overlong_decoded(path):
    """As an old decoder would: ASCII that is spelt in more bytes than it needs."""

    def ascii(found):
        first, *rest = found[0]
        value = first & (0x3F >> len(rest))
        for byte in rest:
            value = value << 6 | byte & 0x3F
        return bytes([value]) if value < 0x80 else found[0]

    more = rb"[\x80-\xbf]"
    return re.sub(rb"[\xc0-\xdf]%b|[\xe0-\xef]%b{2}|[\xf0-\xf7]%b{3}" % (more, more, more), ascii, path)


def utf16_decoded(path):
    """`%u002e`, and the wide letters of which some make narrow ones."""

    def character(found):
        value = int(found[1], 16)
        value -= 0xFEE0 if 0xFF01 <= value <= 0xFF5E else 0
        return chr(value).encode("utf-8", "surrogatepass")

    return re.sub(rb"%[uU]([0-9a-fA-F]{4})", character, path)


def without_spaces(path):
    """Some file systems drop spaces at the end of a name, and then `.. ` leads up."""
    return re.sub(rb"(?<![^/])(\.\.?) +(?![^/])", rb"\1", path)


def readings(target):
    """The target as it might be read: in each combination and order that a server of some make could have."""
    started = {path_of(target)}
    started |= {re.split(rb"[?#]", path)[0] for path in started}

    def each(paths, *readers):
        return paths | {reader(path) for path, reader in product(paths, readers)}

    def cut(path):
        return re.sub(rb";[^/]*", b"", path)

    def merged(path):
        return re.sub(rb"/+", b"/", path)

    def straight(path):
        return path.replace(b"\\", b"/")

    paths = started
    for _ in range(3):
        paths = each(paths, straight)
        paths = each(paths, without_spaces)
        paths = each(paths, cut)
        paths = each(paths, merged)
        paths = each(paths, without_dots)
        paths = each(paths, unquote_to_bytes, utf16_decoded)
        paths = each(paths, overlong_decoded)
        # A path that is taken apart after it was decoded.
        paths = each(paths, lambda path: re.split(rb"[?#\0]", path)[0])
    return paths


def is_guarded(path):
    return any(path == guarded or path.startswith(guarded + b"/") for guarded in GUARDED)


def reads_as_guarded(target):
    """The reading under which this target is a guarded path, if there is one."""
    # The query is no path to anybody: what stands there is not read.
    return next((path for path in sorted(readings(target.split(b"?")[0])) if is_guarded(path)), None)


def reads_as_trimmed(target):
    """Whether it is one where names lose dots and spaces at their end. That is not promised (docs/gateway.md)."""
    return any(is_guarded(re.sub(rb"[. ]+(?![^/])", b"", path)) for path in readings(target.split(b"?")[0]))
