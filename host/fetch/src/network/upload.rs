//! A blob on its way into a registry.
//!
//! It is sent in chunks, each of which the registry acknowledges with a range.
//! Where that breaks off the registry is asked how much it has, and the upload
//! goes on there; where it has forgotten the upload, the blob is asked for (the
//! last answer may have been lost) and begun anew. A registry that takes no
//! chunks gets the blob in one piece, and one before which a proxy takes no
//! large requests gets smaller ones. Where a large blob goes on is written down
//! (`upload_notes`), so that the next process goes on there as well.

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use url::Url;

use super::Network;
use super::failure::Failure;
use super::outflow::{Opened, Outflow, Pieces};
use super::push::{Door, same};
use super::transport::{Answer, Request, Tries, unreadable};
use super::upload_notes::Note;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use base::reference::Reference;

/// Bytes that are sent at a time: some registries take no smaller ones.
const CHUNK: usize = 8 << 20;
/// Where even these are too many, the registry is not to be written to.
const SMALLEST: usize = 32 << 10;
/// Registries that want more at a time get all at once.
const LARGEST: usize = 32 << 20;
/// How often a blob is begun because an upload was forgotten or refused.
const BEGINNINGS: u32 = 4;

/// A blob to be sent.
pub struct Outgoing {
    /// What the registry shall check it by.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Opens it from a byte on: an upload goes on where it was cut off.
    pub open: Opened,
}

impl Network {
    /// Sends a blob; gives the bytes that this took.
    ///
    /// # Errors
    /// As for [`Network::manifest`]; `integrity` where it cannot be read.
    pub async fn send_blob(&self, repository: &Reference, blob: &Outgoing, progress: &Progress) -> Result<u64> {
        let door = self.door(repository)?;
        let begin = door.request(Method::POST, "blobs/uploads/")?;
        let what = format!("sending the blob {} into {}", blob.digest, repository.name());
        let note = match blob.size > CHUNK as u64 {
            true => self.notes.of(repository.registry(), repository.repository(), blob.digest),
            false => Note::none(),
        };
        let course = Course { place: note.read(), chunk: Some(CHUNK), ..Course::default() };
        let mut upload = Upload { network: self, door: &door, blob, begin, what, progress, note, course };
        let mut tries = Tries::default();
        // What an earlier process has begun.
        upload.find_out().await?;
        while let Err(failure) = upload.go_on(&mut tries).await {
            if !upload.course.turns(&failure) {
                tries.next(failure, &upload.begin, &self.transport, progress).await?;
            }
            upload.find_out().await?;
        }
        upload.note.remove();
        Ok(upload.course.sent)
    }
}

struct Upload<'a> {
    network: &'a Network,
    door: &'a Door,
    blob: &'a Outgoing,
    begin: Request,
    what: String,
    progress: &'a Progress,
    note: Note,
    course: Course,
}

/// How far an upload is, and how it goes on.
#[derive(Default)]
struct Course {
    /// None where it has to be begun.
    place: Option<Url>,
    /// Bytes that the registry has.
    at: u64,
    /// Bytes that are sent at a time; None where all are.
    chunk: Option<usize>,
    begun: u32,
    /// The most that it ever had.
    furthest: u64,
    /// Bytes that were taken, again and again where they had to be.
    sent: u64,
}

impl Course {
    fn forget(&mut self) {
        (self.place, self.at) = (None, 0);
    }

    /// Whether a refusal tells how to go on another way.
    fn turns(&mut self, failure: &Failure) -> bool {
        let (Some(status), true) = (failure.error.status(), self.place.is_some()) else { return false };
        match (status, self.chunk) {
            (413, Some(chunk)) if chunk > SMALLEST => self.chunk = Some((chunk / 4).max(SMALLEST)),
            (405 | 411 | 415 | 501, Some(_)) if self.at == 0 => {
                self.chunk = None;
                self.forget();
            }
            (400 | 404 | 405 | 410, _) if self.begun < BEGINNINGS => self.forget(),
            // It is asked what it has.
            (416, _) if self.begun < BEGINNINGS => self.begun += 1,
            _ => return false,
        }
        true
    }

    /// Heeds how much the registry says that it has, where `sent` are there if
    /// all is well.
    fn reach(&mut self, answer: &Answer, sent: u64) -> Result<(), Failure> {
        let told = answer.header("range").map_or(Some(sent), had).unwrap_or(sent);
        let before = std::mem::replace(&mut self.at, told);
        if told > sent || (told <= before && sent > before) {
            self.forget();
            return Err(Failure::broken(Error::transient("the registry does not say how much it has of an upload")));
        }
        Ok(())
    }
}

/// Bytes that an answer says are there: `0-4095`. What has none says `0-0`.
fn had(range: &str) -> Option<u64> {
    let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.trim().parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

impl Upload<'_> {
    async fn go_on(&mut self, tries: &mut Tries) -> Result<(), Failure> {
        if self.course.place.is_none() && self.begin().await? {
            return Ok(());
        }
        if self.course.chunk.is_some() { self.send_chunks(tries).await } else { self.send_whole().await }
    }

    /// Whether it is there already.
    async fn begin(&mut self) -> Result<bool, Failure> {
        self.course.begun += 1;
        if self.course.begun > 1 && self.network.holds(self.door, self.blob.digest, self.progress).await? {
            return Ok(true);
        }
        let answer = self.knock(&self.begin.clone(), &[202]).await?;
        let place = self.door.location(&answer)?.ok_or_else(|| self.nowhere())?;
        self.note.write(&place);
        (self.course.place, self.course.at) = (Some(place), 0);
        let least = answer.header("oci-chunk-min-length").and_then(|least| least.parse::<usize>().ok()).unwrap_or(0);
        self.course.chunk = self.course.chunk.map(|chunk| chunk.max(least)).filter(|chunk| *chunk <= LARGEST);
        Ok(false)
    }

    fn nowhere(&self) -> Error {
        Error::invalid(format!("{} does not say where an upload goes on", self.door.name()))
    }

    async fn send_chunks(&mut self, tries: &mut Tries) -> Result<(), Failure> {
        let mut reader = self.reader();
        while let Some(chunk) = self.course.chunk.filter(|chunk| self.left() > *chunk as u64) {
            let (bytes, from) = (reader.next(chunk).await?, self.course.at);
            let sent = from + bytes.len() as u64;
            let request = self.door.chunk(self.place()?, bytes, from);
            let answer = self.knock(&request, &[200, 201, 202, 204]).await?;
            if let Some(place) = self.door.location(&answer)? {
                self.note.write(&place);
                self.course.place = Some(place);
            }
            self.course.sent += sent - from;
            self.course.reach(&answer, sent)?;
            if self.course.at > self.course.furthest {
                self.progress.fetched(self.course.at - self.course.furthest);
                self.course.furthest = self.course.at;
                tries.progressed();
            }
            if self.course.at != sent {
                reader = self.reader();
            }
        }
        let rest = usize::try_from(self.left()).unwrap_or(usize::MAX);
        let rest = reader.next(rest).await?;
        self.finish(Outflow::Held(rest)).await
    }

    async fn send_whole(&mut self) -> Result<(), Failure> {
        self.finish(Outflow::Read { open: self.blob.open.clone(), size: self.blob.size }).await
    }

    async fn finish(&mut self, body: Outflow) -> Result<(), Failure> {
        let size = body.size();
        let mut request = self.door.flow(Method::PUT, self.place()?, body);
        request.url.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        let answer = self.knock(&request, &[200, 201, 202, 204]).await?;
        same(self.blob.digest, &answer, "a blob", self.door.name())?;
        self.course.sent += size;
        self.progress.fetched(self.blob.size - self.course.furthest);
        Ok(())
    }

    /// How much the registry has, where it remembers the upload.
    async fn find_out(&mut self) -> Result<()> {
        let Some(place) = self.course.place.take() else { return Ok(()) };
        let (had_none, is_whole) = (self.course.at == 0, self.course.chunk.is_none());
        let is_asked = self.door.is_behind(&place) && !is_whole;
        let answer = match is_asked {
            true => {
                self.network
                    .knock(self.door, Request::get(place.clone()), &[200, 202, 204], &self.what, self.progress)
                    .await
            }
            false => Err(self.nowhere()),
        };
        match answer {
            Ok(answer) => {
                let at = answer.header("range").and_then(had).or(had_none.then_some(0));
                let place = self.door.location(&answer)?.unwrap_or(place);
                match at.filter(|at| *at < self.blob.size) {
                    Some(at) => {
                        self.course.furthest = self.course.furthest.max(at);
                        (self.course.place, self.course.at) = (Some(place), at);
                    }
                    None => self.course.forget(),
                }
                Ok(())
            }
            Err(error) if error.class() == Class::Interrupted => Err(error),
            Err(_) => {
                self.course.forget();
                Ok(())
            }
        }
    }

    async fn knock(&self, request: &Request, expected: &[u16]) -> Result<Answer, Failure> {
        self.network.knock_once(self.door, request, expected, &self.what, self.progress).await
    }

    fn place(&self) -> Result<Url> {
        self.course.place.clone().ok_or_else(|| self.nowhere())
    }

    fn left(&self) -> u64 {
        self.blob.size.saturating_sub(self.course.at)
    }

    fn reader(&self) -> Reader {
        Reader { pieces: (self.blob.open)(self.course.at), kept: BytesMut::new() }
    }
}

/// Reads pieces of any size as chunks of one.
struct Reader {
    pieces: Pieces,
    kept: BytesMut,
}

impl Reader {
    async fn next(&mut self, length: usize) -> Result<Bytes, Failure> {
        while self.kept.len() < length {
            let piece = self.pieces.recv().await.ok_or_else(|| Error::integrity("the package ends early"))?;
            self.kept.extend_from_slice(&piece.map_err(unreadable)?);
        }
        Ok(self.kept.split_to(length).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_tells_how_much_is_there() {
        for (range, bytes) in
            [("0-4095", Some(4096)), ("bytes=0-9", Some(10)), ("0-0", Some(0)), ("5-9", None), ("x", None), ("", None)]
        {
            assert_eq!(had(range), bytes, "{range}");
        }
    }

    #[test]
    fn refusals_are_answered_with_what_may_help_and_never_without_end() {
        let fresh = |at| Course {
            place: Url::parse("https://r.test/x").ok(),
            at,
            chunk: Some(CHUNK),
            begun: 1,
            ..Course::default()
        };
        let refused = |status| Failure::from(Error::invalid("refused").with_status(status));
        // No chunks, then all at once.
        let mut course = fresh(0);
        assert!(course.turns(&refused(405)) && course.chunk.is_none() && course.place.is_none());
        // A proxy before it takes less.
        let mut course = fresh(0);
        while course.turns(&refused(413)) {}
        assert_eq!(course.chunk, Some(SMALLEST));
        // Forgotten in the middle.
        let mut course = fresh(CHUNK as u64);
        assert!(course.turns(&refused(404)) && course.chunk.is_some() && course.at == 0);
        for status in [400, 404, 410, 416] {
            let mut course = fresh(1);
            let mut turns = 0;
            while course.turns(&refused(status)) {
                turns += 1;
                course.place = course.place.or_else(|| {
                    course.begun += 1;
                    Url::parse("https://r.test/y").ok()
                });
                course.at = 1;
                assert!(turns < 10, "{status}");
            }
            assert!(turns > 0, "{status}");
        }
        assert!(!fresh(0).turns(&refused(401)) && !fresh(0).turns(&refused(507)));
    }
}
