//! The table of refusals, printed whole: a change of wire shows in review.

use tollhouse_domain::access::Visibility;
use tollhouse_domain::access::ability::TargetKind;
use tollhouse_domain::id::FamilyId;
use tollhouse_domain::time::Date;

use super::*;
use crate::oauth::error::OauthError;
use crate::refusal::{ExpiryFault, FieldFault};

#[test]
fn the_whole_table() {
    let urls = Urls::new("https://git.example.test", &[], "127.0.0.1:80".parse().expect("an address"), false)
        .expect("own names");
    let mut errors: Vec<Error> = [
        Denial::Missing,
        Denial::Unknown,
        Denial::Expired,
        Denial::Revoked,
        Denial::Reused(FamilyId(1)),
        Denial::ImpersonationDisabled,
        Denial::Scope(vec![Scope::ReadUser, Scope::Api, Scope::ReadApi]),
        Denial::NotAdministrator,
        Denial::SudoNotAdministrator,
        Denial::SudoWithoutToken,
        Denial::SudoUnknown("o'\"x".into()),
        Denial::SudoInvalid,
    ]
    .map(Error::Denied)
    .into();
    errors.extend(AccountFault::ALL.map(|fault| Error::Denied(Denial::Account(fault))));
    errors.extend([
        Denial::Unavailable.into(),
        Error::NoRoute,
        Error::NoApiVersion,
        Error::ApiV3,
        Error::Malformed,
        Error::BadHost,
        Error::NotImplemented,
        Error::TwoBearers,
        Error::Parameters(vec!["a is missing".into(), "b is invalid".into()]),
        Refusal::Invalid(vec![
            ("name", FieldFault::Blank),
            ("path", FieldFault::Taken),
            ("name", FieldFault::TooLong(255)),
        ])
        .into(),
        Refusal::Expiry(ExpiryFault::NotAfterToday).into(),
        Refusal::Expiry(ExpiryFault::After(Date(20_000))).into(),
        Refusal::field("visibility_level", FieldFault::SubgroupsMoreVisible(Visibility::Private)).into(),
        Refusal::field("visibility_level", FieldFault::ProjectsMoreVisible(Visibility::Internal)).into(),
        Refusal::field("expires_at", FieldFault::Expiry(ExpiryFault::After(Date(20_000)))).into(),
        Refusal::NotAllowed.into(),
        Refusal::NotYours.into(),
        Refusal::NoAccessTokens(TargetKind::Group).into(),
        Refusal::NoAccessTokens(TargetKind::Project).into(),
        Refusal::LevelTooHigh.into(),
        Refusal::CannotDelete { user: "Ada".into(), bot: "ci".into() }.into(),
        Refusal::LastAdministrator.into(),
        Refusal::AlreadyRotated.into(),
        Refusal::AlreadyRevoked.into(),
        Refusal::NotEligible.into(),
        Error::Unprocessable("Name can't be blank".into()),
        Error::BadRequest(None),
        Error::BadRequest(Some("why".into())),
        Error::BrokenJson,
        Error::TooManyParameters,
        Error::MediaType("image/png".into()),
        Error::Format("xml".into()),
        Error::NotFound(ResourceKind::Project),
        Error::NotFound(ResourceKind::Group),
        Error::NotFound(ResourceKind::User),
        Error::NotFound(ResourceKind::Application),
        Error::NotFound(ResourceKind::AccessToken(TargetKind::Group)),
        Error::NotFound(ResourceKind::AccessToken(TargetKind::Project)),
        Error::NotFound(ResourceKind::Job),
        Error::NotFound(ResourceKind::Record),
        Error::NotFound(ResourceKind::ImpersonationToken),
        Error::NotFound(ResourceKind::Unnamed),
        Error::Forbidden(None),
        Error::Forbidden(Some("why".into())),
        Refusal::ProjectLimit(5).into(),
        Error::MethodNotAllowed,
        Error::NoKeyset,
        Error::BodyTooLarge,
        Error::TargetTooLong,
        Error::HeadTooLarge,
        Error::BodyTooSlow,
        Error::BodiesFull,
        Error::Settling { until: Timestamp(0), seconds: 7 },
        Error::Busy,
        Error::TooManyFailures(Exceeded {
            most: 10,
            observed: 11,
            now: Timestamp(1_800_000_001_500),
            resets: Timestamp(1_800_000_060_000),
            account: None,
        }),
        Error::Unavailable,
        Error::Full,
        Error::WrongHost,
        Error::Forged,
        Error::Internal,
    ]);
    let mut table = String::new();
    let oauth = OauthError::ALL.map(OauthError::reason);
    for code in errors.iter().map(Error::code).chain(oauth) {
        assert!(crate::metrics::REASONS.contains(&code), "{code} is not counted");
    }
    for error in errors {
        let wire = error.wire(&urls);
        let body = String::from_utf8(wire.body).expect("UTF-8");
        table += &format!("{} {} {body}", error.code(), wire.status.as_u16());
        table += &wire.challenge.map_or_else(String::new, |text| format!("\n    WWW-Authenticate: {text}"));
        table += &wire.retry_after.map_or_else(String::new, |seconds| format!("\n    Retry-After: {seconds}"));
        table.push('\n');
    }
    let known = include_str!("table.txt");
    assert!(table == known, "the table has changed; if that is meant, error/table.txt must say:\n{table}");
}
