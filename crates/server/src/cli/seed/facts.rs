//! What a seed made, for whoever wants to use it: as one line of JSON, or as a few lines to paste.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tollhouse_domain::scope::{Holder, Scope};
use tollhouse_domain::text::printable;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::AccountState;
use url::form_urlencoded::Serializer;

use super::fill::{Fill, Filled};
use super::{End, Seed, Token};
use crate::operations::applications::Created;
use crate::operations::tokens;

impl Seed {
    /// How many there are of each.
    pub(super) fn counts(&self) -> String {
        let counts = [
            (self.users.len(), "user"),
            (self.groups.len(), "group"),
            (self.projects.len(), "project"),
            (self.tokens.len(), "token"),
            (self.applications.len(), "application"),
            (self.oauth_tokens.len(), "OAuth token"),
        ];
        let some = counts.iter().filter(|(count, _)| *count > 0);
        let words = some.map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }));
        words.collect::<Vec<_>>().join(", ")
    }

    fn user(&self, place: usize) -> &str {
        &self.users[place].create.username
    }

    /// Whether a token opens anything, by all that the file says.
    fn opens(&self, token: &Token, now: Timestamp) -> bool {
        let user = &self.users[token.user].create;
        let ended = match token.end {
            End::Usual => false,
            End::On(day) => day <= now.date(),
            End::Past => true,
        };
        !ended && !token.revoked && user.state == AccountState::Active && user.confirmed
    }
}

/// What was asked for, and what was made of it.
pub struct Facts {
    /// What was asked for.
    pub fill: Arc<Fill>,
    /// What was made, in the same order.
    pub filled: Filled,
}

impl Facts {
    /// One object with every secret in it, for scripts. `base`: our own URL.
    pub fn json(&self, base: &str) -> Value {
        let (seed, made) = (self.fill.seed(), &self.filled);
        let users = seed.users.iter().zip(&made.users).map(|(user, id)| {
            let user = &user.create;
            let (email, admin, state) = (&user.email, user.administrator, user.state.as_str());
            (user.username.clone(), json!({ "id": id, "email": email, "admin": admin, "state": state }))
        });
        let groups =
            seed.groups.iter().zip(&made.groups).map(|(group, made)| (group.full_path.clone(), json!(made.id)));
        let projects = seed.projects.iter().zip(&made.projects).map(|(plan, id)| (plan.full_path.clone(), json!(id)));
        let tokens = self.tokens().map(|(token, made)| {
            json!({
                "id": made.token.id,
                "name": token.name,
                "user": seed.user(token.user),
                "scopes": token.scopes,
                "token": made.secret.reveal(),
            })
        });
        let applications = made.applications.iter().map(|Created { application, secret }| {
            json!({
                "id": application.id,
                "name": application.name,
                "client_id": application.uid,
                "client_secret": secret.reveal(),
                "confidential": application.confidential,
                "redirect_uris": application.redirect_uris.to_string().lines().collect::<Vec<_>>(),
            })
        });
        let oauth_tokens = seed.oauth_tokens.iter().zip(&made.oauth_tokens).map(|(token, made)| {
            json!({
                "application": seed.applications[token.application].create.name,
                "user": token.user.map(|user| seed.user(user)),
                "scopes": token.scopes,
                "token": made.access.reveal(),
                "refresh_token": made.refresh.as_ref().map(|secret| secret.reveal()),
            })
        });
        json!({
            "base_url": base,
            "users": users.collect::<Map<_, _>>(),
            "groups": groups.collect::<Map<_, _>>(),
            "projects": projects.collect::<Map<_, _>>(),
            "tokens": tokens.collect::<Vec<_>>(),
            "applications": applications.collect::<Vec<_>>(),
            "oauth_tokens": oauth_tokens.collect::<Vec<_>>(),
        })
    }

    /// The same for people. `now`: a credential that is dead by then is not suggested. `with_json`: [`Self::json`] was printed.
    pub fn text(&self, base: &str, now: Timestamp, with_json: bool) -> String {
        let (seed, made) = (self.fill.seed(), &self.filled);
        let mut text = format!("Tollhouse is listening on {base}\n\nFrom {}: {}\n", seed.name, seed.counts());
        if let Some(user) = seed.users.iter().find(|user| user.create.password_digest.is_some()) {
            let _ = writeln!(text, "\nIn a browser: {base}/  (sign in as {})", user.create.username);
        }
        // One that is dead or blocked would show nothing.
        if let Some((token, made)) = self.tokens().find(|(token, _)| seed.opens(token, now)) {
            let header = quoted(&format!("PRIVATE-TOKEN: {}", made.secret.reveal()));
            let (name, user) = (printable(&token.name), seed.user(token.user));
            let _ = writeln!(text, "\nThe token `{name}` of {user} ({})", token.scopes);
            let _ = writeln!(text, "  curl -s -H {header} {base}/api/v4/personal_access_tokens/self");
            if [Scope::Api, Scope::ReadApi, Scope::ReadUser].iter().any(|scope| token.scopes.contains(*scope)) {
                let _ = writeln!(text, "  curl -s -H {header} {base}/api/v4/user");
            }
        }
        if let Some(created) = made.applications.first() {
            text.push_str(&sign_in(created, base));
        }
        text.push_str(&self.left_to_chance());
        text.push('\n');
        if !with_json {
            text.push_str("With --json, every number and secret is printed first, as one line. ");
        }
        text.push_str("Ctrl-C stops the demo.\n");
        text
    }

    fn tokens(&self) -> impl Iterator<Item = (&Token, &tokens::Created)> {
        self.fill.seed().tokens.iter().zip(&self.filled.tokens)
    }

    /// What nobody could know otherwise.
    fn left_to_chance(&self) -> String {
        let mut text = String::new();
        let mut tokens = self.tokens().filter(|(token, _)| token.secret.is_none()).peekable();
        if tokens.peek().is_none() {
            return text;
        }
        text.push_str("\nTokens that were generated\n");
        for (token, made) in tokens.by_ref().take(MOST_LISTED) {
            let (name, user) = (printable(&token.name), self.fill.seed().user(token.user));
            let _ = writeln!(text, "  {}  `{name}` of {user}", made.secret.reveal());
        }
        match tokens.count() {
            0 => {}
            more => drop(writeln!(text, "  and {more} more: --json prints them all")),
        }
        text
    }
}

/// Lines for an application: how a person is asked, and how it gets a token for itself.
fn sign_in(Created { application, secret }: &Created, base: &str) -> String {
    let (id, name) = (&application.uid, printable(&application.name));
    let uris = application.redirect_uris.to_string();
    // Nobody gets those of administrators without being asked (T21).
    let scope = match application.scopes.iter().find(|scope| scope.holder() != Holder::Administrators) {
        Some(scope) => scope,
        None if application.scopes.is_empty() => Scope::ReadUser,
        None => return String::new(),
    };
    let query = Serializer::new(String::new())
        .append_pair("client_id", id)
        .append_pair("redirect_uri", uris.lines().next().unwrap_or_default())
        .append_pair("response_type", "code")
        .append_pair("scope", scope.as_str())
        .append_pair("state", "seed")
        .finish();
    let mut text = format!("\nThe application `{name}`, in a browser\n  {base}/oauth/authorize?{query}\n");
    if application.confidential {
        let client = quoted(&format!("{id}:{}", secret.reveal()));
        let _ =
            writeln!(text, "  curl -s -u {client} -d 'grant_type=client_credentials&scope={scope}' {base}/oauth/token");
    }
    text
}

/// As one word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

const MOST_LISTED: usize = 20;

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_is_one_word_of_a_shell() {
        assert_eq!(super::quoted("a b"), "'a b'");
        assert_eq!(super::quoted("it's $x"), r"'it'\''s $x'");
    }
}
