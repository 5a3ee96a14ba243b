//! The people, groups and projects that the recorded answers speak of.

use axum::http::Method;
use serde_json::{Map, Value};
use tollhouse::operations::projects::CreateProject;
use tollhouse::operations::users::CreateUser;
use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_store::query::query;
use tollhouse_store::tx::{Change, Tx};

use super::super::super::answers::Json;
use super::Recorded;
use crate::test_server::{Person, Reply, TestServer};

/// Whose token a request shows.
#[derive(Clone, Copy, Debug)]
pub enum Caller {
    /// An administrator, whom another administrator made.
    Administrator,
    /// An owner of the groups, who is no administrator.
    Owner,
    /// A member of nothing.
    Stranger,
    /// The owner of the groups, with a token for this request alone.
    Leaver,
    RevokedToken,
    UnknownToken,
}

pub struct Scene {
    t: TestServer,
    warden: Person,
    noted: Person,
    owner: Person,
    team: NamespaceId,
    app: ProjectId,
    administrators: String,
    owners: String,
    strangers: String,
    revoked: String,
}

impl Scene {
    pub async fn new(t: TestServer) -> Self {
        let made = async |name: &str, by: Option<UserId>, facts: Facts| {
            let administrator = matches!(name, "first" | "warden");
            let new = CreateUser { administrator, created_by: by, ..CreateUser::person(name, name) };
            let person = t.person(new).await;
            t.does(SetFacts { user: person.id, facts }).await;
            person
        };
        let first = made("first", None, Facts { note: None, active: true }).await;
        let by = Some(first.id);
        let warden = made("warden", by, Facts { note: Some("on call"), active: true }).await;
        let noted = made("noted", by, Facts { note: Some("a note"), active: false }).await;
        made("lively", by, Facts { note: Some("a note"), active: true }).await;
        made("made", by, Facts { note: None, active: false }).await;
        let (owner, stranger) = (t.user("owner").await, t.user("stranger").await);
        let team = t.group("team", Visibility::Public).await;
        let inner = t.subgroup("inner", Some(team), Visibility::Public).await;
        let bare = t.group("bare", Visibility::Public).await;
        for group in [team, bare] {
            t.member(MembershipSource::Group(group), &owner, AccessLevel::Owner).await;
        }
        assert!(inner > team, "a group inside has no members of its own");
        let app = t.does(CreateProject {
            creator: first.id,
            name: Some("app".to_owned()),
            path: None,
            namespace: Some(team),
            description: Some("an app".to_owned()),
            visibility: Visibility::Public,
        });
        let app = app.await;
        let (administrators, owners) = (warden.token([Scope::Api]).await, owner.token([Scope::Api]).await);
        // A token says when it was used before, once that has been written.
        t.get("/api/v4/user").token(&owners).await;
        tollhouse::job::flush(&t.app).await;
        let (strangers, revoked) = (stranger.token([Scope::Api]).await, stranger.revoked_token([Scope::Api]).await);
        Self { t, warden, noted, owner, team, app, administrators, owners, strangers, revoked }
    }

    /// The same request as a recorded one, with values of the kinds that were sent.
    pub async fn ask(&self, line: &Recorded, caller: Caller, target: &str) -> Reply {
        let target = target.replace("{warden}", &self.warden.id.to_string());
        let mut target = target.replace("{noted}", &self.noted.id.to_string());
        for (what, of) in [("team", MembershipSource::Group(self.team)), ("app", MembershipSource::Project(self.app))] {
            let (token, account) = (format!("{{{what}_token}}"), format!("{{{what}_account}}"));
            if target.contains(&token) {
                let made = self.t.resource_token(of, AccessLevel::Guest).await;
                target = target.replace(&token, &made.token.id.to_string());
            }
            if target.contains(&account) {
                let made = self.t.service_account(Some(of)).await;
                target = target.replace(&account, &made.id.to_string());
            }
        }
        if target.contains("{spare}") {
            let spare = self.owner.made_token([Scope::Api]).await.token.id;
            target = target.replace("{spare}", &spare.to_string());
        }
        let leavers;
        let token = match caller {
            Caller::Administrator => &self.administrators,
            Caller::Owner => &self.owners,
            Caller::Stranger => &self.strangers,
            Caller::RevokedToken => &self.revoked,
            Caller::UnknownToken => "unknown",
            Caller::Leaver => {
                leavers = self.owner.token([Scope::Api]).await;
                &leavers
            }
        };
        let method: Method = line.method.parse().expect("a method");
        let ask = self.t.ask(method, &format!("/api/v4{target}")).token(token);
        if line.sent.is_empty() {
            return ask.await;
        }
        let body: Map<String, Value> =
            line.sent.iter().map(|(name, kind)| (name.clone(), self.value(name, kind))).collect();
        ask.json(Value::Object(body)).await
    }

    fn value(&self, name: &str, kind: &Json) -> Value {
        match (name, kind) {
            ("scopes", Json::List(_)) => Value::from(vec!["read_api"]),
            ("access_level", Json::Text(_)) => Value::from(AccessLevel::Reporter as i64),
            (_, Json::Text(kind)) if kind == "date" => self.t.now().date().plus_days(30).to_string().into(),
            (_, Json::Text(kind)) if kind == "string" => name.into(),
            _ => panic!("{name}: {kind:?}"),
        }
    }
}

struct Facts {
    note: Option<&'static str>,
    /// Active today, without a sign-in.
    active: bool,
}

/// What no operation sets yet.
struct SetFacts {
    user: UserId,
    facts: Facts,
}

impl Operation for SetFacts {
    type Output = ();

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        let Date(today) = now.date();
        query("UPDATE users SET note = $2, last_activity_on = $3 WHERE id = $1")
            .bind(self.user.0)
            .bind(self.facts.note)
            .bind(self.facts.active.then_some(i64::from(today)))
            .changed(tx)
            .await?;
        Ok(Change::nothing(()))
    }
}
