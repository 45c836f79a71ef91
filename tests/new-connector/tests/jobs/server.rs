//! A logbook server of the test.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The password that it asks for.
pub const PASSWORD: &str = "Pl4nted-logbook";

/// The books, each with its entries.
const BOOKS: [(&str, &[&str]); 2] = [
    ("deck", &["1\t2026-01-31\t90\tpainted the rail", "2\t2026-02-01\t15\t", "3\t2026-02-03\t-5\tcorrection"]),
    ("engine", &["1\t2026-02-01\t240\toil changed", "2\t2026-02-02\t30\t"]),
];

/// A server that answers for as long as this lives.
pub struct LogbookServer {
    port: u16,
    answering: JoinHandle<()>,
}

impl LogbookServer {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answering = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client may go whenever it wants.
                tokio::spawn(async move { drop(answer(stream).await) });
            }
        });
        Self { port, answering }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it: nobody listens on its port any more.
    pub async fn stop(&mut self) {
        self.answering.abort();
        assert!((&mut self.answering).await.unwrap_err().is_cancelled());
    }
}

async fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut has_logged_in = false;
    let mut question = String::new();
    while stream.read_line(&mut question).await? > 0 {
        let answer = match question.trim_end().split_once(' ').unwrap_or((question.trim_end(), "")) {
            ("LOGIN", password) if password == PASSWORD => {
                has_logged_in = true;
                "OK\n".to_owned()
            }
            ("LOGIN", _) => "NO wrong password\n".to_owned(),
            _ if !has_logged_in => "NO log in first\n".to_owned(),
            ("BOOKS", "") => rows(BOOKS.iter().map(|(name, entries)| format!("{name}\t{}", entries.len()))),
            ("READ", name) => match BOOKS.iter().find(|(book, _)| *book == name) {
                Some((_, entries)) => rows(entries.iter().map(ToString::to_string)),
                None => "NO no such book\n".to_owned(),
            },
            _ => "NO what?\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await?;
        question.clear();
    }
    Ok(())
}

fn rows(rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.map(|row| row + "\n").collect();
    format!("OK\n{rows}.\n")
}
