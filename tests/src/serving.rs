//! `serve` in the background, and what it says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::Project;

/// A running server, stopped on drop.
pub struct Serving {
    child: Child,
    /// What it says where it is, `http://127.0.0.1:40001`.
    pub url: String,
    /// The address that it listens on.
    pub host: String,
    /// All of what it said when it began.
    pub told: Value,
    log: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

/// An answer, as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lowercase.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body has the length that was announced.
    pub is_whole: bool,
}

impl Serving {
    /// Serves packages on a free port.
    ///
    /// # Panics
    /// Where it does not begin to serve.
    pub fn start(project: &Project, arguments: &[&str]) -> Self {
        let all = [&["serve", "--json", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = project.command(&all).spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_else(|| {
            let mut said = String::new();
            let _ = child.stderr.take().expect("a pipe").read_to_string(&mut said);
            panic!("{all:?} does not serve: {said}")
        });
        let told: Value = serde_json::from_str(&first).expect("JSON");
        assert_eq!(told["event"], "serving", "{told}");
        let text = |key: &str| told[key].as_str().expect("a text").to_owned();
        let (url, host) = (text("url"), text("address"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().expect("a log").push(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Self { child, url, host, told, log, reader: Some(reader) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An address below the server's.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A reference below the server's.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// Asks without a client in between.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.send(
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", self.host).as_bytes(),
        )
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// Sends bytes, and reads until the server closes.
    pub fn send(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // It may have heard enough before all is said.
        let _ = stream.write_all(request);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Answer::parse(&bytes, request.starts_with(b"HEAD"))
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.host).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        stream
    }

    /// Requests that were answered so far, once there are as many as wanted.
    pub fn requests(&self, wanted: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let log = self.log.lock().expect("a log");
            let found: Vec<Value> = log.iter().filter(|line| line["event"] == "request").cloned().collect();
            drop(log);
            if found.len() >= wanted || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as Ctrl-C does: exit code and last line.
    pub fn stop(mut self) -> (Option<i32>, Value) {
        crate::tools::run(std::process::Command::new("kill").arg("-INT").arg(self.child.id().to_string()));
        let status = self.child.wait().expect("a child ends");
        self.reader.take().map(JoinHandle::join);
        let last = self.log.lock().expect("a log").last().cloned().unwrap_or_default();
        (status.code(), last)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn parse(bytes: &[u8], is_head: bool) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 4..]));
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers: Vec<(String, String)> =
            lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let mut answer = Self { status, headers, body: body.to_vec(), is_whole: true };
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        answer.is_whole = is_head || length.is_none_or(|length: usize| length == body.len());
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// When the body is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {}", self.text()))
    }

    /// The code of the first error, as registries tell it.
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}
