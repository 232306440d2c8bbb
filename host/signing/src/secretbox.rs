//! `crypto_secretbox` of NaCl, in which cosign keeps private keys: the tag of
//! Poly1305, and behind it what XSalsa20 encrypted.

use crypto_secretbox::XSalsa20Poly1305;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use zeroize::Zeroizing;

use base::error::{Error, Result};

pub(crate) const KEY: usize = 32;
pub(crate) const NONCE: usize = 24;

/// Tag and ciphertext.
///
/// # Errors
/// `local` of more than the cipher takes, 256 GiB.
pub(crate) fn seal(key: &[u8; KEY], nonce: &[u8; NONCE], plain: &[u8]) -> Result<Vec<u8>> {
    let sealed = XSalsa20Poly1305::new(key.into()).encrypt(nonce.into(), plain);
    sealed.map_err(|_| Error::local("the key is too large to be encrypted"))
}

/// None where the key is another one, or a byte is.
pub(crate) fn open(key: &[u8; KEY], nonce: &[u8; NONCE], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    XSalsa20Poly1305::new(key.into()).decrypt(nonce.into(), sealed).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of NaCl itself (tests/secretbox.c and secretbox.out).
    #[test]
    fn it_is_what_nacl_makes() {
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let plain = hex(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01\
             233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd\
             4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
        );
        let sealed = hex(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c\
             98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfea\
             bd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
        );
        let (key, nonce) = (key.try_into().unwrap(), nonce.try_into().unwrap());
        assert_eq!(seal(&key, &nonce, &plain).unwrap(), sealed);
        assert_eq!(*open(&key, &nonce, &sealed).unwrap(), plain);
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert_eq!(open(&key, &nonce, &other), None, "byte {at}");
        }
        assert_eq!(open(&key, &nonce, &sealed[..15]), None);
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }
}
