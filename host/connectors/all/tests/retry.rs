//! docs/retry.md says of each error what the code does with it. `INSTA_UPDATE=always` rewrites its tables.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use std::fmt::Write;

use datakit_connect::meaning::Meaning;
use datakit_kerberos::KerberosError;
use datakit_model::Nature;

use crate::support::{check, docs, with_generated};

/// All numbers that SQL Server has, and one of Babelfish.
const NUMBERS: std::ops::RangeInclusive<u32> = 1..=99_999;
const BABELFISH: u32 = 33_557_097;
/// A number and a state that nobody has.
const NO_NUMBER: u32 = 99_998;
const NO_STATE: &str = "ZZ000";

#[test]
fn tables_of_retries_say_what_is_done() {
    let page = std::fs::read_to_string(docs().join("retry.md")).unwrap();
    let page = with_generated(&page, "sqlserver", &sqlserver());
    let page = with_generated(&page, "postgres", &postgres());
    let page = with_generated(&page, "kerberos", &kerberos());
    check("retry.md", &page);
}

#[test]
fn numbers_of_the_page_are_in_the_right_group() {
    let nature = |number| nature(datakit_sqlserver::meaning_of(number));
    let transient =
        [1205, 1222, 3960, 3961, 40501, 40613, 40197, 10928, 10929, 49918, 49919, 49920, 233, 10053, 10054, 10060];
    for number in transient {
        assert_eq!(nature(number), "transient", "{number}");
    }
    for number in [4060, 18456, 18452, 229, 208, 102] {
        assert_eq!(nature(number), "permanent", "{number}");
    }
    for number in [8114, 8115, 8134] {
        assert_eq!(nature(number), "data", "{number}");
    }
}

/// Numbers and states of one meaning.
struct Group {
    meaning: &'static Meaning,
    members: Vec<String>,
}

fn nature(meaning: &Meaning) -> &'static str {
    match Nature::of(meaning.kind, meaning.retry) {
        Nature::Transient => "transient",
        Nature::Permanent => "permanent",
        Nature::Data => "data",
        Nature::Bug => "bug",
    }
}

/// Transient ones first, then by code.
fn table(heading: &str, mut groups: Vec<Group>, others: &Meaning) -> String {
    groups.retain(|group| group.meaning.code != others.code);
    groups.sort_by_key(|group| (nature(group.meaning) != "transient", group.meaning.code));
    let mut text = format!("| {heading} | nature | code |\n|---|---|---|\n");
    for Group { meaning, members } in &groups {
        writeln!(text, "| {} | {} | `{}` |", members.join(", "), nature(meaning), meaning.code).unwrap();
    }
    write!(text, "| every other | {} | `{}` |", nature(others), others.code).unwrap();
    text
}

fn put(groups: &mut Vec<Group>, meaning: &'static Meaning, member: String) {
    match groups.iter_mut().find(|group| group.meaning.code == meaning.code) {
        Some(group) => group.members.push(member),
        None => groups.push(Group { meaning, members: vec![member] }),
    }
}

fn sqlserver() -> String {
    let meaning_of = datakit_sqlserver::meaning_of;
    let others = meaning_of(NO_NUMBER);
    let mut groups = Vec::new();
    let mut number = *NUMBERS.start();
    while number <= *NUMBERS.end() {
        let meaning = meaning_of(number);
        let first = number;
        while NUMBERS.contains(&(number + 1)) && meaning_of(number + 1).code == meaning.code {
            number += 1;
        }
        if meaning.code != others.code {
            put(&mut groups, meaning, range(first, number));
        }
        number += 1;
    }
    put(&mut groups, meaning_of(BABELFISH), BABELFISH.to_string());
    table("number", groups, others)
}

fn range(first: u32, last: u32) -> String {
    match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}–{last}"),
    }
}

/// The digits and letters of a SQLSTATE.
const CHARACTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn words(length: usize) -> Vec<String> {
    (0..length).fold(vec![String::new()], |words, _| {
        let longer = |word: &String| CHARACTERS.iter().map(move |c| format!("{word}{}", char::from(*c))).collect();
        words.iter().flat_map::<Vec<String>, _>(longer).collect()
    })
}

/// The classes of the manual's appendix.
const CLASSES: &[&str] = &[
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "22", "23", "24", "25", "26",
    "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57", "58",
    "72", "F0", "HV", "P0", "XX",
];

fn postgres() -> String {
    let meaning_of = datakit_postgres::source::meaning_of;
    let others = meaning_of(NO_STATE);
    let mut groups = Vec::new();
    let rest = words(3);
    for class in CLASSES {
        // A state of a class that has no meaning of its own.
        let of_class = meaning_of(&format!("{class}ZZZ"));
        if of_class.code != others.code {
            put(&mut groups, of_class, format!("class {class}"));
        }
        for rest in &rest {
            let state = format!("{class}{rest}");
            let meaning = meaning_of(&state);
            if meaning.code != of_class.code {
                put(&mut groups, meaning, state);
            }
        }
    }
    table("SQLSTATE", groups, others)
}

fn kerberos() -> String {
    let mut text = "| code | nature | meaning |\n|---|---|---|".to_owned();
    for (code, meaning) in KerberosError::CODES {
        let is_transient = KerberosError::TRANSIENT_CODES.contains(code);
        let nature = if is_transient { "transient" } else { "permanent" };
        write!(text, "\n| `{code}` | {nature} | {meaning} |").unwrap();
    }
    text
}
