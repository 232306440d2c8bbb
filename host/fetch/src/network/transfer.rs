//! One body into the store: resumed, bounded, verified.
//!
//! A body that is known to be small is collected in memory and enters the
//! store as a whole. Everything else flows through a `sink` into a
//! [`Partial`]; what is under way per download is one piece being written and
//! one waiting.

use std::time::Duration;

use reqwest::header::{HeaderValue, IF_RANGE, RANGE};

use super::auth::Subject;
use super::blocking::blocking;
use super::buffer::Buffer;
use super::contradiction::contradicts;
use super::failure::Failure;
use super::range::{Answered, Held, Verdict, judge};
use super::sink::Sink;
use super::transport::{Answer, Piece, Request, Tries, silent};
use super::{Fetched, Network};
use crate::store::partial::SYNC_TIME;
use crate::store::{Identity, Store};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::{Level, Progress};

/// Bodies of at most this many bytes are collected in memory.
const SMALL: u64 = 128 * 1024;

/// What is wanted, and what is known about it.
#[derive(Debug)]
pub(super) struct TransferRequest<'a> {
    /// Of the partial blob.
    pub(super) key: String,
    pub(super) identity: Identity,
    pub(super) expected: Option<Digest>,
    /// Bytes, when they are known beforehand.
    pub(super) size: Option<u64>,
    /// What `update` calls it, where airgap.lock says what is expected.
    pub(super) locked: Option<&'a str>,
    pub(super) limit: u64,
    /// Whether the step knows beforehand how many bytes all of its downloads
    /// have, this one's included.
    pub(super) is_counted: bool,
    /// "blob sha256:… of nginx:1.27".
    pub(super) what: &'a str,
    /// Where it comes from, for errors.
    pub(super) source: &'a str,
    pub(super) request: Request,
    pub(super) subject: Subject<'a>,
}

/// What has been tried so far.
#[derive(Debug, Default)]
struct Course {
    tries: Tries,
    /// Bytes that were there at most.
    furthest: u64,
    /// Another size than announced came: once may be an accident.
    differed: bool,
    /// All that came was wrong, and is fetched from the beginning.
    refetched: bool,
    /// Whether its bytes are part of the step's total.
    is_counted: bool,
}

impl Course {
    /// Bytes beyond those that were there before are progress.
    fn advance(&mut self, written: u64) {
        if written > self.furthest {
            self.furthest = written;
            self.tries.progressed();
        }
    }

    /// Adds the bytes of the whole to the step's total, once they are known.
    fn count(&mut self, whole: Option<u64>, progress: &Progress) {
        if let Some(whole) = whole.filter(|_| !self.is_counted) {
            self.is_counted = true;
            progress.expects(whole);
        }
    }
}

impl Network {
    /// Fetches `wanted` into the store, from wherever an earlier try stopped.
    /// The caller holds the claim on the key.
    pub(super) async fn transfer(
        &self,
        wanted: &TransferRequest<'_>,
        store: &Store,
        progress: &Progress,
    ) -> Result<Fetched> {
        let result = self.transfer_now(wanted, store, progress).await;
        if result.is_err() {
            let (store, key) = (store.clone(), wanted.key.clone());
            blocking(move || store.discard_empty(&key)).await?;
        }
        result
    }

    async fn transfer_now(&self, wanted: &TransferRequest<'_>, store: &Store, progress: &Progress) -> Result<Fetched> {
        let mut buffer = open(wanted, store, progress).await?;
        progress.reused(buffer.written());
        let mut course = Course { furthest: buffer.written(), is_counted: wanted.is_counted, ..Course::default() };
        loop {
            if wanted.size.is_none_or(|size| buffer.written() < size) || buffer.written() == 0 {
                let (filled, result) = self.fill(buffer, wanted, &mut course, progress).await?;
                buffer = filled;
                course.advance(buffer.written());
                if let Err(failure) = result {
                    if failure.error.class() == Class::Integrity && std::mem::replace(&mut course.differed, true) {
                        return Err(failure.error);
                    }
                    course.tries.next(failure, &wanted.request, &self.transport, progress).await?;
                    continue;
                }
            }
            buffer = match finish(buffer, wanted, store).await? {
                Ok(fetched) => return Ok(fetched),
                Err((_, found)) if course.refetched => return Err(wrong_digest(wanted, found)),
                Err((empty, found)) => {
                    course = Course { refetched: true, is_counted: true, ..Course::default() };
                    progress.retrying(0, &wrong_digest(wanted, found).one_line());
                    empty
                }
            };
        }
    }

    /// One request. The outer error is final, the inner one is up to the
    /// rules; the buffer keeps what came.
    async fn fill(
        &self,
        buffer: Buffer,
        wanted: &TransferRequest<'_>,
        course: &mut Course,
        progress: &Progress,
    ) -> Result<(Buffer, Result<(), Failure>)> {
        let buffer = if may_continue(&buffer, wanted) { buffer } else { restart(buffer).await? };
        let (answer, verdict) = match self.ask(&buffer, wanted, progress).await {
            Ok(answered) => answered,
            Err(failure) => return Ok((buffer, Err(failure))),
        };
        match verdict {
            Verdict::Complete => {
                course.count(Some(buffer.written()), progress);
                Ok((buffer, Ok(())))
            }
            Verdict::Discard(why) => Ok((restart(buffer).await?, Err(Failure::broken(impossible(wanted, why))))),
            Verdict::StartOver { total } => {
                if buffer.written() > 0 {
                    progress.log(Level::Debug, &format!("{} sent {} from the beginning", wanted.source, wanted.what));
                }
                if let Err(failure) = check(&answer, wanted, total) {
                    return Ok((buffer, Err(failure)));
                }
                let buffer = describe(restart(buffer).await?, &answer, total, wanted).await?;
                // Without an announced length the known size tells a body that
                // was cut from a whole one.
                let whole = total.or(wanted.size);
                course.count(whole, progress);
                pour(answer, buffer, whole, wanted, self.transport.silence, progress).await
            }
            Verdict::Append { total } => match check(&answer, wanted, total) {
                Err(failure) => Ok((buffer, Err(failure))),
                Ok(()) => {
                    course.count(total, progress);
                    pour(answer, buffer, total, wanted, self.transport.silence, progress).await
                }
            },
        }
    }

    /// Asks for what the buffer lacks. An answer that cannot be is asked for
    /// once more before it costs what is there: of many servers behind one
    /// name a single one may be wrong.
    async fn ask(
        &self,
        buffer: &Buffer,
        wanted: &TransferRequest<'_>,
        progress: &Progress,
    ) -> Result<(Answer, Verdict), Failure> {
        let (answer, verdict) = self.ask_once(buffer, wanted, progress).await?;
        let Verdict::Discard(why) = verdict else { return Ok((answer, verdict)) };
        drop(answer);
        progress.retrying(0, &impossible(wanted, why).one_line());
        self.ask_once(buffer, wanted, progress).await
    }

    async fn ask_once(
        &self,
        buffer: &Buffer,
        wanted: &TransferRequest<'_>,
        progress: &Progress,
    ) -> Result<(Answer, Verdict), Failure> {
        let mut request = wanted.request.clone();
        ask_for_rest(&mut request, buffer, wanted);
        let answer = self.send(request, wanted.subject, wanted.what, progress).await?;
        if !matches!(answer.status(), 200 | 203 | 206 | 416) {
            return Err(self.refusal(answer, wanted.subject, wanted.what).await);
        }
        let answered = Answered {
            status: answer.status(),
            content_range: answer.header("content-range"),
            content_length: answer.content_length(),
            etag: answer.header("etag"),
            last_modified: answer.header("last-modified"),
        };
        let verdict = judge(answered, held(buffer, wanted));
        Ok((answer, verdict))
    }
}

fn held<'a>(buffer: &'a Buffer, wanted: &TransferRequest<'_>) -> Held<'a> {
    Held {
        bytes: buffer.written(),
        size: wanted.size.or(buffer.identity().and_then(|identity| identity.size)),
        validator: validator(buffer, wanted),
    }
}

/// What tells whether the rest belongs to what is there; a digest does so
/// better.
fn validator<'a>(buffer: &'a Buffer, wanted: &TransferRequest<'_>) -> Option<&'a str> {
    let asked = wanted.expected.is_none() && buffer.written() > 0;
    buffer.identity().filter(|_| asked)?.validator.as_deref()
}

async fn open(wanted: &TransferRequest<'_>, store: &Store, progress: &Progress) -> Result<Buffer> {
    if wanted.size.is_some_and(|size| size <= SMALL) {
        return Ok(Buffer::Small(Vec::new()));
    }
    let (store, key, identity) = (store.clone(), wanted.key.clone(), wanted.identity.clone());
    let cancel = progress.cancellation().clone();
    blocking(move || store.partial(&key, identity, &|| cancel.is_cancelled()))
        .await
        .map(|partial| Buffer::Large(Box::new(partial)))
}

/// Without a digest for the end, the rest is only asked for where the server
/// can tell whether the content is still the same.
fn may_continue(buffer: &Buffer, wanted: &TransferRequest<'_>) -> bool {
    wanted.expected.is_some() || validator(buffer, wanted).is_some()
}

fn ask_for_rest(request: &mut Request, buffer: &Buffer, wanted: &TransferRequest<'_>) {
    let have = buffer.written();
    if have == 0 {
        return;
    }
    if let Ok(range) = HeaderValue::from_str(&format!("bytes={have}-")) {
        request.headers.insert(RANGE, range);
    }
    if let Some(Ok(validator)) = validator(buffer, wanted).map(HeaderValue::from_str) {
        request.headers.insert(IF_RANGE, validator);
    }
}

/// Whether the body can be what is wanted, as far as its head tells.
fn check(answer: &Answer, wanted: &TransferRequest<'_>, total: Option<u64>) -> Result<(), Failure> {
    let is_as_long = wanted.expected.is_some() && total.is_some() && wanted.size == total;
    // A server that calls the file itself an encoding of what is in it sends
    // the right bytes: so does one whose body is as long as it should be.
    if !is_as_long && !answer.is_encoded_by_name(&wanted.request.url) {
        answer.refuse_encoding(wanted.what)?;
    }
    check_size(wanted, total)
}

fn check_size(wanted: &TransferRequest<'_>, total: Option<u64>) -> Result<(), Failure> {
    let Some(total) = total else { return Ok(()) };
    if let Some(size) = wanted.size.filter(|size| *size != total) {
        let found = format!("{} sends {total} bytes for {}", wanted.source, wanted.what);
        let error = match wanted.locked {
            Some(name) => contradicts(&found, &format!("{size} bytes"), name),
            None => Error::integrity(format!("{found}, which has {size}")),
        };
        return Err(Failure::broken(error));
    }
    if total > wanted.limit {
        return Err(too_large(wanted).into());
    }
    Ok(())
}

fn impossible(wanted: &TransferRequest<'_>, why: &str) -> Error {
    Error::transient(format!("{} sent {why} for {}", wanted.source, wanted.what))
}

fn too_large(wanted: &TransferRequest<'_>) -> Error {
    // The setting is of whole GiB; what is less was asked for.
    let hint = match wanted.limit < 1 << 30 {
        true => "nothing of this kind is that large: look at what the address gives",
        false => "`security.largest_download_gib` in settings.yaml is the limit for downloads",
    };
    Error::invalid(format!("{} from {} is larger than {} bytes", wanted.what, wanted.source, wanted.limit)).hint(hint)
}

/// Notes what a later resume needs to know about a URL's content.
async fn describe(buffer: Buffer, answer: &Answer, total: Option<u64>, wanted: &TransferRequest<'_>) -> Result<Buffer> {
    let Buffer::Large(mut partial) = buffer else { return Ok(buffer) };
    if wanted.expected.is_some() && wanted.size.is_some() {
        return Ok(Buffer::Large(partial));
    }
    let strong = answer.header("etag").filter(|etag| etag.starts_with('"'));
    let validator = strong.or_else(|| answer.header("last-modified")).map(str::to_owned);
    blocking(move || partial.describe(total, validator).map(|()| Buffer::Large(partial))).await
}

async fn restart(buffer: Buffer) -> Result<Buffer> {
    match buffer {
        Buffer::Small(mut bytes) => {
            bytes.clear();
            Ok(Buffer::Small(bytes))
        }
        Buffer::Large(partial) if partial.written() == 0 => Ok(Buffer::Large(partial)),
        Buffer::Large(mut partial) => blocking(move || partial.restart().map(|()| Buffer::Large(partial))).await,
    }
}

/// Moves the body into the buffer.
async fn pour(
    mut answer: Answer,
    buffer: Buffer,
    whole: Option<u64>,
    wanted: &TransferRequest<'_>,
    silence: Duration,
    progress: &Progress,
) -> Result<(Buffer, Result<(), Failure>)> {
    let mut written = buffer.written();
    let most = whole.unwrap_or(wanted.limit);
    let mut sink = Sink::new(buffer);
    let mut quiet = Duration::ZERO;
    let result = loop {
        let piece = tokio::select! {
            piece = answer.piece(SYNC_TIME.min(silence)) => piece,
            () = progress.cancellation().cancelled() => break Err(Error::interrupted().into()),
        };
        match piece {
            Ok(Piece::Bytes(bytes)) => {
                quiet = Duration::ZERO;
                written += bytes.len() as u64;
                progress.fetched(bytes.len() as u64);
                if let Err(error) = progress.may_go_on() {
                    break Err(error.into());
                }
                if written > most {
                    break Err(overflow(wanted, most));
                }
                if !sink.write(bytes).await {
                    break Ok(());
                }
            }
            Ok(Piece::Nothing) => {
                quiet += SYNC_TIME.min(silence);
                if quiet >= silence {
                    break Err(silent(&answer.url, silence));
                }
                sink.sync().await;
            }
            Ok(Piece::End) if whole.is_some_and(|whole| written < whole) => {
                break Err(Failure::broken(Error::transient(format!(
                    "{} ended {} after {written} of {most} bytes",
                    wanted.source, wanted.what
                ))));
            }
            Ok(Piece::End) => break Ok(()),
            Err(failure) => break Err(failure),
        }
    };
    drop(answer);
    Ok((sink.close(result.is_ok()).await?, result))
}

/// More came than there may be: wrong content where the size is known.
fn overflow(wanted: &TransferRequest<'_>, most: u64) -> Failure {
    if most == wanted.limit {
        return too_large(wanted).into();
    }
    Failure::broken(match wanted.locked {
        Some(name) => {
            let found = format!("{} sends more than {most} bytes for {}", wanted.source, wanted.what);
            contradicts(&found, &format!("{most} bytes"), name)
        }
        None => Error::integrity(format!("{} sends more than the {most} bytes of {}", wanted.source, wanted.what)),
    })
}

/// Compares the digest and commits. With another digest the buffer comes back
/// empty, along with what was found.
async fn finish(
    buffer: Buffer,
    wanted: &TransferRequest<'_>,
    store: &Store,
) -> Result<Result<Fetched, (Buffer, Digest)>> {
    let (store, expected) = (store.clone(), wanted.expected);
    blocking(move || match buffer {
        Buffer::Small(mut bytes) => {
            let found = Digest::of(&bytes);
            if expected.is_some_and(|expected| expected != found) {
                bytes.clear();
                return Ok(Err((Buffer::Small(bytes), found)));
            }
            store.insert_bytes(&bytes)?;
            Ok(Ok(Fetched { digest: found, size: bytes.len() as u64 }))
        }
        Buffer::Large(mut partial) => {
            let found = partial.digest();
            if expected.is_some_and(|expected| expected != found) {
                partial.restart()?;
                return Ok(Err((Buffer::Large(partial), found)));
            }
            let (digest, size) = partial.commit(&store)?;
            Ok(Ok(Fetched { digest, size }))
        }
    })
    .await
}

fn wrong_digest(wanted: &TransferRequest<'_>, found: Digest) -> Error {
    let expected = wanted.expected.map(|digest| digest.to_string()).unwrap_or_default();
    if let Some(name) = wanted.locked {
        let found = format!("{} from {} has the digest {found}", wanted.what, wanted.source);
        return contradicts(&found, &expected, name);
    }
    Error::integrity(format!("{} from {} has the digest {found} instead of {expected}", wanted.what, wanted.source))
        .hint("the server, or a proxy on the way, delivers other bytes than it announces: nothing of it was kept")
}
