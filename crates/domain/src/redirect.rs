//! Redirect URIs: where a code may be sent (oauth.md 2.1 and 5.2; T20).
//!
//! Browsers read more into a URL than its grammar allows, so a text counts only if what a browser makes of it is the
//! text itself. Then comparing the parts compares what will happen.
//!
//! Above 600 lines: half of them are the tables of the tests, which read best beside the rules.

use std::fmt;

use url::{Host, Url, form_urlencoded};

/// One redirect URI, registered or requested, whose text is what a browser makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The code is shown to the person, who carries it over (RFC 6749 has no name for it).
    OutOfBand,
    Url(Box<Url>),
}

/// What is wrong with one, as the field `redirect_uri` of a refusal says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Blank,
    /// It is no URI, or one that browsers read differently.
    Invalid,
    /// It has no scheme.
    Relative,
    /// It has no real scheme, such as `localhost:3000`.
    NoScheme,
    /// It has a fragment (RFC 6749 section 3.1.2).
    Fragment,
    /// Its scheme runs scripts or reads files, such as `javascript`.
    Forbidden,
    /// Plain http beyond this machine, at a server that is https itself.
    PlainHttp,
}

/// When a redirect URI of a request is the registered one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// Octet for octet; between loopback IP literals the port may differ (RFC 9700 section 4.1.3, RFC 8252 section 7.3).
    Exact,
    /// As parsed URIs, and the request may add to the query (oauth.md 5.2; `compat.redirect_uri = "gitlab"`).
    Parsed,
}

impl Fault {
    /// The text of the refusal (rest-api.md section 5).
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Blank => "can't be blank",
            Self::Invalid => "must be a valid URI.",
            Self::Relative => "must be an absolute URI.",
            Self::NoScheme => "must specify a scheme.",
            Self::Fragment => "cannot contain a fragment.",
            Self::Forbidden => "is forbidden by the server.",
            Self::PlainHttp => "must be an HTTPS/SSL URI.",
        }
    }
}

impl RedirectUri {
    /// Accepts an absolute URI with a host or the scheme of an app, or an out-of-band URN. No fragment, user name,
    /// password or reserved query parameter; at most 2,048 bytes of printable ASCII.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.trim().is_empty() {
            return Err(Fault::Blank);
        }
        if OUT_OF_BAND.contains(&text) {
            return Ok(Self { text: text.to_owned(), target: Target::OutOfBand });
        }
        if text.len() > LONGEST || text.bytes().any(|b| b <= b' ' || b >= 0x7f || b"\\\"<>^`{}|".contains(&b)) {
            return Err(Fault::Invalid);
        }
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => Fault::Relative,
            _ => Fault::Invalid,
        });
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
        if FORBIDDEN.contains(&scheme.as_str()) {
            return Err(Fault::Forbidden);
        }
        let url = url?;
        if url.fragment().is_some() {
            return Err(Fault::Fragment);
        }
        if url.cannot_be_a_base() || url.scheme() == "localhost" {
            return Err(Fault::NoScheme);
        }
        if !says_what_it_means(text, &url) {
            return Err(Fault::Invalid);
        }
        if url.query().is_some_and(names_something_reserved) {
            return Err(Fault::Invalid);
        }
        Ok(Self { text: text.to_owned(), target: Target::Url(Box::new(url)) })
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the code is shown to the person instead of being sent.
    pub fn is_out_of_band(&self) -> bool {
        self.target == Target::OutOfBand
    }

    /// Whether a request that names `asked` is sent where this one, which is registered, leads.
    pub fn accepts(&self, asked: &Self, matching: Matching) -> bool {
        match matching {
            Matching::Exact => self.text == asked.text || self.differs_by_a_loopback_port(asked),
            Matching::Parsed => self.accepts_as_parsed(asked),
        }
    }

    /// RFC 8252 section 7.3: an application on somebody's own machine takes the port that is free.
    fn differs_by_a_loopback_port(&self, asked: &Self) -> bool {
        match (self.around_a_loopback_port(), asked.around_a_loopback_port()) {
            (Some(known), Some(asked)) => known == asked,
            _ => false,
        }
    }

    /// What stands before and after the port, if the host is a loopback IP literal.
    fn around_a_loopback_port(&self) -> Option<(&str, &str)> {
        let Target::Url(url) = &self.target else { return None };
        if !is_loopback_literal(url) {
            return None;
        }
        let authority = self.text.find("://")? + 3;
        let end = self.text[authority..].find(['/', '?']).map_or(self.text.len(), |at| authority + at);
        let (before, rest) = self.text.split_at(end);
        let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        // `127.0.0.1` ends in digits too, but with no colon before them. A colon without digits is not accepted.
        let before = before[..before.len() - digits].strip_suffix(':').unwrap_or(before);
        Some((before, rest))
    }

    fn accepts_as_parsed(&self, asked: &Self) -> bool {
        let (Target::Url(known), Target::Url(url)) = (&self.target, &asked.target) else {
            return self.text == asked.text;
        };
        known.scheme() == url.scheme()
            && host(known) == host(url)
            && (is_loopback_literal(known) || known.port_or_known_default() == url.port_or_known_default())
            && known.path() == url.path()
            && adds_to(known, url)
    }

    /// Whether a code that is sent there crosses a network in clear. `localhost` and names below it are this machine
    /// (RFC 6761 section 6.3).
    pub fn is_plain_http(&self) -> bool {
        let Target::Url(url) = &self.target else { return false };
        let name = url.domain().map(|name| name.trim_end_matches('.'));
        let local = name.is_some_and(|name| name == "localhost" || name.ends_with(".localhost"));
        url.scheme() == "http" && !local && !is_loopback_literal(url)
    }

    /// With the answer of the server in its query, or in its fragment.
    pub fn answered(&self, pairs: &[(&str, &str)], in_fragment: bool) -> String {
        let answer = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let joint = match (in_fragment, self.text.contains('?')) {
            (true, _) => '#',
            (false, true) if self.text.ends_with('?') => return format!("{}{answer}", self.text),
            (false, true) => '&',
            (false, false) => '?',
        };
        format!("{}{joint}{answer}", self.text)
    }

    /// What `form-action` has to allow besides ourselves (T20): an origin, or the scheme of an app that is not in the
    /// browser.
    pub fn form_action(&self) -> String {
        match &self.target {
            Target::OutOfBand => String::new(),
            Target::Url(url) if is_web(url) => url.origin().ascii_serialization(),
            Target::Url(url) => format!("{}:", url.scheme()),
        }
    }

    /// Where a person is sent, as they can judge it: the host, or the scheme of an app that is not in the browser.
    pub fn destination(&self) -> String {
        match &self.target {
            Target::OutOfBand => "a page of this server that shows you a code".to_owned(),
            Target::Url(url) if is_web(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}{port}", url.host_str().unwrap_or_default())
            }
            Target::Url(url) => format!("an app on this device that opens {}: links", url.scheme()),
        }
    }
}

/// All that an application registered, separated by white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUris(Vec<RedirectUri>);

impl RedirectUris {
    /// At least one URI; the first invalid one is the fault.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let uris = text.split_ascii_whitespace().map(RedirectUri::parse).collect::<Result<Vec<_>, _>>()?;
        if uris.is_empty() { Err(Fault::Blank) } else { Ok(Self(uris)) }
    }

    /// The address that a request names, if the application may be answered there.
    pub fn accept(&self, asked: &str, matching: Matching) -> Option<RedirectUri> {
        let asked = RedirectUri::parse(asked).ok()?;
        self.0.iter().any(|known| known.accepts(&asked, matching)).then_some(asked)
    }

    /// In the order in which they were registered.
    pub fn iter(&self) -> impl Iterator<Item = &RedirectUri> {
        self.0.iter()
    }
}

impl fmt::Display for RedirectUris {
    /// One on each line, as they are kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, uri) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&uri.text)?;
        }
        Ok(())
    }
}

/// Every parameter that is registered is there, and none of them a second time with something else in it.
fn adds_to(known: &Url, asked: &Url) -> bool {
    let registered: Vec<_> = known.query_pairs().collect();
    let given: Vec<_> = asked.query_pairs().collect();
    registered.iter().all(|pair| given.contains(pair))
        && given.iter().all(|pair| registered.contains(pair) || registered.iter().all(|(name, _)| *name != pair.0))
}

/// Whoever reads the query may split it at `;`, trim names, and take `code[]` for `code`.
fn names_something_reserved(query: &str) -> bool {
    query.split(['&', ';']).flat_map(|pair| form_urlencoded::parse(pair.as_bytes())).any(|(name, _)| {
        let name = name.split('[').next().unwrap_or_default().trim();
        RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
    })
}

/// Whether a browser reads this text as it stands: nothing folded, decoded or left out on the way.
fn says_what_it_means(text: &str, url: &Url) -> bool {
    let Some((_, rest)) = text.split_once(':') else { return false };
    let (before_query, _) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match before_query.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let name = match authority.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => name,
                _ => authority,
            };
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            let literal = matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
            if is_web(url) && !literal && !name.bytes().all(plain) {
                return false;
            }
            // The name still has a user name and a password, if there are any; a host has neither.
            if name.is_empty() || !url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(name)) {
                return false;
            }
            path
        }
        // Of `https:/host/path` a browser makes another path than this.
        None => before_query,
    };
    // A browser resolves `.` and `..`, however they are encoded.
    if path != url.path() && !(path.is_empty() && url.path() == "/") {
        return false;
    }
    let hidden = |text: &str| {
        let malformed = text.match_indices('%').any(|(at, _)| {
            !text.get(at + 1..at + 3).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        });
        malformed || percent_decoded(text).any(|b| b < b' ' || b == 0x7f || b == b'\\')
    };
    !path.contains("//") && !hidden(path) && !url.query().is_some_and(hidden)
}

fn percent_decoded(text: &str) -> impl Iterator<Item = u8> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (byte, hex) {
            (b'%', Some(decoded)) => {
                at += 3;
                Some(decoded)
            }
            _ => {
                at += 1;
                Some(byte)
            }
        }
    })
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn host(url: &Url) -> Option<String> {
    url.host_str().map(str::to_ascii_lowercase)
}

fn is_loopback_literal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

const OUT_OF_BAND: [&str; 2] = ["urn:ietf:wg:oauth:2.0:oob", "urn:ietf:wg:oauth:2.0:oob:auto"];
const FORBIDDEN: [&str; 12] = [
    "javascript",
    "data",
    "vbscript",
    "about",
    "blob",
    "file",
    "filesystem",
    "ftp",
    "intent",
    "view-source",
    // To a policy they are http and https.
    "ws",
    "wss",
];

/// What the server itself puts there; a request must not get ahead of it.
const RESERVED: [&str; 6] = ["code", "state", "iss", "error", "error_description", "response"];
const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> RedirectUri {
        RedirectUri::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    #[test]
    fn t20_what_can_be_registered() {
        for good in [
            "http://localhost:7171/auth/redirect",
            "https://app.example.test",
            "https://app.example.test/cb?tenant=1",
            "HTTPS://App.Example.test/cb",
            "https://app.example.test/a%20b?c=%20d",
            "https://my-app_1.example.test/cb",
            "https://app.example.test:8443/cb",
            "http://127.0.0.1:0/cb",
            "http://[::1]/cb",
            "myapp://cb",
            "com.example.app:/oauth",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            assert!(RedirectUri::parse(good).is_ok(), "{good}");
        }
        for (bad, fault) in [
            ("", Fault::Blank),
            ("http://", Fault::Invalid),
            ("javascript://alert()", Fault::Forbidden),
            ("JavaScript:alert(1)", Fault::Forbidden),
            ("data:text/html,x", Fault::Forbidden),
            ("/cb", Fault::Relative),
            ("invalid", Fault::Relative),
            ("//app.test/cb", Fault::Relative),
            ("localhost:1234/cb", Fault::NoScheme),
            ("mailto:ada@example.test", Fault::NoScheme),
            ("https://app.test/cb#x", Fault::Fragment),
            ("https://app.test/cb#", Fault::Fragment),
            ("https://ada@app.test/cb", Fault::Invalid),
            ("https://ada:x@app.test/cb", Fault::Invalid),
            ("https://@app.test/cb", Fault::Invalid),
            ("https://:@app.test/cb", Fault::Invalid),
            ("https://:x@app.test/cb", Fault::Invalid),
            ("http://ada@127.0.0.1/cb", Fault::Invalid),
            ("http://ada:1@[::1]:80/cb", Fault::Invalid),
            ("myapp://ada@cb", Fault::Invalid),
            ("myapp://:x@cb", Fault::Invalid),
            ("myapp://ada:1@", Fault::Invalid),
            ("https://app.test@evil.test/", Fault::Invalid),
            ("https://app.test\\@evil.test/", Fault::Invalid),
            ("https:\\\\app.test/", Fault::Invalid),
            ("https:/app.test/cb", Fault::Invalid),
            ("https:///app.test/cb", Fault::Invalid),
            ("https://app.test/a/../cb", Fault::Invalid),
            ("https://app.test/a/%2e%2e/cb", Fault::Invalid),
            ("https://app.test/a/.%2E/cb", Fault::Invalid),
            ("https://app.test/.", Fault::Invalid),
            ("https://app.test/%2e", Fault::Invalid),
            ("https://app.test/a/%2E%2E", Fault::Invalid),
            ("https://app.test/cb/.", Fault::Invalid),
            ("myapp://cb/a/../b", Fault::Invalid),
            ("myapp://cb/%2e", Fault::Invalid),
            ("com.example.app:/a/%2e%2e/b", Fault::Invalid),
            ("com.example.app:/..", Fault::Invalid),
            ("https://app.test//cb", Fault::Invalid),
            ("myapp://cb//a", Fault::Invalid),
            ("https://app.test/cb%00", Fault::Invalid),
            ("https://app.test/cb%1f", Fault::Invalid),
            ("https://app.test/cb%7f", Fault::Invalid),
            ("https://app.test/cb?x=%00", Fault::Invalid),
            ("https://app.test/cb?x=%5C", Fault::Invalid),
            ("https://app.test/cb?x=%", Fault::Invalid),
            ("https://app.test/cb?x=%2", Fault::Invalid),
            ("https://app.test/cb?x=%g2", Fault::Invalid),
            ("https://app.test/cb?x=%2g", Fault::Invalid),
            ("https://app.test/cb%0d%0a", Fault::Invalid),
            ("https://app.test/%5cevil", Fault::Invalid),
            ("https://app.test/%zz", Fault::Invalid),
            ("https://app.test/%+f", Fault::Invalid),
            ("https://0x7f.1/cb", Fault::Invalid),
            ("https://app.test/cb?code=1", Fault::Invalid),
            ("https://app.test/cb?%73tate=1", Fault::Invalid),
            ("https://app.t\u{e9}st/cb", Fault::Invalid),
            ("https://*/cb", Fault::Invalid),
            ("https://a;upgrade-insecure-requests/cb", Fault::Invalid),
            ("https://a,b.test/cb", Fault::Invalid),
            ("ws://app.test/cb", Fault::Forbidden),
            ("localhost://cb", Fault::NoScheme),
            ("localhost:/cb", Fault::NoScheme),
            ("https://app.test/cb?code[]=1", Fault::Invalid),
            ("https://app.test/cb?x=1;code=2", Fault::Invalid),
            ("https://app.test/cb?%20code=1", Fault::Invalid),
            ("https://app.test/cb?Code=1", Fault::Invalid),
            ("https://app.test/\u{202e}", Fault::Invalid),
            ("https://app.test:99999/", Fault::Invalid),
            ("https://app.test:/cb", Fault::Invalid),
        ] {
            assert_eq!(RedirectUri::parse(bad).err(), Some(fault), "{bad}");
        }
        assert_eq!(RedirectUris::parse(" \n "), Err(Fault::Blank));
        assert_eq!(RedirectUris::parse("https://a.test/ nope"), Err(Fault::Relative));
        let two = RedirectUris::parse("https://a.test/\r\nmyapp://cb").expect("two");
        assert_eq!(two.to_string(), "https://a.test/\nmyapp://cb");
    }

    #[test]
    fn t20_what_a_request_may_name() {
        // Registered, asked, accepted, accepted with `compat.redirect_uri = "gitlab"`.
        for (known, asked, exact, parsed) in [
            ("https://app.test/cb", "https://app.test/cb", true, true),
            ("https://app.test/cb", "HTTPS://APP.test:443/cb", false, true),
            ("https://app.test/cb", "https://app.test:443/cb", false, true),
            ("https://app.test/cb", "https://app.test/CB", false, false),
            ("https://app.test/cb", "https://app.test/cb/", false, false),
            ("https://app.test/cb", "https://app.test:8443/cb", false, false),
            ("https://app.test/cb", "http://app.test/cb", false, false),
            ("https://app.test/cb", "https://app.test.evil.test/cb", false, false),
            ("https://app.test/a/cb", "https://app.test/a%2fcb", false, false),
            ("https://app.test/a%2Fcb", "https://app.test/a%2fcb", false, false),
            ("https://app.test", "https://app.test/", false, true),
            ("https://app.test/cb", "https://app.test/cb?more=1", false, true),
            ("https://app.test/cb", "https://app.test/cb?next=https://evil.test", false, true),
            ("https://app.test/cb", "https://app.test/cb?", false, true),
            ("https://app.test/cb?", "https://app.test/cb", false, true),
            ("https://app.test/cb?a=1&b=2", "https://app.test/cb?a=1&b=2", true, true),
            ("https://app.test/cb?a=1&b=2", "https://app.test/cb?b=2&a=1", false, true),
            ("https://app.test/cb?a=%C3%BC", "https://app.test/cb?a=%c3%bc", false, true),
            ("https://app.test/cb?a=1", "https://app.test/cb", false, false),
            ("https://app.test/cb?a=1", "https://app.test/cb?a=1&b=2", false, true),
            ("https://app.test/cb?a=1", "https://app.test/cb?a=1&a=evil", false, false),
            ("https://app.test/cb?a=1", "https://app.test/cb?a=evil&a=1", false, false),
            ("https://app.test/cb?a=1", "https://app.test/cb?a=2", false, false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:9999/cb", true, true),
            ("http://127.0.0.1:9999/cb", "http://127.0.0.1/cb", true, true),
            ("http://127.0.0.1", "http://127.0.0.1:1", true, true),
            ("http://127.0.0.1?a=1", "http://127.0.0.1:1?a=1", true, true),
            ("http://127.0.0.1:1/cb?a=1", "http://127.0.0.1:2/cb?a=1", true, true),
            ("http://127.0.0.1:1/cb?a=1", "http://127.0.0.1:2/cb?a=1&b=2", false, true),
            ("http://127.0.0.1/cb", "http://127.0.0.1:9999/cb?x=:1", false, true),
            ("http://127.0.0.1/cb", "HTTP://127.0.0.1:9999/cb", false, true),
            ("http://127.0.0.1/cb", "https://127.0.0.1:9999/cb", false, false),
            ("http://[::1]:1/cb", "http://[::1]:2/cb", true, true),
            ("http://[::1]/cb", "http://[::1]:2/cb", true, true),
            ("https://[::1]", "https://[::1]", true, true),
            ("https://[::1]/cb", "https://[::1]:2/cb", true, true),
            ("http://127.0.0.1/cb", "http://127.0.0.2/cb", false, false),
            ("http://127.0.0.1/cb", "http://[::1]/cb", false, false),
            ("http://localhost/cb", "http://localhost:9999/cb", false, false),
            ("http://10.0.0.1/cb", "http://10.0.0.1:9999/cb", false, false),
            ("myapp://cb", "myapp://cb", true, true),
            ("myapp://cb", "myapp://cb?x=1", false, true),
            ("myapp://cb", "myapp://other", false, false),
            ("urn:ietf:wg:oauth:2.0:oob", "urn:ietf:wg:oauth:2.0:oob", true, true),
            ("urn:ietf:wg:oauth:2.0:oob", "urn:ietf:wg:oauth:2.0:oob:auto", false, false),
        ] {
            let (known, asked) = (uri(known), uri(asked));
            let accepted = [Matching::Exact, Matching::Parsed].map(|matching| known.accepts(&asked, matching));
            assert_eq!(accepted, [exact, parsed], "{known:?} {asked:?}");
        }
    }

    #[test]
    fn plain_http_is_what_leaves_the_machine_in_clear() {
        for (text, plain) in [
            ("http://app.test/cb", true),
            ("HTTP://app.test/cb", true),
            ("http://10.0.0.1/cb", true),
            ("http://localhost.evil.test/cb", true),
            ("http://notlocalhost/cb", true),
            ("https://app.test/cb", false),
            ("http://localhost:7171/cb", false),
            ("http://app.localhost/cb", false),
            ("http://127.0.0.1/cb", false),
            ("http://127.9.9.9:1/cb", false),
            ("http://[::1]/cb", false),
            ("myapp://cb", false),
            ("urn:ietf:wg:oauth:2.0:oob", false),
        ] {
            assert_eq!(uri(text).is_plain_http(), plain, "{text}");
        }
    }

    #[test]
    fn the_answer_goes_where_it_belongs() {
        let pairs = [("code", "c"), ("state", "a b&c")];
        assert_eq!(uri("https://a.test/cb").answered(&pairs, false), "https://a.test/cb?code=c&state=a+b%26c");
        assert_eq!(uri("https://a.test/cb?x=1").answered(&pairs, false), "https://a.test/cb?x=1&code=c&state=a+b%26c");
        assert_eq!(uri("https://a.test/cb?").answered(&[("a", "b")], false), "https://a.test/cb?a=b");
        assert_eq!(uri("myapp://cb").answered(&pairs, true), "myapp://cb#code=c&state=a+b%26c");
    }

    #[test]
    fn t20_a_policy_gets_an_origin_and_never_a_bare_web_scheme() {
        assert_eq!(uri("https://a.test:8443/cb").form_action(), "https://a.test:8443");
        assert_eq!(uri("http://127.0.0.1:1/cb").form_action(), "http://127.0.0.1:1");
        assert_eq!(uri("custom://cb").form_action(), "custom:");
        assert_eq!(uri("urn:ietf:wg:oauth:2.0:oob").form_action(), "");
        assert_eq!(uri("https://a.test:8443/cb").destination(), "a.test:8443");
    }

    #[test]
    fn t20_a_redirect_uri_has_2048_bytes_of_printable_ascii_at_most() {
        let long = |length: usize| format!("https://a.test/{}", "x".repeat(length - 15));
        assert_eq!(uri(&long(2048)).as_str(), long(2048));
        assert_eq!(RedirectUri::parse(&long(2049)).err(), Some(Fault::Invalid));
        // Browsers encode some of these in a query, and drop others.
        for c in ['\t', '\n', ' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}', '\u{7f}', '\u{80}', '\u{e9}'] {
            let text = format!("https://a.test/cb?x={c}y");
            assert_eq!(RedirectUri::parse(&text).err(), Some(Fault::Invalid), "{text:?}");
        }
        assert_eq!(uri("https://a.test/cb?x=!~'()*").as_str(), "https://a.test/cb?x=!~'()*");
    }

    #[test]
    fn a_fault_is_told_in_the_words_of_the_wire() {
        for (fault, words) in [
            (Fault::Blank, "can't be blank"),
            (Fault::Invalid, "must be a valid URI."),
            (Fault::Relative, "must be an absolute URI."),
            (Fault::NoScheme, "must specify a scheme."),
            (Fault::Fragment, "cannot contain a fragment."),
            (Fault::Forbidden, "is forbidden by the server."),
            (Fault::PlainHttp, "must be an HTTPS/SSL URI."),
        ] {
            assert_eq!(fault.sentence(), words);
        }
    }

    #[test]
    fn only_the_two_urns_show_the_code_to_the_person() {
        for (text, shown) in [
            ("urn:ietf:wg:oauth:2.0:oob", true),
            ("urn:ietf:wg:oauth:2.0:oob:auto", true),
            ("https://a.test/cb", false),
            ("myapp://cb", false),
        ] {
            assert_eq!(uri(text).is_out_of_band(), shown, "{text}");
        }
        assert_eq!(RedirectUri::parse("urn:ietf:wg:oauth:2.0:other").err(), Some(Fault::NoScheme));
    }

    #[test]
    fn a_request_is_answered_where_one_of_the_registered_addresses_leads() {
        let registered = RedirectUris::parse("https://a.test/cb myapp://cb").expect("two");
        let texts: Vec<&str> = registered.iter().map(RedirectUri::as_str).collect();
        assert_eq!(texts, ["https://a.test/cb", "myapp://cb"]);
        for (asked, exact, parsed) in [
            ("https://a.test/cb", true, true),
            ("myapp://cb", true, true),
            ("https://a.test/cb?x=1", false, true),
            ("https://b.test/cb", false, false),
            ("nonsense", false, false),
        ] {
            let accepted = [Matching::Exact, Matching::Parsed]
                .map(|matching| registered.accept(asked, matching).is_some_and(|uri| uri.as_str() == asked));
            assert_eq!(accepted, [exact, parsed], "{asked}");
        }
    }

    #[test]
    fn a_person_is_told_where_the_code_goes() {
        for (text, told) in [
            ("https://A.test/cb?x=1", "a.test"),
            ("https://a.test:8443/cb", "a.test:8443"),
            ("http://127.0.0.1:1/cb", "127.0.0.1:1"),
            ("https://a.test:443/cb", "a.test"),
            ("myapp://cb", "an app on this device that opens myapp: links"),
            ("urn:ietf:wg:oauth:2.0:oob", "a page of this server that shows you a code"),
        ] {
            assert_eq!(uri(text).destination(), told, "{text}");
        }
    }
}
