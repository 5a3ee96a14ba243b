//! What a refusal says in a terminal.

use anyhow::anyhow;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::redirect;
use tollhouse_domain::text::printable;

use crate::cli::Failure;
use crate::error::{Error, sentence as refused_as};
use crate::refusal::{ExpiryFault, FieldFault, Refusal, ResourceKind};

/// One line; the code is that of "anything else".
pub(super) fn refusal(error: Error) -> Failure {
    Failure::Broken(anyhow!(sentence(&error)))
}

/// The same, with what was given for each field.
pub(super) fn refusal_of(error: Error, given: &[Given<'_>]) -> Failure {
    Failure::Broken(anyhow!(sentence_of(&error, given)))
}

/// A field as a rule names it, and what was given for it. Never a secret.
pub(super) type Given<'g> = (&'static str, &'g str);

/// What a refusal says, in one line.
pub(in crate::cli) fn sentence(error: &Error) -> String {
    sentence_of(error, &[])
}

fn sentence_of(error: &Error, given: &[Given<'_>]) -> String {
    match error {
        Error::Refused(Refusal::Invalid(faults)) => faults_by_text(faults, given),
        Error::Refused(Refusal::Expiry(fault)) => expiry(*fault, given),
        Error::Refused(Refusal::ProjectLimit(limit)) => {
            format!("Your project limit is {limit} projects! Please contact your administrator to increase it")
        }
        Error::Refused(refusal) => match refused_as(refusal) {
            Some(sentence) if *refusal != Refusal::LastAdministrator => sentence.into_owned(),
            Some(_) => LAST_ADMINISTRATOR.to_owned(),
            None => format!("refused: {}", refusal.code()),
        },
        Error::Parameters(sentences) => sentences.join(", "),
        Error::BadRequest(Some(reason)) => with_given(reason, given),
        Error::Forbidden(Some(reason)) => format!("refused: {reason}"),
        Error::NotFound(thing) => format!("there is no such {}", noun(*thing)),
        Error::Denied(Denial::Unknown) => "this token is unknown".into(),
        Error::Denied(Denial::Expired) => "the token has expired".into(),
        Error::Denied(Denial::Revoked) => "the token is revoked".into(),
        Error::Settling { seconds, .. } => {
            format!("a successor was handed out just now: try again in {seconds} seconds")
        }
        Error::Unavailable => {
            "the database did not answer; check whether the change was made before you try again".into()
        }
        Error::Full => "the disk is almost full, so new data is refused (storage.reserve)".into(),
        other => format!("refused: {}", other.code()),
    }
}

/// `--expires-at 2020-01-01 must be after today`: the day is always from that flag.
fn expiry(fault: ExpiryFault, given: &[Given<'_>]) -> String {
    let day = given.iter().find(|(field, day)| *field == "expires_at" && !day.is_empty());
    let day = day.map_or_else(String::new, |(_, day)| format!(" {day}"));
    format!("--expires-at{day} {}", fault.sentence().trim_start_matches("Expires at "))
}

/// `name "a", path "a" has already been taken; email "x" is invalid, write one such as ada@example.test`. Fields with a dot
/// are other names of the wire for the same.
fn faults_by_text(faults: &[(&'static str, FieldFault)], given: &[Given<'_>]) -> String {
    let mut told: Vec<(Vec<String>, String)> = Vec::new();
    for (field, fault) in faults.iter().filter(|(field, _)| !field.contains('.')) {
        let text = format!("{}{}", fault.text().trim_end_matches('.'), example(field, *fault));
        match told.iter_mut().find(|(_, known)| *known == text) {
            Some((fields, _)) => fields.push(with_value(field, given)),
            None => told.push((vec![with_value(field, given)], text)),
        }
    }
    let told: Vec<String> = told.iter().map(|(fields, text)| format!("{} {text}", fields.join(", "))).collect();
    told.join("; ")
}

/// A sentence that begins with the name of a field, with what was given for it.
fn with_given(sentence: &str, given: &[Given<'_>]) -> String {
    match given.iter().find(|(field, _)| sentence.starts_with(field)) {
        Some((field, _)) => sentence.replacen(field, &with_value(field, given), 1),
        None => sentence.to_owned(),
    }
}

/// What is empty, or long, is told by the rule alone.
fn with_value(field: &str, given: &[Given<'_>]) -> String {
    // The wire has the name of a column here; the flag has the other one.
    let name = if field == "visibility_level" { "visibility" } else { field };
    match given.iter().find(|(known, _)| *known == field) {
        Some((_, value)) if (1..=LONGEST).contains(&value.len()) => format!("{name} \"{}\"", printable(value)),
        _ => name.to_owned(),
    }
}

/// One that fits, where the form is at fault.
fn example(field: &str, fault: FieldFault) -> &'static str {
    match (field, fault) {
        (_, FieldFault::NotAnEmail) => ", write one such as ada@example.test",
        ("username", FieldFault::PathCharacters) => ", such as ada-lovelace",
        (_, FieldFault::PathCharacters) => ", such as time-table",
        (_, FieldFault::ExceedsParentGroup | FieldFault::ExceedsGroup) => ", because that group is less visible",
        (_, FieldFault::RedirectUri(redirect::Fault::Blank)) => "",
        (_, FieldFault::RedirectUri(redirect::Fault::PlainHttp)) => {
            ", because external_url is https: write one such as https://app.example.test/callback"
        }
        (_, FieldFault::RedirectUri(_)) => ", write one such as https://app.example.test/callback",
        _ => "",
    }
}

const LONGEST: usize = 128;

const LAST_ADMINISTRATOR: &str = "refused: this is the last administrator who can act; create another one first, such as \
                                  with tollhouse user create NAME --admin";

fn noun(thing: ResourceKind) -> &'static str {
    match thing {
        ResourceKind::Project => "project",
        ResourceKind::Group => "group",
        ResourceKind::User => "user",
        ResourceKind::Application => "application",
        ResourceKind::AccessToken(_) => "access token",
        ResourceKind::Record | ResourceKind::Unnamed => "record",
        ResourceKind::ImpersonationToken => "impersonation token",
        ResourceKind::Job => "job",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_sentence() {
        let taken = FieldFault::Taken;
        let faults = vec![
            ("project_namespace.name", taken),
            ("name", taken),
            ("path", taken),
            ("email", FieldFault::NotAnEmail),
        ];
        let example = "write one such as ada@example.test";
        let without = format!("name, path has already been taken; email is invalid, {example}");
        assert_eq!(sentence(&Refusal::Invalid(faults.clone()).into()), without);
        let given = [("name", "a\u{1b}"), ("path", ""), ("email", "x")];
        let with = format!("name \"a\\u{{1b}}\", path has already been taken; email \"x\" is invalid, {example}");
        assert_eq!(sentence_of(&Refusal::Invalid(faults).into(), &given), with);
        let late = Error::from(Refusal::Expiry(ExpiryFault::NotAfterToday));
        let told = sentence_of(&late, &[("expires_at", "2020-01-01")]);
        assert_eq!(told, "--expires-at 2020-01-01 must be after today");
        assert_eq!(sentence_of(&late, &[("expires_at", "")]), "--expires-at must be after today");
        let wide = Error::from(Refusal::field("visibility_level", FieldFault::ExceedsGroup));
        let told = "visibility \"public\" is not allowed in this group, because that group is less visible";
        assert_eq!(sentence_of(&wide, &[("visibility_level", "public")]), told);
        assert_eq!(sentence(&Error::NotFound(ResourceKind::User)), "there is no such user");
        assert_eq!(sentence(&Error::Forbidden(Some("Because".into()))), "refused: Because");
        assert_eq!(sentence(&Error::Busy), "refused: busy");
    }
}
