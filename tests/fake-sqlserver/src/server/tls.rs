//! Certificates and the two ways into TLS.

use native_tls::{Identity, Protocol};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_native_tls::TlsAcceptor;

use super::FakeSqlServerError;
use super::options::{Certificate, Encrypt};

/// What the server does TLS with; nothing where encryption is off.
#[derive(Clone, Default)]
pub struct Tls {
    /// For handshakes inside TDS 7 packets.
    pub wrapped: Option<TlsAcceptor>,
    /// For TDS 8.0.
    pub strict: Option<TlsAcceptor>,
    /// The authority that clients should trust, as PEM; empty where encryption is off.
    pub ca_pem: String,
    /// The certificate itself, and those between it and the authority.
    pub chain_pem: String,
}

impl Tls {
    /// Makes certificate and acceptors.
    pub fn new(encrypt: Encrypt, certificate: &Certificate) -> Result<Self, FakeSqlServerError> {
        if encrypt == Encrypt::Off {
            return Ok(Self::default());
        }
        let Material { chain_pem, key_pem, ca_pem } = material(certificate)?;
        let identity = Identity::from_pkcs8(chain_pem.as_bytes(), key_pem.as_bytes())?;
        // With TLS 1.3 the server still writes tickets when the client's handshake is over, and so wrapped ones would
        // reach a client that no longer unwraps. SQL Server too keeps 1.3 for TDS 8.0.
        let wrapped = native_tls::TlsAcceptor::builder(identity.clone())
            .min_protocol_version(Some(Protocol::Tlsv12))
            .max_protocol_version(Some(Protocol::Tlsv12))
            .build()?;
        let strict = native_tls::TlsAcceptor::builder(identity).min_protocol_version(Some(Protocol::Tlsv12)).build()?;
        Ok(Self { wrapped: Some(wrapped.into()), strict: Some(strict.into()), ca_pem, chain_pem })
    }
}

/// What a server of another protocol does TLS with, and the authority that its clients should trust, as PEM.
pub fn certify(
    encrypt: Encrypt,
    certificate: &Certificate,
) -> Result<(Option<native_tls::TlsAcceptor>, String), FakeSqlServerError> {
    if encrypt == Encrypt::Off {
        return Ok((None, String::new()));
    }
    let Material { chain_pem, key_pem, ca_pem } = material(certificate)?;
    let identity = Identity::from_pkcs8(chain_pem.as_bytes(), key_pem.as_bytes())?;
    Ok((Some(native_tls::TlsAcceptor::new(identity)?), ca_pem))
}

struct Material {
    chain_pem: String,
    key_pem: String,
    ca_pem: String,
}

fn material(certificate: &Certificate) -> Result<Material, FakeSqlServerError> {
    let names: Vec<&str> = match certificate {
        Certificate::Given { chain_pem, key_pem, ca_pem } => {
            return Ok(Material { chain_pem: chain_pem.clone(), key_pem: key_pem.clone(), ca_pem: ca_pem.clone() });
        }
        Certificate::Naming(names) => names.iter().map(String::as_str).collect(),
        Certificate::WrongHost => vec!["elsewhere.invalid"],
        Certificate::Valid | Certificate::Expired => vec!["localhost", "127.0.0.1", "::1"],
    };
    let mut authority = CertificateParams::default();
    // Each by a name of its own: of two authorities of one name a client tries only the first.
    let name = format!("Fake SQL Server test authority {}", uuid::Uuid::new_v4().simple());
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    leaf.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or_default());
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if *certificate == Certificate::Expired {
        leaf.not_before = date_time_ymd(2020, 1, 1);
        leaf.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &authority)?;
    Ok(Material { chain_pem: leaf.pem(), key_pem: key.serialize_pem(), ca_pem: authority.pem() })
}
