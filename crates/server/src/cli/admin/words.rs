//! What a refusal says in a terminal.

use anyhow::anyhow;
use tollhouse_domain::denial::Denial;

use crate::cli::Failure;
use crate::error::{Error, Thing};

/// One line; the code is that of "anything else".
pub(super) fn refusal(error: Error) -> Failure {
    Failure::Broken(anyhow!(sentence(&error)))
}

/// What a refusal says, in one line.
pub(in crate::cli) fn sentence(error: &Error) -> String {
    match error {
        Error::Invalid(faults) => faults_by_text(faults),
        Error::Parameters(sentences) => sentences.join(", "),
        Error::BadRequest(Some(reason)) => reason.clone(),
        Error::Limit(reason) => reason.clone(),
        Error::Forbidden(Some(reason)) => format!("refused: {reason}"),
        Error::NotFound(thing) => format!("there is no such {}", noun(*thing)),
        Error::Denied(Denial::Unknown) => "nobody was given this token".into(),
        Error::Denied(Denial::Expired) => "the token has expired".into(),
        Error::Denied(Denial::Revoked) => "the token is revoked".into(),
        Error::Settling { seconds, .. } => {
            format!("a successor was handed out just now: try again in {seconds} seconds")
        }
        Error::Unavailable => "the database did not answer; look whether it was done before you try again".into(),
        Error::Full => "the disk is nearly full, so nothing new is taken in (storage.reserve)".into(),
        other => format!("refused: {}", other.code()),
    }
}

/// `name, path has already been taken; email is invalid`. Fields with a dot are other names of the wire for the same.
fn faults_by_text(faults: &[(&'static str, &'static str)]) -> String {
    let mut told: Vec<(Vec<&str>, &str)> = Vec::new();
    for (field, text) in faults.iter().filter(|(field, _)| !field.contains('.')) {
        match told.iter_mut().find(|(_, known)| known == text) {
            Some((fields, _)) => fields.push(field),
            None => told.push((vec![field], text)),
        }
    }
    let told: Vec<String> = told.iter().map(|(fields, text)| format!("{} {text}", fields.join(", "))).collect();
    told.join("; ")
}

fn noun(thing: Thing) -> &'static str {
    match thing {
        Thing::Project => "project",
        Thing::Group => "group",
        Thing::User => "user",
        Thing::Application => "application",
        Thing::Record => "record",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_sentence() {
        let taken = "has already been taken";
        let faults = vec![("project_namespace.name", taken), ("name", taken), ("path", taken), ("email", "is invalid")];
        assert_eq!(sentence(&Error::Invalid(faults)), "name, path has already been taken; email is invalid");
        assert_eq!(sentence(&Error::NotFound(Thing::User)), "there is no such user");
        assert_eq!(sentence(&Error::Forbidden(Some("Because".into()))), "refused: Because");
        assert_eq!(sentence(&Error::Busy), "refused: busy");
    }
}
