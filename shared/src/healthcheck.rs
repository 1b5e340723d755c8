//! Requests `/healthz` of a running process: for a container's health check, where there is neither curl nor a shell.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// How long each step may take: less than the usual timeout of an orchestrator's check.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Requests `/healthz` of the process called `name`; exit code 0 when it answers 200, else 1 and a line that says why.
#[must_use]
pub fn run(name: &str, admin_addr: SocketAddr) -> ExitCode {
    let addr = reachable(admin_addr);
    let problem = match health_status(addr) {
        Ok(status) if status == "200" => return ExitCode::SUCCESS,
        Ok(status) => format!("{addr} answered {status:?} to /healthz"),
        Err(error) => format!("{addr} does not answer: {error}; is ADMIN_ADDR that of the running {name}?"),
    };
    // When standard error is closed, the exit code has to do.
    drop(writeln!(io::stderr(), "unhealthy: {problem}"));
    ExitCode::FAILURE
}

/// A server that listens on all addresses is reached on the loopback address.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

fn health_status(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, REQUEST_TIMEOUT)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    // In one piece: a server that answers and closes after the first would break the pipe for the rest.
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one request with a status line.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        addr
    }

    #[test]
    fn only_200_is_healthy() {
        let status = |answer| health_status(server(answer)).unwrap();
        assert_eq!(status("HTTP/1.1 200 OK\r\n\r\n"), "200");
        assert_eq!(status("HTTP/1.1 503 Service Unavailable\r\n\r\n"), "503");
        assert!(health_status(server("x")).is_err());
    }

    #[test]
    fn the_unspecified_address_is_reached_on_the_loopback_address() {
        assert_eq!(reachable(([0, 0, 0, 0], 5080).into()).to_string(), "127.0.0.1:5080");
        assert_eq!(reachable("[::]:5080".parse().unwrap()).to_string(), "[::1]:5080");
    }
}
