use super::super::super::position::Position as _;
use super::*;

fn lsn(number: u128) -> Lsn {
    Lsn(number)
}

fn identity(name: &str, object_id: u32) -> Identity {
    Identity { name: name.into(), object_id: object_id.to_string(), created: "2026-01-01T000000".into() }
}

/// An instance of a name, with the number of its change table, from an LSN on.
fn instance(name: &str, object_id: u32, low: impl Into<Option<u128>>) -> Instance {
    Instance { identity: identity(name, object_id), low: Low::of(low.into().map(Lsn)) }
}

fn known(instances: &[Instance], high: impl Into<Option<u128>>) -> Known {
    let end = LogEnd { high: high.into().map(Lsn), ..LogEnd::default() };
    Known { table: "5".into(), instances: instances.to_vec(), end }
}

fn at(name: &str, object_id: u32, number: u128) -> Position {
    Position { table: "5".into(), instance: identity(name, object_id), lsn: lsn(number), copy: None }
}

/// Ranges as `instance:from-to`, and the upper bound as `instance@lsn`; numbers in hexadecimal.
fn said(known: &Known, position: Option<&Position>, asked: Option<&Position>) -> String {
    match known.window(position, asked) {
        Window::Whole { upper } => format!("whole {}@{:x}", upper.instance.name, upper.lsn.0),
        Window::Onward { segments, upper } => {
            let name = |segment: &Segment| &known.instances[segment.instance].identity.name;
            let range = |segment: &Segment| format!("{}:{:x}-{:x} ", name(segment), segment.from.0, segment.to.0);
            format!("{}{}@{:x}", segments.iter().map(range).collect::<String>(), upper.instance.name, upper.lsn.0)
        }
        Window::Gap(reason) => format!("gap: {reason}"),
        Window::NotBegun { instance } => format!("not begun: {instance}"),
        Window::Refused(reason) => format!("refused: {reason}"),
    }
}

fn onward(known: &Known, position: &Position) -> String {
    said(known, Some(position), None)
}

#[test]
fn position_comes_back_from_its_text() {
    let copies = [None, Some(TableCopy::Begun), Some(TableCopy::EndedBy("2026-01-01T10:00:00.003".into()))];
    for (name, copy) in ["dbo_t", "a:b=c", "="].iter().flat_map(|name| copies.iter().map(move |copy| (name, copy))) {
        let position = Position { copy: copy.clone(), ..at(name, 9, 0x20) };
        let text = position.to_string();
        assert_eq!(Position::parse(text.strip_prefix(Position::HEAD).unwrap()), Some(position));
    }
    assert_eq!(at("dbo_t", 9, 0x20).to_string(), "c1:5:9:2026-01-01T000000:dbo_t=0x00000000000000000020");
    for text in [
        "5:9:x:t=copies:0x00000000000000000020",
        "5:9:x:t=copy@:0x00000000000000000020",
        "",
        "5:9:x:t",
        "5:9:x=0x20",
        "5:9:x:=0x00000000000000000020",
        "5:9:x:t=0x0000000000000000002g",
    ] {
        assert_eq!(Position::parse(text), None, "{text}");
    }
}

#[test]
fn quiet_table_follows_the_database_and_reads_nothing_twice() {
    let t = |low, high| known(&[instance("t", 9, low)], high);
    assert_eq!(onward(&t(0x10, 0x20), &at("t", 9, 0x20)), "t@20", "nothing is new, and from is never above to");
    assert_eq!(onward(&t(0x10, 0x28), &at("t", 9, 0x20)), "t:21-28 t@28", "transactions of others");
    assert_eq!(onward(&t(0x27, 0x28), &at("t", 9, 0x28)), "t@28", "cleaned up to just below");
    assert_eq!(onward(&t(0x29, 0x28), &at("t", 9, 0x28)), "t@28", "cleaned up to the position");
    assert_eq!(onward(&t(0x29, 0x29), &at("t", 9, 0x28)), "t:29-29 t@29");
}

#[test]
fn expired_position_is_told_from_an_instance_that_is_gone() {
    let position = at("t", 9, 0x10);
    assert!(onward(&known(&[instance("t", 9, 0x30)], 0x40), &position).contains("since 0x00000000000000000030"));
    assert!(onward(&known(&[], 0x40), &position).contains("`t` is gone"));
    assert!(onward(&known(&[instance("u", 8, 0x30)], 0x40), &position).contains("`t` is gone"));
    assert!(onward(&known(&[instance("t", 8, 0x30)], 0x40), &position).contains("dropped and made anew"));
    assert!(onward(&known(&[instance("t", 9, None)], 0x40), &position).contains("does not say any more"));
}

#[test]
fn instance_made_anew_right_after_the_position_does_not_know_what_was_changed_between() {
    assert!(onward(&known(&[instance("t", 8, 0x21)], 0x40), &at("t", 9, 0x20)).starts_with("gap"));
    // An older instance of the table knew the position too.
    assert_eq!(onward(&known(&[instance("u", 8, 0x10)], 0x40), &at("t", 9, 0x20)), "u:21-40 u@40");
}

#[test]
fn each_change_comes_from_one_instance_and_the_newer_one_never_before_its_beginning() {
    let both = known(&[instance("c1", 1, 0x10), instance("c2", 2, 0x50)], 0x60);
    assert_eq!(onward(&both, &at("c1", 1, 0x20)), "c1:21-4f c2:50-60 c2@60");
    assert_eq!(onward(&both, &at("c1", 1, 0x4f)), "c2:50-60 c2@60");
    assert_eq!(onward(&both, &at("c2", 2, 0x55)), "c2:56-60 c2@60");
    let early = known(&[instance("c1", 1, 0x10), instance("c2", 2, 0x50)], 0x4f);
    assert_eq!(onward(&early, &at("c1", 1, 0x20)), "c1:21-4f c1@4f");
    let unbegun = known(&[instance("c1", 1, 0x10), instance("c2", 2, None)], 0x60);
    assert_eq!(onward(&unbegun, &at("c1", 1, 0x20)), "c1:21-60 c1@60");
    let dropped = known(&[instance("c2", 2, 0x50)], 0x60);
    assert!(onward(&dropped, &at("c1", 1, 0x20)).starts_with("gap"));
    assert_eq!(onward(&dropped, &at("c1", 1, 0x55)), "c2:56-60 c2@60");
    let cleaned = known(&[instance("c1", 1, 0x55), instance("c2", 2, 0x55)], 0x60);
    assert_eq!(onward(&cleaned, &at("c1", 1, 0x54)), "c2:55-60 c2@60");
}

#[test]
fn fresh_instance_is_copied_once_although_capture_stands_before_it() {
    let fresh = |high| known(&[instance("t", 9, 0x80)], high);
    assert_eq!(said(&fresh(0x70), None, None), "whole t@7f");
    assert_eq!(onward(&fresh(0x70), &at("t", 9, 0x7f)), "t@7f");
    assert_eq!(said(&known(&[instance("t", 9, 0x80)], None), Some(&at("t", 9, 0x7f)), None), "t@7f");
    assert_eq!(onward(&fresh(0x85), &at("t", 9, 0x7f)), "t:80-85 t@85");
    assert_eq!(said(&fresh(0x85), None, None), "whole t@85");
    assert_eq!(said(&known(&[instance("t", 9, 0x80)], None), None, None), "whole t@7f");
    assert_eq!(said(&known(&[instance("t", 9, None)], 0x85), None, None), "not begun: t");
    assert!(said(&known(&[instance("t", 9, 0)], 0x85), None, None).contains("may not see the capture instance `t`"));
    assert!(onward(&known(&[instance("t", 9, 0)], 0x85), &at("t", 9, 0x82)).starts_with("refused"));
    let of_another_role = known(&[instance("t", 9, 0x10), instance("u", 8, 0)], 0x85);
    assert_eq!(onward(&of_another_role, &at("t", 9, 0x82)), "t:83-85 t@85");
    assert!(said(&known(&[], 0x85), None, None).contains("no capture instance"));
}

#[test]
fn database_that_went_back_or_stands_still_never_skips() {
    let t = |high: Option<u128>| known(&[instance("t", 9, 0x10)], high);
    assert!(onward(&t(Some(0x1f)), &at("t", 9, 0x20)).contains("went back"));
    assert_eq!(onward(&t(Some(0x20)), &at("t", 9, 0x20)), "t@20", "the capture job has stopped");
    assert_eq!(onward(&t(None), &at("t", 9, 0x20)), "t@20", "the position stays");
}

#[test]
fn feed_that_is_opened_again_has_the_same_range() {
    let t = known(&[instance("t", 9, 0x10)], 0x60);
    let at = |number| at("t", 9, number);
    assert_eq!(said(&t, Some(&at(0x20)), Some(&at(0x40))), "t:21-40 t@40");
    assert_eq!(said(&t, Some(&at(0x20)), Some(&at(0x20))), "t@20");
    assert_eq!(said(&t, None, Some(&at(0x40))), "whole t@40");
    assert!(said(&t, Some(&at(0x20)), Some(&at(0x61))).contains("went back"));
    let cleaned = known(&[instance("t", 9, 0x30)], 0x60);
    assert!(said(&cleaned, Some(&at(0x20)), Some(&at(0x40))).contains("retention is over"));
}

#[test]
fn table_that_took_the_place_of_another_is_a_gap() {
    let swapped = Known { table: "6".into(), ..known(&[instance("t", 9, 0x10)], 0x60) };
    assert!(onward(&swapped, &at("t", 9, 0x20)).contains("object_id 5, now 6"));
}

#[test]
fn changes_cleaned_up_under_the_rows_are_lost() {
    let t = |low| known(&[instance("t", 9, low)], 0x60);
    let t9 = identity("t", 9);
    assert_eq!(t(Some(0x21)).lost(&t9, lsn(0x21)), None);
    assert!(t(Some(0x22)).lost(&t9, lsn(0x21)).is_some());
    assert!(t(None).lost(&t9, lsn(0x21)).is_some());
    assert!(t(Some(0)).lost(&t9, lsn(0x21)).is_some());
    assert!(known(&[instance("t", 8, 0x10)], 0x60).lost(&t9, lsn(0x21)).unwrap().contains("gone"));
}

#[test]
fn copy_is_known_of_until_something_was_captured_that_was_committed_after_it() {
    let instances = [instance("t", 9, 0x10)];
    let Window::Whole { upper } = known(&instances, 0x20).window(None, None) else { panic!("no copy") };
    assert_eq!(upper.copy, Some(TableCopy::Begun));
    let next = |position: &Position, high, committed_at: &str, now: &str| {
        let end = LogEnd { high: Some(lsn(high)), committed_at: Some(committed_at.into()), now: now.into() };
        match (Known { end, ..known(&instances, high) }.window(Some(position), None)) {
            Window::Onward { upper, .. } => upper,
            other => panic!("{other:?}"),
        }
    };
    // The copy had ended by then, but the capture process is where it was, then behind it, then beyond.
    let second = next(&upper, 0x20, "2026-01-01T09:59:59", "2026-01-01T10:00:00");
    assert_eq!(second.copy, Some(TableCopy::EndedBy("2026-01-01T10:00:00".into())));
    let third = next(&second, 0x30, "2026-01-01T10:00:00", "2026-01-01T11:00:00");
    assert_eq!(third.copy, second.copy);
    assert_eq!(next(&third, 0x40, "2026-01-01T10:00:00.003", "2026-01-01T12:00:00").copy, None);
    let unknown = LogEnd { committed_at: None, ..known(&instances, 0x40).end };
    assert_eq!(unknown.after(third.copy.as_ref()), third.copy, "a time that is not known ends nothing");
}

#[test]
fn bound_of_another_position_forgets_no_copy() {
    let end = LogEnd { high: Some(lsn(0x40)), committed_at: None, now: "2026-01-01T10:00:00".into() };
    let known = Known { end, ..known(&[instance("t", 9, 0x10)], 0x40) };
    let ended = |time: &str| Some(TableCopy::EndedBy(format!("2026-01-01T{time}:00:00")));
    let copy_after = |own: Option<TableCopy>, asked: Option<TableCopy>| {
        let (position, asked) =
            (Position { copy: own, ..at("t", 9, 0x20) }, Position { copy: asked, ..at("t", 9, 0x30) });
        let Window::Onward { upper, .. } = known.window(Some(&position), Some(&asked)) else {
            panic!("nothing onward")
        };
        upper.copy
    };
    assert_eq!(copy_after(Some(TableCopy::Begun), None), ended("10"), "the other reader has had its copy long ago");
    assert_eq!(copy_after(ended("08"), ended("09")), ended("09"), "both go on from one position");
    assert_eq!(copy_after(None, ended("09")), ended("09"));
    assert_eq!(copy_after(None, None), None);
}
