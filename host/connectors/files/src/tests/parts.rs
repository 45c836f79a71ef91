//! Files that are read in parts: the same rows as of the whole, whatever ends their lines and wherever they are cut.

use super::*;

/// The rows of the only file of a request, cut at these bytes, and what is rejected.
pub(super) fn in_parts(folder: &Folder, whole: &FilesRead, mut cuts: Vec<u64>) -> (Vec<Row>, Vec<RejectedRow>) {
    cuts.retain(|cut| *cut > 0);
    cuts.sort_unstable();
    cuts.dedup();
    let (mut found, mut rejected) = (Vec::new(), Vec::new());
    for part in 0..=cuts.len() {
        let mut request = whole.clone();
        request.files[0].start = if part == 0 { 0 } else { cuts[part - 1] };
        request.files[0].end = cuts.get(part).copied();
        let (batch, aside) = folder.rows(&request).unwrap();
        found.extend(rows(&batch));
        rejected.extend(aside);
    }
    (found, rejected)
}

/// A line of the file, without its end.
#[derive(Debug, Clone)]
enum Line {
    Row(Option<i64>, Option<String>),
    Bad,
    Comment(String),
    Empty,
}

fn a_line() -> impl Strategy<Value = Line> {
    prop_oneof![
        6 => (prop::option::of(-99_i64..99), prop::option::of("[a-z\"' #\u{feff}é]{1,6}")).prop_map(|(a, b)| Line::Row(a, b)),
        1 => Just(Line::Bad),
        1 => "[a-z,\" ]{0,9}".prop_map(Line::Comment),
        1 => Just(Line::Empty),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn unquoted_fields_are_the_same_in_parts(
        lines in prop::collection::vec((a_line(), prop::sample::select(vec!["\n", "\r\n", "\r"])), 0..40),
        header in any::<bool>(),
        mark in any::<bool>(),
        ends_with_line in any::<bool>(),
        cuts in prop::collection::vec(0_u64..400, 0..6),
    ) {
        let mut text = String::from(if header { "# of\r\na,b,c,d,e\r" } else { "" });
        let mut expected = Vec::new();
        for (line, end) in &lines {
            match line {
                Line::Row(a, b) => {
                    let a_text = a.map(|a| a.to_string()).unwrap_or_default();
                    text += &format!("{a_text},{},,,", b.clone().unwrap_or_default());
                    expected.push((*a, b.clone(), None, None, None));
                }
                Line::Bad => text += "bad",
                Line::Comment(comment) => text += &format!("#{comment}"),
                Line::Empty => {}
            }
            text += end;
        }
        if !ends_with_line {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        let folder = Folder::new();
        folder.write("t/a.csv", encoded(&text, usize::from(mark)));
        let format = FileFormat { quote: None, header, comment: Some('#'), ..csv() };
        let whole = folder.read("t/a.csv", format);
        let (batch, rejected) = folder.rows(&whole).unwrap();
        prop_assert_eq!(rows(&batch), expected.clone());
        prop_assert_eq!(rejected.len(), lines.iter().filter(|(line, _)| matches!(line, Line::Bad)).count());
        let (found, rejected_in_parts) = in_parts(&folder, &whole, cuts);
        prop_assert_eq!(found, expected);
        prop_assert_eq!(rejected_in_parts, rejected, "with their lines");
    }
}

#[test]
fn a_return_at_a_cut_loses_no_row() {
    let folder = Folder::new();
    let text = "a,b,c,d,e\r1,,,,\r2,,,,\r\n3,,,,\r\r4,,,,\n5,,,,";
    folder.write("t/a.csv", text);
    let whole = folder.read("t/a.csv", FileFormat { quote: None, ..csv() });
    for cut in 1..text.len() as u64 {
        let numbers: Vec<_> = in_parts(&folder, &whole, vec![cut]).0.into_iter().filter_map(|row| row.0).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5], "cut at {cut}");
    }
}
