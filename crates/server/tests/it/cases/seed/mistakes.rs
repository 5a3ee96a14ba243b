//! What is wrong with a file is told with its line, all of it at once.

use tollhouse::cli::seed::{Seed, Source};

use super::{example, source};
use crate::test_server::TestServer;

cases![
    seed_every_mistake_is_told_by_itself,
    seed_all_mistakes_are_told_at_once,
    seed_what_is_no_file_of_text,
    seed_mistakes_show_no_secret,
    seed_every_key_is_in_the_example_and_in_the_document,
];

/// A file with one mistake: on which line, and some words of what is told.
const MISTAKES: &[(&str, usize, &str)] = &[
    ("", 1, "the file is empty"),
    ("\n\n# nothing\n", 1, "the file is empty"),
    ("\nusers = 1", 2, "there is no `users` here, only user, group, project, token, application, oauth_token"),
    ("user = 1", 1, "`user` must be [[user]], not an integer"),
    ("[user]\nusername = 'ada'", 1, "`user` must be [[user]], not a table"),
    ("user = ['ada']", 1, "`user` must hold tables, not a string"),
    ("[[user]]\nname = 'Ada'", 1, "user: `username` is missing"),
    ("[[user]]\nusername = ['ada']", 2, "user: `username` must be a string, not an array"),
    ("[[user]]\nusername = 'ada'\nusername = 'bob'", 3, "duplicate key"),
    ("[[user]]\nusername = 'ada", 2, "invalid"),
    ("[[user]\nusername = 'ada'", 1, "unclosed"),
    ("[[user]]\nusername = 'a\0da'", 2, "invalid literal string"),
    ("[[user]]\nusername = 'ada'\nname = \"a\\u0000b\"", 3, "user `ada`: `name` can't hold a NUL"),
    ("[[user]]\nusername = 'ada'\nname = \"a\\u202eb\"", 3, "user `ada`: `name` can't hold control characters"),
    ("[[user]]\nusername = 'ada'\nnmae = 'Ada'", 3, "user `ada`: there is no `nmae` here, only username, name,"),
    ("[[user]]\nusername = 'a b'", 2, "user `a b`: `username` can contain only letters"),
    ("[[user]]\nusername = 'api'", 2, "`username` is a reserved name"),
    ("[[user]]\nusername = 'ada'\n[[user]]\nusername = 'ADA'", 4, "user `ADA`: `username` is taken on line 2"),
    ("[[user]]\nusername = 'ada'\nemail = 'ada'", 3, "`email` is invalid"),
    ("[[user]]\nusername = 'a'\n[[user]]\nusername = 'b'\nemail = 'A@example.test'", 5, "`email` is taken on line 1"),
    ("[[user]]\nusername = 'ada'\nadmin = 'yes'", 3, "`admin` must be true or false, not a string"),
    (
        "[[user]]\nusername='u'\n[[user]]\nusername='r'\nadmin=true\nstate='blocked'\n[[user]]\nusername='w'\nadmin=true\nconfirmed=false",
        5,
        "one administrator must be active and confirmed: the last one can't be blocked",
    ),
    ("[[user]]\nusername = 'ada'\nstate = 'asleep'", 3, "`state` must be one of active, blocked,"),
    ("[[user]]\nusername = 'ada'\npassword = 'short'", 3, "`password` is too short"),
    ("[[user]]\nusername = 'ada'\npassword = '$argon2id$v=19$m=8,t=1,p=1$x$y'", 3, "put a hash into `password_hash`"),
    ("[[user]]\nusername = 'ada'\npassword_hash = 'secret'", 3, "`password_hash` must be a PHC string of Argon2"),
    ("[[group]]\npath = 'a/b'", 2, "group `a/b`: there is no group `a` in this file"),
    ("[[group]]\npath = 'admin'", 2, "`path` is a reserved name"),
    ("[[group]]\npath = 'a b'", 2, "`path` can contain only letters"),
    ("[[group]]\npath = '/a'", 2, "there is no group `` in this file"),
    ("[[group]]\npath = 'a'\nvisibility = 10", 3, "`visibility` must be a string, not an integer"),
    ("[[group]]\npath = 'a'\nvisibility = 'secret'", 3, "`visibility` must be one of private, internal, public"),
    (
        "[[group]]\npath = 'a/b'\nvisibility='public'\n[[group]]\npath='a'",
        3,
        "`visibility` is not allowed in this parent",
    ),
    ("[[group]]\npath = 'ada'\n[[user]]\nusername = 'ada'", 2, "group `ada`: `path` is taken on line 4"),
    ("[[group]]\npath = 'a'\nmembers = 'ada'", 3, "group `a`: `members` must be a list of tables, not a string"),
    ("[[group]]\npath = 'a'\nmembers = [{ user = 'ada', level = 'guest' }]", 3, "member `ada`: there is no user `ada`"),
    (
        "[[user]]\nusername='u'\n[[group]]\npath='a'\nmembers=[{user='u',level='boss'}]",
        5,
        "`level` must be one of minimal,",
    ),
    (
        "[[user]]\nusername='u'\n[[group]]\npath='a'\nmembers=[{user='u'}]",
        5,
        "group `a`: member `u`: `level` is missing",
    ),
    (
        "[[user]]\nusername='u'\n[[group]]\npath='a'\nmembers=[{user='u',level='guest'},\n{user='U',level='guest'}]",
        6,
        "group `a`: member `U`: is a member already",
    ),
    (
        "[[user]]\nusername='u'\n[[group]]\npath='a'\nmembers=[{user='u',level='guest',expires_at='soon'}]",
        5,
        "`expires_at` must be a day such as 2031-01-31",
    ),
    ("[[project]]\npath = 'a'", 2, "project `a`: `path` must name the group or user"),
    ("[[project]]\npath = 'a/b'", 2, "there is no group or user `a` in this file"),
    ("[[user]]\nusername='u'\n[[project]]\npath = 'u/.git'", 4, "`path` can contain only letters"),
    ("[[user]]\nusername='u'\n[[project]]\npath='u/a'\n[[project]]\npath='U/A'", 6, "`path` is taken on line 4"),
    (
        "[[user]]\nusername='u'\n[[project]]\npath='u/a'\n[[project]]\npath='u/b'\nname='a'",
        7,
        "`name` is taken on line 4",
    ),
    (
        "[[group]]\npath='g'\n[[project]]\npath='g/a'\nvisibility='public'",
        5,
        "`visibility` is not allowed in this group",
    ),
    ("[[group]]\npath='g'\n[[project]]\npath='g/a'\ncreator='u'", 5, "there is no user `u` in this file"),
    (
        "[[user]]\nusername='u'\n[[user]]\nusername='v'\n[[project]]\npath='u/a'\ncreator='v'",
        7,
        "`creator` must be the user whose namespace it is in",
    ),
    (
        "[[user]]\nusername='u'\n[[project]]\npath='u/a'\nmembers=[{user='u',level='guest'}]",
        5,
        "project `u/a`: member `u`: is already its owner",
    ),
    ("[[token]]\nname='t'\nscopes=['api']", 1, "token `t`: `user` is missing"),
    ("[[token]]\nname='t'\nscopes=['api']\nuser='u'", 4, "token `t`: there is no user `u` in this file"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nscopes=['api']", 3, "token: `name` is missing"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname=' '\nscopes=['api']", 5, "`name` can't be blank"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'", 3, "token `t`: `scopes` is missing"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=[]", 6, "`scopes` can't be empty"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes='api'", 6, "`scopes` must be a list of strings"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=[\n'api',\n7]", 8, "`scopes` must hold strings"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['API']", 6, "there is no scope `API`"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['sudo']", 6, "`sudo` is for administrators only"),
    (
        "[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['openid']",
        6,
        "`openid` is for applications only",
    ),
    (
        "[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['api']\ntoken='1234567'",
        7,
        "`token` is too short",
    ),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['api']\ntoken='1234 5678'", 7, "printable ASCII"),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['api']\ntoken='glcbt-12345'", 7, "`glcbt-`"),
    (
        "[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['api']\ntoken='12345678'\n\
         [[token]]\nuser='u'\nname='t'\nscopes=['api']\ntoken='12345678'",
        12,
        "token `t`: `token` is taken on line 7",
    ),
    (
        "[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['api']\nexpires_at=1970-01-01",
        7,
        "`expires_at` must be a day such as 2031-01-31, and not before 1970-01-02",
    ),
    (
        "[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['api']\nexpires_at=2031-01-31T00:00:00Z",
        7,
        "`expires_at` must be a day",
    ),
    ("[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['api']\nexpires_at=2031-02-30", 7, "invalid date"),
    (
        "[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='t'\nscopes=['api']\nexpires_at=2031-01-31\nexpired=true",
        8,
        "`expired` and `expires_at` can't be used together",
    ),
    ("[[application]]\nredirect_uris=['https://a.test/']", 1, "application: `name` is missing"),
    ("[[application]]\nname='A'", 1, "application `A`: `redirect_uris` is missing"),
    ("[[application]]\nname='A'\nredirect_uris=[]", 3, "`redirect_uris` can't be empty"),
    ("[[application]]\nname='A'\nredirect_uris=['javascript:x']", 3, "`javascript:x` is forbidden by the server."),
    ("[[application]]\nname='A'\nredirect_uris=['https://a.test/ b']", 3, "must be a valid URI."),
    ("[[application]]\nname='A'\nredirect_uris=['https://a.test/']\nscopes=['x']", 4, "there is no scope `x`"),
    (
        "[[application]]\nname='A'\nredirect_uris=['https://a.test/']\nclient_id='a:b'",
        4,
        "`client_id` must be 1 to 255",
    ),
    ("[[application]]\nname='A'\nredirect_uris=['https://a.test/']\nclient_id='a-'", 4, "with a letter or digit last"),
    (
        "[[application]]\nname='A'\nredirect_uris=['https://a.test/']\nclient_secret='x'",
        4,
        "`client_secret` is too short",
    ),
    (
        "[[application]]\nname='A'\nredirect_uris=['https://a.test/']\n\
         [[application]]\nname='A'\nredirect_uris=['https://a.test/']",
        5,
        "this file already has an application with that name",
    ),
    (
        "[[oauth_token]]\napplication='A'\nscopes=['api']",
        2,
        "oauth_token of `A`: there is no application `A` in this file",
    ),
    (
        "[[application]]\nname='A'\nredirect_uris=['https://a.test/']\nscopes=['openid']\n\
         [[oauth_token]]\napplication='A'\nscopes=['api']",
        7,
        "the scope `api` is not among those of the application",
    ),
    (
        "[[application]]\nname='A'\nredirect_uris=['https://a.test/']\n\
         [[oauth_token]]\napplication='A'\nscopes=['api']\nrefresh_token='12345678'",
        7,
        "`refresh_token` needs a `user`",
    ),
    (
        "[[application]]\nname='A'\nredirect_uris=['https://a.test/']\n\
         [[oauth_token]]\napplication='A'\nscopes=['api']\nexpires_in=0",
        7,
        "`expires_in` must be a whole number from 1 to 315360000",
    ),
    (
        "[[application]]\nname='A'\nredirect_uris=['https://a.test/']\n\
         [[oauth_token]]\napplication='A'\nscopes=['api']\nexpires_in='1h'",
        7,
        "`expires_in` must be a whole number",
    ),
    (
        "[[user]]\nusername='u'\n[[application]]\nname='A'\nredirect_uris=['https://a.test/']\n\
         [[oauth_token]]\napplication='A'\nuser='u'\nscopes=['api']\ntoken='12345678'\nrefresh_token='12345678'",
        11,
        "`refresh_token` is taken on line 10",
    ),
];

async fn seed_every_mistake_is_told_by_itself(_: TestServer) {
    for (text, line, words) in MISTAKES {
        let Err(told) = Seed::of(&source(text)) else { panic!("nothing is told of {text:?}") };
        let wanted = format!("seed.toml:{line}: ");
        let first = told.0.lines().find(|told| told.starts_with(&wanted) && told.contains(words));
        assert!(first.is_some(), "{text:?}: {told}");
        // Broken TOML may break more than one thing.
        let broken = ["unclosed", "invalid"].iter().any(|start| words.starts_with(start));
        assert!(broken || told.0.lines().count() == 1, "{text:?}: {told}");
    }
}

async fn seed_all_mistakes_are_told_at_once(_: TestServer) {
    // Every list that a seed has, broken in every one of its entries.
    let text = "nope = 1\n\
        [[user]]\nusername = 'a b'\nemail = 7\nwhat = 1\n\
        [[user]]\nname = 'x'\n\
        [[group]]\npath = 'x/y'\nmembers = [{ user = 'z', level = 'boss' }]\n\
        [[project]]\npath = 'y'\n\
        [[token]]\nuser = 'z'\nname = ''\nscopes = ['x', 'y']\ntoken = 'x'\n\
        [[application]]\nname = 'A'\nredirect_uris = ['x', 'y']\n\
        [[oauth_token]]\napplication = 'B'\nscopes = []\nexpires_in = -1\n\
        [[token]]\nuser = 'z\n";
    let told = Seed::of(&source(text)).expect_err("mistakes").0;
    let mut lines = told.lines();
    assert_eq!(lines.next(), Some("seed.toml: 22 mistakes, so nothing was created"), "{told}");
    let numbers: Vec<usize> = lines
        .map(|line| line.split(':').nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}")))
        .collect();
    let mut lines = numbers.clone();
    lines.dedup();
    assert_eq!(lines, [1, 3, 4, 5, 6, 9, 10, 12, 14, 15, 16, 17, 20, 22, 23, 24, 25, 26], "{told}");
    assert!(numbers.is_sorted() && numbers.len() == 22, "{told}");
    // A file of nothing but mistakes ends somewhere too.
    let many = "[[user]]\nname = 1\n".repeat(3_000);
    let told = Seed::of(&source(&many)).expect_err("mistakes").0;
    assert_eq!(told.lines().count(), 1_002);
    assert!(told.ends_with("seed.toml: and 5000 more"), "{}", told.lines().last().unwrap_or_default());
    let much = format!("{}=", "a = 1\n".repeat(200_000));
    let told = Seed::of(&source(&much)).expect_err("no TOML").0;
    assert_eq!(told, "seed.toml:2: duplicate key; the rest of the file was not checked");
}

async fn seed_what_is_no_file_of_text(t: TestServer) {
    let path = t.folder.path().join("seed.toml");
    let name = path.display().to_string();
    let told = |path: &std::path::Path| match Source::read(path) {
        Ok(_) => panic!("it was read"),
        Err(told) => told.0,
    };
    assert!(told(&path).starts_with(&format!("{name}: No such file")), "{}", told(&path));
    assert!(told(t.folder.path()).contains("Is a directory"));
    std::fs::write(&path, b"# one\nusername = \"\xff\"").expect("a file");
    assert_eq!(told(&path), format!("{name}:2: this is not UTF-8"));
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(16 << 20).expect("a size");
    assert!(Source::read(&path).is_ok(), "16 MiB");
    file.set_len((16 << 20) + 1).expect("a size");
    assert_eq!(told(&path), format!("{name}: it is larger than 16 MiB"));
    // From the editors of another system.
    let text = "\u{feff}[[user]]\r\nusername = 'ada'\r\nnope = 1\r\n";
    let told = Seed::of(&source(text)).expect_err("a mistake").0;
    assert!(told.starts_with("seed.toml:3: user `ada`: there is no `nope`"), "{told}");
    assert!(Seed::load(&example()).is_ok());
}

async fn seed_mistakes_show_no_secret(_: TestServer) {
    let secret = "hunter2 hunter2";
    let text = format!(
        "[[user]]\nusername = 'u'\npassword = '{secret}'\npassword_hash = '{secret}'\n\
         [[token]]\nuser = 'u'\nname = 't'\nscopes = ['api']\ntoken = '{secret}'\n\
         [[token]]\nuser = 'u'\nname = 't'\nscopes = ['api']\ntoken = '{secret}'\n\
         [[application]]\nname = 'A'\nredirect_uris = ['https://a.test/']\nclient_secret = '{secret}'\n\
         [[oauth_token]]\napplication = 'A'\nuser = 'u'\nscopes = ['api']\ntoken = '{secret}'\nrefresh_token = '{secret}'\n\
         [[token]]\ntoken = '{secret}"
    );
    let told = Seed::of(&source(&text)).expect_err("mistakes").0;
    assert!(!told.contains("hunter2"), "{told}");
    assert_eq!(format!("{:?}", Seed::load(&example())).matches("glpat-").count(), 0);
}

async fn seed_every_key_is_in_the_example_and_in_the_document(_: TestServer) {
    // The keys that there are, as somebody is told who wrote another one.
    let known = |text: &str| {
        let told = Seed::of(&source(text)).expect_err("a mistake").0;
        let (_, keys) = told.split_once("there is no `zzz` here, only ").expect("the keys");
        let keys: Vec<_> = keys.lines().next().unwrap_or_default().split(", ").map(str::to_owned).collect();
        keys
    };
    let text = std::fs::read_to_string(example()).expect("the example");
    let document = std::fs::read_to_string(example().with_file_name("../docs/testing-with-tollhouse.md"));
    let document = document.expect("the document");
    let file: toml::Table = text.parse().expect("TOML");
    for kind in known("zzz = 1") {
        let (_, part) = document.split_once(&format!("**`[[{kind}]]`**")).expect("a part of its own");
        let part = part.split("\n**").next().unwrap_or_default();
        let tables = file[&kind].as_array().expect("a list");
        for key in known(&format!("[[{kind}]]\nzzz = 1")) {
            assert!(tables.iter().any(|table| table.get(&key).is_some()), "the example lacks {kind}.{key}");
            assert!(part.contains(&format!("\n| `{key}` |")), "the document lacks {kind}.{key}");
        }
    }
    let member = known("[[group]]\npath = 'a'\nmembers = [{ zzz = 1 }]");
    assert_eq!(member, ["user", "level", "expires_at"]);
}
