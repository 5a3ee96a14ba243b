//! What the parameter reader makes of a request. A row is a declaration, the request, and the value or the sentences.

#![allow(dead_code)] // fields are looked at through Debug

use axum::body::Body;
use axum::http::{Method, Request, header};
use tollhouse_domain::access::Visibility;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Date;

use super::*;
use crate::bodies::{Budget, Limits};

params! { struct Text { optional p: String } }
params! { struct Number { optional p: i64 } }
params! { struct Truth { optional p: bool } }
params! { struct Day { optional p: Date } }
params! { struct Word { optional p: Visibility } }
params! { struct Sought { optional p: Search } }
params! { struct NeededText { required p: String } }
params! { struct NeededNumber { required p: i64 } }
params! { struct NeededWord { required p: Visibility } }
params! { struct FilledText { filled p: String } }
params! { struct Defaulted { default p: i64 = "7" } }
params! { struct ClearedText { optional p: Nullable<String> } }
params! { struct ClearedNumber { optional p: Nullable<i64> } }
params! { struct ClearedWord { optional p: Nullable<Visibility> } }
params! { struct ClearedList { optional p: Nullable<List<i64>> } }
params! { struct NeededNullable { required p: Nullable<i64> } }
params! { struct Texts { optional p: List<String> } }
params! { struct Numbers { optional p: List<i64> } }
params! { struct Commas { optional p: CommaList<i64> } }
params! { struct Scopes { required scopes: CommaList<Scope> } }
params! { struct Narrowing { optional visibility: Visibility } }
params! { struct InPath { path p: i64, optional q: String } }
params! { struct One { optional a: String, optional b: i64, exactly_one_of [a, b] } }
params! { struct AtLeast { optional a: String, optional b: i64, at_least_one_of [a, b] } }
params! { struct Exclusive { optional a: String, optional b: i64, optional c: bool, mutually_exclusive [a, b, c] } }
params! {
    struct Ordered {
        optional x: i64,
        optional a: String,
        optional b: String,
        exactly_one_of [a, b],
        required y: i64,
        optional c: i64,
        optional d: i64,
        mutually_exclusive [c, d],
        optional e: i64,
        at_least_one_of [d, e],
        required z: Visibility,
    }
}

type Read = fn(&ParsedRequest) -> Result<String, Error>;

/// The fields of `P`, without its name.
fn read<P: Params + std::fmt::Debug>(parsed: &ParsedRequest) -> Result<String, Error> {
    let text = format!("{:?}", P::parse(parsed)?);
    Ok(text.split_once(' ').expect("a struct").1.to_owned())
}

/// Cannot be said in this spelling.
const NO: &str = "-";

/// The value, or the sentences; what is refused before parameters are looked at has its code in brackets.
async fn outcome(read: Read, request: Request<Body>, captures: &[(&str, &str)]) -> String {
    let budget = Budget::new(64 << 20, 64 << 20);
    let limits = Limits { body: 16 << 20, time: std::time::Duration::from_secs(10), budget: &budget, live: true };
    let captures = captures.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let answer = match ParsedRequest::read(request, captures, None, limits).await {
        Ok(parsed) => read(&parsed),
        Err(error) => Err(error),
    };
    match answer {
        Ok(value) => value,
        Err(Error::Parameters(sentences)) => sentences.join(", "),
        Err(error) => format!("[{}]", error.code()),
    }
}

fn request(query: &str, media: &str, body: impl Into<Vec<u8>>) -> Request<Body> {
    let body: Vec<u8> = body.into();
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = format!("/api/v4/x?{query}").parse().expect("a target");
    if !media.is_empty() {
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(header::CONTENT_TYPE, media.parse().expect("a media type"));
        request.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
        *request.body_mut() = Body::from(body);
    }
    request
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

#[tokio::test]
async fn every_spelling_of_a_parameter() {
    let long = "9".repeat(5000);
    let (long_form, long_json) = (format!("p={long}"), format!(r#"{{"p":{long}}}"#));
    let (long_text, long_quoted) = (format!("{{ p: Some({long:?}) }}"), format!(r#"{{"p":"{long}"}}"#));
    let many = format!("p={}", "1,".repeat(5000));
    let repeated = "p[]=1&".repeat(5000);
    let elements = format!(r#"{{"p":[{}1]}}"#, "1,".repeat(5000));
    let deep_form = format!("p{}=1", "[x]".repeat(33));
    let deep_json = format!(r#"{{"p":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let table: &[(Read, &str, &str, &str)] = &[
        // Absent, empty and null.
        (read::<Text>, "", "{}", "{ p: None }"),
        (read::<Text>, "p=", r#"{"p":""}"#, r#"{ p: Some("") }"#),
        (read::<Text>, NO, r#"{"p":null}"#, "{ p: None }"),
        (read::<Text>, "p", NO, r#"{ p: Some("") }"#),
        (read::<Number>, "p=", r#"{"p":""}"#, "{ p: None }"),
        (read::<Number>, NO, r#"{"p":null}"#, "{ p: None }"),
        (read::<Truth>, "p=", r#"{"p":""}"#, "{ p: None }"),
        (read::<Day>, "p=", r#"{"p":""}"#, "{ p: None }"),
        (read::<Word>, "p=", r#"{"p":""}"#, "p does not have a valid value"),
        (read::<Word>, NO, r#"{"p":null}"#, "{ p: None }"),
        (read::<Sought>, "p=", r#"{"p":""}"#, "{ p: None }"),
        (read::<NeededText>, "", "{}", "p is missing"),
        (read::<NeededText>, "p=", r#"{"p":""}"#, r#"{ p: "" }"#),
        (read::<NeededText>, NO, r#"{"p":null}"#, "p is empty"),
        (read::<NeededNumber>, "p=", r#"{"p":""}"#, "p is empty"),
        (read::<NeededWord>, "", "{}", "p is missing, p does not have a valid value"),
        (read::<NeededWord>, "p=", r#"{"p":""}"#, "p does not have a valid value"),
        (read::<NeededWord>, NO, r#"{"p":null}"#, "p does not have a valid value"),
        (read::<FilledText>, "", "{}", "p is missing, p is empty"),
        (read::<FilledText>, "p=+", r#"{"p":" "}"#, "p is empty"),
        (read::<FilledText>, NO, r#"{"p":null}"#, "p is empty"),
        (read::<FilledText>, "p=x", r#"{"p":"x"}"#, r#"{ p: "x" }"#),
        (read::<FilledText>, "p[]=x", r#"{"p":["x"]}"#, "p is invalid"),
        (read::<Defaulted>, "", "{}", "{ p: 7 }"),
        (read::<Defaulted>, "p=", r#"{"p":null}"#, "{ p: 7 }"),
        (read::<Defaulted>, "p=x", r#"{"p":"x"}"#, "p is invalid"),
        // Null told apart from absent.
        (read::<ClearedText>, "", "{}", "{ p: None }"),
        (read::<ClearedText>, NO, r#"{"p":null}"#, "{ p: Some(Nullable(None)) }"),
        (read::<ClearedText>, "p=", r#"{"p":""}"#, r#"{ p: Some(Nullable(Some(""))) }"#),
        (read::<ClearedText>, "p=x", r#"{"p":"x"}"#, r#"{ p: Some(Nullable(Some("x"))) }"#),
        (read::<ClearedNumber>, "", "{}", "{ p: None }"),
        (read::<ClearedNumber>, "p=", r#"{"p":null}"#, "{ p: Some(Nullable(None)) }"),
        (read::<ClearedNumber>, "p=3", r#"{"p":3}"#, "{ p: Some(Nullable(Some(3))) }"),
        (read::<ClearedNumber>, "p=x", r#"{"p":"x"}"#, "p is invalid"),
        (read::<ClearedWord>, NO, r#"{"p":null}"#, "{ p: Some(Nullable(None)) }"),
        (read::<ClearedWord>, "p=", r#"{"p":""}"#, "p does not have a valid value"),
        (read::<ClearedList>, NO, r#"{"p":null}"#, "{ p: Some(Nullable(None)) }"),
        (read::<ClearedList>, "p=", r#"{"p":[]}"#, "{ p: Some(Nullable(Some(List([])))) }"),
        (read::<ClearedList>, "p[0]=1", r#"{"p":{"0":1}}"#, "p is invalid"),
        (read::<NeededNullable>, "", "{}", "p is missing"),
        (read::<NeededNullable>, "p=", r#"{"p":null}"#, "{ p: Nullable(None) }"),
        (read::<NeededNullable>, "p=3", r#"{"p":3}"#, "{ p: Nullable(Some(3)) }"),
        // Lists.
        (read::<Texts>, "p[]=x", r#"{"p":["x"]}"#, r#"{ p: Some(List(["x"])) }"#),
        (read::<Texts>, "p[]=x&p[]=y", r#"{"p":["x","y"]}"#, r#"{ p: Some(List(["x", "y"])) }"#),
        (read::<Texts>, "p[]=x&p[]=x", r#"{"p":["x","x"]}"#, r#"{ p: Some(List(["x", "x"])) }"#),
        (read::<Texts>, "p%5B%5D=x", NO, r#"{ p: Some(List(["x"])) }"#),
        (read::<Texts>, "p[]=x,y", r#"{"p":["x,y"]}"#, r#"{ p: Some(List(["x,y"])) }"#),
        (read::<Texts>, "p=x", r#"{"p":"x"}"#, "p is invalid"),
        (read::<Texts>, "p=x,y", r#"{"p":"x,y"}"#, "p is invalid"),
        (read::<Texts>, "p=", r#"{"p":[]}"#, "{ p: Some(List([])) }"),
        (read::<Texts>, "p[]=", r#"{"p":[""]}"#, r#"{ p: Some(List([""])) }"#),
        (read::<Texts>, NO, r#"{"p":null}"#, "{ p: None }"),
        (read::<Texts>, NO, r#"{"p":[null]}"#, "p is invalid"),
        (read::<Texts>, "p[][]=x", r#"{"p":[["x"]]}"#, "p is invalid"),
        (read::<Texts>, "p[][q]=x", r#"{"p":[{"q":"x"}]}"#, "p is invalid"),
        (read::<Texts>, "p[0]=x", r#"{"p":{"0":"x"}}"#, "p is invalid"),
        (read::<Texts>, "p[0]=x&p[1]=y", r#"{"p":{"0":"x","1":"y"}}"#, "p is invalid"),
        (read::<Texts>, "p[]=x&p=y", r#"{"p":["x"],"p":"y"}"#, "p is invalid"),
        (read::<Texts>, "p=x&p[]=y", r#"{"p":"x","p":["y"]}"#, "p is invalid"),
        (read::<Texts>, "p[]=x&p[0]=y&p[]=z", r#"{"p":["x"],"p":{"0":"y"},"p":["z"]}"#, "p is invalid"),
        (read::<Numbers>, "p[]=1&p[]=2", r#"{"p":[1,2]}"#, "{ p: Some(List([1, 2])) }"),
        (read::<Numbers>, "p[]=1&p[]=x", r#"{"p":[1,"x"]}"#, "p is invalid"),
        (read::<Numbers>, "p[]=", r#"{"p":[null]}"#, "p is invalid"),
        (read::<Numbers>, NO, r#"{"p":1}"#, "p is invalid"),
        (read::<Commas>, "p=1,2", r#"{"p":"1,2"}"#, "{ p: Some(List([1, 2])) }"),
        (read::<Commas>, "p=1,+2", r#"{"p":"1, 2"}"#, "{ p: Some(List([1, 2])) }"),
        (read::<Commas>, "p[]=1,2&p[]=3", r#"{"p":["1,2",3]}"#, "{ p: Some(List([1, 2, 3])) }"),
        (read::<Commas>, "p=1,,2", r#"{"p":"1,,2"}"#, "p is invalid"),
        (read::<Commas>, "p=1,", r#"{"p":"1,"}"#, "p is invalid"),
        (read::<Commas>, "p=,", r#"{"p":","}"#, "p is invalid"),
        (read::<Commas>, "p=", r#"{"p":""}"#, "{ p: Some(List([])) }"),
        (read::<Commas>, "p[0]=1", r#"{"p":{"0":1}}"#, "p is invalid"),
        (
            read::<Scopes>,
            "scopes=api,read_user",
            r#"{"scopes":["api","read_user"]}"#,
            "{ scopes: List([Api, ReadUser]) }",
        ),
        (
            read::<Scopes>,
            "scopes[]=api,read_user",
            r#"{"scopes":"api,read_user"}"#,
            "{ scopes: List([Api, ReadUser]) }",
        ),
        (read::<Scopes>, "", "{}", "scopes is missing, scopes does not have a valid value"),
        (read::<Scopes>, "scopes=", r#"{"scopes":[]}"#, "{ scopes: List([]) }"),
        (read::<Scopes>, "scopes[]=", r#"{"scopes":[null]}"#, "scopes does not have a valid value"),
        (read::<Scopes>, NO, r#"{"scopes":null}"#, "scopes does not have a valid value"),
        (
            read::<Scopes>,
            "scopes[0]=api",
            r#"{"scopes":{"0":"api"}}"#,
            "scopes is invalid, scopes does not have a valid value",
        ),
        (read::<Scopes>, "scopes=api&scopes=api", r#"{"scopes":"api","scopes":"api"}"#, "{ scopes: List([Api]) }"),
        (
            read::<Scopes>,
            "scopes=api&scopes=sudo",
            r#"{"scopes":["api"],"scopes":["sudo"]}"#,
            "scopes is invalid, scopes does not have a valid value",
        ),
        // Hashes.
        (read::<Text>, "p[q]=x", r#"{"p":{"q":"x"}}"#, "p is invalid"),
        (read::<Text>, "p[q][r][]=x", r#"{"p":{"q":{"r":["x"]}}}"#, "p is invalid"),
        (read::<Text>, "p[]=x", r#"{"p":["x"]}"#, "p is invalid"),
        (read::<Word>, "p[q]=public", r#"{"p":{}}"#, "p is invalid"),
        (read::<Text>, "p[q]=x&p=y", r#"{"p":{"q":"x"},"p":"y"}"#, "p is invalid"),
        (read::<Text>, "q[p]=x", r#"{"q":{"p":"x"}}"#, "{ p: None }"),
        (read::<Text>, "[p]=x", r#"{"[p]":"x"}"#, "{ p: None }"),
        // Duplicates.
        (read::<Text>, "p=x&p=y", r#"{"p":"x","p":"y"}"#, r#"{ p: Some("y") }"#),
        (read::<Narrowing>, "visibility=public&visibility=public", NO, "{ visibility: Some(Public) }"),
        (
            read::<Narrowing>,
            "visibility=private&visibility=public",
            r#"{"visibility":"private","visibility":"public"}"#,
            "visibility is invalid",
        ),
        // Wrong types.
        (read::<Text>, "p=5", r#"{"p":5}"#, r#"{ p: Some("5") }"#),
        (read::<Text>, "p=true", r#"{"p":true}"#, r#"{ p: Some("true") }"#),
        (read::<Number>, "p=-5", r#"{"p":-5}"#, "{ p: Some(-5) }"),
        (read::<Number>, "p=x", r#"{"p":"x"}"#, "p is invalid"),
        (read::<Number>, "p=1.5", r#"{"p":1.5}"#, "p is invalid"),
        (read::<Number>, "p=true", r#"{"p":true}"#, "p is invalid"),
        (read::<Truth>, "p=yes", r#"{"p":true}"#, "{ p: Some(true) }"),
        (read::<Truth>, "p=2", r#"{"p":2}"#, "p is invalid"),
        (read::<Day>, "p=2026-02-30", r#"{"p":"2026-02-30"}"#, "p is invalid"),
        (read::<Day>, "p=tomorrow", r#"{"p":20260101}"#, "p is invalid"),
        (read::<Word>, "p=nobody", r#"{"p":1}"#, "p does not have a valid value"),
        // Huge values.
        (read::<Number>, "p=9223372036854775807", r#"{"p":9223372036854775807}"#, "{ p: Some(9223372036854775807) }"),
        (read::<Number>, "p=9223372036854775808", r#"{"p":9223372036854775808}"#, "p is invalid"),
        (read::<Number>, &long_form, &long_quoted, "p is invalid"),
        (read::<Number>, NO, &long_json, "[broken_json]"),
        (read::<Number>, NO, r#"{"p":1e999}"#, "[broken_json]"),
        (read::<Text>, &long_form, &long_quoted, &long_text),
        (read::<Sought>, &long_form, &long_quoted, "p is invalid"),
        (read::<Commas>, &many, NO, "p is invalid"),
        (read::<Numbers>, &repeated, &elements, "[too_many_parameters]"),
        (read::<Texts>, &deep_form, NO, "[too_many_parameters]"),
        (read::<Texts>, NO, &deep_json, "[broken_json]"),
        // NUL and broken UTF-8, of parameters that are not declared too.
        (read::<Text>, "p=%00", r#"{"p":"\u0000"}"#, "[malformed]"),
        (read::<Text>, "q=%00", r#"{"q":["\u0000"]}"#, "[malformed]"),
        (read::<Text>, "q%00=x", r#"{"q":{"\u0000":"x"}}"#, "[malformed]"),
        (read::<Text>, "p=%ff", NO, "[malformed]"),
        (read::<Text>, "p[%ff]=x", NO, "[malformed]"),
        (read::<Text>, NO, r#"{"p":"\ud800"}"#, "[broken_json]"),
        // Groups. Null is given; so is what cannot be read.
        (read::<One>, "", "{}", "a, b are missing, exactly one parameter must be provided"),
        (read::<One>, "a=x", r#"{"a":"x"}"#, r#"{ a: Some("x"), b: None }"#),
        (read::<One>, "a=x&b=1", r#"{"a":"x","b":1}"#, "a, b are mutually exclusive"),
        (read::<One>, "b=", r#"{"b":null}"#, "{ a: None, b: None }"),
        (read::<One>, "a=x&b=y", r#"{"a":"x","b":"y"}"#, "b is invalid, a, b are mutually exclusive"),
        (read::<One>, "b[]=1", r#"{"b":[1]}"#, "b is invalid"),
        (read::<AtLeast>, "c=1", r#"{"c":1}"#, "a, b are missing, at least one parameter must be provided"),
        (read::<AtLeast>, "a=x&b=1", r#"{"a":"x","b":1}"#, r#"{ a: Some("x"), b: Some(1) }"#),
        (read::<AtLeast>, "b=", r#"{"b":null}"#, "{ a: None, b: None }"),
        (read::<Exclusive>, "", "{}", "{ a: None, b: None, c: None }"),
        (read::<Exclusive>, "c=true", r#"{"c":true}"#, "{ a: None, b: None, c: Some(true) }"),
        (read::<Exclusive>, "c=true&a=x", r#"{"c":true,"a":"x"}"#, "a, c are mutually exclusive"),
        (read::<Exclusive>, "a=&b=&c=", r#"{"a":null,"b":null,"c":null}"#, "a, b, c are mutually exclusive"),
        // In the order in which they are declared.
        (
            read::<Ordered>,
            "c=1&d=2&x=x&z=no",
            r#"{"c":1,"d":2,"x":"x","z":"no"}"#,
            "x is invalid, a, b are missing, exactly one parameter must be provided, y is missing, \
             c, d are mutually exclusive, z does not have a valid value",
        ),
        (
            read::<Ordered>,
            "b=1&a=2&y=1&z=public&e=x",
            r#"{"b":"1","a":"2","y":1,"z":"public","e":"x"}"#,
            "a, b are mutually exclusive, e is invalid",
        ),
        (
            read::<Ordered>,
            "",
            "{}",
            "a, b are missing, exactly one parameter must be provided, y is missing, \
             d, e are missing, at least one parameter must be provided, z is missing, z does not have a valid value",
        ),
    ];
    for (read, form, json, expected) in table {
        for (asked, request) in [
            (form, (*form != NO).then(|| request(form, "", ""))),
            (form, (*form != NO).then(|| request("", FORM, *form))),
            (json, (*json != NO).then(|| request("", JSON, *json))),
        ] {
            let Some(request) = request else { continue };
            let asked: String = format!("{} {asked}", request.method()).chars().take(100).collect();
            assert_eq!(outcome(*read, request, &[]).await, *expected, "{asked}");
        }
    }
}

/// The path wins over the body, and the body over the query.
#[tokio::test]
async fn one_name_in_several_places() {
    type Row<'a> = (Read, &'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let table: &[Row] = &[
        (read::<Text>, "p=query", FORM, "p=body", &[], r#"{ p: Some("body") }"#),
        (read::<Text>, "p=query", JSON, r#"{"p":"body"}"#, &[], r#"{ p: Some("body") }"#),
        (read::<Text>, "p=query", JSON, r#"{"q":"body"}"#, &[], r#"{ p: Some("query") }"#),
        (read::<Text>, "p=query", JSON, r#"{"p":null}"#, &[], "{ p: None }"),
        (read::<ClearedText>, "p=query", JSON, r#"{"p":null}"#, &[], "{ p: Some(Nullable(None)) }"),
        (read::<Text>, "p[]=query", JSON, r#"{"p":"body"}"#, &[], r#"{ p: Some("body") }"#),
        (read::<Texts>, "p[]=query", FORM, "p[]=body", &[], r#"{ p: Some(List(["body"])) }"#),
        (read::<Narrowing>, "visibility=private", FORM, "visibility=public", &[], "{ visibility: Some(Public) }"),
        (read::<Narrowing>, "visibility[]=private", FORM, "visibility=public", &[], "visibility is invalid"),
        (read::<One>, "a=x", JSON, r#"{"b":1}"#, &[], "a, b are mutually exclusive"),
        (read::<InPath>, "p=1", JSON, r#"{"p":2}"#, &[("p", "3")], "{ p: 3, q: None }"),
        (read::<InPath>, "p[]=1&q=x", FORM, "p[0]=2", &[("p", "3")], r#"{ p: 3, q: Some("x") }"#),
    ];
    for (read, query, media, body, captures, expected) in table {
        assert_eq!(outcome(*read, request(query, media, *body), captures).await, *expected, "{query} {body}");
    }
}

#[tokio::test]
async fn parts_of_a_multipart_body() {
    let part = |head: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n");
    let file = part(r#"name="p"; filename="x""#, "x");
    let text = |name: &str, value: &str| part(&format!("name=\"{name}\""), value);
    let table: &[(Read, String, &str)] = &[
        (read::<Text>, text("p", "x"), r#"{ p: Some("x") }"#),
        (read::<Texts>, text("p[]", "x") + &text("p[]", "y"), r#"{ p: Some(List(["x", "y"])) }"#),
        (read::<Texts>, text("p[]", "x") + &text("p", "y"), "p is invalid"),
        (read::<Texts>, text("p[0]", "x"), "p is invalid"),
        (read::<Text>, file.clone(), "p is invalid"),
        (read::<Texts>, file.clone(), "p is invalid"),
        (read::<Text>, text("p", "\0"), "[malformed]"),
    ];
    for (read, parts, expected) in table {
        let request = request("", "multipart/form-data; boundary=b", format!("{parts}--b--\r\n"));
        assert_eq!(outcome(*read, request, &[]).await, *expected, "{parts}");
    }
    let mut broken = text("p", "x").into_bytes();
    let at = broken.iter().rposition(|b| *b == b'x').expect("a value");
    broken[at] = 0xff;
    broken.extend(b"--b--\r\n");
    let request = request("", "multipart/form-data; boundary=b", broken);
    assert_eq!(outcome(read::<Text>, request, &[]).await, "[malformed]");
    let broken = self::request("", JSON, b"{\"p\":\"\xff\"}".to_vec());
    assert_eq!(outcome(read::<Text>, broken, &[]).await, "[broken_json]");
}

/// What a description of the API is made of.
#[test]
fn a_declaration_is_data() {
    let [p] = Commas::DECLARED else { panic!("one") };
    assert_eq!(p.kind, ParamType::List { of: &ParamType::Integer, commas: true });
    let [p] = Scopes::DECLARED else { panic!("one") };
    assert!(p.allowed.contains(&"api") && p.kind == ParamType::List { of: &ParamType::Text, commas: true });
    let nullable = |declared: &[Param]| declared.iter().all(|param| param.nullable);
    assert!(nullable(ClearedList::DECLARED) && nullable(NeededNullable::DECLARED) && !nullable(Text::DECLARED));
    assert_eq!(FilledText::DECLARED[0].presence, Presence::Filled);
    let groups: Vec<_> = Ordered::GROUPS.iter().map(|group| (group.rule, group.names)).collect();
    let expected: [(_, &[&str]); 3] = [
        (GroupRule::ExactlyOneOf, &["a", "b"]),
        (GroupRule::MutuallyExclusive, &["c", "d"]),
        (GroupRule::AtLeastOneOf, &["d", "e"]),
    ];
    assert_eq!(groups, expected);
    assert_eq!(Ordered::DECLARED.len(), 8);
}
