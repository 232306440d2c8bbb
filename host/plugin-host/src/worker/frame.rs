//! How a message lies in a pipe: the lengths of its two parts, a head in JSON,
//! and a body of bytes. Nothing is read beyond what the reader allows.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a head: names, limits, the text of an error.
const HEAD_BYTES: u64 = 1 << 20;
/// Two lengths of 64 bits, the lesser byte first.
const LENGTHS: usize = 16;

/// The bytes that stand in front of a body of `length` bytes.
///
/// # Errors
/// Where the head is too long or can not be written as JSON.
pub(super) fn front(head: &impl Serialize, length: usize) -> io::Result<Vec<u8>> {
    let head = serde_json::to_vec(head)?;
    if head.len() as u64 > HEAD_BYTES {
        return Err(too_long("head", head.len() as u64, HEAD_BYTES));
    }
    Ok([&(head.len() as u64).to_le_bytes(), &(length as u64).to_le_bytes(), head.as_slice()].concat())
}

/// # Errors
/// As [`front`], and what the pipe answers.
pub(super) fn write(out: &mut impl Write, head: &impl Serialize, body: &[u8]) -> io::Result<()> {
    out.write_all(&front(head, body.len())?)?;
    out.write_all(body)?;
    out.flush()
}

/// A message of which the head has been read.
pub(super) struct Incoming<R> {
    input: R,
    length: u64,
}

/// Reads the head.
///
/// # Errors
/// Where the message breaks off, is too long, or has another head.
pub(super) fn read<H: DeserializeOwned, R: Read>(mut input: R) -> io::Result<(H, Incoming<R>)> {
    let mut lengths = [0; LENGTHS];
    input.read_exact(&mut lengths)?;
    let (head, length) = lengths.split_at(LENGTHS / 2);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (head, length) = (number(head), number(length));
    if head > HEAD_BYTES {
        return Err(too_long("head", head, HEAD_BYTES));
    }
    let head = exactly(&mut input, head)?;
    Ok((serde_json::from_slice(&head)?, Incoming { input, length }))
}

impl<R: Read> Incoming<R> {
    /// The body, of at most `limit` bytes.
    ///
    /// # Errors
    /// Where it breaks off or is longer.
    pub(super) fn body(mut self, limit: u64) -> io::Result<Vec<u8>> {
        if self.length > limit {
            return Err(too_long("body", self.length, limit));
        }
        exactly(&mut self.input, self.length)
    }
}

/// Head and body of a message that is there as a whole, whose memory the body keeps.
///
/// # Errors
/// As [`read`], and where the body breaks off or is longer than `limit`.
pub(super) fn taken_apart<H: DeserializeOwned>(mut message: Vec<u8>, limit: u64) -> io::Result<(H, Vec<u8>)> {
    let (head, Incoming { input, length }) = read(message.as_slice())?;
    if length > limit {
        return Err(too_long("body", length, limit));
    }
    let front = message.len() - input.len();
    let length = usize::try_from(length).map_err(io::Error::other)?;
    if input.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    message.truncate(front + length);
    message.drain(..front);
    Ok((head, message))
}

/// Memory is taken as bytes come: a length is only what somebody says.
fn exactly(input: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input.take(length).read_to_end(&mut bytes)?;
    if (read as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// Bytes of the longest message with a body of `limit` bytes.
pub(super) fn longest(limit: u64) -> u64 {
    limit.saturating_add(HEAD_BYTES).saturating_add(LENGTHS as u64)
}

fn too_long(part: &str, length: u64, limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a {part} of {length} bytes, and at most {limit} are read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(head: &str, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, &head, body).unwrap();
        out
    }

    /// As it comes, and as a whole: both are the same, and what follows is left alone.
    fn read_whole(bytes: &[u8], limit: u64) -> io::Result<(String, Vec<u8>)> {
        let streamed = read(bytes).and_then(|(head, incoming)| Ok((head, incoming.body(limit)?)));
        let whole = taken_apart::<String>(bytes.to_vec(), limit);
        assert_eq!(whole.as_ref().ok(), streamed.as_ref().ok());
        if streamed.is_ok() {
            let surplus = taken_apart::<String>([bytes, b"surplus"].concat(), limit);
            assert_eq!(surplus.as_ref().ok(), streamed.as_ref().ok());
        }
        streamed
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = written("head", b"body");
        assert_eq!(read_whole(&bytes, 4).unwrap(), ("head".to_owned(), b"body".to_vec()));
        assert_eq!(bytes.len() as u64, longest(4) - HEAD_BYTES + 6);
        assert!(front(&"x".repeat(1 << 20), 0).is_err(), "a head that nobody would read");
    }

    #[test]
    fn what_breaks_off_or_is_too_long_is_an_error() {
        let bytes = written("head", b"body");
        for length in 0..bytes.len() {
            assert!(read_whole(&bytes[..length], 4).is_err(), "{length}");
        }
        assert!(read_whole(&bytes, 3).unwrap_err().to_string().contains("4 bytes, and at most 3"));
        assert!(read::<String, _>(&[0xff; 64][..]).is_err(), "a head without end");
        let mut endless = bytes.clone();
        endless[15] = 0x7f;
        assert!(read_whole(&endless, u64::MAX).is_err(), "a body without end");
        assert!(read::<u32, _>(&bytes[..]).is_err(), "another head");
    }
}
