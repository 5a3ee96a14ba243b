//! Names of parameters that hold a credential. No URL that we make repeats one (threats.md T30).

/// Whether a parameter of that name may hold a credential. `name` is decoded. Case does not matter, and each part of
/// `a[b][]` counts, because servers differ in how they read both.
pub fn names_credential(name: &str) -> bool {
    let mut parts = name.split(['[', ']']).map(str::trim).filter(|part| !part.is_empty());
    parts.any(|part| CREDENTIALS.iter().any(|known| known.eq_ignore_ascii_case(part)))
}

/// A target without the parameters of its query that may hold a credential. What stays is as it was, to the byte.
pub fn without_credentials(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let harmless = |pair: &&str| !names_credential(&decoded(pair.split('=').next().unwrap_or_default()));
    let kept: Vec<&str> = query.split('&').filter(harmless).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// As a form spells a name: `+` is a space, and `%` begins a byte.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (byte, length) = match bytes[at] {
            b'+' => (b' ', 1),
            b'%' => match bytes.get(at + 1..at + 3).and_then(hex) {
                Some(byte) => (byte, 3),
                None => (b'%', 1),
            },
            byte => (byte, 1),
        };
        out.push(byte);
        at += length;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    match digits {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    }
}

const CREDENTIALS: [&str; 18] = [
    "private_token",
    "access_token",
    "bearer_token",
    "job_token",
    "deploy_token",
    "token",
    "feed_token",
    "rss_token",
    "incoming_email_token",
    "refresh_token",
    "authenticity_token",
    "password",
    "client_secret",
    "client_assertion",
    "code",
    "code_verifier",
    "device_code",
    "_gitlab_session",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t30_a_name_says_whether_it_may_hold_a_credential() {
        for name in [
            "private_token",
            "Private_Token",
            "x[private_token]",
            "private_token[]",
            "a[b][PASSWORD][]",
            "user[password]",
            "client_secret",
            "code",
            " token ",
        ] {
            assert!(names_credential(name), "{name}");
        }
        for name in
            ["", "sudo", "page", "tokens", "code_challenge", "scope", "state", "private_token_x", "[]", "id_token_hint"]
        {
            assert!(!names_credential(name), "{name}");
        }
    }

    #[test]
    fn t30_a_target_loses_its_credentials_and_nothing_else() {
        for (target, left) in [
            ("/", "/"),
            ("/x?", "/x?"),
            ("/x?a=1&b=%2F+c", "/x?a=1&b=%2F+c"),
            ("/x?private_token=s", "/x"),
            ("/x?a=1&Private_Token=s&b=2", "/x?a=1&b=2"),
            ("/x?private%5Ftoken=s&a", "/x?a"),
            ("/x?x%5Bprivate_token%5D=s&x[password]=s&a[]=1", "/x?a[]=1"),
            ("/x?code=s&code_challenge=c&state=private_token=1", "/x?code_challenge=c&state=private_token=1"),
            ("/x?token", "/x"),
            ("/x?+token+=s", "/x"),
            ("/x?%zz=1&%=2", "/x?%zz=1&%=2"),
        ] {
            assert_eq!(without_credentials(target), left, "{target}");
            assert_eq!(without_credentials(left), left, "{target}");
        }
    }
}
