//! Rules about passwords. Hashing itself is the server's (it costs time and must be bounded).

use std::time::Duration;

/// Longer ones are wrong without being hashed, so that length cannot be used to keep us busy (T14).
pub const LONGEST_BYTES: usize = 1024;

/// Shortest that may be chosen, in characters (rest-api.md USER-015).
pub const SHORTEST_CHARACTERS: usize = 8;

/// When password sign-in of an account locks (authentication.md 6.5). A lock stops nothing else, so that guessing
/// cannot switch off somebody's tokens.
#[derive(Clone, Copy, Debug)]
pub struct Lockout {
    /// So many consecutive wrong passwords lock.
    pub attempts: i64,
    pub period: Duration,
}

impl Default for Lockout {
    fn default() -> Self {
        Self { attempts: 10, period: Duration::from_secs(600) }
    }
}

/// What is wrong with a password somebody chose, as on the wire.
pub fn fault(password: &str) -> Option<&'static str> {
    if password.chars().count() < SHORTEST_CHARACTERS {
        return Some("is too short (minimum is 8 characters)");
    }
    if password.len() > LONGEST_BYTES {
        return Some("is too long (maximum is 1024 bytes)");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_a_password() {
        assert_eq!(fault("1234567"), Some("is too short (minimum is 8 characters)"));
        assert_eq!(fault("éééééééé"), None);
        assert_eq!(fault(&"x".repeat(1024)), None);
        assert!(fault(&"x".repeat(1025)).is_some());
    }
}
