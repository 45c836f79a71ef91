//! Errors of `mssql-tds` into ours.

use mssql_tds::error::{Error, SqlErrorInfo};

use crate::config::SqlServerConfig;
use crate::error::{CertificateProblem, ServerError, SourceError};
use datakit_connect::tls;

/// An error of connecting and logging in; none: of the network, to be looked at more closely.
pub(crate) fn of_login(config: &SqlServerConfig, error: Error) -> Option<SourceError> {
    let address = config.address();
    let certificate =
        |problem, reason: String| Some(SourceError::Certificate { address: config.address(), problem, reason });
    match error {
        Error::Io(_) | Error::ConnectionError(_) | Error::ConnectionClosed(_) | Error::TimeoutError(_) => None,
        Error::TlsHandshakeError { source, .. } | Error::TlsError(source) => {
            let reason = source.to_string();
            certificate(tls::problem(&reason), tls::plain(&reason))
        }
        Error::CertificateExpired => certificate(CertificateProblem::Expired, "it has expired".to_owned()),
        Error::CertificateMismatch => {
            certificate(CertificateProblem::NotThePinned, "it is not the one in `certificate_file`".to_owned())
        }
        Error::NoServerCertificate => certificate(CertificateProblem::Other, "the server showed none".to_owned()),
        Error::ProtocolError(reason) if reason.contains("encryption but client requires it") => {
            Some(SourceError::NoEncryption { address })
        }
        Error::ProtocolError(reason) if reason.contains("more redirection tokens") => {
            Some(SourceError::SentOnTooOften { address })
        }
        Error::Security(error) => Some(SourceError::of_driver_ticket(error.to_string())),
        other => Some(of_query(config, other, 0)),
    }
}

/// An error of a query.
pub(crate) fn of_query(config: &SqlServerConfig, error: Error, rows_before: u64) -> SourceError {
    let address = config.address();
    match error {
        Error::SqlServerError { diagnostics } => match diagnostics.errors.first() {
            Some(first) => {
                SourceError::Server { error: server_error(most_telling(&diagnostics.errors, first)), rows_before }
            }
            None => SourceError::Protocol { address, reason: "an error without a number".to_owned() },
        },
        Error::Io(error) => SourceError::Broken { address, reason: tls::plain(&error.to_string()) },
        Error::ConnectionError(reason) | Error::ConnectionClosed(reason) => SourceError::Broken { address, reason },
        Error::TimeoutError(reason) => SourceError::Broken { address, reason: reason.to_string() },
        Error::TlsError(error) => SourceError::Broken { address, reason: tls::plain(&error.to_string()) },
        Error::OperationCancelledError(_) => {
            SourceError::Broken { address, reason: "the query was cancelled".to_owned() }
        }
        other => SourceError::Protocol { address, reason: other.to_string() },
    }
}

/// Of several errors of one statement the first is the cause, but a failed login says 18456 only in the last.
fn most_telling<'e>(errors: &'e [SqlErrorInfo], first: &'e SqlErrorInfo) -> &'e SqlErrorInfo {
    const TELLING: [u32; 2] = [4060, 1205];
    errors.iter().find(|error| TELLING.contains(&error.number)).unwrap_or(first)
}

fn server_error(info: &SqlErrorInfo) -> ServerError {
    ServerError {
        number: info.number,
        class: u8::try_from(info.class).unwrap_or(u8::MAX),
        state: info.state,
        message: info.message.clone(),
    }
}
