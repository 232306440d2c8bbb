//! The members of a gzip stream, one after the other, as Go's `compress/gzip`
//! reads them: on demand. What lies behind the last byte that is asked for is
//! never looked at, so a trailer that is cut off does no harm to a reader that
//! needed nothing behind it.

use std::io::{self, BufRead, Read};

use flate2::bufread::DeflateDecoder;

/// Bytes of a name or comment in a header; Go refuses longer ones.
const LONGEST_TEXT: usize = 512;

/// Unpacks a gzip stream.
pub(crate) struct Gunzip<R> {
    state: State<R>,
    digest: crc32fast::Hasher,
    size: u32,
}

enum State<R> {
    /// Before a member; the first must be there.
    Header(R),
    Content(DeflateDecoder<R>),
    End,
    /// What was found stays found.
    Broken(String),
}

impl<R: BufRead> Gunzip<R> {
    /// Reads the first header.
    ///
    /// # Errors
    /// Where the content does not begin with one.
    pub(crate) fn new(mut inner: R) -> io::Result<Self> {
        if !header(&mut inner)? {
            return Err(broken("it is empty"));
        }
        let state = State::Content(DeflateDecoder::new(inner));
        Ok(Self { state, digest: crc32fast::Hasher::new(), size: 0 })
    }

    /// The next bytes, or the end of a member.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match std::mem::replace(&mut self.state, State::End) {
            State::Content(mut decoder) => {
                let read = decoder.read(buffer)?;
                self.digest.update(&buffer[..read]);
                self.size = self.size.wrapping_add(read as u32);
                if read > 0 {
                    self.state = State::Content(decoder);
                    return Ok(Some(read));
                }
                let mut inner = decoder.into_inner();
                self.trailer(&mut inner)?;
                self.state = State::Header(inner);
                Ok(None)
            }
            State::Header(mut inner) => {
                if !header(&mut inner)? {
                    return Ok(Some(0));
                }
                self.state = State::Content(DeflateDecoder::new(inner));
                Ok(None)
            }
            State::End => Ok(Some(0)),
            State::Broken(why) => Err(broken(&why)),
        }
    }

    fn trailer(&mut self, inner: &mut R) -> io::Result<()> {
        let mut trailer = [0; 8];
        inner.read_exact(&mut trailer)?;
        let digest = std::mem::take(&mut self.digest).finalize();
        let size = std::mem::take(&mut self.size);
        let claimed = [digest.to_le_bytes(), size.to_le_bytes()].concat();
        if trailer[..] == claimed[..] { Ok(()) } else { Err(broken("its checksum is wrong")) }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.step(buffer) {
                Ok(Some(read)) => return Ok(read),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.state = State::Broken(error.to_string());
                    return Err(error);
                }
            }
        }
    }
}

/// Reads a member's header; false where the stream ends before it.
fn header(inner: &mut impl BufRead) -> io::Result<bool> {
    if inner.fill_buf()?.is_empty() {
        return Ok(false);
    }
    let mut digest = crc32fast::Hasher::new();
    let fixed: [u8; 10] = field(inner, &mut digest)?;
    if fixed[..3] != [0x1f, 0x8b, 8] {
        return Err(broken("it does not begin as gzip does"));
    }
    let flags = fixed[3];
    if flags & 4 != 0 {
        let length: [u8; 2] = field(inner, &mut digest)?;
        for _ in 0..u16::from_le_bytes(length) {
            let _: [u8; 1] = field(inner, &mut digest)?;
        }
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            skip_text(inner, &mut digest)?;
        }
    }
    if flags & 2 != 0 {
        let found = digest.clone().finalize() as u16;
        let claimed: [u8; 2] = field(inner, &mut digest)?;
        if u16::from_le_bytes(claimed) != found {
            return Err(broken("the checksum of its header is wrong"));
        }
    }
    Ok(true)
}

fn field<const N: usize>(inner: &mut impl Read, digest: &mut crc32fast::Hasher) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    inner.read_exact(&mut bytes)?;
    digest.update(&bytes);
    Ok(bytes)
}

/// A name or a comment, up to its NUL.
fn skip_text(inner: &mut impl Read, digest: &mut crc32fast::Hasher) -> io::Result<()> {
    for _ in 0..LONGEST_TEXT {
        if field::<1>(inner, digest)? == [0] {
            return Ok(());
        }
    }
    Err(broken("the name in its header is longer than 511 bytes"))
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut gzip =
            GzBuilder::new().filename("x").comment("y").extra(vec![1, 2]).write(Vec::new(), Compression::fast());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    }

    fn read(bytes: &[u8], wanted: usize) -> io::Result<Vec<u8>> {
        let mut found = vec![0; wanted];
        Gunzip::new(bytes)?.read_exact(&mut found)?;
        Ok(found)
    }

    #[test]
    fn what_nobody_asks_for_is_not_looked_at() {
        let one = packed(b"content");
        assert_eq!(read(&one, 7).unwrap(), b"content");
        assert_eq!(read(&one[..one.len() - 8], 7).unwrap(), b"content");
        assert!(read(&one[..one.len() - 8], 8).is_err());
        let mut wrong = one.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(read(&wrong, 7).unwrap(), b"content");
        assert!(read(&wrong, 8).unwrap_err().to_string().contains("checksum"));
        let mut two = one.clone();
        two.extend(&one);
        assert_eq!(read(&two, 14).unwrap(), b"contentcontent");
        let mut junk = one.clone();
        junk.extend(b"junk and more of it");
        assert!(read(&junk, 8).unwrap_err().to_string().contains("begin"));
    }

    #[test]
    fn a_stream_that_is_none_is_refused() {
        for bytes in [&b""[..], b"<html>and more</html>", &[0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0], &[0x1f, 0x8b]] {
            assert!(Gunzip::new(bytes).is_err());
        }
    }
}
