//! Thousands of targets that were made to be read in two ways. Whatever passes has to read the same, however the API
//! behind reads it. The readings stand here, apart from the code that judges.

use super::{asked, rules};
use crate::test_server::TestServer;

gates![t8_hostile_targets_read_the_same_to_everybody, t8_hostile_targets_where_much_is_admitted];

/// Anything between two slashes, or what others take for one.
const PIECES: [&str; 62] = [
    "public",
    "admin",
    "a",
    "x.txt",
    "",
    ".",
    "..",
    "...",
    "%2e",
    "%2E%2e",
    ".%2e",
    "%2e.",
    "%252e%252e",
    "%25%32%65",
    "..;",
    "..;x=1",
    ";",
    ";x",
    "x;y",
    "%3b",
    "..%3b",
    "%2f",
    "%2F",
    "%2f..",
    "..%2f",
    "..%2fadmin",
    "%252f",
    "%5c",
    "%5C..",
    "\\",
    "..\\",
    "..\\admin",
    "%255c",
    "%00",
    "%00admin",
    "x%00.txt",
    "%0a",
    "%0d%0a",
    "%09",
    "%20",
    "x%20",
    "%c0%af",
    "%c0%ae%c0%ae",
    "%e0%80%af",
    "%f0%80%80%af",
    "%ff",
    "%61dmin",
    "adm%69n",
    "ADMIN",
    "%3f",
    "x%3f",
    "%23",
    "%",
    "%2",
    "%zz",
    "%u002e",
    "caf%C3%A9",
    "%25",
    "admin%20",
    "x:y",
    "~",
    "*",
];

const JOINTS: [&str; 9] = ["/", "/", "/", "/", "/", "//", "\\", "/./", "/;/"];

const TAILS: [&str; 9] = ["", "", "", "/", "?", "?/../admin", "?x=/admin", "#/admin", "/."];

const HEADS: [&str; 10] =
    ["/public", "/public", "/public", "/admin", "", "/", "//public", "http://127.0.0.1:8080/public", "/public;x", "/x"];

/// What nobody means ill by, and yet may.
const PLAIN: [&str; 8] = ["public", "admin", "a", "x.txt", "caf%C3%A9", "v1;x=1", "a%2fb", "what%3f"];

/// Pseudo-random numbers from a seed.
struct Randomness(u64);

impl Randomness {
    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        list[(self.0 >> 11) as usize % list.len()]
    }

    fn target(&mut self) -> String {
        let mut target = self.of(&HEADS).to_owned();
        for _ in 0..self.of(&["1", "1", "2", "3", "4"]).parse::<usize>().expect("a number") {
            target += self.of(&JOINTS);
            target += if self.of(&["odd", "plain"]) == "odd" { self.of(&PIECES) } else { self.of(&PLAIN) };
        }
        target + self.of(&TAILS)
    }
}

/// Escapes taken for what they mean; what is no escape stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

/// As an old decoder would: overlong forms too.
fn laxly_decoded(text: &[u8]) -> Vec<u8> {
    let bytes = decoded(text);
    let mut out = Vec::new();
    let mut rest = &bytes[..];
    while let Some((first, more)) = rest.split_first() {
        let (length, mut value) = match first {
            0xc0..=0xdf => (1, u32::from(first & 0x1f)),
            0xe0..=0xef => (2, u32::from(first & 0x0f)),
            0xf0..=0xf7 => (3, u32::from(first & 0x07)),
            _ => (0, 0),
        };
        if length > 0 && more.len() >= length && more[..length].iter().all(|byte| byte & 0xc0 == 0x80) {
            for byte in &more[..length] {
                value = value << 6 | u32::from(byte & 0x3f);
            }
            if value < 0x80 {
                out.push(value as u8);
                rest = &more[length..];
                continue;
            }
        }
        out.push(*first);
        rest = more;
    }
    out
}

fn cut(text: &[u8], at: u8) -> Vec<u8> {
    text.split(|byte| *byte == at).next().unwrap_or_default().to_vec()
}

fn without_parameters(text: &[u8]) -> Vec<u8> {
    text.split(|byte| *byte == b'/').map(|segment| cut(segment, b';')).collect::<Vec<_>>().join(&b'/')
}

fn replaced(text: &[u8], from: u8, to: u8) -> Vec<u8> {
    text.iter().map(|byte| if *byte == from { to } else { *byte }).collect()
}

/// Dots removed (RFC 3986 section 5.2.4), slashes merged.
fn normalised(text: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = text.split(|byte| *byte == b'/').collect();
    for segment in &segments {
        match *segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut path = b"/".to_vec();
    path.extend(kept.join(&b'/'));
    let folder = segments.last().is_some_and(|last| matches!(*last, b"" | b"." | b".."));
    if folder && path.len() > 1 {
        path.push(b'/');
    }
    path
}

/// What becomes of a path in one kind of server, step by step.
type Reader = (&'static str, fn(&[u8]) -> Vec<u8>);

const READERS: [Reader; 14] = [
    ("as it was sent", |path| path.to_vec()),
    ("decoded", decoded),
    ("normalised", normalised),
    ("decoded, then normalised", |path| normalised(&decoded(path))),
    ("normalised, then decoded", |path| decoded(&normalised(path))),
    ("decoded twice, then normalised", |path| normalised(&decoded(&decoded(path)))),
    ("decoded three times", |path| decoded(&decoded(&decoded(path)))),
    ("decoded by an old decoder, then normalised", |path| normalised(&laxly_decoded(path))),
    ("with backslashes for slashes", |path| normalised(&replaced(&decoded(path), b'\\', b'/'))),
    ("without parameters", |path| normalised(&without_parameters(path))),
    ("decoded, then without parameters", |path| normalised(&without_parameters(&decoded(path)))),
    ("decoded, then taken apart as a target", |path| normalised(&cut(&cut(&decoded(path), b'#'), b'?'))),
    ("cut at NUL", |path| normalised(&cut(&decoded(path), 0))),
    ("with controls left out", |path| {
        normalised(&decoded(path).into_iter().filter(|byte| !byte.is_ascii_control()).collect::<Vec<_>>())
    }),
];

/// Where such a reader ends up, as far as our rules tell places apart. Escapes that are left mean what they mean.
fn room(path: &[u8]) -> &'static str {
    let plain = decoded(path);
    let first = plain.split(|byte| *byte == b'/').nth(1).unwrap_or_default();
    match first {
        b"public" => "public",
        b"admin" => "admin",
        _ => "rest",
    }
}

/// The path of a target as it goes over the wire.
fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

async fn passes(t: &TestServer, target: &str) -> Option<String> {
    let ask = t.get("/-/auth").with("x-original-method", "GET").with("x-original-proto", "http");
    let reply = ask.with("x-original-host", "127.0.0.1:8080").with("x-original-uri", target).await;
    if reply.status.as_u16() == 204 {
        return Some(reply.told("rule").to_owned());
    }
    assert!([401, 403].contains(&reply.status.as_u16()), "{target}: {}", reply.status);
    None
}

/// How many passed, and that each of them leads to the same room by every reader.
async fn judged(t: &TestServer, seed: u64, count: usize, same: bool) -> usize {
    let mut randomness = Randomness(seed);
    let mut passed = 0;
    for _ in 0..count {
        let target = randomness.target();
        let Some(rule) = passes(t, &target).await else { continue };
        passed += 1;
        let path = path_of(&target).as_bytes();
        for (reader, reads) in READERS {
            let read = reads(path);
            assert_eq!(room(&read), rule, "seed {seed}: {target} {reader}: {}", String::from_utf8_lossy(&read));
            if same {
                let (read, sent) = (decoded(&read), decoded(path));
                assert_eq!(read, sent, "seed {seed}: {target} {reader}");
            }
        }
    }
    passed
}

const SEEDS: [u64; 2] = [0x5eed, 0x7011_4005_e000_0001];

async fn t8_hostile_targets_read_the_same_to_everybody(t: TestServer) {
    rules(
        &t,
        "[[rule]]\nname = 'public'\nhost = '127.0.0.1'\npath = '/public/*'\nallow = 'anyone'\n\
         [[rule]]\nname = 'admin'\nhost = '127.0.0.1'\npath = '/admin/*'\nallow = 'administrator'\n\
         [[rule]]\nname = 'rest'\nhost = '127.0.0.1'\npath = '/*'\nallow = 'anyone'\n",
    )
    .await;
    for seed in SEEDS {
        let passed = judged(&t, seed, 4_000, true).await;
        assert!(passed > 100, "seed {seed}: only {passed} passed");
    }
    asked(&t, "GET", "http://127.0.0.1:8080/admin").await.is_kept_out(401);
}

async fn t8_hostile_targets_where_much_is_admitted(t: TestServer) {
    let admits = "admits = ['%2f', ';', '%3f', '%23']";
    rules(
        &t,
        &format!(
            "[[rule]]\nname = 'admin'\nhost = '127.0.0.1'\npath = '/admin/*'\nallow = 'administrator'\n{admits}\n\
             [[rule]]\nname = 'public'\nhost = '127.0.0.1'\npath = '/public/*'\nallow = 'anyone'\n{admits}\n\
             [[rule]]\nname = 'rest'\nhost = '127.0.0.1'\npath = '/*'\nallow = 'anyone'\n{admits}\n"
        ),
    )
    .await;
    for seed in SEEDS {
        let passed = judged(&t, seed, 4_000, false).await;
        assert!(passed > 200, "seed {seed}: only {passed} passed");
    }
    asked(&t, "GET", "http://127.0.0.1:8080/admin").await.is_kept_out(401);
}
