//! The keyed hash against another way to the same bytes, and its nulls.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray};
use datakit_model::{HashKey, Secret};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::KeyedHash;
use crate::tests::batch;

const KEY: &str = "an example key, of 32 characters";

pub(super) fn hashes(key: &str, columns: Vec<(&str, ArrayRef)>) -> Vec<Option<String>> {
    let batch = batch(columns);
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let key = HashKey::new(Secret::new(key.to_owned())).unwrap();
    let hash = KeyedHash::compile(batch.schema_ref(), "pseudonym", &names, &key).unwrap();
    let array = hash.evaluate(batch.num_rows(), |index| batch.columns().get(index)).unwrap();
    array.as_string::<i32>().iter().map(|hash| hash.map(str::to_owned)).collect()
}

fn hmac(key: &str, message: &[u8]) -> Option<String> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    hmac.update(message);
    Some(hex::encode(hmac.finalize().into_bytes()))
}

fn text(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

#[test]
fn a_pseudonym_is_the_hmac_of_the_canonical_bytes() {
    let found = hashes(KEY, vec![("email", text(vec![Some("a@b.cz"), Some(""), Some("a@b.cz")]))]);
    let first = hmac(KEY, b"\x01\x06\0\0\0a@b.cz");
    assert_eq!(found, [first.clone(), hmac(KEY, b"\x01\0\0\0\0"), first]);
    // Written by Python: hmac.new(key, message, "sha256").hexdigest()
    insta::assert_snapshot!(found[0].as_deref().unwrap());
    let long = "x".repeat(10_000);
    let message = [&[1][..], &10_000_u32.to_le_bytes(), long.as_bytes()].concat();
    assert_eq!(hashes(KEY, vec![("long", text(vec![Some(&long)]))]), [hmac(KEY, &message)]);
}

#[test]
fn a_key_longer_than_a_block_is_a_key_too() {
    let key = "k".repeat(200);
    assert_eq!(hashes(&key, vec![("a", text(vec![Some("x")]))]), [hmac(&key, b"\x01\x01\0\0\0x")]);
}

#[test]
fn null_alone_stays_null() {
    let numbers = || Arc::new(Int32Array::from(vec![Some(1), None, None, Some(4)])) as ArrayRef;
    assert_eq!(
        hashes(KEY, vec![("n", numbers())]).iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, false, true]
    );
    let texts = text(vec![None, Some("b"), None, Some("d")]);
    let both = hashes(KEY, vec![("n", numbers()), ("t", texts)]);
    assert_eq!(both[0], hmac(KEY, b"\x01\x01\0\0\x001\0"));
    assert_eq!(both[1], hmac(KEY, b"\0\x01\x01\0\0\0b"));
    assert_eq!(both[2], None);
    assert!(hashes(KEY, vec![("n", text(vec![None, None]))]).iter().all(Option::is_none));
}

#[test]
fn equal_values_of_other_types_have_one_pseudonym() {
    let small = hashes(KEY, vec![("n", Arc::new(Int32Array::from(vec![42])) as ArrayRef)]);
    let wide = hashes(KEY, vec![("n", Arc::new(Int64Array::from(vec![42])) as ArrayRef)]);
    assert_eq!(small, wide);
    assert_eq!(small, hashes(KEY, vec![("n", text(vec![Some("42")]))]));
    assert_ne!(small, hashes("another key, also of 32 characters", vec![("n", text(vec![Some("42")]))]));
}
