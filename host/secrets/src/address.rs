//! URLs of vaults.

use url::Url;

/// What is wrong with a URL, and what to do.
pub(crate) struct Refusal {
    pub(crate) problem: &'static str,
    pub(crate) hint: &'static str,
}

/// A URL without a slash at its end: of https, or of http on this machine. `form` is the hint that says how it is written.
pub(crate) fn checked(text: &str, form: &'static str) -> Result<String, Refusal> {
    let refuse = |problem, hint| Err(Refusal { problem, hint });
    let Ok(url) = Url::parse(text) else { return refuse("is no URL", form) };
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let has_more = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
    match url.scheme() {
        _ if url.host().is_none() || has_more || url.fragment().is_some() => {
            refuse("is not the plain URL of a server", form)
        }
        "https" => Ok(url.as_str().trim_end_matches('/').to_owned()),
        "http" if is_loopback => Ok(url.as_str().trim_end_matches('/').to_owned()),
        _ => refuse("is not encrypted", "write `https://`: secrets do not leave this machine in the clear"),
    }
}
