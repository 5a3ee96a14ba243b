//! The file of a seed, and what is wrong with it. Every mistake gets the line it stands on, and none of them ends the
//! reading, so that whoever wrote the file is told of all at once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use tollhouse_domain::text::printable;
use toml::de::DeTable;

use crate::config::{Unusable, one_line};

/// A file, as text.
pub struct Source {
    /// As people are told.
    pub name: String,
    /// All of it, as UTF-8.
    pub text: String,
}

impl Source {
    /// `-` is standard input.
    pub fn read(path: &Path) -> Result<Self, Unusable> {
        let mut bytes = Vec::new();
        let (name, read) = match path.to_str() {
            Some("-") => ("standard input".to_owned(), bounded(std::io::stdin().lock(), &mut bytes)),
            _ => {
                let file = File::open(path).and_then(|file| bounded(file, &mut bytes));
                (printable(&path.display().to_string()), file)
            }
        };
        if let Err(error) = read {
            return Err(Unusable(format!("{name}: {error}")));
        }
        if bytes.len() > LONGEST {
            return Err(Unusable(format!("{name}: it is larger than 16 MiB")));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
                Err(Unusable(format!("{name}:{line}: this is not UTF-8")))
            }
        }
    }
}

fn bounded(from: impl Read, into: &mut Vec<u8>) -> std::io::Result<usize> {
    from.take(LONGEST as u64 + 1).read_to_end(into)
}

/// What is wrong with a file, as far as is known.
pub(super) struct Mistakes<'s> {
    source: &'s Source,
    /// Where each line begins.
    lines: Vec<usize>,
    found: RefCell<Vec<(usize, String)>>,
    /// Lines that are no TOML. What was made of them says nothing.
    broken: HashSet<usize>,
}

impl<'s> Mistakes<'s> {
    /// Reads the file as TOML, as well as can be.
    pub(super) fn in_file(source: &'s Source) -> (Self, DeTable<'s>) {
        let lines = std::iter::once(0).chain(source.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut mistakes = Self { source, lines, found: RefCell::default(), broken: HashSet::new() };
        let table = match DeTable::parse(&source.text) {
            Ok(table) => table.into_inner(),
            // Megabytes of something else would be millions of mistakes.
            Err(first) if source.text.len() > LONGEST_TO_MEND => {
                mistakes.syntax(&first, "; the rest of the file was not checked");
                DeTable::new()
            }
            Err(_) => {
                let (table, errors) = DeTable::parse_recoverable(&source.text);
                errors.iter().for_each(|error| mistakes.syntax(error, ""));
                table.into_inner()
            }
        };
        if mistakes.broken.is_empty() && table.is_empty() {
            mistakes.push(0, "the file is empty".to_owned());
        }
        (mistakes, table)
    }

    /// Never the line itself: there are secrets in the file.
    fn syntax(&mut self, error: &toml::de::Error, more: &str) {
        let line = self.line(error.span().map_or(0, |span| span.start));
        self.broken.insert(line);
        self.found.get_mut().push((line, one_line(error.message()) + more));
    }

    /// The line of this byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).max(1)
    }

    /// Notes a mistake, unless the syntax of its line is broken anyway.
    pub(super) fn push(&self, at: usize, what: String) {
        let line = self.line(at);
        if !self.broken.contains(&line) {
            self.found.borrow_mut().push((line, what));
        }
    }

    /// All of them in the order of the file, or `None`.
    pub(super) fn told(self) -> Option<Unusable> {
        let mut found = self.found.into_inner();
        found.sort();
        found.dedup();
        let name = &self.source.name;
        let mut lines: Vec<String> =
            found.iter().take(MOST_TOLD).map(|(line, what)| format!("{name}:{line}: {what}")).collect();
        match found.len() {
            0 => return None,
            1 => {}
            count => lines.insert(0, format!("{name}: {count} mistakes, so nothing was created")),
        }
        if let Some(more) = found.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
            lines.push(format!("{name}: and {more} more"));
        }
        Some(Unusable(lines.join("\n")))
    }
}

const LONGEST: usize = 16 << 20;
const LONGEST_TO_MEND: usize = 1 << 20;
const MOST_TOLD: usize = 1_000;
