//! Acting as another user (authentication.md section 4).

use std::sync::Arc;

use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::UserId;
use tollhouse_domain::identity::{Identity, Via};
use tollhouse_domain::lookup::{Lookup, UserName};
use tollhouse_domain::scope::Scope;

/// The order of these lines is the order of the specification: administrator, token, scope, target.
pub(crate) async fn assume(who: Identity, target: &str, lookup: &dyn Lookup) -> Result<Identity, Denial> {
    if !who.user.administrator {
        return Err(Denial::SudoNotAdministrator);
    }
    match &who.via {
        Via::Session(_) | Via::JobToken(_) => return Err(Denial::SudoWithoutToken),
        Via::PersonalAccessToken(token) | Via::OauthAccessToken(token) => {
            if !token.scopes.contains(Scope::Sudo) {
                return Err(Denial::Scope(vec![Scope::Sudo]));
            }
        }
    }
    let unknown = || Denial::SudoUnknown(target.to_owned());
    let digits = !target.is_empty() && target.bytes().all(|b| b.is_ascii_digit());
    let name =
        if digits { UserName::Id(UserId(target.parse().map_err(|_| unknown())?)) } else { UserName::Name(target) };
    let user = lookup.user(name).await.map_err(|_| Denial::Unavailable)?.ok_or_else(unknown)?;
    if user.id == who.user.id {
        // Assuming oneself is no sudo: the endpoint's scopes count as ever.
        return Ok(who);
    }
    let real = who.user.clone();
    Ok(Identity { user: Arc::new(user), sudo_by: Some(real), ..who })
}
