//! How statements are written down.

/// The statements of one file. They are listed too, so that a test can prepare every one of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* const $name: &str = $sql;)+
        /// Every statement of the file, by its path in the code.
        pub(crate) const ALL: &[(&str, &str)] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),+];
    };
}

/// A pattern for `LIKE .. ESCAPE '\'` that finds the text anywhere, without regard to case.
pub(crate) fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_pattern_finds_the_text_and_nothing_it_did_not_say() {
        assert_eq!(super::like("A_b%"), "%a\\_b\\%%");
    }
}
