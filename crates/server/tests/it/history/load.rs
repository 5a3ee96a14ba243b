//! What people do: credentials are made, used everywhere, renewed, and taken away; each operation over a socket, or as
//! the command line does it.
//!
//! It is above 600 lines because every way to take a right away has its step here, and they share their counts.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tollhouse::operations::resource_access_tokens::CreateResourceToken;
use tollhouse::operations::{tokens, users};
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::{ApplicationId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::CsrfSecret;

use super::check::{Check, Handed, Story, stranger, twins};
use super::run::{Family, Held, HistoryRun, Kind, Owner, PASSWORD};
use super::wire::{Answer, Line, Request};
use crate::oauth::{CALLBACK, SignInAndAllow, USER};
use crate::test_server::REVOKED;

const SELF: &str = "/api/v4/personal_access_tokens/self";
const ROTATE: &str = "/api/v4/personal_access_tokens/self/rotate";
const SIGN_IN: &str = "/users/sign_in";

/// A way to take a right away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// By the credential itself: revocation, or sign-out. The token of a bot is revoked by whoever manages it.
    Itself,
    /// It is renewed, so the old one goes.
    Renewal,
    /// By `tollhouse token revoke`.
    Command,
    /// Its code is shown a second time.
    Replay,
    /// Its owner is blocked, by the command line.
    Block,
}

/// Every way that somebody's rights end here.
pub const WAYS: [(Kind, Taking); 9] = [
    (Kind::Personal, Taking::Itself),
    (Kind::Personal, Taking::Renewal),
    (Kind::Personal, Taking::Command),
    (Kind::Personal, Taking::Block),
    (Kind::Oauth, Taking::Itself),
    (Kind::Oauth, Taking::Renewal),
    (Kind::Oauth, Taking::Replay),
    (Kind::Session, Taking::Itself),
    (Kind::Bot, Taking::Itself),
];

/// After so long everybody may be asked for the same successor no more (`rotation.window`).
pub const WINDOW: Duration = Duration::from_secs(120);

impl HistoryRun {
    /// One request on a connection of its own; `patience`: whoever asks goes away after that time.
    async fn send(&self, node: usize, request: &Request, patience: Option<Duration>) -> Option<Answer> {
        let mut line = Line::default();
        let asked = line.ask(self.servers[node].address.get(), request);
        match patience {
            Some(patience) => timeout(patience, asked).await.ok().flatten(),
            None => asked.await,
        }
    }

    pub fn node(&self) -> usize {
        self.throw(self.servers.len())
    }

    // Making

    pub async fn make(&self, kind: Kind, owner: &Rc<Owner>) -> Option<Rc<Family>> {
        let made = match kind {
            Kind::Personal => self.make_token(owner).await,
            Kind::Oauth => self.authorize(owner).await,
            Kind::Session => self.sign_in(owner).await,
            Kind::Bot => self.make_bot().await,
        };
        let outcome = if made.is_some() { "made" } else { "not made" };
        self.count(format!("operation: {kind:?} {outcome}"));
        self.families.borrow_mut().extend(made.clone());
        made
    }

    /// What was given between `started` and now.
    fn family(&self, kind: Kind, owner: &Rc<Owner>, started: u64, access: &str, refresh: &str) -> Family {
        let given = || {
            let story = Story::default();
            story.acknowledge(story.begin("given", true, started), self.now());
            story
        };
        let held =
            Held { access: access.to_owned(), refresh: refresh.to_owned(), story: given(), handed: RefCell::default() };
        Family {
            kind,
            owner: owner.clone(),
            story: given(),
            held: RefCell::new(vec![Rc::new(held)]),
            code: None,
            began: started,
            until: self.now() + self.between(500, 6_000).as_nanos() as u64,
        }
    }

    async fn make_token(&self, owner: &Rc<Owner>) -> Option<Rc<Family>> {
        let create = tokens::CreateToken {
            user: owner.id,
            administrator: None,
            self_service: false,
            grantable: None,
            impersonation: false,
            name: "test".into(),
            scopes: Scopes::from([Scope::Api]),
            expires_at: None,
            description: None,
            require_expiry: true,
            secret: None,
        };
        let started = self.now();
        let made = self.command.perform(create, &By::system()).await.ok()?.into_inner();
        let secret = made.secret.reveal();
        Some(Rc::new(self.family(Kind::Personal, owner, started, secret, secret)))
    }

    /// A bot of the project with its token. In the place of a secret that renews it stands the number of the token.
    async fn make_bot(&self) -> Option<Rc<Family>> {
        let create = CreateResourceToken {
            resource: MembershipSource::Project(self.project),
            caller: None,
            name: "bot".into(),
            description: None,
            scopes: Scopes::from([Scope::Api]),
            level: AccessLevel::Guest,
            expires_at: None,
            require_expiry: true,
            host: "git.example.test".into(),
        };
        let started = self.now();
        let made = self.command.perform(create, &By::system()).await.ok()?.into_inner();
        let mut reader = self.command.db.read().await.ok()?;
        let bot = tollhouse_store::users::find(&mut reader, made.token.user_id).await.ok()??;
        let owner = Owner { id: bot.id, name: bot.username, status: Story::default(), ended: Story::default() };
        owner.status.acknowledge(owner.status.begin("made", true, started), self.now());
        let (secret, id) = (made.secret.reveal(), made.token.id.to_string());
        Some(Rc::new(self.family(Kind::Bot, &Rc::new(owner), started, secret, &id)))
    }

    async fn authorize(&self, owner: &Rc<Owner>) -> Option<Rc<Family>> {
        let allow = SignInAndAllow { user: owner.id, application: self.client.id };
        let code = self.command.perform(allow, &By::system()).await.ok()?.into_inner();
        let started = self.now();
        let answer = self.send(self.node(), &self.redemption(&code), None).await?;
        // Without an answer nobody ever learns what was given, and a code is not shown twice by honest people.
        let (access, refresh) = pair(&answer)?;
        let family = self.family(Kind::Oauth, owner, started, &access, &refresh);
        Some(Rc::new(Family { code: Some(code), ..family }))
    }

    fn redemption(&self, code: &str) -> Request {
        let pairs = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        Request::new("POST", "/oauth/token").form(&[&pairs[..], &self.own()].concat())
    }

    fn own(&self) -> [(&str, &str); 2] {
        [("client_id", &self.client.uid), ("client_secret", &self.client.secret)]
    }

    async fn sign_in(&self, owner: &Rc<Owner>) -> Option<Rc<Family>> {
        let node = self.node();
        let form = self.send(node, &Request::new("GET", SIGN_IN), None).await?;
        let before = form.cookie("_gitlab_session")?.to_owned();
        let csrf = CsrfSecret::of_session(before.as_bytes()).mask();
        let filled =
            [("authenticity_token", csrf.as_str()), ("user[login]", &owner.name), ("user[password]", PASSWORD)];
        let request = Request::new("POST", SIGN_IN).with("Cookie", &format!("_gitlab_session={before}")).form(&filled);
        let started = self.now();
        let answer = self.send(node, &request, None).await?;
        let session = answer.cookie("_gitlab_session").filter(|session| answer.status == 302 && *session != before)?;
        Some(Rc::new(self.family(Kind::Session, owner, started, session, "")))
    }

    // Using

    /// Asks who it is, and holds the answer against all that is known. Whether there was an answer.
    pub async fn check(&self, line: &mut Line, node: usize, family: &Family, held: &Held) -> bool {
        let request = Request::new("GET", USER);
        let request = match family.kind {
            Kind::Personal | Kind::Bot => request.with("PRIVATE-TOKEN", &held.access),
            Kind::Oauth => request.with("Authorization", &format!("Bearer {}", held.access)),
            Kind::Session => request.with("Cookie", &format!("_gitlab_session={}", held.access)),
        };
        let started = self.now();
        let answer = line.ask(self.servers[node].address.get(), &request).await;
        let ended = self.now();
        let what = || format!("{:?} of {} at node {node}", family.kind, family.owner.name);
        let accepted = match answer.as_ref().map(|answer| answer.status) {
            Some(200) => true,
            Some(401 | 403) => false,
            Some(503) => {
                self.count("use: not now");
                return false;
            }
            None => {
                self.count("use: no answer");
                return false;
            }
            Some(status) => {
                self.found_that(format!("{status} for {}", what()));
                return false;
            }
        };
        self.count(if accepted { "use: accepted" } else { "use: refused" });
        let told = answer.filter(|_| accepted).map(|answer| answer.json());
        if let Some(stranger) = told.and_then(|told| stranger(&family.owner.name, &told)) {
            self.found_that(format!("{}: {stranger}", what()));
        }
        self.judge(&Check { what: what(), started, ended, accepted }, family, Some(held));
        true
    }

    /// Everywhere at once, but where somebody would have to wait.
    pub async fn check_everywhere(&self, family: &Family, held: &Held) {
        let nodes = (0..self.servers.len()).filter(|node| !self.servers[*node].stopped.get());
        join_all(nodes.map(async |node| self.check(&mut Line::default(), node, family, held).await)).await;
    }

    // Taking

    /// Whether it was acknowledged. `patience`: whoever asks goes away after that time.
    pub async fn take(&self, family: &Rc<Family>, how: Taking, node: usize, patience: Option<Duration>) -> bool {
        let done = match how {
            Taking::Itself => self.revoke(family, node, patience).await,
            Taking::Renewal => self.renew(family, &family.newest(), node, patience).await,
            Taking::Command => self.revoke_by_command(family, patience).await,
            Taking::Replay => self.replay(family, node, patience).await,
            Taking::Block => self.set_blocked(&family.owner, true, patience).await,
        };
        let outcome = if done { "acknowledged" } else { "not acknowledged" };
        self.count(format!("operation: {:?} {how:?} {outcome}", family.kind));
        done
    }

    async fn revoke(&self, family: &Family, node: usize, patience: Option<Duration>) -> bool {
        let held = family.newest();
        let request = match family.kind {
            Kind::Personal => Request::new("DELETE", SELF).with("PRIVATE-TOKEN", &held.access),
            Kind::Oauth => {
                let token = if self.throw(2) == 0 { &held.access } else { &held.refresh };
                Request::new("POST", "/oauth/revoke").form(&[&[("token", token.as_str())][..], &self.own()].concat())
            }
            Kind::Bot => {
                let path = format!("/api/v4/projects/{}/access_tokens/{}", self.project, held.refresh);
                Request::new("DELETE", &path).with("PRIVATE-TOKEN", &self.manager)
            }
            Kind::Session => {
                let cookie = format!("_gitlab_session={}", held.access);
                Request::new("POST", "/users/sign_out").with("Cookie", &cookie).form(&[])
            }
        };
        let started = self.now();
        let what = format!("{:?} revokes itself at node {node}", family.kind);
        let id = family.story.begin(what.clone(), false, started);
        let answer = self.send(node, &request, patience).await;
        let ended = self.now();
        let check = |accepted| Check { what: what.clone(), started, ended, accepted };
        match (family.kind, answer.as_ref().map(|answer| answer.status)) {
            (Kind::Personal, Some(204)) => {
                self.judge(&check(true), family, Some(&held));
                // Somebody may have been given its successor meanwhile and used it, which then lives on (rotation.md
                // rule 12).
                match held.story.is_first(u64::MAX) {
                    true => family.story.acknowledge(id, ended),
                    false => family.story.fail(id, ended),
                }
                held.story.acknowledge(held.story.begin("revoked", false, started), ended);
                return true;
            }
            // 404: the bot has gone with an attempt whose answer was lost, and that is told when everybody knows (W4).
            (Kind::Oauth, Some(200)) | (Kind::Session, Some(302)) | (Kind::Bot, Some(204 | 404)) => {
                family.story.acknowledge(id, ended);
                return true;
            }
            // A repeat of what had happened, or the owner is blocked: this attempt did nothing.
            (Kind::Personal, Some(401 | 403)) => {
                family.story.cancel(id);
                self.judge(&check(false), family, Some(&held));
                if answer.is_some_and(|answer| answer.body == REVOKED) {
                    // Whoever hears that after a lost answer knows that the secret is dead (W4).
                    held.story.acknowledge(held.story.begin("said to be revoked", false, started), ended);
                    return true;
                }
            }
            (_, Some(503)) => family.story.fail(id, ended),
            (_, None) => {}
            (_, Some(status)) => self.found_that(format!("{status}: {what}")),
        }
        false
    }

    /// Whatever comes of it is held from now on.
    pub async fn renew(&self, family: &Family, held: &Rc<Held>, node: usize, patience: Option<Duration>) -> bool {
        let request = match family.kind {
            Kind::Personal => Request::new("POST", ROTATE).with("PRIVATE-TOKEN", &held.access),
            Kind::Oauth => {
                let pairs = [("grant_type", "refresh_token"), ("refresh_token", held.refresh.as_str())];
                Request::new("POST", "/oauth/token").form(&[&pairs[..], &self.own()].concat())
            }
            Kind::Session | Kind::Bot => return false,
        };
        let started = self.now();
        let what = format!("{:?} renews itself at node {node}", family.kind);
        let id = held.story.begin(what.clone(), false, started);
        let answer = self.send(node, &request, patience).await;
        let ended = self.now();
        let check = |accepted| Check { what: what.clone(), started, ended, accepted };
        let given = answer.as_ref().and_then(pair);
        match (answer.as_ref().map(|answer| answer.status), given) {
            (Some(200), Some((access, refresh))) => {
                held.story.acknowledge(id, ended);
                self.judge(&check(true), family, None);
                self.hand(family, held, Handed { started, ended, secret: access }, refresh);
                true
            }
            (Some(400 | 401 | 403), _) => {
                held.story.cancel(id);
                self.judge(&check(false), family, None);
                false
            }
            (Some(503), _) => {
                held.story.fail(id, ended);
                false
            }
            (None, _) => false,
            (Some(status), _) => {
                self.found_that(format!("{status}: {what}"));
                false
            }
        }
    }

    fn hand(&self, family: &Family, presented: &Held, handed: Handed, refresh: String) {
        let mut all = presented.handed.borrow_mut();
        all.push(handed.clone());
        if let Some((one, other)) = twins(&all, WINDOW) {
            self.found_that(format!("two successors of one secret of {}: {one:?} {other:?}", family.owner.name));
        }
        let Handed { started, ended, secret } = handed;
        // Whoever it was given to before has lost it.
        for replaced in all.iter().map(|known| &known.secret).filter(|known| **known != secret) {
            for held in family.held.borrow().iter().filter(|held| held.access == *replaced) {
                held.story.acknowledge(held.story.begin("replaced", false, started), ended);
            }
        }
        if family.held.borrow().iter().any(|known| known.access == secret) {
            return;
        }
        let story = Story::default();
        story.acknowledge(story.begin("given for another one", true, started), ended);
        let held = Held { access: secret, refresh, story, handed: RefCell::default() };
        family.held.borrow_mut().push(Rc::new(held));
    }

    /// Whoever goes away kills it.
    async fn revoke_by_command(&self, family: &Family, patience: Option<Duration>) -> bool {
        let held = family.newest();
        let id = family.story.begin("revoked by a command", false, self.now());
        let said = self.server.shell_with(&["token", "revoke"], &held.access);
        let said = match patience {
            Some(patience) => timeout(patience, said).await.ok(),
            None => Some(said.await),
        };
        end(&family.story, id, said.map(|said| said.code == Some(0)), self.now())
    }

    /// The answer refuses; that it came says that the family is dead (W5).
    async fn replay(&self, family: &Family, node: usize, patience: Option<Duration>) -> bool {
        let Some(code) = &family.code else { return false };
        let id = family.story.begin(format!("its code is replayed at node {node}"), false, self.now());
        let request = self.redemption(code);
        let answer = self.send(node, &request, patience).await;
        // Of a family that was dying already a refusal says nothing.
        let refused = answer.map(|answer| answer.status == 400 && family.story.is_first(id));
        end(&family.story, id, refused, self.now())
    }

    pub async fn set_blocked(&self, owner: &Owner, blocked: bool, patience: Option<Duration>) -> bool {
        let now = self.now();
        let (change, what) = match blocked {
            true => (users::SetState::block(owner.id), "blocked by command"),
            false => (users::SetState::unblock(owner.id), "unblocked by command"),
        };
        let id = owner.status.begin(what, !blocked, now);
        let sessions = blocked.then(|| owner.ended.begin("ended by a block", false, now));
        let done = match (patience, self.throw(3)) {
            // A process of its own, as somebody with a shell does it.
            (None, 0) => {
                let word = if blocked { "block" } else { "unblock" };
                Some(self.server.shell(&["user", word, &owner.name]).await.code == Some(0))
            }
            _ => self.command(change, patience).await.map(|done| done.is_some()),
        };
        let now = self.now();
        for (story, id) in [(&owner.status, Some(id)), (&owner.ended, sessions)] {
            match (id, done) {
                (Some(id), Some(_)) => drop(end(story, id, done, now)),
                (Some(id), None) => story.abandon(id),
                (None, _) => {}
            }
        }
        let then = now.saturating_sub(Duration::from_secs(60).as_nanos() as u64);
        owner.status.forget(then);
        owner.ended.forget(then);
        done == Some(true)
    }

    /// `None`: whoever gave the command went away. `Some(None)`: it failed, or may have.
    async fn command<O: tollhouse::operations::Operation>(
        &self,
        operation: O,
        patience: Option<Duration>,
    ) -> Option<Option<O::Output>> {
        let by = By::system();
        let done = async { self.command.perform(operation, &by).await.ok().map(|done| done.into_inner()) };
        match patience {
            Some(patience) => timeout(patience, done).await.ok(),
            None => Some(done.await),
        }
    }

    // The people

    /// Asks one server all the time.
    pub async fn ask_on(&self, node: usize) {
        let mut line = Line::default();
        while !self.over.get() {
            sleep(self.between(5, 40)).await;
            let family = self.one_of(&self.families.borrow()).cloned();
            let Some(family) = family else { continue };
            let held = match self.throw(4) {
                0 => self.one_of(&family.held.borrow()).cloned(),
                _ => None,
            };
            self.check(&mut line, node, &family, &held.unwrap_or_else(|| family.newest())).await;
        }
    }

    /// Makes what is lacking, and takes what has had its time.
    pub async fn live(&self) {
        while !self.over.get() {
            sleep(self.between(5, 60)).await;
            self.bury();
            let lacking = [(Kind::Personal, 12), (Kind::Oauth, 8), (Kind::Session, 6), (Kind::Bot, 3)];
            let living = |kind| self.families.borrow().iter().filter(|family| family.kind == kind).count();
            let kind = lacking.iter().find(|(kind, wanted)| living(*kind) < *wanted).map(|(kind, _)| *kind);
            if let (Some(kind), Some(owner)) = (kind, self.one_of(&self.owners).cloned()) {
                self.make(kind, &owner).await;
                continue;
            }
            let living: Vec<_> =
                self.families.borrow().iter().filter(|family| family.dead().is_none()).cloned().collect();
            let Some(family) = self.one_of(&living) else { continue };
            self.something(family).await;
        }
    }

    /// Something happens to it.
    async fn something(&self, family: &Rc<Family>) {
        let held = family.newest();
        let old = family.until < self.now();
        let patience = (self.throw(5) == 0).then(|| self.between(1, 80));
        let node = self.node();
        match (self.throw(10), family.kind) {
            (0, Kind::Personal | Kind::Oauth | Kind::Session) => {
                let owner = family.owner.clone();
                if !self.take(family, Taking::Block, node, patience).await {
                    self.take(family, Taking::Block, node, None).await;
                }
                self.check_everywhere(family, &held).await;
                sleep(self.between(100, 800)).await;
                while !self.set_blocked(&owner, false, None).await {}
                self.check_everywhere(family, &held).await;
                return;
            }
            // Two at once, and perhaps from two nodes.
            (1..=2, Kind::Personal | Kind::Oauth) => {
                let other = self.node();
                tokio::join!(
                    self.renew(family, &held, node, patience),
                    self.take(family, Taking::Renewal, other, None)
                );
            }
            (3..=5, Kind::Personal | Kind::Oauth) => {
                if !self.take(family, Taking::Renewal, node, patience).await {
                    self.renew(family, &held, self.node(), None).await;
                }
            }
            _ if !old => return,
            (roll, kind) => {
                let how = match (kind, roll % 3) {
                    (Kind::Personal | Kind::Oauth, 0) => Taking::Command,
                    (Kind::Oauth, 1) => Taking::Replay,
                    _ => Taking::Itself,
                };
                if !self.take(family, how, node, patience).await {
                    self.take(family, Taking::Itself, self.node(), None).await;
                }
            }
        }
        self.check_everywhere(family, &held).await;
    }

    /// Each way once more with nobody else about. While everything goes wrong an operation may fail, so it is random
    /// which of them are ever acknowledged; here each has to be.
    /// A group becomes private and public again, by `PUT /groups/:id` at any server. It is asked for at every server after
    /// each acknowledgement, by somebody who is nobody to it (T27).
    pub async fn narrow_and_widen(&self, group: i64, token: &str) {
        let path = format!("/api/v4/groups/{group}?with_projects=false");
        while !self.over.get() {
            for (visibility, seen) in [("private", 404), ("public", 200)] {
                let change = format!("/api/v4/groups/{group}?visibility={visibility}");
                let change = Request::new("PUT", change).with("PRIVATE-TOKEN", token);
                let done = self.send(self.node(), &change, None).await.is_some_and(|answer| answer.status == 200);
                self.count(format!(
                    "operation: Group {visibility} {}",
                    if done { "acknowledged" } else { "not acknowledged" }
                ));
                if !done {
                    continue;
                }
                for node in 0..self.servers.len() {
                    let Some(answer) = self.send(node, &Request::new("GET", path.clone()), None).await else {
                        continue;
                    };
                    self.count(format!("use: group {visibility}"));
                    if matches!(answer.status, 200 | 404) && answer.status != seen {
                        self.found_that(format!("a group that is {visibility}, at server {node}: {}", answer.status));
                    }
                }
            }
            sleep(self.between(20, 400)).await;
        }
    }

    /// Somebody's own application loses the scope of its tokens, or is deleted, at any server: they are refused at every
    /// server after the acknowledgement. `user`: who registers it, with this token.
    pub async fn narrow_applications(&self, user: UserId, token: &str) {
        const PATH: &str = "/api/v4/user/applications";
        let mut narrows = false;
        while !self.over.get() {
            sleep(self.between(20, 400)).await;
            narrows = !narrows;
            let with = [("name", "x"), ("redirect_uri", CALLBACK), ("scopes", "api read_user")];
            let make = Request::new("POST", PATH).with("PRIVATE-TOKEN", token).form(&with);
            let Some(made) = self.send(self.node(), &make, None).await.filter(|made| made.status == 201) else {
                continue;
            };
            let made = made.json();
            let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
            let id = made["id"].as_i64().unwrap_or_default();
            let allow = SignInAndAllow { user, application: ApplicationId(id) };
            let Ok(code) = self.command.perform(allow, &By::system()).await else { continue };
            let (client, secret, code) = (text("application_id"), text("secret"), code.into_inner());
            let redeem = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", CALLBACK),
                ("client_id", client.as_str()),
                ("client_secret", secret.as_str()),
            ];
            let given = self.send(self.node(), &Request::new("POST", "/oauth/token").form(&redeem), None).await;
            let Some((access, _)) = given.as_ref().and_then(pair) else { continue };
            let uses = Request::new("GET", USER).with("Authorization", &format!("Bearer {access}"));
            for node in 0..self.servers.len() {
                // So that each of them remembers it.
                drop(self.send(node, &uses, None).await);
            }
            let (what, take, taken) = match narrows {
                true => ("narrowed", Request::new("PUT", format!("{PATH}/{id}?scopes=read_user")), 200),
                false => ("deleted", Request::new("DELETE", format!("{PATH}/{id}")), 204),
            };
            let take = take.with("PRIVATE-TOKEN", token);
            let done = self.send(self.node(), &take, None).await.is_some_and(|answer| answer.status == taken);
            let outcome = if done { "acknowledged" } else { "not acknowledged" };
            self.count(format!("operation: Application {what} {outcome}"));
            if !done {
                continue;
            }
            for node in 0..self.servers.len() {
                let Some(answer) = self.send(node, &uses, None).await else { continue };
                self.count("use: token of an application that lost its scope");
                if answer.status == 200 {
                    self.found_that(format!("a token of an application that was {what}, at server {node}"));
                }
            }
        }
    }

    /// All tokens of somebody are revoked together, at any server or by the command line: they are refused at every server
    /// after the acknowledgement.
    pub async fn revoke_together(&self, user: UserId, administrator: &str) {
        while !self.over.get() {
            sleep(self.between(20, 400)).await;
            let mut secrets = Vec::new();
            for _ in 0..3 {
                let create = tokens::CreateToken {
                    user,
                    administrator: None,
                    self_service: false,
                    grantable: None,
                    impersonation: false,
                    name: "together".into(),
                    scopes: Scopes::from([Scope::Api]),
                    expires_at: None,
                    description: None,
                    require_expiry: true,
                    secret: None,
                };
                let Ok(made) = self.command.perform(create, &By::system()).await else { continue };
                secrets.push(made.into_inner().secret.reveal().to_owned());
            }
            let uses = |secret: &String| Request::new("GET", USER).with("PRIVATE-TOKEN", secret);
            for (node, secret) in (0..self.servers.len()).flat_map(|node| secrets.iter().map(move |one| (node, one))) {
                // So that each server remembers it.
                drop(self.send(node, &uses(secret), None).await);
            }
            let done = if self.throw(3) == 0 {
                let words = ["token", "revoke-all", "--user", &user.to_string(), "--name-like", "TOGETHER"];
                self.server.shell(&words).await.code == Some(0)
            } else {
                let revoke = Request::new("POST", format!("/api/v4/admin/revocations?user={user}"));
                let revoke = revoke.with("PRIVATE-TOKEN", administrator);
                self.send(self.node(), &revoke, None).await.is_some_and(|answer| answer.status == 200)
            };
            let outcome = if done { "acknowledged" } else { "not acknowledged" };
            self.count(format!("operation: Together {outcome}"));
            if !done {
                continue;
            }
            for (node, secret) in (0..self.servers.len()).flat_map(|node| secrets.iter().map(move |one| (node, one))) {
                let Some(answer) = self.send(node, &uses(secret), None).await else { continue };
                self.count("use: token that was revoked with others");
                if answer.status == 200 {
                    self.found_that(format!("a token that was revoked with others, at server {node}"));
                }
            }
        }
    }

    pub async fn in_peace(&self) {
        for (kind, taking) in WAYS {
            let asked = Instant::now();
            while !self.once(kind, taking).await {
                // A server that was cut off a moment ago may still have to find its way back.
                assert!(asked.elapsed() < Duration::from_secs(15), "{kind:?} {taking:?} is never acknowledged");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn once(&self, kind: Kind, taking: Taking) -> bool {
        let Some(family) = self.make(kind, &self.owners[0]).await else { return false };
        let held = family.newest();
        self.check_everywhere(&family, &held).await;
        let taken = self.take(&family, taking, self.node(), None).await;
        self.check_everywhere(&family, &held).await;
        let back = taking != Taking::Block || self.set_blocked(&family.owner, false, None).await;
        taken && back
    }

    /// What has been dead for some time is asked for no more.
    fn bury(&self) {
        let then = self.now().saturating_sub(Duration::from_secs(4).as_nanos() as u64);
        let long = then.saturating_sub(Duration::from_secs(60).as_nanos() as u64);
        self.families.borrow_mut().retain(|family| family.dead().is_none_or(|at| at > then) && family.until > long);
    }

    /// What is asked for again after minutes: a successor that nobody used is replaced, and one that was used tells of
    /// a theft (rotation.md rules 5 and 6).
    pub async fn sleep_over(&self, owner: &Rc<Owner>) {
        while !self.over.get() {
            let Some(family) = self.make(Kind::Personal, owner).await else { continue };
            self.families.borrow_mut().retain(|known| !Rc::ptr_eq(known, &family));
            let old = family.newest();
            if !self.renew(&family, &old, self.node(), None).await {
                continue;
            }
            let next = family.newest();
            let used = self.throw(2) == 0;
            if used {
                self.check_everywhere(&family, &next).await;
            }
            let wake = self.now() + (2 * WINDOW + Duration::from_secs(5)).as_nanos() as u64;
            while self.now() < wake && !self.over.get() {
                sleep(Duration::from_millis(200)).await;
            }
            if self.over.get() {
                return;
            }
            if !used {
                // If no answer comes, it may have happened or not.
                let id = next.story.begin("replaced by a late renewal", false, self.now());
                if self.renew(&family, &old, self.node(), None).await {
                    next.story.acknowledge(id, self.now());
                    self.count("operation: Personal replaced");
                }
            } else {
                let id = family.story.begin("a theft is noticed", false, self.now());
                let request = Request::new("POST", ROTATE).with("PRIVATE-TOKEN", &old.access);
                let answer = self.send(self.node(), &request, None).await;
                end(&family.story, id, answer.map(|answer| answer.status == 401), self.now());
                self.count("operation: Personal stolen");
            }
            let all: Vec<_> = family.held.borrow().clone();
            for held in all {
                self.check_everywhere(&family, &held).await;
            }
        }
    }
}

/// `None`: nobody knows what becomes of it. Whether it was acknowledged.
fn end(story: &Story, id: u64, done: Option<bool>, now: u64) -> bool {
    match done {
        Some(true) => story.acknowledge(id, now),
        Some(false) => story.fail(id, now),
        None => {}
    }
    done == Some(true)
}

/// Access and refresh token of an answer; a personal access token is both.
fn pair(answer: &Answer) -> Option<(String, String)> {
    let body = answer.json();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let own = || text("token").map(|token| (token.clone(), token));
    text("access_token").zip(text("refresh_token")).or_else(own).filter(|_| answer.status == 200)
}
