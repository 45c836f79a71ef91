//! What krb5.conf says, as MIT's own reader of it understands it: `include` and all.

#![expect(unsafe_code, reason = "MIT's profile library, which no crate wraps")]

use std::ffi::{CStr, CString, c_char, c_long, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::ptr;

#[link(name = "krb5")]
unsafe extern "C" {
    // MIT's profile.h.
    fn profile_init(files: *const *const c_char, profile: *mut *mut c_void) -> c_long;
    fn profile_get_values(profile: *mut c_void, names: *const *const c_char, values: *mut *mut *mut c_char) -> c_long;
    fn profile_free_list(values: *mut *mut c_char);
    fn profile_release(profile: *mut c_void);
}

/// The files of a krb5.conf, read.
pub(crate) struct Profile(*mut c_void);

impl Profile {
    /// Reads them, as far as they are there; none where they make no sense, which others report.
    pub(crate) fn read(files: &[PathBuf]) -> Option<Self> {
        let files: Vec<CString> =
            files.iter().map(|file| CString::new(file.as_os_str().as_bytes())).collect::<Result<_, _>>().ok()?;
        let files = terminated(&files);
        let mut profile = ptr::null_mut();
        // SAFETY: a list of strings that ends with null and outlives the call, which copies them.
        let failed = unsafe { profile_init(files.as_ptr(), &mut profile) };
        (failed == 0 && !profile.is_null()).then_some(Self(profile))
    }

    /// The values under these names, in their order: `["realms", "CORP.EXAMPLE", "kdc"]`.
    pub(crate) fn values(&self, names: &[&str]) -> Vec<String> {
        let names: Result<Vec<CString>, _> = names.iter().map(|name| CString::new(*name)).collect();
        let Ok(names) = names else { return Vec::new() };
        let names = terminated(&names);
        let mut values: *mut *mut c_char = ptr::null_mut();
        // SAFETY: the profile is open; a list of strings that ends with null and outlives the call.
        let failed = unsafe { profile_get_values(self.0, names.as_ptr(), &mut values) };
        if failed != 0 || values.is_null() {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut next = values;
        // SAFETY: the list of strings ends with null, and is freed once, after what is in it was copied.
        unsafe {
            while !(*next).is_null() {
                found.push(CStr::from_ptr(*next).to_string_lossy().into_owned());
                next = next.add(1);
            }
            profile_free_list(values);
        }
        found
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // SAFETY: it was opened, and is released once.
        unsafe { profile_release(self.0) };
    }
}

fn terminated(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_through_includes_and_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first.conf"), folder.path().join("second.conf"));
        let realm = "[realms]\n CORP = {\n  kdc = a:88\n  kdc = b\n }\n";
        std::fs::write(&second, realm).unwrap();
        std::fs::write(&first, format!("include {}\n[libdefaults]\n rdns = false\n", second.display())).unwrap();
        let profile = Profile::read(&[folder.path().join("gone"), first]).unwrap();
        assert_eq!(profile.values(&["realms", "CORP", "kdc"]), ["a:88", "b"]);
        assert_eq!(profile.values(&["libdefaults", "rdns"]), ["false"]);
        assert!(profile.values(&["libdefaults", "default_realm"]).is_empty());
        std::fs::write(&second, "[libdefaults\n").unwrap();
        assert!(Profile::read(&[second]).is_none());
    }
}
