//! Servers that send a login on, and SQL Server Browser, against clients that are not ours: Microsoft's ODBC driver 18, and FreeTDS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use datakit_fake_sqlserver::browser::{Browser, Instance};
use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options, Running, SendOn};

/// An address of this machine that no other test has.
fn own_address() -> IpAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254).into()
}

fn fake_sqlserver(address: IpAddr, send_on: Option<SendOn>) -> Running {
    let engine = SqlEngine::open(SqlEngineOptions::default()).unwrap();
    let listen = SocketAddr::new(address, 0);
    let options = Options { listen, send_on, encrypt: Encrypt::On, ..Options::default() };
    FakeSqlServer::start(options, Arc::new(engine)).unwrap()
}

fn sends_on_to(server: &Running, only_readers: bool) -> Running {
    let (host, port) = (server.address().ip().to_string(), server.port());
    fake_sqlserver(server.address().ip(), Some(SendOn { host, port, only_readers }))
}

/// Logs in with Microsoft's driver, TLS on, and reads a row.
fn odbc(server: &str, more: &str) {
    let python =
        std::env::var_os("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON names the tests' Python: run ./test");
    let script = format!(
        "import mssql_python\n\
         text = r'Server={server};Database=erp;UID=sa;PWD={{Pl4nted 1!}};Encrypt=yes;TrustServerCertificate=yes;{more}'\n\
         print(mssql_python.connect(text).cursor().execute('SELECT 7 AS seven').fetchone()[0])"
    );
    let output = Command::new(python).args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim() == "7", "{said}");
}

/// The same with FreeTDS, whose settings for a server are in a file.
fn freetds(settings: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("freetds.conf");
    std::fs::write(&file, format!("[it]\n tds version = 7.4\n encryption = require\n{settings}")).unwrap();
    let mut command = Command::new("tsql");
    command.env("FREETDSCONF", &file).env("FREETDS", &file);
    command.args(["-S", "it", "-U", "sa", "-P", "Pl4nted 1!", "-o", "qfh"]).stdin(std::process::Stdio::piped());
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"SELECT 7 AS seven\nGO\nEXIT\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.lines().any(|line| line.trim() == "7"), "{said}");
}

/// Logins sent on by the one, and admitted by the other.
fn counts(first: &Running, second: &Running) -> (usize, usize) {
    (first.sent_on(), second.password_logins().admitted)
}

#[test]
fn login_that_is_sent_on_is_followed_by_microsofts_driver() {
    let replica = fake_sqlserver(own_address(), None);
    let listener = sends_on_to(&replica, false);
    odbc(&format!("{},{}", listener.address().ip(), listener.port()), "");
    assert_eq!(counts(&listener, &replica), (1, 1));
}

#[test]
fn only_readers_are_sent_on_with_read_only_routing() {
    let replica = fake_sqlserver(own_address(), None);
    let listener = sends_on_to(&replica, true);
    let address = format!("{},{}", listener.address().ip(), listener.port());
    odbc(&address, "");
    assert_eq!(counts(&listener, &replica), (0, 0));
    odbc(&address, "ApplicationIntent=ReadOnly;");
    assert_eq!(counts(&listener, &replica), (1, 1));
}

#[test]
fn browser_is_asked_for_the_port_of_an_instance_by_other_clients() {
    let address = own_address();
    let server = fake_sqlserver(address, None);
    let instance = |name: &str, port| Instance { name: name.to_owned(), port };
    let browser = Browser::start(address, vec![instance("OTHER", None), instance("ERP", Some(server.port()))]).unwrap();
    odbc(&format!("{address}\\ERP"), "");
    assert_eq!((browser.questions(), server.password_logins().admitted), (1, 1));
    freetds(&format!(" host = {address}\n instance = erp\n"));
    assert_eq!((browser.questions(), server.password_logins().admitted), (2, 2));
}
