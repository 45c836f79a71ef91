//! Fuzz targets: any bytes as what a registry answers, and as a lock file.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, LINK};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::lock::{LockFile, Pin};
use crate::manifest::{CONFIG_TYPE, Descriptor, LAYER_TYPE, MANIFEST_TYPE, Manifest};
use crate::reference::Reference;
use crate::remote::{next_page, one_line, tags_of};

const MAX_COMPONENT_BYTES: u64 = 1 << 20;

/// What manifests are made of, some of it wrong.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"schemaVersion\":2,",
    "\"schemaVersion\":2",
    "\"mediaType\":",
    "\"config\":",
    "\"layers\":[",
    "\"annotations\":{",
    "\"size\":",
    "\"digest\":",
    "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
    "\"sha256:00\"",
    "\"org.opencontainers.image.title\":",
    "\"org.opencontainers.image.version\":",
    "\"dev.datakit.wit.world\":",
    "\"kit\"",
    "\"0.1.0\"",
    "\"\\u0000\\ud83d\\ude00\"",
    "null",
    "0",
    "1048577",
    "18446744073709551616",
    "-1",
    "1e3",
    "[[[[[[[[",
    "\"tags\":[",
    "\"name\":",
];

fn valid_manifest() -> String {
    let descriptor = |media_type: &str, bytes: &[u8]| serde_json::to_value(Descriptor::of(media_type, bytes)).unwrap();
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, b"config"),
        "layers": [descriptor(LAYER_TYPE, b"layer")],
        "annotations": {
            "org.opencontainers.image.title": "kit",
            "org.opencontainers.image.version": "0.1.0",
            "dev.datakit.wit.world": "datakit:kit/source-datakit@0.2.0",
        },
    })
    .to_string()
}

/// The bytes themselves, or pieces of a manifest, one a byte, or a manifest with changes: where (two bytes), how, and with what.
fn json(input: &[u8]) -> Vec<u8> {
    let Some((first, rest)) = input.split_first() else { return Vec::new() };
    let piece = |byte: u8| PIECES[usize::from(byte) % PIECES.len()];
    match first % 3 {
        0 => rest.to_vec(),
        1 => rest.iter().flat_map(|byte| piece(*byte).bytes()).collect(),
        _ => {
            let mut bytes = valid_manifest().into_bytes();
            for change in rest.as_chunks::<4>().0.iter().take(32) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (bytes.len() + 1);
                let end = (at + usize::from(change[2] / 4)).min(bytes.len());
                match change[2] % 4 {
                    0 => drop(bytes.splice(at..at, [change[3]])),
                    1 => drop(bytes.splice(at..at, piece(change[3]).bytes())),
                    2 => drop(bytes.splice(at..end, [])),
                    _ => drop(bytes.splice(at..end, piece(change[3]).bytes())),
                }
            }
            bytes
        }
    }
}

#[test]
fn fuzz_manifest() {
    assert!(Manifest::parse(valid_manifest().as_bytes(), MAX_COMPONENT_BYTES).is_ok());
    bolero::check!().for_each(|input: &[u8]| {
        let parse = |bytes: &[u8]| Manifest::parse(bytes, MAX_COMPONENT_BYTES);
        let manifest = match parse(&json(input)) {
            Ok(manifest) => manifest,
            Err(RegistryError::TooLarge { size_bytes, .. }) => return assert!(size_bytes > MAX_COMPONENT_BYTES),
            Err(error) => return assert!(matches!(error, RegistryError::BadManifest(_)), "{error}"),
        };
        assert!(manifest.layer().size <= MAX_COMPONENT_BYTES);
        assert_eq!(manifest.layer().media_type, LAYER_TYPE);
        assert_eq!(manifest.layer().digest.hex().len(), 64);
        if let Ok(Some(description)) = manifest.description() {
            // What it names becomes a reference, or is refused; it is never another one.
            if let Ok(reference) = Reference::version(&description.name, &description.version) {
                assert_eq!(reference.to_string(), format!("{}@{}", description.name, description.version));
            }
        }
        let written = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(serde_json::to_vec(&parse(&written).unwrap()).unwrap(), written);
    });
}

#[test]
fn fuzz_tags() {
    let from: Url = "https://registry.example/v2/kit/tags/list?n=100".parse().unwrap();
    bolero::check!().for_each(|input: &[u8]| {
        let body = json(input);
        if let Some(tags) = tags_of(&body) {
            assert!(tags.iter().map(|tag| tag.len() + 2).sum::<usize>() <= 3 * body.len());
        }
        let line = one_line(&String::from_utf8_lossy(&body));
        assert!(line.chars().count() <= 301 && !line.contains(char::is_control));
        let Ok(value) = HeaderValue::from_bytes(input) else { return };
        let headers = HeaderMap::from_iter([(LINK, value)]);
        if let Some(next) = next_page(&headers, &from) {
            assert_eq!(Url::parse(next.as_str()).as_ref(), Ok(&next));
        }
    });
}

/// Lines of a lock file, some of them wrong.
const LINES: &[&str] = &[
    "[[datakit]]\n",
    "name = \"kit\"\n",
    "name = \"\\u0000\\\"\\\\ é\"\n",
    "name = '''\n'''\n",
    "version = \"0.1.0\"\n",
    "version = \"1.0.0-rc.1+build\"\n",
    "version = \"1\"\n",
    "digest = \"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n",
    "digest = \"sha256:00\"\n",
    "wit = \"0.2.0\"\n",
    "wit = \"\"\n",
    "# comment\n",
    "[datakit]\n",
    "datakit = []\n",
    "other = 1\n",
    "\n",
];

/// A pin of any texts.
fn pin(input: &[u8]) -> Pin {
    let number = |at: usize| input.get(at).copied().unwrap_or_default().into();
    let text = String::from_utf8_lossy(input.get(2..).unwrap_or_default());
    let (name, wit) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let version = semver::Version::new(number(0), number(1), 0);
    Pin { name: name.to_owned(), version, digest: Digest::of(input), wit: wit.to_owned() }
}

#[test]
fn fuzz_lock_file() {
    let check = |lock: &LockFile| {
        let written = lock.print().unwrap();
        assert_eq!(LockFile::parse(&written).as_ref(), Ok(lock), "{written}");
        for pin in &lock.pins {
            let by_digest = format!("{}@{}", pin.name, pin.digest);
            if let Ok(reference) = by_digest.parse() {
                assert_eq!(lock.find(&reference).map(|found| &found.digest), Some(&pin.digest));
            }
        }
    };
    bolero::check!().for_each(|input: &[u8]| {
        let Some((first, rest)) = input.split_first() else { return };
        let text = match first % 3 {
            0 => String::from_utf8_lossy(rest).into_owned(),
            1 => rest.iter().map(|byte| LINES[usize::from(*byte) % LINES.len()]).collect(),
            _ => {
                let mut lock = LockFile::default();
                for pin in rest.split(|byte| *byte == b'|').map(pin) {
                    let changes = !lock.pins.contains(&pin);
                    assert_eq!(lock.set(pin.clone()), changes);
                    assert!(!lock.set(pin));
                }
                return check(&lock);
            }
        };
        if let Ok(lock) = LockFile::parse(&text) {
            check(&lock);
        }
    });
}
