//! Tokens and applications.

use std::collections::hash_map::Entry;
use std::time::Duration;

use tollhouse_domain::redirect::RedirectUri;
use tollhouse_domain::scope::{Holder, Scope, Scopes};
use tollhouse_domain::secret::{self, Plaintext};
use tollhouse_domain::text::{name_fault, printable};

use super::{Known, once, user};
use crate::cli::seed::fields::{At, Fields};
use crate::cli::seed::{Application, End, OauthToken, Token};
use crate::operations::applications;
use crate::refusal::FieldFault;

pub(super) fn tokens_of<'f>(file: &Fields<'f>, known: &mut Known<'f>) -> Vec<Token> {
    let mut all = Vec::new();
    for fields in file.list("token", "token", "name") {
        fields.must_have("user");
        fields.must_have("name");
        let user = user(&fields, "user", known);
        let name = fields.text("name");
        well_named(&fields, name);
        let scopes = scopes(&fields, fields.some_texts("scopes"), |scope| match scope.holder() {
            Holder::ApplicationsOnly => Some("is for applications only"),
            // Whoever is not there may be an administrator.
            holder if holder.admits(user.is_none_or(|user| known.administrators[user])) => None,
            _ => Some("is for administrators only"),
        });
        let secret = chosen(&fields, "token", known);
        let (day, expired) = (fields.day("expires_at"), fields.flag("expired", false));
        if expired && fields.has("expires_at") {
            fields.wrong(fields.place("expired"), "`expired` and `expires_at` can't be used together");
        }
        let end = if expired { End::Past } else { day.map_or(End::Usual, End::On) };
        let revoked = fields.flag("revoked", false);
        fields.end();
        all.push(Token {
            user: user.unwrap_or_default(),
            name: name.map_or("", |name| name.value).to_owned(),
            scopes,
            secret,
            end,
            revoked,
        });
    }
    all
}

pub(super) fn applications_of<'f>(file: &Fields<'f>, known: &mut Known<'f>) -> Vec<Application> {
    let mut all = Vec::new();
    for fields in file.list("application", "application", "name") {
        let name = fields.required("name");
        well_named(&fields, name);
        if let Some(name) = name {
            // Nothing else forbids it, but tokens of this file are given to applications by their names.
            if let Entry::Vacant(free) = known.applications.entry(name.value) {
                free.insert(all.len());
            } else {
                fields.wrong(name.at, "this file already has an application with that name");
            }
        }
        let uris = fields.some_texts("redirect_uris");
        for uri in &uris {
            if let Err(fault) = RedirectUri::parse(uri.value) {
                fields.wrong(uri.at, &format!("`redirect_uris`: `{}` {}", printable(uri.value), fault.sentence()));
            }
        }
        let scopes = scopes(&fields, fields.texts("scopes"), |_| None);
        let client_id = fields.text("client_id");
        if let Some(id) = client_id {
            if !valid_client_id(id.value) {
                let must =
                    "`client_id` must be 1 to 255 letters, digits, '.', '_' and '-', with a letter or digit last";
                fields.wrong(id.at, must);
            }
            once(&fields, &mut known.client_ids, id.at, id.value, "client_id");
        }
        let client_secret = fields.text("client_secret").map(|secret| {
            if let Some(fault) = secret::fault(secret.value) {
                fields.wrong(secret.at, &format!("`client_secret` {fault}"));
            }
            Plaintext::new(secret.value.to_owned())
        });
        let create = applications::CreateApplication {
            name: name.map_or("", |name| name.value).to_owned(),
            redirect_uri: uris.iter().map(|uri| uri.value).collect::<Vec<_>>().join("\n"),
            scopes: scopes.to_string(),
            confidential: fields.flag("confidential", true),
            trusted: fields.flag("trusted", false),
            owner: None,
            by: None,
            plain_http: true,
        };
        known.scopes_of_applications.push(scopes);
        fields.end();
        all.push(Application { create, client_id: client_id.map(|id| id.value.to_owned()), client_secret });
    }
    all
}

pub(super) fn oauth_tokens_of<'f>(file: &Fields<'f>, known: &mut Known<'f>) -> Vec<OauthToken> {
    let mut all = Vec::new();
    for fields in file.list("oauth_token", "oauth_token of", "application") {
        let application = fields.required("application").and_then(|name| {
            let found = known.applications.get(name.value).copied();
            if found.is_none() {
                fields.wrong(name.at, &format!("there is no application `{}` in this file", printable(name.value)));
            }
            found
        });
        let user = user(&fields, "user", known);
        let scopes = scopes(&fields, fields.some_texts("scopes"), |scope| {
            let allowed = application.map(|place| &known.scopes_of_applications[place]);
            let beyond = allowed.is_some_and(|allowed| !allowed.is_empty() && !allowed.contains(scope));
            beyond.then_some("is not among those of the application")
        });
        let token = chosen(&fields, "token", known);
        let refresh_token = chosen(&fields, "refresh_token", known);
        if fields.has("refresh_token") && !fields.has("user") {
            let what = "`refresh_token` needs a `user`: a token of the application itself cannot be refreshed";
            fields.wrong(fields.place("refresh_token"), what);
        }
        let lifetime = fields.number("expires_in", 1, LONGEST_LIFE).map(|seconds| Duration::from_secs(seconds as u64));
        let expired = fields.flag("expired", false);
        if expired && fields.has("expires_in") {
            fields.wrong(fields.place("expired"), "`expired` and `expires_in` can't be used together");
        }
        let revoked = fields.flag("revoked", false);
        fields.end();
        all.push(OauthToken {
            application: application.unwrap_or_default(),
            user,
            scopes,
            token,
            refresh_token,
            lifetime,
            expired,
            revoked,
        });
    }
    all
}

/// `forbids` gives the reason against one of them.
fn scopes(fields: &Fields<'_>, words: Vec<At<&str>>, forbids: impl Fn(Scope) -> Option<&'static str>) -> Scopes {
    let known = words.into_iter().filter_map(|word| {
        let scope = Scope::parse(word.value);
        match scope.map(&forbids) {
            None => fields.wrong(word.at, &format!("there is no scope `{}`", printable(word.value))),
            Some(Some(why)) => fields.wrong(word.at, &format!("the scope `{}` {why}", printable(word.value))),
            Some(None) => {}
        }
        scope
    });
    known.collect()
}

/// A secret that the file chose. Messages never show it.
fn chosen<'f>(fields: &Fields<'f>, key: &'static str, known: &mut Known<'f>) -> Option<Plaintext> {
    let secret = fields.text(key)?;
    if let Some(fault) = secret::fault(secret.value) {
        fields.wrong(secret.at, &format!("`{key}` {fault}"));
    }
    once(fields, &mut known.secrets, secret.at, secret.value, key);
    Some(Plaintext::new(secret.value.to_owned()))
}

fn well_named(fields: &Fields<'_>, name: Option<At<&str>>) {
    if let Some((name, fault)) = name.and_then(|name| Some((name, FieldFault::from(name_fault(name.value)?)))) {
        fields.wrong(name.at, &format!("`name` {fault}"));
    }
}

/// It stands before the colon of `Authorization: Basic`. With a letter or digit last, it stays unique when an
/// application that is being removed gets a `-` (`store/oauth_applications.rs`).
fn valid_client_id(id: &str) -> bool {
    (1..=255).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && id.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// Ten years, in seconds.
const LONGEST_LIFE: i64 = 315_360_000;
