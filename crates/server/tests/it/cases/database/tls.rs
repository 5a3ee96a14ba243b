//! TLS to PostgreSQL, with a server and certificates of the test's own.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tollhouse_store::db::{Db, Url};
use tollhouse_store::error::Error;
use tollhouse_store::query::query;

use crate::postgres::{Postgres, other_user};
use crate::test_server::TestServer;

cases![a_certificate_is_verified_as_libpq_does, a_database_without_tls_is_refused_by_name];

/// A port that was free a moment ago.
fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A server on TCP, on loopback, whose certificate is made out to `localhost`; the file of its authority.
fn server(port: u16, tls: bool) -> (Postgres, PathBuf) {
    let mut authority = PathBuf::new();
    let started = Postgres::start_with(|folder| {
        authority = folder.join("authority.pem");
        let mut settings = vec!["listen_addresses=127.0.0.1".to_owned(), format!("port={port}")];
        if tls {
            let (ca, certificate, key) = certificates();
            for (file, text) in [("authority.pem", ca), ("server.pem", certificate), ("server.key", key)] {
                private(folder, file, &text);
            }
            settings.push("ssl=on".into());
            for (setting, file) in [("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")] {
                settings.push(format!("{setting}={}", folder.join(file).display()));
            }
        }
        settings
    });
    (started.expect("it is installed"), authority)
}

fn private(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::write(&path, text).expect("a file");
    let mode = if file.ends_with("key") { 0o600 } else { 0o644 };
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("a mode");
    if let Some((uid, gid)) = other_user(folder) {
        chown(&path, Some(uid), Some(gid)).expect("a file for the other user");
    }
}

/// An authority, and a certificate for `localhost` with its key.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    (issuer.pem(), certificate.pem(), key.serialize_pem())
}

/// Whether the connection that reads has TLS, or why there is none.
async fn opened(url: &str) -> Result<bool, String> {
    let url: Url = url.parse()?;
    let db = Db::open(&url, 0).await.map_err(|error: Error| error.to_string())?;
    let mut reader = db.read().await.map_err(|error| error.to_string())?;
    let text = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let tls = query(text).one(&mut reader).await.map_err(|error| error.to_string());
    drop(reader);
    db.close().await;
    tls
}

async fn a_certificate_is_verified_as_libpq_does(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let port = port();
    let (postgres, authority) = server(port, true);
    let (_, other, _) = certificates();
    let stranger = t.folder.path().join("stranger.pem");
    std::fs::write(&stranger, other).expect("a file");
    let (authority, stranger) = (authority.display(), stranger.display());
    let name = postgres.database();
    let at = |host: &str, query: &str| format!("postgres://tollhouse@{host}:{port}/{name}{query}");
    let good = [
        // Loopback speaks plainly unless it is told.
        ("localhost", String::new(), false),
        ("localhost", "?sslmode=disable".into(), false),
        ("localhost", "?sslmode=require".into(), true),
        ("127.0.0.1", format!("?sslmode=require&sslrootcert={authority}"), true),
        ("127.0.0.1", format!("?sslmode=verify-ca&sslrootcert={authority}"), true),
        ("localhost", format!("?sslmode=verify-full&sslrootcert={authority}"), true),
        ("db.example", format!("?hostaddr=127.0.0.1&sslmode=verify-ca&sslrootcert={authority}"), true),
        ("db.example", "?hostaddr=127.0.0.1&sslmode=require".into(), true),
    ];
    for (host, query, tls) in good {
        assert_eq!(opened(&at(host, &query)).await, Ok(tls), "{host} {query}");
    }
    let refused = "the certificate of the database at";
    let bad = [
        // Made out to another name.
        ("127.0.0.1", format!("?sslmode=verify-full&sslrootcert={authority}"), refused),
        // Beyond loopback it is verified in full without being told.
        ("db.example", format!("?hostaddr=127.0.0.1&sslrootcert={authority}"), refused),
        // Signed by somebody else.
        ("localhost", format!("?sslmode=verify-full&sslrootcert={stranger}"), refused),
        ("localhost", format!("?sslmode=verify-ca&sslrootcert={stranger}"), refused),
        ("localhost", format!("?sslmode=require&sslrootcert={stranger}"), refused),
        ("localhost", "?sslmode=prefer".into(), "sslmode=prefer is not supported"),
        ("localhost", "?sslmode=verify-full&sslrootcert=/nowhere".into(), "sslrootcert: /nowhere"),
    ];
    for (host, query, why) in bad {
        let said = opened(&at(host, &query)).await.expect_err(&query);
        assert!(said.contains(why), "{host} {query}: {said}");
        assert!(why != refused || said.contains("sslrootcert=FILE"), "{said}");
    }
    postgres.stop();
}

async fn a_database_without_tls_is_refused_by_name(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let port = port();
    let (postgres, _) = server(port, false);
    let name = postgres.database();
    let plain = format!("postgres://tollhouse@localhost:{port}/{name}");
    assert_eq!(opened(&plain).await, Ok(false));
    let said = opened(&format!("{plain}?sslmode=require")).await.expect_err("no TLS");
    let why = "the database at localhost does not speak TLS; add sslmode=disable if that is meant";
    assert!(said.ends_with(why), "{said}");
    // A name that is not this machine's is not spoken to plainly.
    let there = format!("postgres://tollhouse@db.example:{port}/{name}?hostaddr=127.0.0.1");
    let said = opened(&there).await.expect_err("no TLS");
    assert!(said.ends_with(&why.replace("localhost", "db.example")), "{said}");
    assert_eq!(opened(&format!("{there}&sslmode=disable")).await, Ok(false));
    postgres.stop();
}
