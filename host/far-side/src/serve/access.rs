//! Who may read: everybody, or those in a file of htpasswd with their bcrypt
//! hashes. A hash is meant to be slow, so that what was found right is
//! remembered, and only one is computed at a time.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

use base::digest::Digest;
use base::error::{Class, Error, Result};
use disk::fs;

const LARGEST_FILE: u64 = 1 << 20;
/// Users and passwords that are remembered.
const REMEMBERED: usize = 1_000;
/// bcrypt looks at no more.
const LONGEST_PASSWORD: usize = 72;

/// Users with the hashes of their passwords.
pub struct Users {
    hashes: HashMap<String, String>,
    /// What is compared with where nobody is called so: it takes as long.
    nobody: String,
    right: Mutex<HashSet<Digest>>,
    turn: Semaphore,
}

impl Users {
    /// # Errors
    /// `usage` where there is no file; `invalid-input` where it has a line that
    /// is none of htpasswd's, or another kind of hash.
    pub fn load(path: &Path) -> Result<Self> {
        let Some(bytes) = fs::read_optional(path, LARGEST_FILE)? else {
            let message = format!("there is no file `{}`", path.display());
            return Err(Error::new(Class::Usage, message).hint("make one with `htpasswd -cB FILE USER`"));
        };
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|(line, why)| {
            Error::invalid(format!("{}:{line}: {why}", path.display()))
                .hint("each line is `user:` and a bcrypt hash, as `htpasswd -B FILE USER` writes it")
        })
    }

    fn parse(text: &str) -> std::result::Result<Self, (usize, String)> {
        let mut hashes = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |why: &str| (at + 1, why.to_owned());
            let (user, hash) = line.split_once(':').ok_or_else(|| bad("there is no colon"))?;
            let is_bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|kind| hash.starts_with(kind));
            if !is_bcrypt || hash.parse::<bcrypt::HashParts>().is_err() {
                return Err(bad(&format!("the password of `{}` is no bcrypt hash", user.escape_debug())));
            }
            if hashes.insert(user.to_owned(), hash.to_owned()).is_some() {
                return Err(bad(&format!("`{}` stands there twice", user.escape_debug())));
            }
        }
        let Some(nobody) = hashes.values().next().cloned() else {
            return Err((1, "there is no user in it".to_owned()));
        };
        Ok(Self { hashes, nobody, right: Mutex::default(), turn: Semaphore::new(1) })
    }

    /// Whether the value of a header `Authorization` is right.
    pub(super) async fn admits(&self, authorization: Option<&str>) -> bool {
        let Some((user, password)) = authorization.and_then(basic) else { return false };
        // A password that is remembered is not kept itself.
        let known = Digest::of(format!("{user}:{password}").as_bytes());
        if self.remembered(known) {
            return true;
        }
        let Ok(_turn) = self.turn.acquire().await else { return false };
        // Whoever had the turn before may have asked the same.
        if self.remembered(known) {
            return true;
        }
        let hash = self.hashes.get(&user);
        let (is_user, hash) = (hash.is_some(), hash.unwrap_or(&self.nobody).clone());
        let checked = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false));
        let is_right = checked.await.unwrap_or(false) && is_user;
        if is_right && let Ok(mut right) = self.right.lock() {
            if right.len() >= REMEMBERED {
                right.clear();
            }
            right.insert(known);
        }
        is_right
    }

    fn remembered(&self, known: Digest) -> bool {
        self.right.lock().is_ok_and(|right| right.contains(&known))
    }
}

/// User and password of `Basic …`.
fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, value) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    (password.len() <= LONGEST_PASSWORD && !password.contains('\0')).then(|| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `correct horse`.
    const HASH: &str = "$2y$05$airgapairgapairgapairecwmlJSKiUeBaXHTJ5RBSvl/yUSVJxCK";

    #[tokio::test]
    async fn the_right_password_of_a_user_is_let_in() {
        let users = Users::parse(&format!("# x\n\nbuilder:{HASH}\n")).unwrap();
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for _ in 0..2 {
            assert!(users.admits(Some(&header("builder:correct horse"))).await);
            for wrong in ["builder:correct", "other:correct horse", "builder", "builder:", ""] {
                assert!(!users.admits(Some(&header(wrong))).await, "{wrong}");
            }
        }
        assert!(!users.admits(None).await);
        assert!(!users.admits(Some("Bearer x")).await);
        assert!(!users.admits(Some("Basic %%%")).await);
        assert!(!users.admits(Some(&header(&format!("builder:correct horse{}", "x".repeat(100))))).await);
    }

    #[test]
    fn other_hashes_and_lines_are_named() {
        for (text, line, why) in [
            ("", 1, "no user"),
            ("a", 1, "colon"),
            ("a:secret", 1, "bcrypt"),
            ("a:$apr1$x$y", 1, "bcrypt"),
            ("a:$2y$05$short", 1, "bcrypt"),
            (&format!("a:{HASH}\na:{HASH}"), 2, "twice"),
        ] {
            let (at, found) = Users::parse(text).err().unwrap();
            assert!(at == line && found.contains(why), "{text}: {at} {found}");
        }
    }
}
