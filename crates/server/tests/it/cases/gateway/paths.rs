//! Which paths are judged, and as what (GATE-020 to GATE-027).

use super::{rule, rules};
use crate::test_server::{Reply, TestServer};

gates![
    gate_020_dots,
    gate_021_slashes_and_controls,
    gate_022_escapes,
    gate_023_targets_that_are_none with "limits.target = '1KiB'",
    gate_024_oddities_are_refused_unless_they_are_admitted,
    gate_025_what_is_admitted_leads_to_one_rule,
    gate_026_one_path_in_two_spellings,
    gate_027_a_query_is_no_path,
    t8_a_public_path_leads_to_no_other,
    t8_a_prefix_ends_at_a_segment,
];

async fn ask(t: &TestServer, target: &str) -> Reply {
    let ask = t.get("/-/auth").with("x-original-method", "GET").with("x-original-proto", "http");
    ask.with("x-original-host", "127.0.0.1:8080").with("x-original-uri", target).await
}

/// Everything passes that can be judged, so what is kept out cannot.
async fn all_are_kept_out(t: &TestServer, targets: &[&str]) {
    rule(t, "allow = 'anyone'").await;
    ask(t, "/public/x").await.passes("all");
    for target in targets {
        ask(t, target).await.is_kept_out(403);
    }
}

async fn gate_020_dots(t: TestServer) {
    let dots = ["/.", "/..", "/./", "/../", "/a/./b", "/a/../b", "/a/..", "/%2e", "/%2E%2e/b", "/a/.%2e/b", "/a/%2e."];
    all_are_kept_out(&t, &dots).await;
    all_are_kept_out(&t, &["/.%20", "/..%20/a", "/a/..%20%20"]).await;
    for fine in ["/...", "/a..b", "/..a", "/a/.b/c.", "/.well-known/x", "/a%20/b", "/..%20a"] {
        ask(&t, fine).await.passes("all");
    }
}

async fn gate_021_slashes_and_controls(t: TestServer) {
    let crooked = [
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/\\",
        "/a\\..\\b",
        "/a%5cb",
        "/a%5Cb",
        "/a%00",
        "/a%00.txt",
        "/a%0d%0ab",
        "/a%09",
        "/a%1f",
        "/a%7f",
        "/a\tb",
        "/a%c2%80",
        "/a%C2%85b",
        "/%c2%9f",
        "/a%e2%80%a8",
        "/a%E2%80%A9b",
        "/%ef%bb%bf",
    ];
    all_are_kept_out(&t, &crooked).await;
    for fine in ["/a%c2%a0", "/a%e2%80%a7", "/%ef%bb%bc"] {
        ask(&t, fine).await.passes("all");
    }
}

async fn gate_022_escapes(t: TestServer) {
    let crooked = [
        "/%",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%2x",
        "/a%%20",
        "/%u0041",
        "/%41",
        "/%7A",
        "/%30",
        "/%2d",
        "/%5f",
        "/%7e",
        "/%c0%af",
        "/%c0%ae%c0%ae/",
        "/%e0%80%af",
        "/%ff",
        "/%c3",
        "/%ed%a0%80",
        "/%252e%252e/",
        "/%252f",
        "/%25%32%66",
        "/%25252e",
        "/%25u002e",
        "/%25UFF0E/",
    ];
    all_are_kept_out(&t, &crooked).await;
    for fine in ["/100%25", "/100%25up", "/a%20b", "/caf%C3%A9", "/%e2%82%ac", "/%21%24%26%27%28%29%2a%2b%2c%3a%3d%40"]
    {
        ask(&t, fine).await.passes("all");
    }
}

async fn gate_023_targets_that_are_none(t: TestServer) {
    let long = format!("/{}", "a".repeat(1024));
    let none = [
        "",
        "a",
        "*",
        "?",
        "?/public/x",
        "http://127.0.0.1:8080/public/x",
        "127.0.0.1:443",
        "/a b",
        "/a ",
        " /a",
        "/a#b",
        "/a?b#c",
        "/\u{e9}",
        "/a?\u{e9}",
        "/a?b c",
        &long,
    ];
    all_are_kept_out(&t, &none).await;
    ask(&t, &long[..1024]).await.passes("all");
}

const ODD: [(&str, &str); 6] = [
    ("/files/a%2fb", "%2f"),
    ("/files/a%2Fb", "%2F"),
    ("/files/a;b", ";"),
    ("/files/a%3bb", ";"),
    ("/files/what%3f", "%3f"),
    ("/files/c%23", "%23"),
];

async fn gate_024_oddities_are_refused_unless_they_are_admitted(t: TestServer) {
    for (target, odd) in ODD {
        rule(&t, "allow = 'anyone'").await;
        ask(&t, target).await.is_kept_out(403);
        rule(&t, &format!("allow = 'anyone'\nadmits = '{odd}'")).await;
        ask(&t, target).await.passes("all");
        for (other, admitted) in ODD {
            let same = admitted.eq_ignore_ascii_case(odd);
            let reply = ask(&t, other).await;
            if same {
                reply.passes("all")
            } else {
                reply.is_kept_out(403)
            };
        }
    }
}

async fn gate_025_what_is_admitted_leads_to_one_rule(t: TestServer) {
    let here = "host = '127.0.0.1'";
    rules(
        &t,
        &format!(
            "[[rule]]\nname = 'secret'\n{here}\npath = ['/files/secret/*', '/files/exact']\nallow = 'administrator'\n\
             [[rule]]\nname = 'files'\n{here}\npath = '/files/*'\nallow = 'anyone'\nadmits = ['%2f', ';', '%3f', '%23']\n"
        ),
    )
    .await;
    for target in [
        "/files/a%2fb",
        "/files/a%2Fb;x=1/c",
        "/files/a;b;c",
        "/files/a%3fsecret",
        "/files/a%23",
        "/files/a%2fsecret",
        "/files/a;/secret",
    ] {
        ask(&t, target).await.passes("files");
    }
    for target in [
        "/files/secret%2fx",
        "/files/secret;x",
        "/files/secret;x/y",
        "/files/secret%3fx",
        "/files/secret%23",
        "/files%2fsecret",
        "/files/exact;x",
        "/files/exact%3f",
        "/files/exact%3bx",
        "/files/..%2fadmin",
        "/files/a%2f..%2f..%2fadmin",
        "/files/..;/admin",
        "/files/.;/a",
        "/files/a%2f%2fb",
        "/files/;/a",
        "/files;/secret",
        "/files%3f",
        "/files/x%2f..",
    ] {
        ask(&t, target).await.is_kept_out(403);
    }
}

async fn gate_026_one_path_in_two_spellings(t: TestServer) {
    let here = "host = '127.0.0.1'";
    rules(
        &t,
        &format!(
            "[[rule]]\nname = 'caf'\n{here}\npath = '/caf%C3%a9/*'\nallow = 'anyone'\n\
             [[rule]]\nname = 'purge'\n{here}\npath = '/v1/items:purge'\nallow = 'administrator'\n\
             [[rule]]\nname = 'rest'\n{here}\npath = '/*'\nallow = 'anyone'\n"
        ),
    )
    .await;
    for target in ["/caf%C3%A9", "/caf%c3%a9/x", "/caf%c3%A9/"] {
        ask(&t, target).await.passes("caf");
    }
    ask(&t, "/v1/items:purge").await.is_kept_out(401);
    ask(&t, "/v1/items%3Apurge").await.is_kept_out(403);
    ask(&t, "/v1/items%3Asell").await.passes("rest");
}

async fn gate_027_a_query_is_no_path(t: TestServer) {
    rules(
        &t,
        "[[rule]]\nname = 'public'\nhost = '127.0.0.1'\npath = '/public/*'\nallow = 'anyone'\n\
         [[rule]]\nname = 'admin'\nhost = '127.0.0.1'\npath = '/admin/*'\nallow = 'administrator'\n",
    )
    .await;
    for target in ["/public?/../admin", "/public/x?//..%2f;\\a%00", "/public?", "/public/??/admin", "/public?%zz"] {
        ask(&t, target).await.passes("public");
    }
    for target in ["/admin?/public/x", "/admin/x?a=/public"] {
        ask(&t, target).await.is_kept_out(401);
    }
    ask(&t, "?/public/x").await.is_kept_out(403);
}

async fn t8_a_public_path_leads_to_no_other(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    for target in
        ["/public/../admin", "/public/%2e%2e/admin", "/public/..%2fadmin", "/public//admin", "/public/..;/admin"]
    {
        ask(&t, target).await.is_kept_out(403);
    }
}

async fn t8_a_prefix_ends_at_a_segment(t: TestServer) {
    rules(&t, "[[rule]]\nname = 'v1'\nhost = '127.0.0.1'\npath = '/v1/*'\nallow = 'anyone'\n").await;
    for target in ["/v1", "/v1/", "/v1/a/b"] {
        ask(&t, target).await.passes("v1");
    }
    for target in ["/v10", "/v1.json", "/v", "/V1", "/v1%20"] {
        ask(&t, target).await.is_kept_out(403);
    }
}
