//! SQL Server Browser: which port an instance listens on (MC-SQLR).
//!
//! The answer is as trustworthy as UDP is. What it leads to still has to show the certificate of the configured host.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{SourceError, Unreachable};

const PORT: u16 = 1434;
/// Which port has this instance? (2.2.3)
const CLNT_UCAST_INST: u8 = 4;
/// Which instances are there? (2.2.2)
const CLNT_UCAST_EX: u8 = 3;
const SVR_RESP: u8 = 5;
/// The longest answer: three bytes of header, and a length of 16 bits.
const MAX_ANSWER_BYTES: usize = 3 + 65_535;
/// How long one question may take (3.2.2); UDP may lose it or its answer.
const TIMEOUT: Duration = Duration::from_secs(1);
const QUESTIONS: usize = 3;

/// The port of an instance.
///
/// # Errors
/// [`SourceError::Browser`] where nothing answers, [`SourceError::UnknownInstance`], [`SourceError::InstanceWithoutTcp`], and the
/// name that does not resolve.
pub(super) async fn port(host: &str, instance: &str, bound: Duration) -> Result<u16, SourceError> {
    let address = || format!("{host}\\{instance}");
    let silent = |reason: String| SourceError::Browser { address: address(), reason };
    let deadline = Instant::now() + bound;
    let addresses = match timeout_at(deadline, datakit_net::addresses(host, PORT)).await {
        Ok(addresses) => addresses,
        Err(_) => Err((Unreachable::Timeout, format!("the name did not resolve within {} s", bound.as_secs()))),
    };
    let addresses = addresses.map_err(|(how, reason)| SourceError::Unreachable { address: address(), how, reason })?;
    let asking = first_answer(&addresses, instance);
    let listed = match timeout_at(deadline, asking).await {
        Ok(answer) => answer.map_err(silent)?,
        Err(_) => return Err(silent(format!("no answer within {} s", bound.as_secs()))),
    };
    match listed.iter().find(|listed| listed.name.eq_ignore_ascii_case(instance)) {
        Some(Listed { port: Some(port), .. }) => Ok(*port),
        Some(_) => Err(SourceError::InstanceWithoutTcp { address: address() }),
        None => {
            let known = listed.into_iter().map(|listed| listed.name).collect();
            Err(SourceError::UnknownInstance { host: host.to_owned(), instance: instance.to_owned(), known })
        }
    }
}

/// The first answer of any address; else the last one's reason.
async fn first_answer(addresses: &[SocketAddr], instance: &str) -> Result<Vec<Listed>, String> {
    let mut asked: FuturesUnordered<_> = addresses.iter().map(|address| ask(*address, instance)).collect();
    let mut reason = String::new();
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(listed) => return Ok(listed),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Asks for the instance, and from the second time on for all instances as well: a question about one that is not there is not
/// answered.
async fn ask(address: SocketAddr, instance: &str) -> Result<Vec<Listed>, String> {
    let failed = |error: std::io::Error| format!("UDP port {PORT} of {}: {error}", address.ip());
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    // Then others' datagrams do not count, and a port that is closed is told.
    socket.connect(address).await.map_err(failed)?;
    let mut question = vec![CLNT_UCAST_INST];
    question.extend_from_slice(instance.as_bytes());
    question.push(0);
    let mut answer = vec![0; MAX_ANSWER_BYTES];
    for attempt in 0..QUESTIONS {
        socket.send(&question).await.map_err(failed)?;
        if attempt > 0 {
            socket.send(&[CLNT_UCAST_EX]).await.map_err(failed)?;
        }
        let listening = async {
            loop {
                let length = socket.recv(&mut answer).await?;
                // Whatever else comes is not an answer.
                if let Some(listed) = answer.get(..length).and_then(parse) {
                    return Ok(listed);
                }
            }
        };
        match timeout(TIMEOUT, listening).await {
            Ok(listed) => return listed.map_err(failed),
            Err(_) => continue,
        }
    }
    let seconds = TIMEOUT.as_secs() * QUESTIONS as u64;
    Err(format!("UDP port {PORT} of {}: no answer within {seconds} s", address.ip()))
}

/// An instance in an answer.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    /// None: it does not listen on TCP.
    port: Option<u16>,
}

/// Reads `SVR_RESP` (2.2.5): `ServerName;A;InstanceName;B;IsClustered;No;Version;16.0.1000.6;tcp;49172;;`, once for each instance.
fn parse(answer: &[u8]) -> Option<Vec<Listed>> {
    let (&[kind, low, high], data) = answer.split_first_chunk()?;
    let data = data.get(..usize::from(u16::from_le_bytes([low, high])))?;
    if kind != SVR_RESP {
        return None;
    }
    let text = String::from_utf8_lossy(data);
    let text = text.trim_end_matches('\0');
    text.split(";;").filter(|entry| !entry.is_empty()).map(parse_entry).collect()
}

fn parse_entry(entry: &str) -> Option<Listed> {
    let mut words = entry.split(';');
    let (mut name, mut port) = (None, None);
    while let Some(key) = words.next() {
        let value = words.next()?;
        match key {
            "InstanceName" => name = Some(value.to_owned()),
            "tcp" => port = value.parse().ok().filter(|port| *port > 0),
            _ => {}
        }
    }
    Some(Listed { name: name?, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(data: &str) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap().to_le_bytes();
        [&[SVR_RESP, length[0], length[1]], data.as_bytes()].concat()
    }

    /// The example of MC-SQLR, 4.2.
    #[test]
    fn the_example_of_the_specification_is_read() {
        let data = "ServerName;ILSUNG1;InstanceName;YUKONSTD;IsClustered;No;Version;9.00.1399.06;tcp;57137;;";
        assert_eq!(parse(&answer(data)), Some(vec![Listed { name: "YUKONSTD".into(), port: Some(57_137) }]));
    }

    #[test]
    fn list_of_instances_is_read_with_and_without_tcp() {
        let data = "ServerName;A;InstanceName;ONE;IsClustered;No;Version;16.0.1;np;\\\\A\\pipe\\sql\\query;;\
                    ServerName;A;InstanceName;TWO;IsClustered;No;Version;16.0.1;tcp;1500;np;x;;";
        let listed = [Listed { name: "ONE".into(), port: None }, Listed { name: "TWO".into(), port: Some(1500) }];
        assert_eq!(parse(&answer(data)), Some(listed.into()));
    }

    #[test]
    fn what_is_no_answer_is_passed_over() {
        let good = answer("ServerName;A;InstanceName;B;tcp;1;;");
        for length in 0..good.len() {
            assert_eq!(parse(&good[..length]), None, "{length}");
        }
        let mut other = good;
        other[0] = 6;
        assert_eq!(parse(&other), None);
        assert_eq!(parse(&answer("ServerName;A;InstanceName")), None);
        assert_eq!(parse(&answer("ServerName;A;tcp;1;;")), None);
        assert_eq!(parse(&answer("InstanceName;B;tcp;99999;;")), Some(vec![Listed { name: "B".into(), port: None }]));
    }

    /// Entries of an answer, some of them wrong.
    const PIECES: [&str; 12] = [
        "ServerName;A;",
        "InstanceName;B;",
        "InstanceName;;",
        "IsClustered;No;",
        "tcp;1433;",
        "tcp;0;",
        "tcp;99999;",
        "tcp;",
        ";",
        "np;\\\\A\\pipe\\sql;",
        "\0",
        "é;",
    ];

    #[test]
    fn fuzz_tds_browser() {
        bolero::check!().for_each(|input: &[u8]| {
            let bytes = match input {
                [0..=63, rest @ ..] => rest.to_vec(),
                [64..=127, rest @ ..] => [&[SVR_RESP, rest.len() as u8, (rest.len() >> 8) as u8], rest].concat(),
                [_, rest @ ..] => {
                    answer(&rest.iter().take(3_000).map(|b| PIECES[usize::from(*b) % 12]).collect::<String>())
                }
                [] => return,
            };
            let Some(listed) = parse(&bytes) else { return };
            assert!(listed.len() <= bytes.len() && listed.iter().all(|instance| instance.port != Some(0)));
            // What was read is read again when it is written plainly.
            let plain: String = listed
                .iter()
                .map(|Listed { name, port }| {
                    let tcp = port.map_or_else(String::new, |port| format!("tcp;{port};"));
                    format!("ServerName;A;InstanceName;{name};{tcp};")
                })
                .collect();
            let is_plain = listed.iter().all(|instance| !instance.name.is_empty() && !instance.name.contains('\0'));
            assert!(!is_plain || plain.len() > 60_000 || parse(&answer(&plain)) == Some(listed));
        });
    }
}
