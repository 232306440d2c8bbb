//! A web server with files: binaries, checksum lists, chart repositories.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crate::digest::sha256;
use crate::http::{Content, Request, Response, Server};
use crate::tools;

#[derive(Clone, Debug)]
struct Served {
    content: Content,
    headers: Vec<(String, String)>,
    ranges: bool,
}

type Files = Arc<Mutex<BTreeMap<String, Served>>>;

/// A running file server; a [`Server`] by dereference.
pub struct FileServer {
    server: Server,
    files: Files,
}

impl Deref for FileServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl FileServer {
    pub fn start() -> Self {
        let files = Files::default();
        let served = files.clone();
        let server = Server::start(move |request: &Request| answer(&served, request));
        Self { server, files }
    }

    /// Lets in [`tools::USER`] with [`tools::PASSWORD`].
    pub fn start_closed() -> Self {
        let files = Files::default();
        let served = files.clone();
        let server = Server::start(move |request: &Request| {
            request.refusal(tools::USER, tools::PASSWORD).unwrap_or_else(|| answer(&served, request))
        });
        Self { server, files }
    }

    /// Serves `content` at `path` with an ETag and ranges. Returns its URL.
    pub fn put(&self, path: &str, content: impl Into<Content>) -> String {
        let content = content.into();
        let etag = match &content {
            Content::Memory(bytes) => format!("\"{}\"", &sha256(bytes)[..16]),
            Content::File(path, size) => format!("\"{}-{size}\"", path.display()),
        };
        self.insert(path, Served { content, headers: vec![("etag".to_owned(), etag)], ranges: true })
    }

    /// The same from a server that knows neither ranges nor validators.
    pub fn put_plain(&self, path: &str, content: impl Into<Content>) -> String {
        self.insert(path, Served { content: content.into(), headers: Vec::new(), ranges: false })
    }

    /// Answers requests for `path` with a redirect.
    pub fn redirect(&self, path: &str, to: &str) -> String {
        let headers = vec![("location".to_owned(), to.to_owned())];
        self.insert(path, Served { content: Content::from(""), headers, ranges: false })
    }

    /// Serves `content`, and at `path` + `.sha256` its checksum alone, as
    /// kubernetes releases do. Returns both URLs.
    pub fn put_with_checksum(&self, path: &str, content: impl Into<Vec<u8>>) -> (String, String) {
        let content = content.into();
        let checksum = self.put(&format!("{path}.sha256"), sha256(&content));
        (self.put(path, content), checksum)
    }

    /// A list in the format of `sha256sum` over files that are served already,
    /// with their base names. Returns its URL.
    pub fn put_checksum_list(&self, path: &str, of: &[&str]) -> String {
        let lines: String = of
            .iter()
            .map(|file| {
                let name = file.rsplit('/').next().unwrap_or(file);
                format!("{}  {name}\n", sha256(&self.bytes(file)))
            })
            .collect();
        self.put(path, lines)
    }

    /// What is served at `path`.
    ///
    /// # Panics
    /// When nothing is, or a file on disk.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        match self.files.lock().unwrap_or_else(PoisonError::into_inner).get(path).map(|served| &served.content) {
            Some(Content::Memory(bytes)) => bytes.to_vec(),
            _ => panic!("nothing in memory at {path}"),
        }
    }

    /// Every path with something behind it.
    pub fn paths(&self) -> Vec<String> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub fn remove(&self, path: &str) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    fn insert(&self, path: &str, served: Served) -> String {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), served);
        self.url(path)
    }
}

fn answer(files: &Files, request: &Request) -> Response {
    let files = files.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(served) = files.get(&request.path) else {
        return Response::new(404, "<html><title>404 Not Found</title></html>").with("content-type", "text/html");
    };
    let redirected = served.headers.iter().any(|(name, _)| name == "location");
    Response {
        status: if redirected { 302 } else { 200 },
        headers: served.headers.clone(),
        content: served.content.clone(),
        ranges: served.ranges,
    }
    .with("content-type", "application/octet-stream")
}
