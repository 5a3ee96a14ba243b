//! The head of a request as it goes over the wire, or as `curl -v` shows it.

use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::curl::NOT_CURL;

const NOTHING: &str = "there is no request: paste a curl command or the head of a request, then press Ctrl-D";

/// Lines end in CRLF or LF. What follows the empty line is the body, as far as `Content-Length` says. Errors name a
/// line by its number: it may hold a credential.
pub(super) fn request(text: &[u8]) -> Result<Request<Vec<u8>>, String> {
    let shown = sent_lines(text);
    let text = shown.as_deref().unwrap_or(text);
    let start = text.iter().position(|b| !b.is_ascii_whitespace()).ok_or(NOTHING)?;
    let (mut rest, mut number) = (&text[start..], 0);
    let mut request = Request::new(Vec::new());
    while let Some(line) = line(&mut rest) {
        number += 1;
        if number == 1 {
            (*request.method_mut(), *request.uri_mut(), *request.version_mut()) = request_line(line)?;
            continue;
        }
        if line.is_empty() {
            break;
        }
        if line[0] == b' ' || line[0] == b'\t' {
            return Err(format!("line {number} continues the line before it, which is not supported: join them"));
        }
        let (name, value) = header(line).ok_or_else(|| format!("line {number} is not a header"))?;
        request.headers_mut().append(name, value);
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    *request.body_mut() = rest[..rest.len().min(length.unwrap_or(0))].to_vec();
    Ok(request)
}

/// Without its end; `None`: there is no more.
fn line<'t>(rest: &mut &'t [u8]) -> Option<&'t [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|b| *b == b'\n');
    let line = &rest[..end.unwrap_or(rest.len())];
    *rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// A line without a version may be of any, so nothing is asked of its headers that only HTTP/1.1 asks.
fn request_line(line: &[u8]) -> Result<(Method, Uri, Version), String> {
    let parts: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    // `wget http://h.test` has two words as well.
    let is_word_of_http =
        |word: &[u8]| word.iter().all(|b| b.is_ascii_uppercase() || *b == b'-' || !b.is_ascii_graphic());
    let (method, target, version) = match parts[..] {
        [program, ..] if is_program(program) => return Err(NOT_CURL.to_owned()),
        [method, target] if is_word_of_http(method) => (method, target, Version::HTTP_10),
        [method, target, b"HTTP/1.1"] => (method, target, Version::HTTP_11),
        [method, target, b"HTTP/1.0"] => (method, target, Version::HTTP_10),
        [method, target, version] if version.starts_with(b"HTTP/") => (method, target, Version::HTTP_2),
        _ => return Err("the first line is neither METHOD TARGET HTTP/1.1 nor a curl command".to_owned()),
    };
    let method = Method::from_bytes(method).map_err(|_| "the first line has no valid method")?;
    let fits = |uri: &Uri| match uri.path() {
        "*" => method == Method::OPTIONS,
        path => path.starts_with('/') || method == Method::CONNECT,
    };
    let uri = Uri::try_from(target).ok().filter(fits);
    Ok((method, uri.ok_or("the target in the first line cannot be parsed")?, version))
}

/// Programs that people have a line of at hand; none of these is a method.
fn is_program(word: &[u8]) -> bool {
    let name = word.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let known =
        ["wget", "wget2", "http", "https", "httpie", "xh", "xhs", "curlie", "aria2c", "invoke-webrequest", "iwr"];
    std::str::from_utf8(name).is_ok_and(|name| known.contains(&name.to_ascii_lowercase().as_str()))
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

/// The lines that `curl -v` marks as sent.
fn sent_lines(text: &[u8]) -> Option<Vec<u8>> {
    let marked = |line: &&[u8]| line.starts_with(b"> ") || line.trim_ascii() == b">";
    let mut lines = text.split(|b| *b == b'\n').filter(marked).peekable();
    lines.peek()?;
    let first = text.trim_ascii_start().first()?;
    if !matches!(first, b'>' | b'*' | b'<' | b'{') {
        return None;
    }
    Some(lines.flat_map(|line| [line[1..].strip_prefix(b" ").unwrap_or(&line[1..]), b"\n"].concat()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_with_either_end_of_line() {
        for end in ["\r\n", "\n"] {
            let lines = [
                "POST /api/v4/projects?x=1 HTTP/1.1",
                "Host: h",
                "PRIVATE-TOKEN:  glpat-x ",
                "content-length: 3",
                "",
                "a=1\n\n",
            ];
            let read = request(lines.join(end).as_bytes()).expect("a request");
            assert_eq!((read.method(), read.uri().to_string().as_str()), (&Method::POST, "/api/v4/projects?x=1"));
            assert_eq!(read.headers()["private-token"], "glpat-x");
            assert_eq!(read.body().as_slice(), b"a=1");
        }
        let bare = request(b"\n\nGET /x\nA: b\nA: c").expect("a request");
        assert_eq!(bare.headers().get_all("a").iter().count(), 2);
        let absolute = request(b"GET http://h.test/x HTTP/2\n").expect("a request");
        assert_eq!((absolute.uri().path(), absolute.version()), ("/x", Version::HTTP_2));
        assert_eq!(bare.version(), Version::HTTP_10);
        for line in [&b"OPTIONS * HTTP/1.1"[..], b"CONNECT a.test:443 HTTP/1.1"] {
            assert_eq!(request(line).expect("a request").version(), Version::HTTP_11);
        }
        let body = request(b"POST /x HTTP/1.1\n\nno length, no body").expect("a request");
        assert!(body.body().is_empty());
    }

    #[test]
    fn what_curl_shows_is_read_too() {
        let shown = b"* Connected\n> GET /api/v4/user HTTP/1.1\r\n> Host: h\r\n> PRIVATE-TOKEN: x\r\n>\r\n< HTTP/1.1 200 OK\r\n";
        let read = request(shown).expect("a request");
        assert_eq!((read.uri().path(), read.headers().len()), ("/api/v4/user", 2));
    }

    #[test]
    fn what_is_no_head_is_refused_without_repeating_it() {
        for (text, told) in [
            (&b""[..], "no request"),
            (b" \n\t", "no request"),
            (b"hunter2", "first line"),
            (b"GET  /hunter2 HTTP/1.1", "first line"),
            (b"GET /a b HTTP/1.1", "first line"),
            (b"wget http://h.test/hunter2", "begin with curl"),
            (b"wget --header='PRIVATE-TOKEN: hunter2' http://h.test/", "begin with curl"),
            (b"/usr/bin/wget -q http://h.test/hunter2", "begin with curl"),
            (b"http GET h.test/hunter2", "begin with curl"),
            (b"Invoke-WebRequest http://h.test/hunter2", "begin with curl"),
            (b"fetch http://h.test/hunter2", "first line"),
            (b"GET /hunter2 FTP/1", "first line"),
            (b"G@T /hunter2 HTTP/1.1", "no valid method"),
            (b"GET hunter2:1 HTTP/1.1", "target"),
            (b"GET * HTTP/1.1", "target"),
            (b"GET /hunter2\x01 HTTP/1.1", "target"),
            (b"GET / HTTP/1.1\nhunter2", "line 2 is not a header"),
            (b"GET / HTTP/1.1\nA: b\n hunter2", "line 3 continues"),
            (b"GET / HTTP/1.1\nA : hunter2", "line 2 is not a header"),
            (b"GET / HTTP/1.1\nA: hunter2\0", "line 2 is not a header"),
            (b"GET / HTTP/1.1\n: hunter2", "line 2 is not a header"),
            (b"GET / HTTP/1.1\nA: b\rhunter2: c", "line 2 is not a header"),
        ] {
            let error = request(text).expect_err("an error");
            assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
        }
    }
}
