//! What a request for authorization asks of the person in front of the browser: `prompt`, `max_age` and `id_token_hint`
//! (OpenID Connect Core section 3.1.2.1; oauth.md 5.6).

use std::time::Duration;

use url::form_urlencoded;

use crate::denial::AccountFault;
use crate::id::UserId;
use crate::time::Timestamp;

/// The values of `prompt` that are acted upon, as discovery lists them.
pub const SUPPORTED: [&str; 4] = ["none", "login", "consent", "select_account"];

/// `prompt` and `max_age` of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    none: bool,
    login: bool,
    consent: bool,
    select_account: bool,
    max_age: Option<Duration>,
}

/// Why they cannot be acted upon. Both are `invalid_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `none` beside another value. The application asked for an answer without a page, and gets one.
    NoneAndMore,
    /// An unknown value, or a `max_age` that is no number of seconds.
    Unreadable,
}

/// Whom `id_token_hint` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// There is none.
    Absent,
    /// This user. Whoever else is signed in has to choose an account.
    User(UserId),
    /// It is no token that this server issued to this application, so it may name anybody.
    Invalid,
}

/// Who is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The account of the session.
    pub user: UserId,
    /// When they gave their password. `None`: not known, because the account may not come in as it is.
    pub authenticated_at: Option<Timestamp>,
    /// Why the account may not come in.
    pub fault: Option<AccountFault>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Whatever would come without `prompt`: the consent page, or a code.
    Proceed,
    /// The consent page, though it could be skipped.
    Consent,
    /// A page that asks which account it is to be.
    SelectAccount,
    /// The password of the account that is signed in.
    Authenticate,
    /// An error for the application: `prompt=none`, and a page is needed.
    Refuse(Needed),
}

/// Which page an application that wanted none would need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// `login_required`
    Login,
    /// `interaction_required`
    Interaction,
}

impl Prompt {
    /// `create` is read and ignored: accounts are not made here.
    pub fn parse(prompt: Option<&str>, max_age: Option<&str>) -> Result<Self, Fault> {
        let mut read = Self::default();
        let mut others = false;
        let mut unknown = false;
        for word in prompt.unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
            match word {
                "none" => read.none = true,
                "login" => read.login = true,
                "consent" => read.consent = true,
                "select_account" => read.select_account = true,
                "create" => {}
                _ => unknown = true,
            }
            others |= word != "none";
        }
        if read.none && others {
            return Err(Fault::NoneAndMore);
        }
        if unknown {
            return Err(Fault::Unreadable);
        }
        read.max_age = max_age.map(|text| seconds(text).ok_or(Fault::Unreadable)).transpose()?;
        Ok(read)
    }

    /// `prompt=none`: no page may be shown.
    pub fn is_none(&self) -> bool {
        self.none
    }

    /// The order is that of the answers: who it is, then what else they have to do.
    pub fn next(&self, signed_in: Option<SignedIn>, hint: Hint, now: Timestamp) -> Step {
        let named = |user: UserId| match hint {
            Hint::Absent => true,
            Hint::User(hinted) => hinted == user,
            Hint::Invalid => false,
        };
        let Some(person) = signed_in else {
            return if self.none { Step::Refuse(Needed::Login) } else { Step::Authenticate };
        };
        let too_old = person.authenticated_at.is_some_and(|at| self.is_too_old(at, now));
        if self.none {
            return match person.fault {
                _ if !named(person.user) || too_old => Step::Refuse(Needed::Login),
                Some(AccountFault::PasswordExpired | AccountFault::Unconfirmed) => Step::Refuse(Needed::Interaction),
                Some(_) => Step::Refuse(Needed::Login),
                None => Step::Proceed,
            };
        }
        match () {
            () if self.select_account || !named(person.user) => Step::SelectAccount,
            () if self.login || too_old => Step::Authenticate,
            () if self.consent => Step::Consent,
            () => Step::Proceed,
        }
    }

    /// `max_age=0` is never met by a session that was there before the request.
    fn is_too_old(&self, authenticated_at: Timestamp, now: Timestamp) -> bool {
        self.max_age.is_some_and(|most| most.is_zero() || authenticated_at + most < now)
    }
}

/// Digits alone, and at most `u32::MAX`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: u32 = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()?;
    Some(Duration::from_secs(seconds.into()))
}

/// What somebody has just done, so that the request does not ask for it a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// They chose the account that is signed in.
    Chose,
    /// They chose another one, and signed in to it.
    ChoseAnother,
    /// They gave the password of the account that is signed in.
    Authenticated,
    /// They signed in, without having chosen against the hint.
    SignedIn,
}

impl Done {
    /// The query of the request without what has been done. The rest stays as it is, to the byte.
    pub fn without(self, query: &str) -> String {
        let pairs = query.split('&').filter_map(|pair| {
            let (name, value) = form_urlencoded::parse(pair.as_bytes()).next()?;
            match &*name {
                "prompt" => {
                    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
                    let left: Vec<&str> = words.iter().copied().filter(|word| !self.settles(word)).collect();
                    let unchanged = left.len() == words.len();
                    let changed = || (!left.is_empty()).then(|| format!("prompt={}", escaped(&left.join(" "))));
                    if unchanged { Some(pair.to_owned()) } else { changed() }
                }
                // One that cannot be read stays, and is refused afterwards.
                "max_age" if self != Self::Chose && seconds(&value).is_some() => None,
                "id_token_hint" if matches!(self, Self::Chose | Self::ChoseAnother) => None,
                _ => Some(pair.to_owned()),
            }
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    fn settles(self, word: &str) -> bool {
        match word {
            "login" => self != Self::Chose,
            "select_account" => self != Self::Authenticated,
            _ => false,
        }
    }
}

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const ADA: UserId = UserId(1);

    fn read(prompt: &str, max_age: &str) -> Result<Prompt, Fault> {
        Prompt::parse(Some(prompt), Some(max_age).filter(|text| !text.is_empty()))
    }

    #[test]
    fn what_can_be_read() {
        for good in ["", "none", "login", "consent login", "select_account", "create", " login  login "] {
            assert!(read(good, "").is_ok(), "{good}");
        }
        for (prompt, fault) in [
            ("none login", Fault::NoneAndMore),
            ("create none", Fault::NoneAndMore),
            ("none nonsense", Fault::NoneAndMore),
            ("nonsense", Fault::Unreadable),
            ("Login", Fault::Unreadable),
            ("login,consent", Fault::Unreadable),
            ("login\tconsent", Fault::Unreadable),
        ] {
            assert_eq!(read(prompt, ""), Err(fault), "{prompt}");
        }
        for good in ["0", "1", "007", "4294967295"] {
            assert!(read("", good).is_ok(), "{good}");
        }
        for bad in ["-1", "+1", "1.5", "1e3", "x", " 1", "4294967296", "\u{0661}"] {
            assert_eq!(read("", bad), Err(Fault::Unreadable), "{bad}");
        }
    }

    #[test]
    fn what_comes_next() {
        use AccountFault::{Blocked, Deactivated, PasswordExpired, Unconfirmed};
        use Needed::{Interaction, Login};
        use Step::{Authenticate, Consent, Proceed, Refuse, SelectAccount};
        let (absent, ada, grace) = (Hint::Absent, Hint::User(ADA), Hint::User(UserId(2)));
        // The session is 100 seconds old, if there is one.
        let fit = Some(SignedIn { user: ADA, authenticated_at: Some(Timestamp(NOW - 100_000)), fault: None });
        let faulty = |fault| Some(SignedIn { user: ADA, authenticated_at: None, fault: Some(fault) });
        for (prompt, max_age, hint, who, step) in [
            ("", "", absent, fit, Proceed),
            ("", "", ada, fit, Proceed),
            ("", "", grace, fit, SelectAccount),
            ("", "", Hint::Invalid, fit, SelectAccount),
            ("", "100", absent, fit, Proceed),
            ("", "99", absent, fit, Authenticate),
            ("", "0", absent, fit, Authenticate),
            ("", "4294967295", absent, fit, Proceed),
            ("create", "", absent, fit, Proceed),
            ("login", "", absent, fit, Authenticate),
            ("consent", "", absent, fit, Consent),
            ("login consent", "", absent, fit, Authenticate),
            ("consent", "99", absent, fit, Authenticate),
            ("select_account", "", absent, fit, SelectAccount),
            ("consent login select_account", "0", absent, fit, SelectAccount),
            ("none", "", absent, fit, Proceed),
            ("none", "100", ada, fit, Proceed),
            ("none", "99", absent, fit, Refuse(Login)),
            ("none", "0", absent, fit, Refuse(Login)),
            ("none", "", grace, fit, Refuse(Login)),
            ("none", "", Hint::Invalid, fit, Refuse(Login)),
            ("none", "", absent, None, Refuse(Login)),
            ("none", "", ada, None, Refuse(Login)),
            ("none", "", absent, faulty(PasswordExpired), Refuse(Interaction)),
            ("none", "", absent, faulty(Unconfirmed), Refuse(Interaction)),
            ("none", "", grace, faulty(Unconfirmed), Refuse(Login)),
            ("none", "", absent, faulty(Blocked), Refuse(Login)),
            ("none", "", absent, faulty(Deactivated), Refuse(Login)),
        ] {
            let read = read(prompt, max_age).expect("it can be read");
            assert_eq!(read.next(who, hint, Timestamp(NOW)), step, "{prompt} {max_age} {hint:?} {who:?}");
        }
    }

    #[test]
    fn a_second_is_up_when_it_is_over() {
        let read = read("", "1").expect("a second");
        let old = |millis| read.is_too_old(Timestamp(NOW - millis), Timestamp(NOW));
        assert!(!old(0) && !old(1_000) && old(1_001));
    }

    #[test]
    fn what_was_done_is_not_asked_for_again() {
        use Done::{Authenticated, Chose, ChoseAnother, SignedIn};
        let query = "a=%7e+b&prompt=login+consent%20select_account&max_age=0&id_token_hint=x.y.z&c";
        for (done, left) in [
            (Chose, "a=%7e+b&prompt=login+consent&max_age=0&c"),
            (Authenticated, "a=%7e+b&prompt=consent+select_account&id_token_hint=x.y.z&c"),
            (SignedIn, "a=%7e+b&prompt=consent&id_token_hint=x.y.z&c"),
            (ChoseAnother, "a=%7e+b&prompt=consent&c"),
        ] {
            assert_eq!(done.without(query), left);
        }
        assert_eq!(SignedIn.without("%70rompt=login&a=1&max%5Fage=5"), "a=1");
        for unreadable in ["max_age=abc", "max_age=-1", "max_age=4294967296", "max_age="] {
            assert_eq!(SignedIn.without(unreadable), unreadable);
        }
        for same in ["", "state=prompt%3Dlogin&x", "prompt=none", "prompt=nonsense%20&&x=%zz", "prompt"] {
            assert_eq!(SignedIn.without(same), same.replace("&&", "&"), "{same}");
        }
    }

    #[test]
    fn only_none_forbids_a_page() {
        for (prompt, none) in [("none", true), ("", false), ("login", false), ("consent select_account", false)] {
            assert_eq!(read(prompt, "").expect("it can be read").is_none(), none, "{prompt}");
        }
    }
}
