use super::*;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Settings, Unusable> {
    let mut layers = Layers::default();
    layers.merge(file, Path::new("x.toml"))?;
    for (name, value) in environment {
        layers.read_environment(name, value)?;
    }
    Settings::of(layers)
}

#[test]
fn the_defaults_are_what_the_documents_say() {
    let settings = load("", &[]).expect("defaults");
    assert_eq!(settings.rotation.window, Span(Duration::from_secs(120)));
    assert_eq!(settings.cache.entries, 200_000);
    assert_eq!((settings.limits.head, settings.limits.body), (Size(65_536), Size(1 << 20)));
    assert_eq!(settings.database, "sqlite:tollhouse-data/tollhouse.db");
}

#[test]
fn the_environment_stands_over_the_file() {
    let settings = load(
        "external_hosts = ['a.test']\n[compat]\nrotation = 'gitlab'\n",
        &[("TOLLHOUSE_COMPAT_ROTATION", "tollhouse"), ("TOLLHOUSE_EXTERNAL_HOSTS", "b.test, c.test"), ("HOME", "/")],
    )
    .expect("settings");
    assert!(!settings.compat.rotation.is_gitlab());
    assert_eq!(settings.external_hosts, ["b.test", "c.test"]);
    let all = load("compat.all = 'gitlab'", &[]).expect("settings");
    assert!(all.compat.lockout.is_gitlab() && all.compat.links.is_gitlab());
}

#[test]
fn a_path_in_a_file_is_relative_to_that_file() {
    let read = |path: &str, text: &str| {
        let mut layers = Layers::default();
        layers.merge(text, Path::new(path)).expect(text);
        Settings::of(layers).expect(text)
    };
    let file = "/etc/tollhouse/tollhouse.toml";
    let all = "data_dir = 'data'\nsecret_key_file = 'key'\n[gateway]\nrules = '../rules.toml'\n";
    let settings = read(file, all);
    assert_eq!(settings.data_dir, Path::new("/etc/tollhouse/data"));
    assert_eq!(settings.secret_key_file, Path::new("/etc/tollhouse/key"));
    assert_eq!(settings.gateway.rules, Path::new("/etc/tollhouse/../rules.toml"));
    assert_eq!(settings.database, "sqlite:/etc/tollhouse/data/tollhouse.db");
    for (url, path) in [
        ("sqlite:x.db", "sqlite:/etc/tollhouse/x.db"),
        ("sqlite://x.db", "sqlite:/etc/tollhouse/x.db"),
        ("sqlite:/srv/x.db", "sqlite:/srv/x.db"),
        ("sqlite:///srv/x.db", "sqlite:/srv/x.db"),
        ("sqlite::memory:", "sqlite::memory:"),
        ("postgres://u@h/sqlite:x", "postgres://u@h/sqlite:x"),
    ] {
        assert_eq!(read(file, &format!("database = '{url}'")).database, path, "{url}");
    }
    // What is not in the file is not the file's, and a file here changes nothing.
    assert_eq!(read(file, "").data_dir, Path::new("tollhouse-data"));
    assert_eq!(read(file, "secret_key_file = ''").secret_key_file, Path::new(""));
    assert_eq!(read("tollhouse.toml", all).data_dir, Path::new("data"));
    assert_eq!(read("sub/tollhouse.toml", "data_dir = '/srv'").data_dir, Path::new("/srv"));
}

#[test]
fn the_password_grant_is_off_but_for_a_twin_and_what_is_set_counts() {
    for (file, environment, on) in [
        ("", &[][..], false),
        ("oauth.password_grant = true", &[], true),
        ("oauth.password_grant = false", &[], false),
        ("compat.password_grant = 'gitlab'", &[], true),
        ("compat.all = 'gitlab'", &[], true),
        ("compat.all = 'gitlab'\noauth.password_grant = false", &[], false),
        ("compat.password_grant = 'gitlab'\noauth.password_grant = false", &[], false),
        ("compat.all = 'gitlab'", &[("TOLLHOUSE_OAUTH_PASSWORD_GRANT", "false")], false),
        ("oauth.password_grant = false", &[("TOLLHOUSE_OAUTH_PASSWORD_GRANT", "true")], true),
        ("compat.rotation = 'gitlab'", &[], false),
    ] {
        let settings = load(file, environment).expect(file);
        assert_eq!(settings.oauth.password_grant, on, "{file} {environment:?}");
    }
    let printed = load(DEFAULT, &[]).expect("the defaults");
    assert!(!printed.oauth.password_grant);
}

#[test]
fn bounds_in_time_can_be_switched_off_and_must_leave_room() {
    let settings = load("", &[]).expect("defaults");
    assert_eq!(settings.sessions.longest(), Some(Duration::from_secs(90 * 86_400)));
    assert_eq!((settings.oauth.idle(), settings.sessions.first_lifetime()), (None, settings.sessions.lifetime.0));
    assert_eq!(load("sessions.longest = '0s'", &[]).expect("settings").sessions.longest(), None);
    for (good, bad, named) in [
        ("sessions.longest = '60s'", "sessions.longest = '59s'", "sessions.longest"),
        ("oauth.refresh_idle = '7201s'", "oauth.refresh_idle = '2h'", "oauth.access_token_lifetime"),
        (
            "oauth.refresh_idle = '241s'\noauth.access_token_lifetime = '1m'",
            "oauth.refresh_idle = '4m'\noauth.access_token_lifetime = '1m'",
            "rotation.window",
        ),
    ] {
        load(good, &[]).expect(good);
        let error = load(bad, &[]).expect_err(bad).0;
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_time_is_at_most_a_hundred_years() {
    load("sessions.longest = '36500d'", &[]).expect("settings");
    for bad in ["36501d", "999999999999d", "18446744073709551615s"] {
        let error = load(&format!("passwords.lock_for = '{bad}'"), &[]).expect_err(bad).0;
        assert!(error.contains("is too long: write at most 36500d") && error.contains(bad), "{error}");
    }
}

#[test]
fn a_setting_that_has_gone_is_taken_and_noted_once() {
    for (file, environment) in [
        ("[metrics]\nallow = ['10.0.0.0/8']", None),
        ("metrics.allow = 7", None),
        ("", Some(("TOLLHOUSE_METRICS_ALLOW", "127.0.0.1"))),
        ("metrics.allow = []", Some(("TOLLHOUSE_METRICS_ALLOW", ""))),
    ] {
        let settings = load(file, environment.as_slice()).expect("settings");
        assert_eq!(settings.retired.iter().map(|known| known.key).collect::<Vec<_>>(), ["metrics.allow"], "{file}");
        assert_eq!(settings.metrics.listen, Listen(None));
    }
    let new = load("metrics.listen = '[::1]:9180'", &[]).expect("settings");
    assert!(new.retired.is_empty() && new.metrics.listen.0.is_some());
    for bad in ["9180", "localhost:9180", ":9180", "127.0.0.1", " "] {
        let error = load(&format!("metrics.listen = '{bad}'"), &[]).expect_err(bad).0;
        assert!(
            error.contains(&format!("\"{bad}\" is not an address and a port")) && error.contains("listen"),
            "{error}"
        );
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let error = |file: &str, environment: &[(&str, &str)]| load(file, environment).expect_err(file).0;
    assert_eq!(
        error("[compat]\nrotate = 'x'", &[]),
        "x.toml: compat.rotate: there is no such setting; did you mean compat.rotation? tollhouse config --print-default lists all"
    );
    assert_eq!(
        error("nope = 1", &[]),
        "x.toml: nope: there is no such setting; tollhouse config --print-default lists all"
    );
    assert_eq!(
        error("listen = 1", &[]),
        "x.toml: listen: 1: this must be text in quotes, such as \"127.0.0.1:8080\", not a whole number"
    );
    assert_eq!(
        error("", &[("TOLLHOUSE_NOPE", "1")]),
        "TOLLHOUSE_NOPE: there is no such setting; tollhouse config --print-default lists all"
    );
    let meant = "there is no such setting; did you mean TOLLHOUSE_LISTEN? tollhouse config --print-default lists all";
    assert_eq!(error("", &[("TOLLHOUSE_LISTN", "x")]), format!("TOLLHOUSE_LISTN: {meant}"));
    let meant =
        "there is no such setting; did you mean TOLLHOUSE_LOG_LEVEL? tollhouse config --print-default lists all";
    assert_eq!(error("", &[("TOLLHOUSE_LOG_LEVLE", "x")]), format!("TOLLHOUSE_LOG_LEVLE: {meant}"));
    assert_eq!(
        error("", &[("TOLLHOUSE_COMPAT_ISS", "on")]),
        "TOLLHOUSE_COMPAT_ISS: \"on\" is not valid: write \"tollhouse\" or \"gitlab\"; the default is \"tollhouse\""
    );
    let bare = error("# one\nlisten = 127.0.0.1:8080", &[]);
    assert!(bare.starts_with("x.toml: line 2: ") && bare.contains("text must be in quotes"), "{bare}");
    assert_eq!(
        error("", &[("TOLLHOUSE_INSECURE_HTTP", "perhaps")]),
        "TOLLHOUSE_INSECURE_HTTP: \"perhaps\" does not fit: this must be true or false, such as false"
    );
    let broken = error("# one\ndatabase = \"postgres://u:hunter2@h/db", &[]);
    assert!(broken.starts_with("x.toml: line 2: ") && !broken.contains("hunter2"), "{broken}");
}

/// Each says the setting, the value, and an example of one that fits.
#[test]
fn a_value_that_does_not_fit_is_told_with_an_example() {
    let time = "is not a time: write a number and s, m, h or d, such as 120s or 7d";
    let size = "is not a size: write a number and B, KiB, MiB or GiB, such as 64KiB or 1MiB";
    let address = "is not an address and a port, such as 127.0.0.1:8080 or [::1]:8080; names are not looked up";
    for (file, told) in [
        ("rotation.window = '2 weeks'", format!("rotation.window: \"2 weeks\" {time}; the default is \"120s\"")),
        ("sessions.lifetime = '7'", format!("sessions.lifetime: \"7\" {time}; the default is \"7d\"")),
        ("audit.keep = ''", format!("audit.keep: \"\" {time}; the default is \"365d\"")),
        ("limits.body = '1MB'", format!("limits.body: \"1MB\" {size}; the default is \"1MiB\"")),
        ("listen = 'localhost:0'", format!("listen: \"localhost:0\" {address}; the default is \"127.0.0.1:8080\"")),
        (
            "proxies.header = 'X Y'",
            "proxies.header: \"X Y\" is not the name of a header, such as X-Forwarded-For; the default is \
             \"X-Forwarded-For\""
                .to_owned(),
        ),
        (
            "log.format = 'xml'",
            "log.format: \"xml\" is not valid: write \"text\" or \"json\"; the default is \"text\"".to_owned(),
        ),
        ("sessions.lifetime = '59s'", "sessions.lifetime: 59s is too short; write at least 60s, such as 7d".to_owned()),
        ("passwords.attempts = 0", "passwords.attempts: 0 is too few; write at least 1, such as 10".to_owned()),
        (
            "oauth.id_token_lifetime = '0s'",
            "oauth.id_token_lifetime: 0s is too short; write at least 1s, such as \"120s\"".to_owned(),
        ),
        (
            "rotation.memory = '3m'",
            "rotation.memory: 180s is too short; write at least 240s, which is rotation.window and rotation.settle \
             together, such as 7d"
                .to_owned(),
        ),
        (
            "passwords.attempts = 'ten'",
            "x.toml: passwords.attempts: \"ten\": this must be a whole number, such as 10, not text in quotes"
                .to_owned(),
        ),
        (
            "external_hosts = 'a.test'",
            "x.toml: external_hosts: \"a.test\": this must be a list, such as [\"one\", \"two\"], not text in quotes"
                .to_owned(),
        ),
    ] {
        let told = if told.starts_with("x.toml: ") { told } else { format!("x.toml: {told}") };
        assert_eq!(load(file, &[]).expect_err(file).0, told, "{file}");
    }
    for (file, value, example) in [
        ("passwords.attempts = -1", "`-1`", "the default is 10"),
        ("proxies.trusted = ['10.1.2.3/8']", "10.1.2.3/8", "the network is 10.0.0.0/8"),
        ("gateway.peers = ['me']", "`me`", "such as 192.0.2.0/24"),
        ("gateway.prefix = 'X'", "\"X\"", "the default is \"X-Tollhouse-\""),
        ("gateway.dialect = 'nginx'", "\"nginx\"", "\"original\""),
        ("compat.pkce = 'github'", "\"github\"", "\"gitlab\""),
        ("keys.at_rest = 'shut'", "\"shut\"", "\"sealed\""),
    ] {
        let told = load(file, &[]).expect_err(file).0;
        let key = file.split(' ').next().expect("a key");
        assert!(
            told.starts_with(&format!("x.toml: {key}")) && told.contains(value) && told.contains(example),
            "{told}"
        );
    }
    let number = load("", &[("TOLLHOUSE_PASSWORDS_ATTEMPTS", "ten")]).expect_err("no number").0;
    assert_eq!(number, "TOLLHOUSE_PASSWORDS_ATTEMPTS: \"ten\" does not fit: this must be a whole number, such as 10");
}
