//! What is said of a command that does not exist.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// The same mistake, but a command is suggested only if what was typed is a slip of it: the library takes `create` for what
/// somebody meant who typed `rename`. In its place stands what there is.
pub(super) fn told(mut error: Error, program: &Command) -> Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {}
        ErrorKind::UnknownArgument => return before_the_command(error),
        _ => return error,
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand).cloned() else { return error };
    error.remove(ContextKind::SuggestedSubcommand);
    error.remove(ContextKind::Suggested);
    let words = std::env::args_os().skip(1).filter_map(|word| word.into_string().ok());
    let there_are = commands(program, words, &typed);
    match there_are.iter().find(|known| is_slip(&typed, known)) {
        Some(known) => error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(known.clone())),
        None => {
            let tip = format!("there are {}", there_are.join(", "));
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]))
        }
    };
    error
}

/// Of a flag before the command the library says that a command has it; here it is said where the flag goes.
fn before_the_command(mut error: Error) -> Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg).cloned() else { return error };
    let is_first = std::env::args_os().nth(1).is_some_and(|first| first.to_string_lossy().starts_with(&flag));
    if is_first && ["--config", "--database", "--json"].contains(&flag.as_str()) {
        for known in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::Suggested] {
            error.remove(known);
        }
        let tip = format!("put {flag} after the command, as in `tollhouse user list {flag} ...`");
        let tip = if flag == "--json" { tip.replace(" ...", "") } else { tip };
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The commands among which `typed` was looked for.
fn commands(program: &Command, words: impl Iterator<Item = String>, typed: &str) -> Vec<String> {
    let mut at = program;
    for word in words.take_while(|word| word != typed) {
        at = at.find_subcommand(&word).unwrap_or(at);
    }
    let names = at.get_subcommands().map(Command::get_name).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// One letter too many, too few, another one, or two that changed places.
fn is_slip(typed: &str, known: &str) -> bool {
    let (typed, known): (Vec<char>, Vec<char>) = (typed.to_lowercase().chars().collect(), known.chars().collect());
    let alike = typed.iter().zip(&known).take_while(|(a, b)| a == b).count();
    let (typed, known) = (&typed[alike..], &known[alike..]);
    match (typed, known) {
        ([], []) => true,
        ([_, more @ ..], _) if more == known => true,
        (_, [_, more @ ..]) if more == typed => true,
        ([_, rest @ ..], [_, others @ ..]) if rest == others => true,
        ([a, b, rest @ ..], [c, d, others @ ..]) => a == d && b == c && rest == others,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_one_letter() {
        for (typed, known) in [
            ("crate", "create"),
            ("creatte", "create"),
            ("craete", "create"),
            ("creete", "create"),
            ("List", "list"),
            ("lsit", "list"),
            ("lists", "list"),
            ("ist", "list"),
        ] {
            assert!(is_slip(typed, known), "{typed} {known}");
        }
        for (typed, known) in [
            ("rename", "create"),
            ("update", "create"),
            ("remove", "revoke"),
            ("rotate", "create"),
            ("show", "unlock"),
            ("", "list"),
            ("delete", "create"),
            ("ls", "list"),
        ] {
            assert!(!is_slip(typed, known), "{typed} {known}");
        }
    }
}
