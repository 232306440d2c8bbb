//! Git repositories, written to over smart HTTP (gitprotocol-http(5),
//! gitprotocol-pack(5)), without git: the server tells its references, we tell
//! which of them shall be what, and send the objects as the pack in which they
//! are carried.
//!
//! What shall be what is decided by whoever calls, each time anew: where an
//! answer was lost the server is asked again before anything is repeated.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use url::Url;

use super::auth::Subject;
use super::failure::Failure;
use super::mirrors::{host_of, shown};
use super::outflow::{Opened, Outflow};
use super::restrict::Bounds;
use super::transport::{Answer, Request, Tries, Upload};
use super::{Network, Pieces};
use base::error::{Class, Error, Result};
use base::progress::Progress;

/// Bytes of a list of references.
const LARGEST_LIST: usize = 64 << 20;
/// Bytes of what a server says of a push.
const LARGEST_REPORT: usize = 4 << 20;
const SERVICE: &str = "git-receive-pack";

/// What a server has, by the full names of references.
pub type Held = BTreeMap<String, String>;

/// A reference that shall name another object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// `refs/heads/main`.
    pub name: String,
    /// What it names there; None where it is not there.
    pub old: Option<String>,
    /// What it shall name.
    pub new: String,
}

/// What is sent of a repository.
pub struct Parcel<'a> {
    /// What shall be what there, by what is there; nothing where all is well.
    pub updates: &'a (dyn Fn(&Held) -> Result<Vec<Update>> + Sync),
    /// Commits whose parents nobody has.
    pub shallow: Vec<String>,
    /// A whole pack.
    pub pack: Opened,
    /// Bytes of the pack.
    pub size: u64,
    /// Of an object's name: 40, or 64 with SHA-256.
    pub digits: usize,
}

impl Network {
    /// Brings a repository to what `parcel` wants; gives what that took, which is
    /// nothing where all is well already.
    ///
    /// # Errors
    /// `not-found`, `auth`, `transient`, `rate-limited`; `invalid-input` where
    /// the server is none of git or refuses a reference, naming both; what
    /// `updates` says.
    pub async fn push_repository(&self, url: &str, parcel: &Parcel<'_>, progress: &Progress) -> Result<Vec<Update>> {
        let place = self.place(url)?;
        let mut tries = Tries::default();
        let mut sent = Vec::new();
        loop {
            let held = self.held_references(&place, parcel, progress).await?;
            let updates = (parcel.updates)(&held.references)?;
            if updates.is_empty() {
                return Ok(sent);
            }
            let request = place.pack_request(parcel, &updates, &held);
            match self.send_pack(&place, &request, &updates, progress).await {
                Ok(()) => return Ok(updates),
                // It may have come through: it is asked again.
                Err(failure) => tries.next(failure, &request, &self.transport, progress).await?,
            }
            sent = updates;
        }
    }

    fn place(&self, url: &str) -> Result<GitPlace> {
        let url = self.transport.places.locate(url.trim_end_matches('/'))?;
        Ok(GitPlace { host: host_of(&url), url })
    }

    async fn held_references(&self, place: &GitPlace, parcel: &Parcel<'_>, progress: &Progress) -> Result<Advertised> {
        let what = format!("the references of {}", shown(&place.url));
        let request = Request::get(place.below("info/refs", &format!("service={SERVICE}")));
        let mut tries = Tries::default();
        loop {
            let answered = self.ask_git(place, &request, &what, progress).await;
            let failure = match answered {
                Ok(mut answer) => match answer.unpacked(LARGEST_LIST, &what, progress).await {
                    Ok(body) => return advertised(&body, parcel.digits).map_err(|why| no_git(&place.url, why)),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            tries
                .next(failure, &request, &self.transport, progress)
                .await
                .map_err(|error| missing(error, &place.url))?;
        }
    }

    async fn send_pack(
        &self,
        place: &GitPlace,
        request: &Request,
        updates: &[Update],
        progress: &Progress,
    ) -> Result<(), Failure> {
        let what = format!("sending to {}", shown(&place.url));
        let mut answer = self.ask_git(place, request, &what, progress).await?;
        let report = answer.unpacked(LARGEST_REPORT, &what, progress).await?;
        Ok(accepted(&report, updates)
            .map_err(|why| Error::invalid(format!("{} does not take the repository: {why}", shown(&place.url))))?)
    }

    async fn ask_git(
        &self,
        place: &GitPlace,
        request: &Request,
        what: &str,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let subject = Subject { host: &place.host, scope: "", credentials: true, bounds: &Bounds::None };
        let answer = self.send(request.clone(), subject, what, progress).await?;
        match answer.status() {
            200 => Ok(answer),
            _ => Err(self.refusal(answer, subject, what).await),
        }
    }
}

/// A repository of a server.
struct GitPlace {
    url: Url,
    host: String,
}

impl GitPlace {
    fn below(&self, path: &str, query: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path()));
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        url
    }

    fn pack_request(&self, parcel: &Parcel<'_>, updates: &[Update], held: &Advertised) -> Request {
        let head = Bytes::from(commands(parcel, updates, held));
        let (pack, size) = (parcel.pack.clone(), head.len() as u64 + parcel.size);
        let open: Opened = std::sync::Arc::new(move |_| behind(head.clone(), pack(0)));
        let upload = Upload { method: Method::POST, body: Outflow::Read { open, size } };
        let mut request = Request { upload: Some(upload), ..Request::get(self.below(SERVICE, "")) };
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-git-receive-pack-request"));
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/x-git-receive-pack-result"));
        request
    }
}

/// The rest behind what comes first.
fn behind(first: Bytes, mut rest: Pieces) -> Pieces {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut next = Some(Ok(first));
        while let Some(piece) = next {
            if sender.send(piece).await.is_err() {
                return;
            }
            next = rest.recv().await;
        }
    });
    receiver
}

fn no_git(url: &Url, why: &str) -> Error {
    Error::invalid(format!("{} is no git server that can be pushed to: {why}", shown(url)))
        .hint("name with --git the address below which its repositories are, over http or https")
}

fn missing(error: Error, url: &Url) -> Error {
    if error.class() != Class::NotFound {
        return error;
    }
    error.hint(format!(
        "make an empty repository at {}, or let the server make what is pushed to (of Gitea and Forgejo: \
         `ENABLE_PUSH_CREATE_USER` and `ENABLE_PUSH_CREATE_ORG`)",
        shown(url)
    ))
}

/// What a server says of itself.
#[derive(Debug)]
struct Advertised {
    references: Held,
    capabilities: String,
}

impl Advertised {
    fn can(&self, capability: &str) -> bool {
        self.capabilities.split(' ').any(|one| one == capability)
    }
}

/// Lines of the protocol: four digits of length, and what it is of. None for
/// what ends a list.
fn lines(mut text: &[u8]) -> impl Iterator<Item = Result<Option<&[u8]>, &'static str>> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let length = text.get(..4).and_then(|digits| usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        let line = match length {
            Some(0) => Ok((None, 4)),
            Some(length @ 4..) if length <= text.len() => Ok((Some(&text[4..length]), length)),
            _ => Err("it does not speak git's protocol"),
        };
        Some(match line {
            Ok((line, length)) => {
                text = &text[length..];
                Ok(line.map(<[u8]>::trim_ascii_end))
            }
            Err(why) => {
                text = &[];
                Err(why)
            }
        })
    })
}

fn advertised(body: &[u8], digits: usize) -> Result<Advertised, &'static str> {
    let mut lines = lines(body);
    if lines.next().transpose()?.flatten() != Some(b"# service=git-receive-pack") {
        return Err("it does not answer as one");
    }
    let mut found = Advertised { references: Held::new(), capabilities: String::new() };
    for line in lines {
        let Some(line) = line? else { continue };
        let line = String::from_utf8_lossy(line);
        let (line, capabilities) = line.split_once('\0').unwrap_or((&line, ""));
        if !capabilities.is_empty() {
            capabilities.clone_into(&mut found.capabilities);
        }
        let Some((id, name)) = line.split_once(' ') else { continue };
        if id.len() != digits {
            return Err("its repository has objects of another kind than the carried one");
        }
        if name.starts_with("refs/") {
            found.references.insert(name.to_owned(), id.to_owned());
        }
    }
    Ok(found)
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// Everything before the pack.
fn commands(parcel: &Parcel<'_>, updates: &[Update], held: &Advertised) -> String {
    let mut wanted = String::from("report-status");
    // All references or none.
    if held.can("atomic") {
        wanted.push_str(" atomic");
    }
    if parcel.digits == 64 {
        wanted.push_str(" object-format=sha256");
    }
    let mut text: String = parcel.shallow.iter().map(|id| line(&format!("shallow {id}"))).collect();
    let none = "0".repeat(parcel.digits);
    for (number, Update { name, old, new }) in updates.iter().enumerate() {
        let old = old.as_ref().unwrap_or(&none);
        let end = if number == 0 { format!("\0 {wanted}") } else { String::new() };
        text.push_str(&line(&format!("{old} {new} {name}{end}")));
    }
    text + "0000"
}

/// Whether the server took all of it.
fn accepted(report: &[u8], updates: &[Update]) -> Result<(), String> {
    let (mut taken, mut refused, mut is_unpacked) = (0, Vec::new(), false);
    for line in lines(report) {
        let Some(line) = line? else { continue };
        let line: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(300).collect();
        match line.split_once(' ') {
            Some(("unpack", "ok")) => is_unpacked = true,
            Some(("unpack", why)) => return Err(format!("its objects were refused: {why}")),
            Some(("ok", _)) => taken += 1,
            Some(("ng", why)) => refused.push(format!("`{why}`")),
            _ => {}
        }
    }
    match (refused.is_empty(), is_unpacked && taken == updates.len()) {
        (true, true) => Ok(()),
        (true, false) => Err("it does not say that it has all references".to_owned()),
        (false, _) => Err(format!("references were refused: {}", refused.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(name: &str, old: Option<&str>) -> Update {
        Update { name: name.into(), old: old.map(str::to_owned), new: "2".repeat(40) }
    }

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let (one, zero) = ("1".repeat(40), "0".repeat(40));
        let service = line("# service=git-receive-pack\n") + "0000";
        let full = format!(
            "{service}{}{}0000",
            line(&format!("{one} refs/heads/main\0report-status atomic\n")),
            line(&format!("{one} refs/tags/v1\n"))
        );
        let found = advertised(full.as_bytes(), 40).unwrap();
        assert_eq!(found.references.keys().collect::<Vec<_>>(), ["refs/heads/main", "refs/tags/v1"]);
        assert!(found.can("atomic") && !found.can("quiet"));
        let empty = format!("{service}{}0000", line(&format!("{zero} capabilities^{{}}\0report-status\n")));
        let found = advertised(empty.as_bytes(), 40).unwrap();
        assert!(found.references.is_empty() && found.can("report-status"));
        for bad in ["", "<html>", "zzzz", "ffff", "0003", &line("# service=git-upload-pack"), &full[..full.len() - 9]] {
            assert!(advertised(bad.as_bytes(), 40).is_err(), "{bad}");
        }
        assert!(advertised(full.as_bytes(), 64).unwrap_err().contains("another kind"));
    }

    #[test]
    fn commands_say_what_shall_be_what() {
        let pack: Opened = std::sync::Arc::new(|_| tokio::sync::mpsc::channel(1).1);
        let parcel = Parcel { updates: &|_| Ok(Vec::new()), shallow: vec!["3".repeat(40)], pack, size: 0, digits: 40 };
        let held = Advertised { references: Held::new(), capabilities: "atomic".into() };
        let text =
            commands(&parcel, &[update("refs/heads/a", None), update("refs/tags/b", Some(&"1".repeat(40)))], &held);
        let (zero, one, two, three) = ("0".repeat(40), "1".repeat(40), "2".repeat(40), "3".repeat(40));
        let lines: Vec<String> = lines(text.as_bytes())
            .map(|line| line.unwrap().map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default())
            .collect();
        assert_eq!(
            lines,
            [
                format!("shallow {three}"),
                format!("{zero} {two} refs/heads/a\0 report-status atomic"),
                format!("{one} {two} refs/tags/b"),
                String::new(),
            ]
        );
    }

    #[test]
    fn only_all_of_it_is_success() {
        let updates = [update("refs/heads/a", None), update("refs/heads/b", None)];
        let told = |lines: &[&str]| {
            accepted((lines.iter().map(|text| line(text)).collect::<String>() + "0000").as_bytes(), &updates)
        };
        assert_eq!(told(&["unpack ok\n", "ok refs/heads/a\n", "ok refs/heads/b\n"]), Ok(()));
        assert!(
            told(&["unpack ok", "ok refs/heads/a", "ng refs/heads/b hook declined"])
                .unwrap_err()
                .contains("`refs/heads/b hook declined`")
        );
        assert!(told(&["unpack index-pack failed"]).unwrap_err().contains("index-pack"));
        assert!(told(&["unpack ok", "ok refs/heads/a"]).is_err());
        assert!(told(&[]).is_err());
        assert!(accepted(b"<html>", &updates).is_err());
    }
}
