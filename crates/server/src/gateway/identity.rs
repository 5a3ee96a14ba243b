//! The headers that tell the API behind who it is: every one of them in every answer that allows, and none of them from
//! anybody else (T2).

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tollhouse_auth::presented::CredentialPlace;
use tollhouse_domain::identity::{Caller, Via};
use tollhouse_domain::user::User;

use crate::config::gateway::Prefix;

/// The names, made once.
pub struct Names {
    prefix: Prefix,
    user_id: HeaderName,
    user: HeaderName,
    email: HeaderName,
    administrator: HeaderName,
    scopes: HeaderName,
    credential: HeaderName,
    place: HeaderName,
    application: HeaderName,
    rule: HeaderName,
    /// Of a 401 for a person: where to sign in.
    pub sign_in: HeaderName,
    /// Of a refusal: why, for the client.
    pub reason: HeaderName,
}

impl Names {
    /// `prefix`: what each of them begins with.
    pub fn new(prefix: &Prefix) -> Self {
        // A prefix is letters in lower case, digits and `-`, and so is what follows. Kept as long as the process lives:
        // such a name is cloned for nothing, and every answer needs them all.
        let name = |end: &str| HeaderName::from_static(format!("{}{end}", prefix.as_str()).leak());
        Self {
            user_id: name("user-id"),
            user: name("user"),
            email: name("email"),
            administrator: name("administrator"),
            scopes: name("scopes"),
            credential: name("credential"),
            place: name("place"),
            application: name("application"),
            rule: name("rule"),
            sign_in: name("sign-in"),
            reason: name("reason"),
            prefix: prefix.clone(),
        }
    }

    /// Whether somebody speaks with our voice. An API may read `X-Tollhouse_User` as `X-Tollhouse-User`, and one that
    /// is asked by CGI knows no difference between any two characters that are neither letter nor digit.
    pub fn are_in(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| self.prefix.begins(name.as_str()))
    }

    /// `None`: nobody was asked for.
    pub fn tell(&self, headers: &mut HeaderMap, who: Option<&(Caller, CredentialPlace)>, rule: &HeaderValue) {
        let mut set = |name: &HeaderName, value: HeaderValue| drop(headers.insert(name.clone(), value));
        let user = match who {
            Some((Caller::Person(who), _)) => Some(&*who.user),
            Some((Caller::Application(_) | Caller::Deployment(_), _)) | None => None,
        };
        set(&self.user_id, user.map_or(NONE, |user| user.id.0.into()));
        set(&self.user, user.map_or(NONE, |user| value(&user.username)));
        // Whoever never showed that an address is theirs could claim anybody's (T22).
        set(&self.email, user.and_then(User::confirmed_email).map_or(NONE, value));
        let administrator = user.is_some_and(|user| user.administrator);
        set(&self.administrator, HeaderValue::from_static(if administrator { "true" } else { "false" }));
        set(&self.scopes, who.map_or(NONE, |(caller, _)| scopes(caller)));
        set(&self.credential, who.map_or(NONE, |(caller, _)| credential(caller)));
        set(&self.place, who.map_or(NONE, |(_, place)| spelt(*place)));
        set(&self.application, who.and_then(|(caller, _)| client_id(caller)).map_or(NONE, value));
        set(&self.rule, rule.clone());
    }
}

/// Whether a header has a name that no header has in earnest, as `X!HTTP!Method`. A server that is asked by CGI takes it
/// for another header, and no proxy can name them all so as to take them away (GATE-018). `_` and `.` do occur; of these
/// the proxy takes care.
pub fn has_odd_name(headers: &HeaderMap) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    headers.keys().any(|name| !name.as_str().bytes().all(plain))
}

/// A session has all rights of its user. A job token has no scopes, and is not to be taken for a session.
fn scopes(caller: &Caller) -> HeaderValue {
    match caller {
        Caller::Application(token) => value(&token.scopes.to_string()),
        Caller::Deployment(token) => value(&token.scopes.to_string()),
        Caller::Person(who) => match &who.via {
            Via::PersonalAccessToken(token) | Via::OauthAccessToken(token) => value(&token.scopes.to_string()),
            Via::Session(_) => ALL,
            Via::JobToken(_) => NONE,
        },
    }
}

fn credential(caller: &Caller) -> HeaderValue {
    HeaderValue::from_static(match caller {
        Caller::Application(_) => "oauth_access_token",
        Caller::Deployment(_) => "deploy_token",
        Caller::Person(who) => match who.via {
            Via::PersonalAccessToken(_) => "personal_access_token",
            Via::OauthAccessToken(_) => "oauth_access_token",
            Via::Session(_) => "session",
            Via::JobToken(_) => "job_token",
        },
    })
}

fn spelt(place: CredentialPlace) -> HeaderValue {
    HeaderValue::from_static(match place {
        CredentialPlace::AuthorizationHeader | CredentialPlace::BasicPassword => "authorization",
        CredentialPlace::DeployTokenHeader => "deploy_token",
        CredentialPlace::JobTokenHeader => "job_token",
        CredentialPlace::PrivateTokenHeader => "private_token",
        CredentialPlace::SessionCookie => "session",
        CredentialPlace::AccessTokenParameter
        | CredentialPlace::BearerTokenParameter
        | CredentialPlace::PrivateTokenParameter
        | CredentialPlace::JobTokenParameter
        | CredentialPlace::TokenParameter => "query",
    })
}

fn client_id(caller: &Caller) -> Option<&str> {
    let token = match caller {
        Caller::Application(token) => token,
        Caller::Deployment(_) => return None,
        Caller::Person(who) => match &who.via {
            Via::OauthAccessToken(token) => token,
            Via::PersonalAccessToken(_) | Via::Session(_) | Via::JobToken(_) => return None,
        },
    };
    token.client_id.as_deref()
}

/// `%` too, so that whoever decodes a value gets what it was.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Printable ASCII, and never empty: some proxies leave an empty header out, and then the client's own would count.
fn value(text: &str) -> HeaderValue {
    let known = HeaderValue::from_str(&Cow::from(utf8_percent_encode(text, ESCAPED)));
    known.ok().filter(|value| !value.is_empty()).unwrap_or(NONE)
}

const NONE: HeaderValue = HeaderValue::from_static("-");
const ALL: HeaderValue = HeaderValue::from_static("*");

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn prefix(text: &str) -> Result<Prefix, toml::de::Error> {
        #[derive(Deserialize)]
        struct Holder {
            prefix: Prefix,
        }
        toml::from_str::<Holder>(&format!("prefix = '{text}'")).map(|holder| holder.prefix)
    }

    #[test]
    fn t2_our_voice_is_known_in_every_spelling() {
        let names = Names::new(&prefix("X-Tollhouse-").expect("a prefix"));
        let are_in = |name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_bytes(name.as_bytes()).expect(name), NONE);
            names.are_in(&headers)
        };
        for ours in [
            "X-Tollhouse-User",
            "x-tollhouse-user-id",
            "X_Tollhouse_User",
            "x-tollhouse_user",
            "X.TOLLHOUSE.USER",
            "x-tollhouse-",
            "x-tollhouse-anything",
            "x!tollhouse~user",
        ] {
            assert!(are_in(ours), "{ours}");
        }
        for other in ["x-tollhouse", "x-tollhous-user", "tollhouse-user", "x-tollhouses-user", "y-tollhouse-user", "x"]
        {
            assert!(!are_in(other), "{other}");
        }
    }

    #[test]
    fn t2_names_are_letters_digits_and_three_marks() {
        let odd = |name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_bytes(name.as_bytes()).expect(name), NONE);
            has_odd_name(&headers)
        };
        assert!(!["accept", "X-Forwarded-For", "x_y", "x.y", "x-1"].into_iter().any(odd));
        for mark in "!#$%&'*+^`|~".chars() {
            assert!(odd(&format!("x{mark}http{mark}method")), "{mark}");
        }
    }

    #[test]
    fn t2_values_are_printable_and_never_empty() {
        for (text, told) in
            [("ada", "ada"), ("", "-"), ("a\r\nb", "a%0D%0Ab"), ("\u{fc}@x", "%C3%BC@x"), ("a b%", "a b%25")]
        {
            assert_eq!(value(text), told, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_leaves_room_for_the_question() {
        assert!(prefix("X-Auth-").is_ok());
        for bad in [
            "",
            "-x",
            "X",
            "X-",
            "X-Original-",
            "X-Forwarded-",
            "User-",
            "Sec-Fetch-",
            "Access-",
            "X-A_",
            "X A-",
            "\u{e9}-",
        ] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
