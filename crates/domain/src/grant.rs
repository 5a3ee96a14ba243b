//! Authorization codes and the tokens that grow from them: what they are, and what a repeat of a code means.

use std::time::Duration;

use crate::id::{ApplicationId, FamilyId, OauthAccessTokenId, UserId};
use crate::pkce::{self, Challenge, Strictness};
use crate::redirect::{Matching, RedirectUri};
use crate::scope::Scopes;
use crate::time::Timestamp;

/// An authorization code, as its row says (oauth.md 2.2).
#[derive(Clone, Debug)]
pub struct AccessGrant {
    /// The application that it was issued to.
    pub application: ApplicationId,
    /// The person who allowed it.
    pub user: UserId,
    /// Where the code was sent; the token request must name the same.
    pub redirect_uri: String,
    /// What the person allowed.
    pub scopes: Scopes,
    /// The PKCE challenge (RFC 7636). `None`: the authorization request had none.
    pub challenge: Option<Challenge>,
    /// Copied into the `id_token`.
    pub nonce: Option<String>,
    /// When the person authenticated in the session in which they allowed it. `None`: issued by a version that did not
    /// keep it.
    pub authenticated_at: Option<Timestamp>,
    /// The first instant at which it can no longer be redeemed.
    pub expires_at: Timestamp,
    /// When it was redeemed, and the family that began.
    pub redeemed: Option<(Timestamp, FamilyId)>,
}

/// What is to happen to a code that an authenticated client presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// The code is redeemed.
    Accept,
    /// Refused; nothing changes.
    Refuse,
    /// Everything that redeemed it is presented once more, too late for a lost answer: what grew from it ends (RFC 6749
    /// section 4.1.2).
    Reuse(FamilyId),
}

/// What an authenticated client presents together with a code.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The application that authenticated, or that named itself if it has no secret.
    pub client: ApplicationId,
    /// As the token request has it.
    pub redirect_uri: String,
    /// The PKCE verifier in clear.
    pub verifier: Option<String>,
}

/// The settings that a redemption depends on.
#[derive(Clone, Copy, Debug)]
pub struct RedemptionRules {
    /// How long a repeat is taken for a lost answer. `None`: nothing ever dies by a repeat
    /// (`compat.rotation = "gitlab"`).
    pub repeat: Option<Duration>,
    /// How the redirect URI is compared.
    pub matching: Matching,
    /// How the verifier is read.
    pub pkce: Strictness,
}

impl AccessGrant {
    /// Only a request that passes everything the first one passed counts as a repeat: client, redirect URI and verifier.
    /// A code alone is not enough to end tokens, since it stands in URLs and logs. A repeat within `repeat` is a lost
    /// answer or a double load, so nothing dies by it.
    pub fn decide(&self, presented: &Presented, rules: RedemptionRules, now: Timestamp) -> Redemption {
        let same = presented.client == self.application
            && is_same_address(&self.redirect_uri, &presented.redirect_uri, rules.matching)
            && pkce::fits(self.challenge.as_ref(), presented.verifier.as_deref(), rules.pkce);
        match (self.redeemed, rules.repeat) {
            _ if !same => Redemption::Refuse,
            (Some((at, family)), Some(repeat)) if now >= at + repeat => Redemption::Reuse(family),
            (Some(_), _) => Redemption::Refuse,
            (None, _) if now < self.expires_at => Redemption::Accept,
            (None, _) => Redemption::Refuse,
        }
    }
}

/// The very text that was sent to authorize (RFC 6749 section 4.1.3). The port of a loopback address does not differ
/// here: by then the application has one.
fn is_same_address(granted: &str, shown: &str, matching: Matching) -> bool {
    match (matching, RedirectUri::parse(granted), RedirectUri::parse(shown)) {
        (Matching::Exact, _, _) => granted == shown,
        (Matching::Parsed, Ok(granted), Ok(shown)) => granted.accepts(&shown, matching),
        _ => false,
    }
}

/// An access token and its refresh token, as their row says.
#[derive(Clone, Debug)]
pub struct OauthAccessToken {
    /// The number of this generation.
    pub id: OauthAccessTokenId,
    /// The family that it belongs to; revoking one ends the other.
    pub family_id: FamilyId,
    /// The generation before it. `None`: the first of its family.
    pub previous_id: Option<OauthAccessTokenId>,
    /// `None`: got by password without a client.
    pub application: Option<ApplicationId>,
    /// `None`: the application's own.
    pub user: Option<UserId>,
    /// What it opens.
    pub scopes: Scopes,
    /// Where the code was sent; consent is skipped for the same address alone (T21).
    pub redirect_uri: Option<String>,
    /// When the person behind it authenticated; the same for all generations of a family (OpenID Connect Core section
    /// 12.2). `None`: no person did, or a version issued it that did not keep it.
    pub authenticated_at: Option<Timestamp>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// The last instant at which the access token is accepted.
    pub expires_at: Timestamp,
}

impl OauthAccessToken {
    /// authentication.md 5.5
    pub fn expired(&self, now: Timestamp) -> bool {
        dead_from(self.expires_at) <= now
    }

    /// Seconds until the access token expires, rounded up; 0 once it has.
    pub fn expires_in(&self, now: Timestamp) -> i64 {
        seconds_left(self.expires_at, now)
    }
}

/// The seconds until a token expires, a second that has begun included.
pub fn seconds_left(expires_at: Timestamp, now: Timestamp) -> i64 {
    (expires_at.0 - now.0 + 999).div_euclid(1000).max(0)
}

/// The first instant at which an OAuth token is expired: it lives through its last one.
pub fn dead_from(expires_at: Timestamp) -> Timestamp {
    Timestamp(expires_at.0 + 1)
}

/// The other way round. Every OAuth token has an end.
pub fn expires_at(dead_from: Option<Timestamp>) -> Timestamp {
    Timestamp(dead_from.map_or(i64::MAX, |at| at.0 - 1))
}

/// How long a code can be redeemed.
pub const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// How long a repeat of its redemption is taken for a lost answer.
pub const CODE_REPEAT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    const T: i64 = 1_000_000_000;

    fn grant(redeemed_after: Option<i64>) -> AccessGrant {
        AccessGrant {
            application: ApplicationId(1),
            user: UserId(2),
            redirect_uri: "https://a.test/cb".into(),
            scopes: Scopes::from([Scope::Api]),
            challenge: None,
            nonce: None,
            authenticated_at: None,
            expires_at: Timestamp(T) + CODE_LIFETIME,
            redeemed: redeemed_after.map(|seconds| (Timestamp(T + seconds * 1000), FamilyId(3))),
        }
    }

    fn judged(grant: &AccessGrant, client: i64, uri: &str, verifier: Option<&str>, seconds: i64) -> Redemption {
        let presented = Presented {
            client: ApplicationId(client),
            redirect_uri: uri.into(),
            verifier: verifier.map(str::to_owned),
        };
        let rules = RedemptionRules { repeat: Some(CODE_REPEAT), matching: Matching::Exact, pkce: Strictness::Rfc };
        grant.decide(&presented, rules, Timestamp(T + seconds * 1000))
    }

    #[test]
    fn the_redirect_uri_is_the_text_that_was_sent_to_authorize() {
        for (granted, shown, exact, parsed) in [
            ("https://a.test/cb", "https://a.test/cb", true, true),
            ("https://a.test/cb", "https://a.test/cb?zzz=1", false, true),
            ("https://a.test/cb", "https://A.test/cb", false, true),
            ("https://a.test/cb", "https://a.test:443/cb", false, true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", false, true),
            ("https://a.test/cb", "https://a.test/other", false, false),
        ] {
            let grant = AccessGrant { redirect_uri: granted.into(), ..grant(None) };
            let presented = Presented { client: ApplicationId(1), redirect_uri: shown.into(), verifier: None };
            let accepted = [Matching::Exact, Matching::Parsed].map(|matching| {
                let rules = RedemptionRules { repeat: Some(CODE_REPEAT), matching, pkce: Strictness::Rfc };
                grant.decide(&presented, rules, Timestamp(T)) == Redemption::Accept
            });
            assert_eq!(accepted, [exact, parsed], "{granted} {shown}");
        }
    }

    #[test]
    fn a_code_is_good_once_for_its_client_and_address() {
        let fresh = grant(None);
        let uri = "https://a.test/cb";
        assert_eq!(judged(&fresh, 1, uri, None, 599), Redemption::Accept);
        for (client, uri, verifier, seconds) in
            [(2, uri, None, 0), (1, "https://a.test/other", None, 0), (1, uri, Some("x"), 0), (1, uri, None, 600)]
        {
            assert_eq!(judged(&fresh, client, uri, verifier, seconds), Redemption::Refuse);
        }
    }

    #[test]
    fn only_the_same_request_is_a_repeat_and_only_after_two_minutes_a_reuse() {
        let redeemed = grant(Some(10));
        let uri = "https://a.test/cb";
        for seconds in [10, 129] {
            assert_eq!(judged(&redeemed, 1, uri, None, seconds), Redemption::Refuse);
        }
        let reuse = Redemption::Reuse(FamilyId(3));
        assert_eq!(judged(&redeemed, 1, uri, None, 130), reuse);
        assert_eq!(judged(&redeemed, 1, uri, None, 10_000), reuse, "long after its end too");
        for seconds in [11, 130, 10_000] {
            for (client, uri, verifier) in [(2, uri, None), (1, "https://a.test/", None), (1, uri, Some("x"))] {
                let judged = judged(&redeemed, client, uri, verifier, seconds);
                assert_eq!(judged, Redemption::Refuse, "{client} {uri} {verifier:?} after {seconds} s");
            }
        }
        let presented = Presented { client: ApplicationId(1), redirect_uri: uri.into(), verifier: None };
        let rules = RedemptionRules { repeat: None, matching: Matching::Parsed, pkce: Strictness::Lax };
        let gitlab = redeemed.decide(&presented, rules, Timestamp(T * 2));
        assert_eq!(gitlab, Redemption::Refuse, "nothing ever dies");
    }

    fn token(created_at: Timestamp) -> OauthAccessToken {
        OauthAccessToken {
            id: OauthAccessTokenId(1),
            family_id: FamilyId(1),
            previous_id: None,
            application: None,
            user: None,
            scopes: Scopes::default(),
            redirect_uri: None,
            authenticated_at: None,
            created_at,
            expires_at: created_at + Duration::from_secs(7200),
        }
    }

    #[test]
    fn an_access_token_lives_through_its_last_instant() {
        // "Expired when now > created + 7200" (authentication.md 5.5).
        let token = token(Timestamp(T));
        for (after, expired) in [(0, false), (7_199_999, false), (7_200_000, false), (7_200_001, true), (T, true)] {
            assert_eq!(token.expired(Timestamp(T + after)), expired, "{after} ms");
        }
        assert_eq!(dead_from(token.expires_at), Timestamp(T + 7_200_001));
        assert_eq!(expires_at(Some(dead_from(token.expires_at))), token.expires_at);
        assert_eq!(expires_at(None), Timestamp(i64::MAX), "every OAuth token has an end");
    }

    #[test]
    fn a_second_that_has_begun_is_left() {
        let token = token(Timestamp(T));
        for (after, left) in [
            (0, 7200),
            (1, 7200),
            (999, 7200),
            (1_000, 7199),
            (1_001, 7199),
            (7_199_000, 1),
            (7_199_999, 1),
            (7_200_000, 0),
            (7_200_001, 0),
            (7_300_000, 0),
        ] {
            assert_eq!(token.expires_in(Timestamp(T + after)), left, "{after} ms");
        }
    }
}
