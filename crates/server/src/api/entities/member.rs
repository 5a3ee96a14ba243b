//! Members of groups and projects (rest-api.md 4.5).

use tollhouse_domain::access::Viewer;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::members::Member;

use crate::api::entities::user;
use crate::json::Object;
use crate::urls::Urls;

/// `created_by` is null: no user added this member.
pub fn member(urls: &Urls, who: &User, member: &Member, viewer: Viewer, now: Timestamp) -> Object {
    user::basic(urls, who, viewer, now)
        .field("created_at", member.created_at.iso())
        .field("created_by", ())
        .field("expires_at", member.expires_on.map(|day| day.to_string()))
        .field("access_level", member.level)
}
