//! What requests are checked against: the API key, and the names by which the server may be asked.

use crate::address::{canonical, split_port};
use polyhead::{Error, Place, Result};
use sha2::{Digest, Sha256};
use std::path::Path;
use subtle::ConstantTimeEq;

/// A secret that requests must bring. Only its digest is kept, so that it can't be shown by mistake.
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// The key of this text.
    pub fn new(key: &str) -> Result<Self> {
        let key = key.trim();
        if key.len() < 16 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let found = if key.len() < 16 { format!("{} of them", key.len()) } else { "others".to_owned() };
            return Err(Error::usage(format!(
                "API key: expected at least 16 printable ASCII characters, found {found}"
            ))
            .hint("`openssl rand -hex 32` makes a good one"));
        }
        Ok(Self(Sha256::digest(key).into()))
    }

    /// The key in the first line of a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
        Self::new(text.lines().next().unwrap_or("")).map_err(|error| error.at(Place::file(path)))
    }

    /// In constant time: digests of the same length are compared whole.
    pub fn is(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.ct_eq(&given).into()
    }
}

/// Host names by which this server may be asked.
pub struct Names(Option<Vec<String>>);

impl Names {
    /// These, in their canonical form, and those of the machine itself.
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        Self(Some(own.into_iter().chain(names).collect()))
    }

    /// Any: the server listens to the world, by whatever name it is known there.
    pub fn any() -> Self {
        Self(None)
    }

    /// Whether a host, as a request names it, is one of them.
    pub fn hold(&self, host: &str) -> bool {
        let Some(names) = &self.0 else { return true };
        let (name, port) = split_port(host);
        let number = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        canonical(name).filter(|_| number).is_some_and(|name| names.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_whole_and_short_ones_refused() {
        let key = ApiKey::new("0123456789abcdef\n").unwrap_or(ApiKey([0; 32]));
        assert!(
            key.is("0123456789abcdef") && !key.is("0123456789abcde") && !key.is("0123456789abcdef0") && !key.is("")
        );
        assert!(ApiKey::new("short").is_err() && ApiKey::new("0123456789 abcdef").is_err());
    }

    #[test]
    fn names_are_those_of_the_machine_and_those_that_are_allowed() {
        let names = Names::only(["ner.example".to_owned()]);
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]", "[::0001]:8080", "Ner.example:443", "ner.example."]
        {
            assert!(names.hold(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "",
            ":80",
            "[::2]:80",
            "localhost:x",
        ] {
            assert!(!names.hold(host), "{host}");
        }
        assert!(Names::any().hold("evil.example"));
    }
}
