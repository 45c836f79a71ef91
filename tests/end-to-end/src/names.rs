//! Names that resolve as a test wants, and addresses at which nobody answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use socket2::{SockFilter, SockRef};

/// Lets a command resolve names by a file of lines `ADDRESS NAME…`, and in no other way.
pub fn with_names(command: &mut Command, folder: &Path, hosts: &str) {
    let file = folder.join("hosts");
    std::fs::write(&file, hosts).unwrap();
    command.env("LD_PRELOAD", preload("libnss_wrapper.so")).env("NSS_WRAPPER_HOSTS", file);
}

/// Where Debian has a library that is loaded before others, without the architecture's name.
fn preload(name: &str) -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = folders.map(|folder| folder.join(name)).find(|library| library.exists());
    library.expect("./test installs libnss-wrapper").display().to_string()
}

/// An address of this machine that no other test has.
pub fn own_address() -> IpAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254).into()
}

/// An address at which every packet is dropped, as a firewall does, as long as the answer lives.
pub fn silent(address: IpAddr, port: u16) -> TcpListener {
    let listener = TcpListener::bind(SocketAddr::new(address, port)).unwrap();
    // BPF_RET with 0: of no packet is anything kept.
    SockRef::from(&listener).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
    listener
}
