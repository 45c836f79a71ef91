//! Logins with tickets: the server's side of GSSAPI, with the key of a keytab.

#![expect(unsafe_code, reason = "gss_acquire_cred_from, which takes a keytab by name, has no safe form")]

use std::ffi::CString;
use std::path::Path;
use std::ptr;

use libgssapi::context::{SecurityContext, ServerCtx};
use libgssapi::credential::Cred;
use libgssapi::error::{Error, MajorFlags};
use libgssapi_sys::{
    _GSS_C_INDEFINITE, GSS_C_ACCEPT, GSS_S_COMPLETE, OM_uint32, gss_acquire_cred_from, gss_cred_id_t, gss_cred_usage_t,
    gss_key_value_element_desc, gss_key_value_set_desc,
};

/// gssapi_ext.h of MIT krb5 since 1.19, which `libgssapi-sys` does not bind.
const GSS_C_CHANNEL_BOUND_FLAG: u32 = 2048;
/// No client of ours knows the server's TLS channel: whatever is bound to is not this.
const CHANNEL: &[u8] = b"tls-unique:";

/// One login with a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KerberosLogin {
    /// Who: `svc-etl@CORP.EXAMPLE`.
    pub principal: String,
    /// Whether the client handed its whole identity over.
    pub delegated: bool,
    /// Whether the client bound its ticket to a channel.
    pub channel_bound: bool,
}

impl KerberosLogin {
    /// As SQL Server shows it: `CORP\svc-etl`.
    pub(super) fn user(&self) -> String {
        let (name, realm) = self.principal.rsplit_once('@').unwrap_or((&self.principal, ""));
        format!("{}\\{name}", realm.split('.').next().unwrap_or_default())
    }
}

/// A client that proved who it is.
pub(super) struct Accepted {
    pub(super) login: KerberosLogin,
    /// What proves the server to the client.
    pub(super) reply: Vec<u8>,
}

/// Takes a client's token. Blocks.
pub(super) fn accept(keytab: &Path, token: &[u8]) -> Result<Accepted, Error> {
    let mut context = ServerCtx::new(Some(credential(keytab)?));
    // A client without bindings passes for MIT, and is told apart by the flag (RFC 4121, 4.1.1.2; GSS_C_CHANNEL_BOUND_FLAG).
    let reply = context.step(token, Some(CHANNEL))?.map(|reply| reply.to_vec()).unwrap_or_default();
    let principal = String::from_utf8_lossy(&context.source_name()?.display_name()?).into_owned();
    let channel_bound = context.flags()?.bits() & GSS_C_CHANNEL_BOUND_FLAG != 0;
    let delegated = context.delegated_cred().is_some();
    Ok(Accepted { login: KerberosLogin { principal, delegated, channel_bound }, reply })
}

fn credential(keytab: &Path) -> Result<Cred, Error> {
    let failed = |major, minor| Error { major: MajorFlags::from_bits_retain(major), minor };
    let value = CString::new(format!("FILE:{}", keytab.display())).map_err(|_| failed(0, 0))?;
    let mut element = gss_key_value_element_desc { key: c"keytab".as_ptr(), value: value.as_ptr() };
    let store = gss_key_value_set_desc { count: 1, elements: &mut element };
    let mut minor: OM_uint32 = 0;
    let mut credential: gss_cred_id_t = ptr::null_mut();
    // SAFETY: the store outlives the call; no name, mechanisms or further outputs are asked for.
    let major = unsafe {
        gss_acquire_cred_from(
            &mut minor,
            ptr::null_mut(),
            _GSS_C_INDEFINITE,
            ptr::null_mut(),
            GSS_C_ACCEPT as gss_cred_usage_t,
            &store,
            &mut credential,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if major != GSS_S_COMPLETE {
        return Err(failed(major, minor));
    }
    // SAFETY: the credential is ours alone.
    Ok(unsafe { Cred::from_c(credential) })
}
