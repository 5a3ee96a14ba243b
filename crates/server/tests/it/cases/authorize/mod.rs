//! `/oauth/authorize`: who is asked, what the page says, and where the answer goes (oauth.md 5; T20, T21).

pub mod answers;
pub mod bad_faith;
pub mod mistakes;
pub mod page;
pub mod prompts;
pub mod redirect_uris;
pub mod sign_in_first;

use tollhouse::operations::applications::CreateApplication;

use crate::oauth::{Client, create, encoded, sent_back};
use crate::test_server::{Ask, Reply, TestServer};

const AUTHORIZE: &str = "/oauth/authorize";
const SIGN_IN: &str = "/users/sign_in";
const BAD_REDIRECT: &str = "The redirect URI included is not valid.";
const BAD_SCOPE: &str = "The requested scope is invalid, unknown, or malformed.";
const BAD_TYPE: &str = "The authorization server does not support this response type.";

type Fields = Vec<(String, String)>;

fn field<'f>(form: &'f [(String, String)], name: &str) -> Option<&'f str> {
    form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn unescaped(text: &str) -> String {
    // The ampersand comes last, or `&#38;#60;` would be unescaped twice.
    let entities = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(*entity, plain))
}

/// The forms of a page that name an application, each as its hidden inputs.
fn forms(reply: &Reply) -> Vec<Fields> {
    let input = |text: &str| {
        let (name, rest) = text.split_once(r#"" value=""#)?;
        let (value, _) = rest.split_once('"')?;
        Some((name.to_owned(), unescaped(value)))
    };
    let form = |text: &str| {
        let inside = text.split("</form>").next().unwrap_or_default();
        inside.split(r#"<input type="hidden" name=""#).skip(1).filter_map(input).collect::<Fields>()
    };
    reply.body.split("<form ").skip(1).map(form).filter(|form| field(form, "client_id").is_some()).collect()
}

/// The two forms of the consent page: what allows, and what denies.
#[track_caller]
fn consent(reply: &Reply) -> (Fields, Fields) {
    let body = &reply.has(200).body;
    assert!(body.contains("Authorize") && body.contains("Deny"), "{body}");
    let (mut allow, mut deny): (Vec<_>, Vec<_>) =
        forms(reply).into_iter().partition(|form| field(form, "_method").is_none());
    assert_eq!((allow.len(), deny.len()), (1, 1), "{body}");
    let (allow, deny) = (allow.remove(0), deny.remove(0));
    assert_eq!(field(&deny, "_method"), Some("delete"));
    (allow, deny)
}

#[track_caller]
fn lists(reply: &Reply, scope: &str) -> bool {
    reply.has(200).body.contains(&format!("<code>{scope}</code>"))
}

/// Where the page leads that waits for nobody.
#[track_caller]
fn sent_on(reply: &Reply) -> String {
    let refresh = r#"<meta http-equiv="refresh" content="0; url="#;
    let (_, rest) = reply.has(200).body.split_once(refresh).expect("a page that leads on");
    let target = rest.split('"').next().unwrap_or_default();
    assert!(reply.body.contains(&format!(r#"href="{target}""#)), "a link too: {}", reply.body);
    assert!(forms(reply).is_empty(), "nothing is asked: {}", reply.body);
    unescaped(target)
}

/// A page that asks nothing and leads nowhere.
#[track_caller]
fn is_closed(reply: &Reply) {
    reply.has(200);
    assert!(reply.header("content-type").is_some_and(|media| media.starts_with("text/html")), "{}", reply.body);
    assert_eq!(reply.header("location"), None);
    assert!(!reply.body.contains("http-equiv=\"refresh\"") && forms(reply).is_empty(), "{}", reply.body);
}

#[track_caller]
fn is_error_page(reply: &Reply, text: &str) {
    is_closed(reply);
    assert!(reply.body.contains(text), "{text}: {}", reply.body);
}

#[track_caller]
fn location(reply: &Reply) -> &str {
    reply.has(302).header("location").expect("a Location")
}

/// What stands under a name behind the first such mark of a URL.
fn carried(url: &str, mark: char, name: &str) -> Option<String> {
    let (_, pairs) = url.split_once(mark)?;
    form_urlencoded::parse(pairs.as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// The application asks, and is told of an error by redirect, with its state.
#[track_caller]
fn is_told(reply: &Reply, error: &str, description: &str) {
    assert_eq!(sent_back(reply, "error").as_deref(), Some(error));
    assert_eq!(sent_back(reply, "error_description").as_deref(), Some(description));
    assert_eq!(sent_back(reply, "state").as_deref(), Some("a state"));
    assert_eq!(sent_back(reply, "code"), None);
}

/// An application with this redirect URI (or these).
fn with_uri(uri: &str) -> CreateApplication {
    CreateApplication { redirect_uri: uri.to_owned(), ..create("api") }
}

/// How many times somebody allowed something.
async fn allowed(t: &TestServer) -> usize {
    t.count("oauth.authorized").await
}

/// The pairs of a request for `api`, and more.
fn form_of(client: &Client, more: &[(&str, &str)]) -> String {
    let mut pairs = client.request("api");
    pairs.extend(more);
    encoded(&pairs)
}

/// Presses the button of a form.
fn pressed(t: &TestServer, form: &[(String, String)]) -> Ask {
    let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    t.post(AUTHORIZE).form(&encoded(&pairs))
}
