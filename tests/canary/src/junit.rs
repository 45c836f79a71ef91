//! What tests have written, as `cargo nextest` keeps it in its JUnit report.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// One test and all it has written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestOutput {
    /// Its binary and its name.
    pub test: String,
    /// Standard output and standard error, and the message of a failure.
    pub text: String,
}

/// Reads a report.
///
/// # Errors
/// It is not XML.
pub fn read(xml: &str) -> Result<Vec<TestOutput>, quick_xml::Error> {
    let mut reader = Reader::from_str(xml);
    let mut tests = Vec::new();
    let mut current: Option<TestOutput> = None;
    loop {
        match reader.read_event()? {
            Event::Start(element) if element.name().as_ref() == b"testcase" => current = Some(begin(&element)?),
            Event::Empty(element) if element.name().as_ref() == b"testcase" => tests.push(begin(&element)?),
            Event::Start(element) | Event::Empty(element) => {
                if let Some(test) = &mut current {
                    for attribute in element.attributes().flatten() {
                        test.text += &attribute.normalized_value(XmlVersion::Implicit1_0)?;
                        test.text.push('\n');
                    }
                }
            }
            Event::End(element) if element.name().as_ref() == b"testcase" => tests.extend(current.take()),
            Event::Text(text) => {
                if let Some(test) = &mut current {
                    test.text += &text.decode()?;
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(test) = &mut current {
                    match reference.resolve_char_ref()? {
                        Some(character) => test.text.push(character),
                        None => test.text.push_str(entity(&reference)),
                    }
                }
            }
            Event::CData(text) => {
                if let Some(test) = &mut current {
                    test.text += &text.decode()?;
                }
            }
            Event::Eof => return Ok(tests),
            _ => {}
        }
    }
}

/// The five names of XML itself.
fn entity(name: &[u8]) -> &'static str {
    match name {
        b"lt" => "<",
        b"gt" => ">",
        b"amp" => "&",
        b"quot" => "\"",
        b"apos" => "'",
        _ => "",
    }
}

fn begin(element: &BytesStart<'_>) -> Result<TestOutput, quick_xml::Error> {
    let mut names = [String::new(), String::new()];
    for attribute in element.attributes().flatten() {
        match attribute.key.as_ref() {
            b"classname" => names[0] = attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned(),
            b"name" => names[1] = attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned(),
            _ => {}
        }
    }
    Ok(TestOutput { test: names.join(" "), text: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_passing_and_failing_tests_is_read() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3"><testsuite name="datakit-x">
  <testcase name="a::passes" classname="datakit-x" time="0.1"><system-out>one &lt;two&gt; &amp; &quot;three&quot; &#233;</system-out><system-err>skipped: no server</system-err></testcase>
  <testcase name="fails" classname="datakit-x"><failure message="it is &apos;so&apos;" type="test failure">because</failure></testcase>
  <testcase name="silent" classname="datakit-x"/>
</testsuite></testsuites>"#;
        let tests = read(xml).unwrap();
        let names: Vec<&str> = tests.iter().map(|test| test.test.as_str()).collect();
        assert_eq!(names, ["datakit-x a::passes", "datakit-x fails", "datakit-x silent"]);
        assert!(tests[0].text.contains("one <two> & \"three\" é") && tests[0].text.contains("skipped: no server"));
        assert!(tests[1].text.contains("it is 'so'") && tests[1].text.contains("because"));
    }
}
