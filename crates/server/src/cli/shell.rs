//! A line of a shell, as the words that a POSIX shell would make of it. What only the shell of the caller knows
//! (variables, commands in it) is an error: guessing would explain another request.

use std::iter::Peekable;
use std::str::Chars;

/// One command. What follows a `|` is left out; a second command is an error.
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut splitter = Splitter { left: line.chars().peekable(), word: None, words: Vec::new() };
    splitter.run()?;
    Ok(splitter.words)
}

struct Splitter<'l> {
    left: Peekable<Chars<'l>>,
    /// `None`: between words.
    word: Option<String>,
    words: Vec<String>,
}

impl Splitter<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.left.next() {
            match c {
                ' ' | '\t' | '\r' => self.end(),
                '\n' | ';' | '&' => return self.last(c),
                '|' => break,
                '#' if self.word.is_none() => {
                    self.left.by_ref().take_while(|c| *c != '\n').for_each(drop);
                    return self.last('\n');
                }
                '<' | '>' => return Err("leave out redirections with < and >".to_owned()),
                '(' | ')' => return Err("there is a bracket outside quotes, which a shell would not accept".to_owned()),
                '\'' => self.single()?,
                '"' => self.double()?,
                '\\' => match self.left.next() {
                    // The line goes on.
                    Some('\n') | None => {}
                    Some('\r') if self.left.next_if_eq(&'\n').is_some() => {}
                    Some(c) => self.push(c),
                },
                '$' if self.left.next_if_eq(&'\'').is_some() => self.ansi()?,
                '$' if self.left.peek() == Some(&'"') => {}
                '$' | '`' => self.dollar(c)?,
                c => self.push(c),
            }
        }
        self.end();
        Ok(())
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end(&mut self) {
        self.words.extend(self.word.take());
    }

    /// Nothing may follow the end of a command.
    fn last(&mut self, by: char) -> Result<(), String> {
        self.end();
        if self.words.is_empty() && by == '\n' {
            return self.run();
        }
        match self.left.all(char::is_whitespace) {
            true => Ok(()),
            false if by == '&' => Err("an & outside quotes ends a command: put the URL in quotes".to_owned()),
            false => Err("there is more than one command; paste one".to_owned()),
        }
    }

    fn single(&mut self) -> Result<(), String> {
        self.word.get_or_insert_default();
        loop {
            match self.left.next().ok_or(OPEN)? {
                '\'' => return Ok(()),
                c => self.push(c),
            }
        }
    }

    fn double(&mut self) -> Result<(), String> {
        self.word.get_or_insert_default();
        loop {
            match self.left.next().ok_or(OPEN)? {
                '"' => return Ok(()),
                '\\' => match self.left.next().ok_or(OPEN)? {
                    '\n' => {}
                    c @ ('$' | '`' | '"' | '\\') => self.push(c),
                    c => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                c @ ('$' | '`') => self.dollar(c)?,
                c => self.push(c),
            }
        }
    }

    /// A dollar stands for itself unless something follows that it could name.
    fn dollar(&mut self, c: char) -> Result<(), String> {
        let names = |c: &char| c.is_ascii_alphanumeric() || "_{(@*?$!-#".contains(*c);
        if c == '$' && !self.left.peek().is_some_and(names) {
            self.push(c);
            return Ok(());
        }
        let name: String = self.left.clone().skip_while(|c| *c == '{').take_while(|c| is_name(*c)).collect();
        match name.is_empty() || c == '`' {
            true => Err("a command substitution is not run; replace it by its output".to_owned()),
            // What looks like one may be half a password.
            false => {
                Err("variables of your shell are not known here; insert the value, or quote the dollar".to_owned())
            }
        }
    }

    /// `$'...'`, as browsers copy requests.
    fn ansi(&mut self) -> Result<(), String> {
        self.word.get_or_insert_default();
        loop {
            let c = match self.left.next().ok_or(OPEN)? {
                '\'' => return Ok(()),
                '\\' => match self.left.next().ok_or(OPEN)? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'e' | 'E' => '\u{1b}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    'x' => self.number(16, 2)?,
                    'u' => self.number(16, 4)?,
                    'U' => self.number(16, 8)?,
                    c @ '0'..='7' => {
                        let more = self.digits(8, 2);
                        char_of(&format!("{c}{more}"), 8)?
                    }
                    c @ ('\\' | '\'' | '"' | '?') => c,
                    c => {
                        self.push('\\');
                        c
                    }
                },
                c => c,
            };
            self.push(c);
        }
    }

    fn number(&mut self, base: u32, most: usize) -> Result<char, String> {
        let digits = self.digits(base, most);
        char_of(&digits, base)
    }

    fn digits(&mut self, base: u32, most: usize) -> String {
        let mut digits = String::new();
        while digits.len() < most
            && let Some(c) = self.left.next_if(|c| c.is_digit(base))
        {
            digits.push(c);
        }
        digits
    }
}

/// A byte that is no character by itself would be part of one in the shell.
fn char_of(digits: &str, base: u32) -> Result<char, String> {
    let number =
        u32::from_str_radix(digits, base).ok().filter(|number| base == 16 && digits.len() > 2 || *number < 128);
    number.and_then(char::from_u32).ok_or_else(|| "an escape in $'...' cannot be parsed".to_owned())
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

const OPEN: &str = "a quote is opened but not closed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_does() {
        for (line, known) in [
            ("curl  a\tb ", &["curl", "a", "b"][..]),
            (r#"a'b c'"d \" \\ \x"e\ f"#, &[r#"ab cd " \ \xe f"#]),
            ("a '' \"\"", &["a", "", ""]),
            ("a \\\n  b \\\r\n c", &["a", "b", "c"]),
            ("\n\n a b\n\n", &["a", "b"]),
            ("a | jq . ; rm x", &["a"]),
            ("a;", &["a"]),
            ("a # b", &["a"]),
            ("a#b", &["a#b"]),
            ("a $ \"$\" '$X' \\$X \"\\$X\" x$.", &["a", "$", "$", "$X", "$X", "$X", "x$."]),
            (r"$'a\'b\n\x41\u00e9\101\\\q'", &["a'b\nA\u{e9}A\\\\q"]),
            ("$\"a\"", &["a"]),
            ("'a\nb' \"c\\\nd\"", &["a\nb", "cd"]),
            ("", &[]),
            ("'é'ü", &["éü"]),
        ] {
            assert_eq!(
                words(line).as_deref(),
                Ok(known.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>().as_slice()),
                "{line}"
            );
        }
    }

    #[test]
    fn what_only_the_shell_knows_is_an_error() {
        for (line, told) in [
            ("a $TOKEN", "variables of your shell"),
            ("a \"x: ${TOKEN}\"", "variables of your shell"),
            // It may be half of a password.
            ("a -u \"me:pa$w0rd\"", "variables of your shell"),
            ("a $(cat x)", "command substitution"),
            ("a `cat x`", "command substitution"),
            ("a \"`x`\"", "command substitution"),
            ("a $?", "command substitution"),
            ("a 'b", "not closed"),
            ("a \"b", "not closed"),
            ("a \"b\\", "not closed"),
            ("a $'b\\'", "not closed"),
            ("a b?c=1&d=2", "put the URL in quotes"),
            ("a; b", "more than one command"),
            ("a\nb", "more than one command"),
            ("a > b", "redirections with < and >"),
            ("a (b)", "bracket"),
            (r"$'\xff'", "cannot be parsed"),
            (r"$'\ud800'", "cannot be parsed"),
        ] {
            let error = words(line).expect_err(line);
            assert!(error.contains(told) && !error.contains("w0rd"), "{line}: {error}");
        }
    }
}
