//! A line with `curl`, as the request that curl would send. Only what changes the request is read; an option that is
//! not known is an error, because leaving it out would explain another request.

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, REFERER, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use data_encoding::BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tollhouse_domain::text::printable;

/// What the words after a prompt ask for. Errors never repeat a value: it may be a credential.
pub(super) fn request(words: &[String]) -> Result<Request<Vec<u8>>, String> {
    let mut words = words.iter().map(String::as_str);
    if !words.next().is_some_and(|first| first == "curl" || first.ends_with("/curl")) {
        return Err(NOT_CURL.to_owned());
    }
    let mut line = Line::default();
    let mut only_urls = false;
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            _ if only_urls || !word.starts_with('-') || word == "-" => line.url(word)?,
            Some("") => only_urls = true,
            Some(long) => {
                let (name, joined) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                let option = long_option(name).ok_or_else(|| unknown_long(name))?;
                line.option(option, &format!("--{name}"), || joined.or_else(|| words.next()))?;
            }
            None => {
                let mut rest = &word[1..];
                while let Some(letter) = rest.chars().next() {
                    rest = &rest[letter.len_utf8()..];
                    let name = format!("-{letter}");
                    let option = short_option(letter).ok_or_else(|| unknown(&name))?;
                    // What follows the letter is its value, if it takes one.
                    let mut joined = (!rest.is_empty() && option.takes_value()).then(|| std::mem::take(&mut rest));
                    line.option(option, &name, || joined.take().or_else(|| words.next()))?;
                }
            }
        }
    }
    line.request()
}

/// Of other programs no option is known here, and guessing would explain another request.
pub(super) const NOT_CURL: &str =
    "the command does not begin with curl, the only program that is supported: write it as curl -H 'NAME: VALUE' URL";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opt {
    Header,
    Method,
    User,
    Bearer,
    Cookie,
    Data,
    DataRaw,
    DataUrlencode,
    Json,
    Form,
    FormString,
    Url,
    UserAgent,
    Referer,
    Get,
    Head,
    PathAsIs,
    /// Changes how curl works, not what it asks for.
    Beside,
    BesideWithValue,
}

impl Opt {
    fn takes_value(self) -> bool {
        !matches!(self, Self::Get | Self::Head | Self::PathAsIs | Self::Beside)
    }
}

fn long_option(name: &str) -> Option<Opt> {
    Some(match name {
        "header" => Opt::Header,
        "request" => Opt::Method,
        "user" => Opt::User,
        "oauth2-bearer" => Opt::Bearer,
        "cookie" => Opt::Cookie,
        "data" | "data-ascii" | "data-binary" => Opt::Data,
        "data-raw" => Opt::DataRaw,
        "data-urlencode" => Opt::DataUrlencode,
        "json" => Opt::Json,
        "form" => Opt::Form,
        "form-string" => Opt::FormString,
        "url" => Opt::Url,
        "user-agent" => Opt::UserAgent,
        "referer" => Opt::Referer,
        "get" => Opt::Get,
        "head" => Opt::Head,
        "path-as-is" => Opt::PathAsIs,
        "silent" | "show-error" | "verbose" | "include" | "show-headers" | "location" | "insecure" | "fail"
        | "fail-with-body" | "compressed" | "no-buffer" | "progress-bar" | "no-progress-meter" | "http1.0"
        | "http1.1" | "http2" | "http3" | "ipv4" | "ipv6" | "globoff" | "remote-name" | "remote-header-name" => {
            Opt::Beside
        }
        "output" | "write-out" | "max-time" | "connect-timeout" | "retry" | "retry-delay" | "cookie-jar"
        | "dump-header" | "cacert" | "resolve" | "connect-to" | "max-redirs" => Opt::BesideWithValue,
        _ => return None,
    })
}

fn short_option(letter: char) -> Option<Opt> {
    Some(match letter {
        'H' => Opt::Header,
        'X' => Opt::Method,
        'u' => Opt::User,
        'b' => Opt::Cookie,
        'd' => Opt::Data,
        'F' => Opt::Form,
        'A' => Opt::UserAgent,
        'e' => Opt::Referer,
        'G' => Opt::Get,
        'I' => Opt::Head,
        's' | 'S' | 'v' | 'i' | 'L' | 'k' | 'f' | 'N' | '#' | '0' | '4' | '6' | 'g' | 'O' | 'J' => Opt::Beside,
        'o' | 'w' | 'm' | 'c' | 'D' => Opt::BesideWithValue,
        _ => return None,
    })
}

/// Without a space behind it, the value of an option is part of its name.
fn unknown_long(name: &str) -> String {
    match (1..name.len()).rev().filter_map(|end| name.get(..end)).find(|name| long_option(name).is_some()) {
        Some(known) => format!("the curl option --{known} must be followed by a space or a `=`"),
        // So every option of curl is spelt; a secret of ours has capitals.
        None if name.len() <= 32 && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')) => {
            unknown(&format!("--{name}"))
        }
        None => "the command has an unknown curl option; leave it out".to_owned(),
    }
}

fn unknown(name: &str) -> String {
    let name = printable(name);
    format!("the curl option {name} is not supported; replace it by -H, -X, -u, -b, -d or -F, or leave it out")
}

#[derive(Default)]
struct Line {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<String>,
    user: Option<String>,
    bearer: Option<String>,
    cookies: Vec<String>,
    agent: Option<String>,
    referer: Option<String>,
    data: Option<String>,
    json: bool,
    /// Name and value of each part of a multipart body.
    parts: Vec<(String, String)>,
    get: bool,
    head: bool,
    path_as_is: bool,
}

impl Line {
    fn url(&mut self, url: &str) -> Result<(), String> {
        match self.url.replace(url.to_owned()) {
            None => Ok(()),
            Some(_) => Err("there is more than one URL, or an argument without an option; paste one request".into()),
        }
    }

    fn option<'w>(&mut self, option: Opt, name: &str, value: impl FnOnce() -> Option<&'w str>) -> Result<(), String> {
        let value = match option.takes_value() {
            true => value().ok_or_else(|| format!("the curl option {name} needs a value"))?,
            false => "",
        };
        let file = |value: &str| match value.starts_with('@') {
            true => Err(format!("the curl option {name} names a file, and files are not read; paste its content")),
            false => Ok(()),
        };
        match option {
            Opt::Header => {
                file(value)?;
                self.headers.push(value.to_owned());
            }
            Opt::Method => self.method = Some(value.to_owned()),
            Opt::User => self.user = Some(value.to_owned()),
            Opt::Bearer => self.bearer = Some(value.to_owned()),
            Opt::Cookie if !value.contains('=') => {
                return Err(format!(
                    "the curl option {name} names a file, and files are not read; write {name} name=value"
                ));
            }
            Opt::Cookie => self.cookies.push(value.to_owned()),
            Opt::Data => {
                file(value)?;
                self.add(value, "&");
            }
            Opt::DataRaw => self.add(value, "&"),
            Opt::DataUrlencode => {
                let at = value.find(['=', '@']);
                let (field, content) = match at {
                    Some(at) if value.as_bytes()[at] == b'@' => return file("@"),
                    Some(at) => (&value[..at], &value[at + 1..]),
                    None => ("", value),
                };
                let encoded = utf8_percent_encode(content, ENCODED);
                let pair = if field.is_empty() { encoded.to_string() } else { format!("{field}={encoded}") };
                self.add(&pair, "&");
            }
            Opt::Json => {
                file(value)?;
                self.json = true;
                self.add(value, "");
            }
            Opt::Form | Opt::FormString => {
                let (field, content) = value.split_once('=').ok_or_else(|| format!("{name} is {name} 'NAME=VALUE'"))?;
                if option == Opt::Form {
                    // What is behind `<` is a file too.
                    file(content)?;
                    file(&content.replacen('<', "@", usize::from(content.starts_with('<'))))?;
                    if content.contains(';') {
                        return Err(format!(
                            "{name} does not take what follows a `;` as part of the value; write it with --form-string"
                        ));
                    }
                }
                self.parts.push((field.to_owned(), content.to_owned()));
            }
            Opt::Url => self.url(value)?,
            Opt::UserAgent => self.agent = Some(value.to_owned()),
            Opt::Referer => self.referer = Some(value.to_owned()),
            Opt::Get => self.get = true,
            Opt::Head => self.head = true,
            Opt::PathAsIs => self.path_as_is = true,
            Opt::Beside | Opt::BesideWithValue => {}
        }
        Ok(())
    }

    fn add(&mut self, more: &str, between: &str) {
        match &mut self.data {
            Some(data) => {
                data.push_str(between);
                data.push_str(more);
            }
            None => self.data = Some(more.to_owned()),
        }
    }

    fn request(mut self) -> Result<Request<Vec<u8>>, String> {
        let url = self.url.take().ok_or("there is no URL")?;
        if !self.parts.is_empty() && (self.data.is_some() || self.get || self.head) {
            return Err("-F cannot be combined with -d, --json, -G or -I".to_owned());
        }
        let boundary = self.boundary();
        let mut target = Target::parse(&url, self.path_as_is)?;
        if self.get
            && let Some(data) = self.data.take()
        {
            let between = if target.path.contains('?') { '&' } else { '?' };
            target.path = format!("{}{between}{data}", target.path);
        }
        let method = match (&self.method, self.head, self.data.is_some() || !self.parts.is_empty()) {
            (Some(method), ..) => Method::from_bytes(method.as_bytes()).map_err(|_| "-X has no valid method")?,
            (None, true, _) => Method::HEAD,
            (None, false, true) => Method::POST,
            (None, false, false) => Method::GET,
        };
        let uri = Uri::try_from(&target.path).map_err(|_| "the URL cannot be parsed: put quotes around it")?;
        let mut headers = self.standard(&target)?;
        if !self.parts.is_empty() {
            let media = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"));
            headers.insert(
                CONTENT_TYPE,
                media.map_err(|_| "a value contains characters that are not allowed in a header")?,
            );
        }
        self.own(&mut headers)?;
        let body = match self.parts.is_empty() {
            true => self.data.unwrap_or_default().into_bytes(),
            false => multipart(&self.parts, &boundary),
        };
        if headers.contains_key(CONTENT_TYPE) || !body.is_empty() {
            headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(body.len()));
        }
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        Ok(request)
    }

    /// A boundary that occurs in no part. curl takes a random one.
    fn boundary(&self) -> String {
        let mut boundary = "----------------------------tollhouse".to_owned();
        while self.parts.iter().any(|(_, content)| content.contains(&boundary)) {
            boundary.push('x');
        }
        boundary
    }

    /// What curl sends by itself.
    fn standard(&self, target: &Target) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(value) => {
                headers.insert(name, value);
                Ok(())
            }
            Err(_) => Err("a value contains characters that are not allowed in a header".to_owned()),
        };
        set(HOST, &target.host)?;
        set(ACCEPT, if self.json { "application/json" } else { "*/*" })?;
        if let Some(user) = self.user.as_ref().or(target.user.as_ref()) {
            let pair = if user.contains(':') { user.clone() } else { format!("{user}:") };
            set(AUTHORIZATION, &format!("Basic {}", BASE64.encode(pair.as_bytes())))?;
        }
        if let Some(bearer) = &self.bearer {
            set(AUTHORIZATION, &format!("Bearer {bearer}"))?;
        }
        if !self.cookies.is_empty() {
            set(COOKIE, &self.cookies.join("; "))?;
        }
        set(USER_AGENT, self.agent.as_deref().unwrap_or("curl"))?;
        if let Some(referer) = &self.referer {
            set(REFERER, referer)?;
        }
        match (&self.data, self.json) {
            (None, _) => {}
            (Some(_), true) => set(CONTENT_TYPE, "application/json")?,
            (Some(_), false) => set(CONTENT_TYPE, "application/x-www-form-urlencoded")?,
        }
        Ok(headers)
    }

    /// `Name: value` replaces what curl would send, `Name:` takes it away, `Name;` is one without a value.
    fn own(&self, headers: &mut HeaderMap) -> Result<(), String> {
        let mut replaced: Vec<HeaderName> = Vec::new();
        for line in &self.headers {
            let (name, value) = match (line.split_once(':'), line.strip_suffix(';')) {
                (Some((name, value)), _) => (name, Some(value.trim()).filter(|value| !value.is_empty())),
                (None, Some(name)) => (name, Some("")),
                (None, None) => return Err("a header is -H 'Name: value'".to_owned()),
            };
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "-H has no valid header name")?;
            if !replaced.contains(&name) {
                // Cookies of -b and of -H are both sent.
                if name != COOKIE {
                    headers.remove(&name);
                }
                replaced.push(name.clone());
            }
            if let Some(value) = value {
                let value = HeaderValue::from_bytes(value.as_bytes())
                    .map_err(|_| "a value contains characters that are not allowed in a header")?;
                headers.append(name, value);
            }
        }
        Ok(())
    }
}

/// RFC 7578.
fn multipart(parts: &[(String, String)], boundary: &str) -> Vec<u8> {
    let mut body = String::new();
    for (name, content) in parts {
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        body += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n");
    }
    body += &format!("--{boundary}--\r\n");
    body.into_bytes()
}

/// Where a URL leads.
struct Target {
    host: String,
    user: Option<String>,
    path: String,
}

impl Target {
    fn parse(url: &str, as_is: bool) -> Result<Self, String> {
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("there is white space in the URL".to_owned());
        }
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) => rest,
            Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                return Err("the URL must be http:// or https://".to_owned());
            }
            _ => url,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        if host.is_empty() {
            return Err("the URL has no host".to_owned());
        }
        let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
        let path = if as_is { path.to_owned() } else { without_dots(path) };
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            host: host.to_owned(),
            user: user.map(|user| percent_decode_str(user).decode_utf8_lossy().into_owned()),
            path: format!("{slash}{path}{query}"),
        })
    }
}

/// `/a/../b` is `/b` before it is sent (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// As `--data-urlencode` does it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::shell::words;

    fn read(line: &str) -> Request<Vec<u8>> {
        request(&words(line).expect(line)).expect(line)
    }

    fn error(line: &str) -> String {
        request(&words(line).expect(line)).expect_err(line)
    }

    fn text<'r>(request: &'r Request<Vec<u8>>, name: &str) -> Option<&'r str> {
        request.headers().get(name).map(|value| value.to_str().expect("text"))
    }

    #[test]
    fn a_line_is_the_request_that_curl_sends() {
        let asked = read("curl -s -H 'PRIVATE-TOKEN: glpat-x' http://127.0.0.1:8080/api/v4/user#top");
        assert_eq!((asked.method(), asked.uri().to_string().as_str()), (&Method::GET, "/api/v4/user"));
        assert_eq!((text(&asked, "private-token"), text(&asked, "host")), (Some("glpat-x"), Some("127.0.0.1:8080")));
        let asked = read("/usr/bin/curl -sSfXDELETE --url h.test -HA:b -H 'a:c' -H 'Accept:' -H 'X-Empty;'");
        assert_eq!((asked.method(), asked.uri().path(), text(&asked, "accept")), (&Method::DELETE, "/", None));
        assert_eq!(asked.headers().get_all("a").iter().count(), 2);
        assert_eq!(text(&asked, "x-empty"), Some(""));
    }

    #[test]
    fn t30_a_value_that_stands_too_close_is_not_repeated() {
        for line in [
            "curl --header'PRIVATE-TOKEN: glpat-x' h.test",
            "curl --oauth2-bearerglpat-x h.test",
            "curl --Xglpat-x h.test",
        ] {
            let said = error(line);
            assert!(!said.contains("glpat-x"), "{said}");
        }
        assert!(error("curl --headerA:b h.test").contains("--header must be followed by a space"));
    }

    #[test]
    fn data_makes_a_form_a_query_or_json() {
        let asked = read(r#"curl h.test/x -d a=1 --data 'b=2&c' --data-urlencode 'd=é &' --data-urlencode '=@' "#);
        assert_eq!(asked.method(), Method::POST);
        assert_eq!(asked.body().as_slice(), b"a=1&b=2&c&d=%C3%A9%20%26&%40");
        assert_eq!(text(&asked, "content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(text(&asked, "content-length"), Some("28"));
        let asked = read("curl -G h.test/x?y -d a=1 -d b=2");
        assert_eq!((asked.method(), asked.uri().to_string().as_str()), (&Method::GET, "/x?y&a=1&b=2"));
        assert!(asked.body().is_empty() && text(&asked, "content-type").is_none());
        let asked = read(r#"curl h.test --json '{"a":' --json=1} -X PUT"#);
        assert_eq!((asked.method(), asked.body().as_slice()), (&Method::PUT, br#"{"a":1}"#.as_slice()));
        assert_eq!(text(&asked, "content-type"), Some("application/json"));
        let asked = read("curl h.test -d x -H 'content-type: text/plain' -d ''");
        assert_eq!((text(&asked, "content-type"), asked.body().as_slice()), (Some("text/plain"), b"x&".as_slice()));
        let empty = read("curl h.test -d ''");
        assert_eq!((empty.method(), text(&empty, "content-length")), (&Method::POST, Some("0")));
        assert_eq!(read("curl -I h.test").method(), Method::HEAD);
        assert_eq!(read("curl --data-raw @x h.test").body().as_slice(), b"@x");
    }

    #[test]
    fn a_form_of_parts_is_multipart() {
        let asked = read(r#"curl h.test/x -F a=1 --form 'b"c=é' --form-string 'd=@e;f' -H X:y"#);
        assert_eq!(asked.method(), Method::POST);
        let media = text(&asked, "content-type").expect("a type");
        let boundary = media.strip_prefix("multipart/form-data; boundary=").expect("a boundary");
        let part = |name: &str, content: &str| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
        };
        let body = [part("a", "1"), part("b%22c", "é"), part("d", "@e;f"), format!("--{boundary}--\r\n")].concat();
        assert_eq!(std::str::from_utf8(asked.body()), Ok(body.as_str()));
        assert_eq!(text(&asked, "content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(read("curl -X PUT -F a= h.test").method(), Method::PUT);
        let hidden = format!("curl h.test -F a={boundary}");
        assert_ne!(text(&read(&hidden), "content-type"), Some(media), "it stands in no part");
    }

    #[test]
    fn credentials_of_curl_itself() {
        let basic = |line: &str| text(&read(line), "authorization").map(str::to_owned);
        assert_eq!(basic("curl -u id:secret h.test").as_deref(), Some("Basic aWQ6c2VjcmV0"));
        assert_eq!(basic("curl -uid h.test").as_deref(), Some("Basic aWQ6"));
        assert_eq!(basic("curl http://id:se%63ret@h.test/").as_deref(), Some("Basic aWQ6c2VjcmV0"));
        assert_eq!(basic("curl -u id:x -H 'Authorization: Bearer y' h.test").as_deref(), Some("Bearer y"));
        assert_eq!(basic("curl --oauth2-bearer y h.test").as_deref(), Some("Bearer y"));
        let asked = read("curl -b 'a=1' --cookie '_gitlab_session=x; b=2' -H 'Cookie: c=3' h.test");
        let cookies: Vec<_> = asked.headers().get_all("cookie").iter().map(|v| v.to_str().expect("text")).collect();
        assert_eq!(cookies, ["a=1; _gitlab_session=x; b=2", "c=3"]);
    }

    #[test]
    fn paths_are_sent_as_curl_sends_them() {
        for (url, path) in [
            ("h.test/a/../b", "/b"),
            ("h.test/a/./b/..", "/a/"),
            ("h.test/../../x", "/x"),
            ("h.test/a/.", "/a/"),
            ("h.test/a%2Fb//c", "/a%2Fb//c"),
            ("h.test?x=/../y", "/?x=/../y"),
            ("HTTP://h.test:1/a?b#c?d", "/a?b"),
        ] {
            assert_eq!(read(&format!("curl '{url}'")).uri().to_string(), path, "{url}");
        }
        assert_eq!(read("curl --path-as-is h.test/a/../b").uri().path(), "/a/../b");
    }

    #[test]
    fn what_is_not_understood_is_named_without_its_value() {
        for (line, words) in [
            ("curl", "no URL"),
            ("wget h.test", "does not begin with curl"),
            ("curl --hunter2=hunter3 h.test", "--hunter2 is not supported"),
            ("curl -F hunter3 h.test", "-F is -F 'NAME=VALUE'"),
            ("curl -F x=@hunter3 h.test", "names a file"),
            ("curl -F 'x=<hunter3' h.test", "names a file"),
            ("curl -F 'x=hunter3;type=text/plain' h.test", "--form-string"),
            ("curl -F x=hunter3 -d y=hunter3 h.test", "-F cannot be combined"),
            ("curl -F x=hunter3 -G h.test", "-F cannot be combined"),
            ("curl -sZhunter3 h.test", "-Z is not supported"),
            ("curl h.test -H", "-H needs a value"),
            ("curl h.test -H hunter3", "-H 'Name: value'"),
            ("curl h.test -H 'a b: hunter3'", "-H has no valid header name"),
            ("curl h.test -d @hunter3", "names a file"),
            ("curl h.test --data-urlencode x@hunter3", "names a file"),
            ("curl h.test -H @hunter3", "names a file"),
            ("curl h.test -b hunter3", "names a file"),
            ("curl a.test hunter3", "more than one URL"),
            ("curl 'h.test/a hunter3'", "white space in the URL"),
            ("curl ftp://hunter3", "must be http"),
            ("curl http:///hunter3", "has no host"),
            ("curl -X 'G T' hunter3", "no valid method"),
            ("curl h.test -H $'a: hunter3\\x01'", "not allowed in a header"),
        ] {
            let told = error(line);
            assert!(told.contains(words) && !told.contains("hunter3") && !told.contains('\n'), "{line}: {told}");
        }
    }
}
