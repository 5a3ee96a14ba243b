//! The list of conformance cases, held against the tests there are.

use std::collections::BTreeSet;

use crate::Case;

/// Steps whose cases must all be held.
const FINISHED: &[&str] = &["1", "2", "3", "4.1", "4.2", "4.3", "4.4", "4.5"];

/// Not applicable, for the reason that stands in the list. A second copy keeps the list honest.
const NOT_APPLICABLE: &[&str] = &[
    "AUTH-111",
    "AUTH-173",
    "AUTH-174",
    "AUTH-179",
    "AUTH-182",
    "AUTH-185",
    "AUTH-197",
    "OAUTH-084",
    "OAUTH-140",
    "PROJ-032",
    "REST-005",
];

/// Rules of `docs/protocols/threats.md` that hold since a finished step; those without a wire have unit tests.
const THREATS: &[&str] = &[
    "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "t12", "t13", "t14", "t15", "t16", "t19",
    "t20", "t21", "t22", "t23", "t26", "t27", "t29", "t30", "t31", "t32", "t33", "t34",
];

const LIST: &str = include_str!("../../../../docs/wire/cases.tsv");

/// Prints how many are held, later and not applicable; fails if an id of a finished step has no test.
pub fn check(cases: &[Case]) -> Result<(), String> {
    let held: BTreeSet<String> = cases.iter().filter_map(|case| id(case.name)).collect();
    let (mut now, mut later, mut not) = (0, 0, BTreeSet::new());
    let mut missing = Vec::new();
    let mut known = BTreeSet::new();
    for line in LIST.lines().skip(1).filter(|line| !line.is_empty()) {
        let mut columns = line.split('\t');
        let (Some(case), Some(step)) = (columns.next(), columns.next()) else {
            return Err(format!("cases.tsv: cannot read `{line}`"));
        };
        known.insert(case.to_owned());
        match step {
            "n/a" => drop(not.insert(case)),
            step if FINISHED.contains(&step) => {
                now += 1;
                if !held.contains(case) {
                    missing.push(case);
                }
            }
            _ => later += 1,
        }
    }
    println!("conformance: {} held, {later} later, {} not applicable", now - missing.len(), not.len());
    if !missing.is_empty() {
        return Err(format!("no test holds {}", missing.join(", ")));
    }
    if not != NOT_APPLICABLE.iter().copied().collect() {
        return Err("what is not applicable differs from cases.tsv".to_owned());
    }
    if let Some(unknown) = held.iter().find(|id| !known.contains(*id)) {
        return Err(format!("{unknown} is not in cases.tsv"));
    }
    let unheld = THREATS.iter().find(|rule| !cases.iter().any(|case| case.name.starts_with(&format!("{rule}_"))));
    unheld.map_or(Ok(()), |rule| Err(format!("no test holds {rule} of threats.md")))
}

/// Whether the garbling switch must make it fail: what is named by an id of the list.
pub fn named_by_an_id(name: &str) -> bool {
    id(name).is_some()
}

/// `auth_001_nothing_shown` holds `AUTH-001`, `w3_everybody_is_waited_for` holds rule `W3`.
fn id(name: &str) -> Option<String> {
    let (family, rest) = name.split_once('_')?;
    if let Some(number) = family.strip_prefix(['w', 'f', 'a', 'n', 'd'])
        && number.parse::<u8>().is_ok()
    {
        return Some(family.to_ascii_uppercase());
    }
    let number = rest.get(..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let family = family.to_ascii_uppercase();
    ["AUTH", "OAUTH", "PAT", "APP", "USER", "PROJ", "REST", "GATE"]
        .contains(&family.as_str())
        .then(|| format!("{family}-{number}"))
}
