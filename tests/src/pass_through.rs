//! A server in front of another: it hands every request on, and so gets the
//! log and the faults that somebody else's server does not have.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::time::Duration;

use crate::http::{Request, Response, Server};

/// A running pass-through; a [`Server`] by dereference.
pub struct PassThrough(Server);

impl Deref for PassThrough {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl PassThrough {
    /// In front of `host`, which speaks plain http.
    pub fn start(host: &str) -> Self {
        Self::changing(host, |_, response| response)
    }

    /// The same, where `change` sees each request and its answer.
    pub fn changing(host: &str, change: impl Fn(&Request, Response) -> Response + Send + Sync + 'static) -> Self {
        let host = host.to_owned();
        Self(Server::start(move |request: &Request| {
            let answer = forward(&host, request);
            change(request, answer.unwrap_or_else(|err| Response::new(502, format!("{host}: {err}"))))
        }))
    }
}

fn forward(host: &str, request: &Request) -> io::Result<Response> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let mut head =
        format!("{} {}{query} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", request.method, request.path);
    for (name, value) in request.headers.iter().filter(|(name, _)| !matches!(&**name, "host" | "connection")) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&request.body)?;
    read_response(BufReader::new(stream), request.method == "HEAD")
}

fn read_response(mut reader: BufReader<TcpStream>, without_body: bool) -> io::Result<Response> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let mut response = Response::new(status.ok_or_else(|| invalid("no status line"))?, Vec::new());
    let mut length = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "transfer-encoding" => return Err(invalid("chunks are not passed through")),
            "connection" => {}
            _ => response = response.with(name, value.trim()),
        }
    }
    if !without_body {
        let mut body = Vec::new();
        reader.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body)?;
        if length.is_some_and(|length| length != body.len() as u64) {
            return Err(invalid("the body ended early"));
        }
        response.content = body.into();
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Content;

    #[test]
    fn ranges_are_answered_by_whoever_is_behind() {
        let behind = Server::start(|_: &Request| Response::content(Content::from("0123456789")));
        let front = PassThrough::start(&behind.host());
        let mut stream = TcpStream::connect(front.host()).unwrap();
        write!(stream, "GET /x HTTP/1.1\r\nhost: x\r\nrange: bytes=4-\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 206 ") && answer.ends_with("\r\n\r\n456789"), "{answer}");
        assert!(answer.contains("content-range: bytes 4-9/10"), "{answer}");
        assert_eq!(front.log()[0].range, Some((4, None)));
        assert_eq!(behind.log().len(), 1);
    }
}
