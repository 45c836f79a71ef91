//! The library: what libgssapi does not bind, and nothing else.

#![expect(
    unsafe_code,
    reason = "functions of MIT krb5 that no crate wraps: gss_acquire_cred_from and gss_krb5_ccache_name"
)]

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::ptr;

use libgssapi::context::{ClientCtx, CtxFlags};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::{Error, MajorFlags};
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_NT_HOSTBASED_SERVICE, GSS_NT_KRB5_PRINCIPAL, Oid};
use libgssapi_sys::{
    _GSS_C_INDEFINITE, GSS_C_INITIATE, GSS_S_COMPLETE, OM_uint32, gss_OID_desc, gss_acquire_cred_from, gss_buffer_desc,
    gss_cred_id_t, gss_cred_usage_t, gss_import_name, gss_key_value_element_desc, gss_key_value_set_desc, gss_name_t,
    gss_release_name,
};

use crate::error::{KerberosError, Refusal};
use crate::meaning::meaning_of;
use crate::principal::Principal;

unsafe extern "C" {
    /// MIT's gssapi_krb5.h; `libgssapi-sys` does not bind it.
    fn gss_krb5_ccache_name(minor: *mut OM_uint32, name: *const c_char, old: *mut *const c_char) -> OM_uint32;
}

/// `1.2.840.113554.1.2.2.1`, GSS_KRB5_NT_PRINCIPAL_NAME.
static PRINCIPAL_NAME: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01";

/// An error of the library in words and, where one is known, its meaning.
pub(crate) fn refused(wanted: &str, doing: &'static str, error: &Error) -> KerberosError {
    let reason = sentence(error);
    let meaning = match meaning_of(error.minor) {
        // The service that was not found is the way to another realm.
        Some(Refusal::UnknownService) if reason.contains("Server krbtgt/") => Some(Refusal::NoTrust),
        Some(Refusal::UnknownRealm) if reason.contains("krbtgt/") => Some(Refusal::NoTrust),
        other => other,
    };
    match meaning {
        Some(refusal) => KerberosError::Refused { wanted: wanted.to_owned(), refusal, reason },
        None => KerberosError::Library { doing, reason },
    }
}

/// The mechanism's own words, which GSSAPI puts in parentheses after its own general ones.
pub(crate) fn sentence(error: &Error) -> String {
    let text = error.to_string();
    let own = text.split_once(" (").map_or(text.as_str(), |(_, own)| own.strip_suffix(')').unwrap_or(own));
    own.trim().to_owned()
}

fn nul(text: &str) -> Result<CString, KerberosError> {
    CString::new(text).map_err(|_| KerberosError::Library {
        doing: "passing a name to the library",
        reason: "it holds a NUL character".to_owned(),
    })
}

/// A name of the library's, released when dropped.
struct RawName(gss_name_t);

impl RawName {
    fn principal(text: &str) -> Result<Self, Error> {
        let mut minor: OM_uint32 = 0;
        let mut name: gss_name_t = ptr::null_mut();
        let mut buffer = gss_buffer_desc { length: text.len(), value: text.as_ptr().cast_mut().cast() };
        let mut kind = gss_OID_desc {
            length: OM_uint32::try_from(PRINCIPAL_NAME.len()).unwrap_or(0),
            elements: PRINCIPAL_NAME.as_ptr().cast_mut().cast(),
        };
        // SAFETY: buffer and kind point to memory that outlives the call and is only read.
        let major = unsafe { gss_import_name(&mut minor, &mut buffer, &mut kind, &mut name) };
        checked(major, minor).map(|()| Self(name))
    }
}

impl Drop for RawName {
    fn drop(&mut self) {
        let mut minor: OM_uint32 = 0;
        // SAFETY: the name came from gss_import_name and is released once.
        unsafe { gss_release_name(&mut minor, &mut self.0) };
    }
}

fn checked(major: OM_uint32, minor: OM_uint32) -> Result<(), Error> {
    if major == GSS_S_COMPLETE { Ok(()) } else { Err(Error { major: MajorFlags::from_bits_retain(major), minor }) }
}

/// A credential to initiate with, from the places given: `ccache`, `client_keytab`. The process's default cache is touched
/// only where `ccache` is not among them.
fn acquire(principal: Option<&str>, places: &[(&CStr, &CStr)]) -> Result<Cred, Error> {
    let name = principal.map(RawName::principal).transpose()?;
    let mut elements: Vec<gss_key_value_element_desc> = places
        .iter()
        .map(|(key, value)| gss_key_value_element_desc { key: key.as_ptr(), value: value.as_ptr() })
        .collect();
    let store = gss_key_value_set_desc {
        count: OM_uint32::try_from(elements.len()).unwrap_or(0),
        elements: elements.as_mut_ptr(),
    };
    let mut minor: OM_uint32 = 0;
    let mut credential: gss_cred_id_t = ptr::null_mut();
    // SAFETY: the store and the name outlive the call; outputs that are not wanted may be null.
    let major = unsafe {
        gss_acquire_cred_from(
            &mut minor,
            name.as_ref().map_or(ptr::null_mut(), |name| name.0),
            _GSS_C_INDEFINITE,
            ptr::null_mut(),
            GSS_C_INITIATE as gss_cred_usage_t,
            &store,
            &mut credential,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    checked(major, minor)?;
    // SAFETY: the credential is ours alone.
    Ok(unsafe { Cred::from_c(credential) })
}

/// Gets a ticket-granting ticket of `principal` with a keytab into a cache, which is made.
pub(crate) fn obtain(keytab: &str, principal: &str, cache: &str) -> Result<(), KerberosError> {
    let (keytab, cache) = (nul(keytab)?, nul(cache)?);
    let places = [(c"client_keytab", keytab.as_c_str()), (c"ccache", cache.as_c_str())];
    acquire(Some(principal), &places)
        // The library asks the KDC at the latest when it must say whose credential it is.
        .and_then(|credential| credential.name().map(drop))
        .map_err(|error| refused(principal, "getting a ticket with a keytab", &error))
}

/// Copies whatever a cache of any kind holds into another, which is made. Without a name: the library's default.
pub(crate) fn copy(from: Option<&str>, to: &str) -> Result<(), KerberosError> {
    let shown = from.unwrap_or("the default ticket cache");
    let failed = |error: Error| match meaning_of(error.minor) {
        Some(refusal) => KerberosError::Refused { wanted: shown.to_owned(), refusal, reason: sentence(&error) },
        None => KerberosError::Library { doing: "reading a ticket cache", reason: sentence(&error) },
    };
    let name = from.map(nul).transpose()?;
    let places: Vec<(&CStr, &CStr)> = name.iter().map(|name| (c"ccache", name.as_c_str())).collect();
    let credential = acquire(None, &places).map_err(failed)?;
    credential.store_into(to, true, false, CredUsage::Initiate, Some(GSS_MECH_KRB5)).map_err(failed)
}

/// Who a service is, for the library.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'t> {
    /// `service@host:port`: krb5.conf and the KDC say which realm.
    HostBased(&'t str),
    /// `service/host:port@REALM`, exactly.
    Principal(&'t str),
}

impl Target<'_> {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::HostBased(text) | Self::Principal(text) => text,
        }
    }

    fn name(&self) -> Result<Name, Error> {
        let kind: Oid<'static> = match self {
            Self::HostBased(_) => GSS_NT_HOSTBASED_SERVICE,
            Self::Principal(_) => GSS_NT_KRB5_PRINCIPAL,
        };
        Name::new(self.text().as_bytes(), Some(kind))
    }

    /// The name as the library understands it.
    pub(crate) fn understand(&self) -> Result<Name, Error> {
        self.name().and_then(|name| name.canonicalize(Some(GSS_MECH_KRB5)))
    }

    /// The principal the library makes of it; its realm is empty where the KDC is to say.
    pub(crate) fn principal(&self) -> Option<Principal> {
        let name = self.understand().ok()?;
        let text = name.display_name().ok()?;
        Some(Principal::parse(std::str::from_utf8(&text).ok()?))
    }
}

/// Gets the ticket of a service into `cache`, which holds a ticket-granting ticket.
pub(crate) fn fetch(cache: &str, target: Target<'_>) -> Result<(), KerberosError> {
    let failed = |error: Error| refused(target.text(), "getting a service's ticket", &error);
    let cache = nul(cache)?;
    let credential = acquire(None, &[(c"ccache", cache.as_c_str())]).map_err(failed)?;
    let name = target.name().map_err(failed)?;
    let mut context = ClientCtx::new(Some(credential), name, CtxFlags::GSS_C_MUTUAL_FLAG, Some(GSS_MECH_KRB5));
    // The token is thrown away: the ticket in the cache is what counts.
    context.step(None, None).map(drop).map_err(failed)
}

/// While it lives, this thread's default credential is that of a cache. Cannot leave its thread.
pub(crate) struct ThreadCache {
    stays: PhantomData<*const ()>,
}

impl ThreadCache {
    pub(crate) fn set(name: &CStr) -> Result<Self, KerberosError> {
        Self::call(name.as_ptr())?;
        Ok(Self { stays: PhantomData })
    }

    fn call(name: *const c_char) -> Result<(), KerberosError> {
        let mut minor: OM_uint32 = 0;
        // SAFETY: the library copies the name, or forgets the last one where it is null; the old one is not asked for.
        let major = unsafe { gss_krb5_ccache_name(&mut minor, name, ptr::null_mut()) };
        checked(major, minor)
            .map_err(|error| KerberosError::Library { doing: "choosing a ticket cache", reason: sentence(&error) })
    }
}

impl Drop for ThreadCache {
    fn drop(&mut self) {
        // Back to the default; there is nobody to tell if that fails, and the next login sets its own.
        let _ = Self::call(ptr::null());
    }
}
