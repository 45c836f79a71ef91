//! SQL Server Browser: which port an instance listens on (MC-SQLR).

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where it is asked.
pub const PORT: u16 = 1434;
/// It looks this often whether it is to end.
const PAUSE: Duration = Duration::from_millis(50);

/// An instance of the machine.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The port it listens on; none: TCP is not enabled.
    pub port: Option<u16>,
}

/// It answers until it is dropped.
#[derive(Debug)]
pub struct Browser {
    end: Arc<AtomicBool>,
    questions: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Browser {
    /// Answers at an address of this machine.
    ///
    /// # Errors
    /// UDP port 1434 of the address is taken.
    pub fn start(address: IpAddr, instances: Vec<Instance>) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, PORT))?;
        socket.set_read_timeout(Some(PAUSE))?;
        let (end, questions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, counted) = (Arc::clone(&end), Arc::clone(&questions));
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !ends.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = question.get(..length).and_then(|question| answer(question, &instances));
                if let Some(answer) = answer {
                    // Nobody may be there any more.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(Self { end, questions, thread: Some(thread) })
    }

    /// How many datagrams came.
    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is said to a question; nothing to one about an instance that is not there, and to what is no question (3.2.5.1).
fn answer(question: &[u8], instances: &[Instance]) -> Option<Vec<u8>> {
    let (&kind, name) = question.split_first()?;
    let text: String = match kind {
        // CLNT_BCAST_EX, CLNT_UCAST_EX
        2 | 3 => instances.iter().map(entry).collect(),
        // CLNT_UCAST_INST
        4 => {
            let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next()?).into_owned();
            instances.iter().find(|instance| instance.name.eq_ignore_ascii_case(&name)).map(entry)?
        }
        _ => return None,
    };
    let length = u16::try_from(text.len()).ok()?;
    Some([&[5], length.to_le_bytes().as_slice(), text.as_bytes()].concat())
}

fn entry(instance: &Instance) -> String {
    let name = &instance.name;
    let tcp = instance.port.map(|port| format!("tcp;{port};")).unwrap_or_default();
    format!("ServerName;FAKESQL;InstanceName;{name};IsClustered;No;Version;16.0.1000.6;{tcp};")
}
