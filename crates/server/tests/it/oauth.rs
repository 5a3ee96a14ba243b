//! What an OAuth application does, for the tests: it sends people to the consent page, and redeems what comes back.

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use tollhouse::operations::grants::Authorize;
use tollhouse::operations::{Failed, Operation, applications};
use tollhouse_domain::id::{ApplicationId, UserId};
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::tx::{Change, Tx};

use crate::test_server::{Ask, BeginSession, Person, Reply, Session, TestServer};

pub const USER: &str = "/api/v4/user";
pub const CALLBACK: &str = "https://app.example.test/callback";

/// 43 characters, the shortest that RFC 7636 allows, and its S256 challenge (RFC 7636 appendix B).
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[derive(Clone)]
pub struct Client {
    pub town: TestServer,
    pub id: ApplicationId,
    pub uid: String,
    /// As it was shown once. A public application has one too, and need not show it.
    pub secret: String,
    pub confidential: bool,
}

/// Somebody signs in and allows an application to use the API, without a browser.
pub struct SignInAndAllow {
    pub user: UserId,
    pub application: ApplicationId,
}

impl Operation for SignInAndAllow {
    /// The code.
    type Output = String;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<String>, Failed> {
        let session = Plaintext::session();
        let authorize = Authorize {
            application: self.application,
            user: self.user,
            session: session.digest(),
            redirect_uri: CALLBACK.to_owned(),
            scopes: Scopes::from([Scope::Api]),
            challenge: None,
            nonce: None,
        };
        let lifetime = std::time::Duration::from_secs(3600);
        BeginSession { user: self.user, session, lifetime }.run(tx, now).await?.into_value();
        let code = authorize.run(tx, now).await?.into_value().expect("the session has just begun");
        Ok(Change::nothing(code.reveal().to_owned()))
    }
}

/// What the token endpoint gave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tokens {
    pub access: String,
    /// Empty: none was given.
    pub refresh: String,
}

impl TestServer {
    /// A confidential application with [`CALLBACK`].
    pub async fn client(&self, scopes: &str) -> Client {
        self.client_with(create(scopes)).await
    }

    /// A public application with [`CALLBACK`].
    pub async fn public_client(&self, scopes: &str) -> Client {
        self.client_with(applications::CreateApplication { confidential: false, ..create(scopes) }).await
    }

    pub async fn trusted_client(&self, scopes: &str) -> Client {
        self.client_with(applications::CreateApplication { trusted: true, ..create(scopes) }).await
    }

    pub async fn client_with(&self, create: applications::CreateApplication) -> Client {
        let confidential = create.confidential;
        let made = self.does(create).await;
        let (id, uid) = (made.application.id, made.application.uid);
        Client { town: self.clone(), id, uid, secret: made.secret.reveal().to_owned(), confidential }
    }

    /// Ada, an application, and what it got for her.
    pub async fn begun(&self, scope: &str) -> (Person, Client, Tokens) {
        let (ada, client) = (self.user("ada").await, self.client(scope).await);
        let pair = client.tokens(&ada, scope).await;
        (ada, client, pair)
    }
}

/// `POST /oauth/token` with these pairs and nothing else.
pub fn ask(t: &TestServer, pairs: &[(&str, &str)]) -> Ask {
    t.post("/oauth/token").form(&encoded(pairs))
}

/// Who she is, asked with an access token.
pub fn user(t: &TestServer, access: &str) -> Ask {
    t.get(USER).bearer(access)
}

/// An application to be made; change what the test is about.
pub fn create(scopes: &str) -> applications::CreateApplication {
    applications::CreateApplication {
        name: "Ferry board".to_owned(),
        redirect_uri: CALLBACK.to_owned(),
        scopes: scopes.to_owned(),
        confidential: true,
        trusted: false,
        owner: None,
        by: None,
        plain_http: true,
    }
}

/// Pairs as a query or a form.
pub fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// `base` with `changes` over it: a pair replaces the one of its name, or comes at the end; `None` takes it away.
pub fn changed<'a>(base: &[(&'a str, &'a str)], changes: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<(&str, &str)> = base.to_vec();
    for (name, value) in changes {
        let place = pairs.iter().position(|(known, _)| known == name);
        match (place, value) {
            (Some(at), Some(value)) => pairs[at].1 = value,
            (Some(at), None) => drop(pairs.remove(at)),
            (None, Some(value)) => pairs.push((name, value)),
            (None, None) => {}
        }
    }
    pairs
}

impl Client {
    /// The parameters of a request for authorization. Public applications send a challenge.
    pub fn request<'a>(&'a self, scope: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut pairs = vec![
            ("client_id", self.uid.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("state", "a state"),
            ("scope", scope),
        ];
        if !self.confidential {
            pairs.extend([("code_challenge", CHALLENGE), ("code_challenge_method", "S256")]);
        }
        pairs
    }

    /// `GET /oauth/authorize`, with the changes of [`changed`].
    pub fn page(&self, session: &Session, scope: &str, changes: &[(&str, Option<&str>)]) -> Ask {
        let query = encoded(&changed(&self.request(scope), changes));
        self.town.get(&format!("/oauth/authorize?{query}")).session(session)
    }

    /// `POST /oauth/authorize`, as the consent page's form sends it.
    pub fn allow(&self, session: &Session, scope: &str, changes: &[(&str, Option<&str>)]) -> Ask {
        self.answer(session, scope, changes, None)
    }

    /// The other form of the consent page: `_method=delete`.
    pub fn deny(&self, session: &Session, scope: &str, changes: &[(&str, Option<&str>)]) -> Ask {
        self.answer(session, scope, changes, Some("delete"))
    }

    fn answer(&self, session: &Session, scope: &str, changes: &[(&str, Option<&str>)], method: Option<&str>) -> Ask {
        let csrf = session.csrf();
        let mut pairs = changed(&self.request(scope), changes);
        pairs.push(("authenticity_token", &csrf));
        pairs.extend(method.map(|method| ("_method", method)));
        self.town.post("/oauth/authorize").session(session).form(&encoded(&pairs))
    }

    /// A person allows it; the code that the application is sent.
    pub async fn code(&self, person: &Person, scope: &str) -> String {
        self.code_with(person, scope, &[]).await
    }

    pub async fn code_with(&self, person: &Person, scope: &str, changes: &[(&str, Option<&str>)]) -> String {
        let session = person.session().await;
        let reply = self.allow(&session, scope, changes).await;
        sent_back(&reply, "code").expect("a code")
    }

    /// `POST /oauth/token` with `grant_type`, these pairs and the client's own credentials in the body.
    pub fn token(&self, grant_type: &str, pairs: &[(&str, &str)]) -> Ask {
        let mut all = vec![("grant_type", grant_type), ("client_id", self.uid.as_str())];
        if self.confidential {
            all.push(("client_secret", &self.secret));
        }
        all.extend(pairs);
        self.town.post("/oauth/token").form(&encoded(&all))
    }

    /// Redeems a code; public applications show the verifier.
    pub fn redeem(&self, code: &str) -> Ask {
        let mut pairs = vec![("code", code), ("redirect_uri", CALLBACK)];
        if !self.confidential {
            pairs.push(("code_verifier", VERIFIER));
        }
        self.token("authorization_code", &pairs)
    }

    /// `POST /oauth/revoke`, with the client's own credentials in the body.
    pub fn revoke(&self, token: &str) -> Ask {
        let own = [("client_id", self.uid.as_str()), ("client_secret", self.secret.as_str()), ("token", token)];
        self.town.post("/oauth/revoke").form(&encoded(&own))
    }

    pub fn refresh(&self, refresh_token: &str) -> Ask {
        self.token("refresh_token", &[("refresh_token", refresh_token)])
    }

    /// The whole flow: allowed by this person, redeemed.
    pub async fn tokens(&self, person: &Person, scope: &str) -> Tokens {
        let code = self.code(person, scope).await;
        tokens(&self.redeem(&code).await)
    }

    /// The same application, asking another process.
    pub fn at(&self, town: &TestServer) -> Self {
        Self { town: town.clone(), ..self.clone() }
    }

    /// `Authorization: Basic` of this client.
    pub fn basic(&self) -> String {
        basic(&self.uid, &self.secret)
    }
}

pub fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes()))
}

/// The tokens of an answer that has some.
#[track_caller]
pub fn tokens(reply: &Reply) -> Tokens {
    let body = reply.has(200).json();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let tokens = Tokens { access: text("access_token"), refresh: text("refresh_token") };
    assert!(!tokens.access.is_empty(), "{}", reply.body);
    tokens
}

/// 64 hexadecimal digits, as most secrets are.
pub fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// From base64url without padding.
#[track_caller]
pub fn decoded(text: &str) -> Vec<u8> {
    BASE64URL_NOPAD.decode(text.as_bytes()).expect("base64url without padding")
}

/// Header, claims and signature, as they stand.
#[track_caller]
pub fn parts(jwt: &str) -> [&str; 3] {
    let parts: Vec<&str> = jwt.split('.').collect();
    parts.try_into().unwrap_or_else(|_| panic!("three parts: {jwt}"))
}

/// The claims of the `id_token` of an answer. That they are signed is tested with the keys.
#[track_caller]
pub fn id_token(reply: &Reply) -> Value {
    let body = reply.has(200).json();
    let [_, claims, _] = parts(body["id_token"].as_str().expect("an id_token"));
    serde_json::from_slice(&decoded(claims)).expect("JSON")
}

/// The parameter of that name in the query of a redirect to [`CALLBACK`].
#[track_caller]
pub fn sent_back(reply: &Reply, name: &str) -> Option<String> {
    let location = reply.has(302).header("location").expect("a Location");
    let query = location.strip_prefix(CALLBACK).expect("back to the application").strip_prefix('?').expect("a query");
    let found = form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned())
}

/// An OAuth error in JSON, with its description.
#[track_caller]
pub fn is_error(reply: &Reply, status: u16, error: &str) -> String {
    let body = reply.has(status).json();
    assert_eq!(body["error"], error, "{}", reply.body);
    assert!(body.get("access_token").is_none(), "{}", reply.body);
    body["error_description"].as_str().expect("a description").to_owned()
}
