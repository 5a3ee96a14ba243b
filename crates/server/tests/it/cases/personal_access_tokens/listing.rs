//! `GET /personal_access_tokens` (rest-api.md 2.2).

use std::time::Duration;

use serde_json::{Value, json};
use tollhouse::operations::tokens::Revoke;
use tollhouse_domain::scope::{Scope, Scopes};

use super::{PATH, impersonation, named, names};
use crate::test_server::{M401, TestServer};

cases![
    pat_001_an_administrator_lists_all,
    pat_002_an_administrator_lists_somebodys,
    pat_003_an_administrator_asks_for_nobodys,
    pat_004_an_administrator_asks_for_a_blank,
    pat_005_revoked_or_not,
    pat_006_revoked_is_a_boolean,
    pat_007_inactive,
    pat_008_a_state_that_is_none,
    pat_009_made_before_what_is_no_date,
    pat_010_made_before_that_second,
    pat_011_made_after_the_next_second,
    pat_012_used_after_what_is_no_date,
    pat_013_used_before_leaves_out_what_was_never_used,
    pat_014_expires_before_that_day,
    pat_015_expires_after_that_day,
    pat_016_a_part_of_a_name,
    pat_017_a_search_for_nothing,
    pat_018_somebodys_own,
    pat_019_somebody_elses,
    pat_020_without_a_credential,
    every_order_of_tokens,
    pages_of_tokens,
    a_list_of_tokens_that_cannot_be_read,
    a_name_is_found_without_regard_to_case,
    an_administrator_under_sudo_lists_as_the_other,
];

/// Names of a list, by an administrator, of what belongs to Ada.
struct Asked {
    t: TestServer,
    warden: String,
    user: String,
}

impl Asked {
    async fn new(t: &TestServer) -> (Self, crate::test_server::Person) {
        let ada = t.user("ada").await;
        let warden = t.admin().await.token([Scope::Api]).await;
        (Self { t: t.clone(), warden, user: ada.id.to_string() }, ada)
    }

    async fn list(&self, query: &str) -> Value {
        let target = format!("{PATH}?user_id={}&{query}", self.user);
        self.t.get(&target).token(&self.warden).await.has(200).json()
    }

    async fn shows(&self, query: &str, expected: &[&str]) {
        let list = self.list(query).await;
        assert_eq!(names(&list), expected, "{query}");
    }

    async fn refuses(&self, query: &str, sentence: &str) {
        let body = json!({ "error": sentence }).to_string();
        self.t.get(&format!("{PATH}?{query}")).token(&self.warden).await.is(400, &body);
    }
}

async fn pat_001_an_administrator_lists_all(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await);
    named(&t, &ada, "one").await;
    named(&t, &warden, "two").await;
    impersonation(&t, &ada).await;
    let token = warden.token([Scope::ReadApi]).await;
    let reply = t.get(PATH).token(&token).await;
    assert_eq!(names(&reply.has(200).json()), ["test", "test", "two", "one"]);
    assert_eq!(reply.header("x-total"), Some("4"));
    assert!(!reply.body.contains(r#""token""#) && !reply.body.contains("last_used_ips"), "{}", reply.body);
}

async fn pat_002_an_administrator_lists_somebodys(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    named(&t, &ada, "own").await;
    impersonation(&t, &ada).await;
    named(&t, &t.user("eve").await, "eve's").await;
    asked.shows("", &["test", "own"]).await;
    assert!(asked.list("").await.as_array().expect("a list").iter().all(|token| token["user_id"] == ada.id.0));
}

async fn pat_003_an_administrator_asks_for_nobodys(t: TestServer) {
    let warden = t.admin().await.token([Scope::Api]).await;
    t.get(&format!("{PATH}?user_id=999999")).token(&warden).await.is(404, r#"{"message":"404 Not Found"}"#);
}

async fn pat_004_an_administrator_asks_for_a_blank(t: TestServer) {
    let warden = t.admin().await.token([Scope::Api]).await;
    t.get(&format!("{PATH}?user_id=")).token(&warden).await.is(404, r#"{"message":"404 Not Found"}"#);
}

async fn pat_005_revoked_or_not(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    named(&t, &ada, "live").await;
    let dead = named(&t, &ada, "dead").await;
    t.does(Revoke { id: dead.token.id }).await;
    asked.shows("revoked=true", &["dead"]).await;
    asked.shows("revoked=false", &["live"]).await;
    asked.shows("revoked=", &["dead", "live"]).await;
}

async fn pat_006_revoked_is_a_boolean(t: TestServer) {
    Asked::new(&t).await.0.refuses("revoked=asdf", "revoked is invalid").await;
}

async fn pat_007_inactive(t: TestServer) {
    let (mut asked, ada) = Asked::new(&t).await;
    let tomorrow = t.now().date().plus_days(1);
    ada.token_until(tomorrow).await;
    named(&t, &ada, "live").await;
    let dead = named(&t, &ada, "dead").await;
    t.does(Revoke { id: dead.token.id }).await;
    asked.shows("state=inactive", &["dead"]).await;
    asked.shows("state=active", &["live", "test"]).await;
    // On its day of expiry it is in neither.
    t.later(24 * 3600);
    asked.warden = t.admin_named("second").await.token([Scope::Api]).await;
    asked.shows("state=inactive", &["dead"]).await;
    asked.shows("state=active", &["live"]).await;
    assert_eq!(asked.list("search=test").await[0]["active"], false);
    t.later(24 * 3600);
    asked.shows("state=inactive", &["dead", "test"]).await;
}

async fn pat_008_a_state_that_is_none(t: TestServer) {
    let asked = Asked::new(&t).await.0;
    asked.refuses("state=asdf", "state does not have a valid value").await;
    asked.refuses("state=", "state does not have a valid value").await;
}

async fn pat_009_made_before_what_is_no_date(t: TestServer) {
    Asked::new(&t).await.0.refuses("created_before=asdf", "created_before is invalid").await;
}

async fn pat_010_made_before_that_second(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    named(&t, &ada, "made").await;
    asked.shows(&format!("created_before={}", t.now().iso()), &["made"]).await;
    asked.shows(&format!("created_after={}", t.now().iso()), &["made"]).await;
    let earlier = t.now() - Duration::from_secs(1);
    asked.shows(&format!("created_before={}", earlier.iso()), &[]).await;
}

async fn pat_011_made_after_the_next_second(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    named(&t, &ada, "made").await;
    let later = t.now() + Duration::from_secs(1);
    asked.shows(&format!("created_after={}", later.iso()), &[]).await;
    asked.shows(&format!("created_before={}", later.iso()), &["made"]).await;
}

async fn pat_012_used_after_what_is_no_date(t: TestServer) {
    Asked::new(&t).await.0.refuses("last_used_after=asdf", "last_used_after is invalid").await;
}

async fn pat_013_used_before_leaves_out_what_was_never_used(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    named(&t, &ada, "never").await;
    let used = named(&t, &ada, "used").await;
    t.get("/api/v4/user").token(used.secret.reveal()).await.has(200);
    tollhouse::job::flush(&t.app).await;
    let (now, later) = (t.now().iso(), (t.now() + Duration::from_secs(1)).iso());
    asked.shows(&format!("last_used_before={now}"), &["used"]).await;
    asked.shows(&format!("last_used_after={now}"), &["used"]).await;
    asked.shows(&format!("last_used_after={later}"), &[]).await;
}

async fn pat_014_expires_before_that_day(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    let day = t.now().date().plus_days(3);
    ada.token_until(day).await;
    asked.shows(&format!("expires_before={day}"), &[]).await;
    asked.shows(&format!("expires_before={}", day.plus_days(1)), &["test"]).await;
}

async fn pat_015_expires_after_that_day(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    let day = t.now().date().plus_days(3);
    ada.token_until(day).await;
    asked.shows(&format!("expires_after={day}"), &["test"]).await;
    asked.shows(&format!("expires_after={}", day.plus_days(1)), &[]).await;
}

async fn pat_016_a_part_of_a_name(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    for name in ["test_1", "test_2", "other"] {
        named(&t, &ada, name).await;
    }
    asked.shows("search=test", &["test_2", "test_1"]).await;
    asked.shows("search=_", &["test_2", "test_1"]).await;
    asked.shows("search=%25", &[]).await;
}

async fn pat_017_a_search_for_nothing(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    named(&t, &ada, "one").await;
    named(&t, &ada, "two").await;
    asked.shows("search=", &["two", "one"]).await;
}

async fn pat_018_somebodys_own(t: TestServer) {
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    named(&t, &ada, "own").await;
    named(&t, &eve, "eve's").await;
    impersonation(&t, &ada).await;
    let token = ada.token([Scope::ReadApi]).await;
    for query in ["", "?user_id=", &format!("?user_id={}", ada.id)] {
        let list = t.get(&format!("{PATH}{query}")).token(&token).await.has(200).json();
        assert_eq!(names(&list), ["test", "own"], "{query}");
    }
    t.get(PATH).session(&ada.session().await).await.has(200);
    t.get(PATH).token(&ada.token([Scope::ReadUser]).await).await.is_insufficient_scope();
}

async fn pat_019_somebody_elses(t: TestServer) {
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    let token = ada.token([Scope::Api]).await;
    for id in [eve.id.to_string(), "999999".to_owned(), "-1".to_owned()] {
        t.get(&format!("{PATH}?user_id={id}")).token(&token).await.is(401, M401);
    }
}

async fn pat_020_without_a_credential(t: TestServer) {
    t.get(PATH).await.is(401, M401);
    t.get(&format!("{PATH}?state=asdf")).await.is(401, M401);
}

async fn every_order_of_tokens(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    let day = |days: i32| Some(t.now().date().plus_days(days));
    let mut made = Vec::new();
    for (name, expires_at) in [("b", day(2)), ("C", day(9)), ("a", None), ("d", day(2))] {
        let create = ada.create_token(Scopes::from([Scope::ReadUser]), expires_at);
        let create = tollhouse::operations::tokens::CreateToken { name: name.into(), require_expiry: false, ..create };
        made.push(t.does(create).await);
    }
    for at in [1, 0] {
        t.get("/api/v4/user").token(made[at].secret.reveal()).await.has(200);
        tollhouse::job::flush(&t.app).await;
        t.later(1);
    }
    for (sort, expected) in [
        ("created_asc", ["b", "C", "a", "d"]),
        ("created_desc", ["d", "a", "C", "b"]),
        ("expires_asc", ["b", "d", "C", "a"]),
        ("expires_desc", ["a", "C", "d", "b"]),
        ("last_used_asc", ["C", "b", "a", "d"]),
        ("last_used_desc", ["d", "a", "b", "C"]),
        ("name_asc", ["a", "b", "C", "d"]),
        ("name_desc", ["d", "C", "b", "a"]),
        ("nonsense", ["d", "a", "C", "b"]),
    ] {
        asked.shows(&format!("sort={sort}"), &expected).await;
        // The same over all tokens of the instance.
        let all = t.get(&format!("{PATH}?sort={sort}")).token(&asked.warden).await.has(200).json();
        let all: Vec<_> = names(&all).into_iter().filter(|name| *name != "test").collect();
        assert_eq!(all, expected, "{sort}");
        // And page by page.
        for (page, name) in expected.iter().enumerate() {
            asked.shows(&format!("sort={sort}&per_page=1&page={}", page + 1), &[name]).await;
        }
    }
}

async fn pages_of_tokens(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    for n in 0..5 {
        named(&t, &ada, &n.to_string()).await;
    }
    let target = format!("{PATH}?user_id={}&per_page=2&page=2&private_token={}", ada.id, asked.warden);
    let reply = t.get(&target).await;
    assert_eq!(names(&reply.has(200).json()), ["2", "1"]);
    let header = |name| reply.header(name).unwrap_or_default().to_owned();
    assert_eq!(
        (header("x-total"), header("x-total-pages"), header("x-next-page")),
        ("5".into(), "3".into(), "3".into())
    );
    assert!(header("link").contains("page=3") && !header("link").contains(&asked.warden), "{}", header("link"));
}

async fn a_list_of_tokens_that_cannot_be_read(t: TestServer) {
    let asked = Asked::new(&t).await.0;
    for (query, sentence) in [
        ("user_id=x", "user_id is invalid"),
        ("user_id[]=1", "user_id is invalid"),
        ("created_after=2026-02-30", "created_after is invalid"),
        ("last_used_before=2026-01-31T25:00:00Z", "last_used_before is invalid"),
        ("expires_after=soon", "expires_after is invalid"),
        ("expires_before=10000-01-01", "expires_before is invalid"),
        ("expires_before[]=2026-01-31", "expires_before is invalid"),
        ("search[]=x", "search is invalid"),
        ("sort[a]=x", "sort is invalid"),
        ("per_page=0", "per_page does not have a valid value"),
        ("state=x&revoked=x", "revoked is invalid, state does not have a valid value"),
    ] {
        asked.refuses(query, sentence).await;
    }
}

async fn a_name_is_found_without_regard_to_case(t: TestServer) {
    let (asked, ada) = Asked::new(&t).await;
    named(&t, &ada, "Ärzte").await;
    asked.shows("search=%C3%A4RZ", &["Ärzte"]).await;
}

async fn an_administrator_under_sudo_lists_as_the_other(t: TestServer) {
    let ada = t.user("ada").await;
    named(&t, &ada, "own").await;
    let warden = t.admin().await.token([Scope::Sudo]).await;
    let list = t.get(PATH).token(&warden).with("sudo", "ada").await.has(200).json();
    assert_eq!(names(&list), ["own"]);
}
