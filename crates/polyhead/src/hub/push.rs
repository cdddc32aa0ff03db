//! A model folder to the Hub, as one commit.
//!
//! ```text
//! POST /api/repos/create                   {name, organization, type, private}     a repository, if it is not there
//! POST /api/models/ID/preupload/BRANCH     {files: [{path, size, sample}]}         which files are large
//! POST /ID.git/info/lfs/objects/batch      {objects: [{oid, size}]}                where their bytes go; nowhere if they are there
//! PUT  (that address)                      the bytes, whole or in parts
//! POST /api/models/ID/commit/BRANCH        a line of JSON for each file            the commit
//! ```
//!
//! Until the commit nothing of the repository changes. The protocol is that of `huggingface_hub` (`create_commit`) and of git LFS.

use super::cache::described;
use super::client::{Client, Failure, LFS};
use super::name::Repository;
use super::{HubEvent, HubOptions, Network, Pushed, Visibility, local};
use crate::error::{Error, Place, Result};
use crate::io::sha256_file;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

/// The Hub tells large files from small ones by their first bytes, too.
const SAMPLE: u64 = 512;

/// A file of the folder.
struct Local {
    name: String,
    path: PathBuf,
    size: u64,
}

impl Local {
    fn first_bytes(&self, count: u64) -> Result<Vec<u8>> {
        let reading = |cause| Error::reading(&self.path, cause);
        let mut bytes = Vec::new();
        File::open(&self.path).map_err(reading)?.take(count).read_to_end(&mut bytes).map_err(reading)?;
        Ok(bytes)
    }
}

/// See [`super::push`].
pub(super) fn push(
    folder: &Path,
    repository: &Repository,
    visibility: Visibility,
    message: &str,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<Pushed> {
    let folder = local::model_folder(folder);
    let files = files(&folder)?;
    if options.network == Network::Offline {
        return Err(Error::unavailable("the Hub can't be reached: offline mode (HF_HUB_OFFLINE)"));
    }
    if options.token.is_none() {
        return Err(Error::usage("expected a token that may write to the Hub, found none")
            .hint("set HF_TOKEN, or log in with `hf auth login`; tokens are made at huggingface.co/settings/tokens"));
    }
    let client = Client::new(options)?;
    let hub = Hub { client: &client, repository, endpoint: &options.endpoint };
    hub.commit(&files, visibility, message, notify).map_err(|failure| match failure {
        Failure::Refused(error) => error,
        Failure::Unreachable(why) => Error::unavailable(format!("the Hub ({}): {why}", options.endpoint))
            .hint("nothing was changed there; HF_ENDPOINT, HTTPS_PROXY"),
        Failure::Absent => Error::missing(format!("the Hub has no {}", repository.said()))
            .hint("a new branch is made on its page, or by `git push`"),
    })
}

/// The files of a model folder, in order.
fn files(folder: &Path) -> Result<Vec<Local>> {
    if !folder.join("config.json").is_file() {
        return Err(Error::missing("expected a model folder, found none")
            .at(Place::file(folder))
            .hint("`polyhead train RECIPE` makes one: RUN/best"));
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|cause| Error::reading(folder, cause))? {
        let path = entry.map_err(|cause| Error::reading(folder, cause))?.path();
        let described = std::fs::metadata(&path).map_err(|cause| Error::reading(&path, cause))?;
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if described.is_file() && !name.starts_with('.') => {
                files.push(Local { name: name.to_owned(), size: described.len(), path });
            }
            _ => {}
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Bytes of a file, with somebody who hears how many have gone.
struct Told<'a> {
    bytes: Take<File>,
    file: &'a Local,
    done: u64,
    notify: &'a mut dyn FnMut(HubEvent),
}

impl Read for Told<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.bytes.read(into)?;
        self.done += count as u64;
        let Local { name, size, .. } = self.file;
        (self.notify)(HubEvent::Progress { file: name.clone(), done: self.done, total: Some(*size) });
        Ok(count)
    }
}

/// A repository that is written to.
struct Hub<'a> {
    client: &'a Client,
    repository: &'a Repository,
    endpoint: &'a str,
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
    #[serde(default)]
    should_ignore: bool,
}

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<ObjectError>,
}

#[derive(Deserialize)]
struct ObjectError {
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_url: String,
    commit_oid: String,
}

impl Hub<'_> {
    fn commit(
        &self,
        files: &[Local],
        visibility: Visibility,
        message: &str,
        notify: &mut dyn FnMut(HubEvent),
    ) -> Result<Pushed, Failure> {
        let (id, branch) = (&self.repository.id, described(self.repository).url_revision());
        self.create(visibility)?;
        let mut asked = Vec::with_capacity(files.len());
        for file in files {
            let sample = STANDARD.encode(file.first_bytes(SAMPLE)?);
            asked.push(json!({ "path": file.name, "size": file.size, "sample": sample }));
        }
        let address = format!("{}/api/models/{id}/preupload/{branch}", self.endpoint);
        let told: Preupload = self.client.post_json(&address, &json!({ "files": asked }), self.repository)?;
        let mode = |name: &str| told.files.iter().find(|mode| mode.path == name);
        let mut lines = vec![json!({ "key": "header", "value": { "summary": message, "description": "" } })];
        let mut large = Vec::new();
        for file in files {
            match mode(&file.name) {
                Some(mode) if mode.should_ignore => {
                    notify(HubEvent::Note(format!(
                        "{} is left out: the repository ignores it (.gitignore)",
                        file.name
                    )));
                }
                // An empty file can't be stored as a large one.
                Some(mode) if mode.upload_mode == "lfs" && file.size > 0 => {
                    large.push((file, sha256_file(&file.path)?))
                }
                _ => {
                    let content = STANDARD.encode(file.first_bytes(u64::MAX)?);
                    let value = json!({ "path": file.name, "content": content, "encoding": "base64" });
                    lines.push(json!({ "key": "file", "value": value }));
                }
            }
        }
        self.upload(&large, notify)?;
        for (file, oid) in &large {
            let value = json!({ "path": file.name, "algo": "sha256", "oid": oid, "size": file.size });
            lines.push(json!({ "key": "lfsFile", "value": value }));
        }
        let files = lines.len() - 1;
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let address = format!("{}/api/models/{id}/commit/{branch}", self.endpoint);
        let Committed { commit_url, commit_oid } =
            self.client.post(&address, "application/x-ndjson", body.as_bytes(), self.repository)?;
        Ok(Pushed { url: commit_url, commit: commit_oid, files })
    }

    /// Makes the repository, unless it is there.
    fn create(&self, visibility: Visibility) -> Result<(), Failure> {
        let (owner, name) = match self.repository.id.split_once('/') {
            Some((owner, name)) => (Some(owner), name),
            None => (None, self.repository.id.as_str()),
        };
        let private = visibility == Visibility::Private;
        let body = json!({ "name": name, "organization": owner, "type": "model", "private": private });
        self.client.create(&format!("{}/api/repos/create", self.endpoint), &body, self.repository)
    }

    /// Brings the bytes of large files to where the Hub wants them.
    fn upload(&self, files: &[(&Local, String)], notify: &mut dyn FnMut(HubEvent)) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let objects: Vec<Value> = files.iter().map(|(file, oid)| json!({ "oid": oid, "size": file.size })).collect();
        let asked = json!({
            "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256", "objects": objects,
            "ref": { "name": self.repository.revision },
        });
        let address = format!("{}/{}.git/info/lfs/objects/batch", self.endpoint, self.repository.id);
        let told: Batch = self.client.post_lfs(&address, &asked, self.repository)?;
        for (file, oid) in files {
            let Some(object) = told.objects.iter().find(|object| object.oid == *oid) else {
                return Err(Failure::Unreachable(format!("says nothing of where {} goes", file.name)));
            };
            if let Some(ObjectError { message }) = &object.error {
                return Err(Error::data(format!("the Hub refuses {}: {message}", file.name)).into());
            }
            // Without actions the bytes are there already.
            let Some(Actions { upload: Some(action), verify }) = &object.actions else { continue };
            notify(HubEvent::Started { file: file.name.clone(), bytes: Some(file.size), already: 0 });
            self.put(file, oid, action, notify)?;
            if let Some(verify) = verify {
                let body = json!({ "oid": oid, "size": file.size });
                self.client.post_unread(
                    &verify.href,
                    "application/json",
                    body.to_string().as_bytes(),
                    self.repository,
                )?;
            }
            notify(HubEvent::Finished { file: file.name.clone() });
        }
        Ok(())
    }

    /// The bytes of one file, in parts where the Hub gives an address for each.
    fn put(&self, file: &Local, oid: &str, action: &Action, notify: &mut dyn FnMut(HubEvent)) -> Result<(), Failure> {
        let reading = |cause| Failure::from(Error::reading(&file.path, cause));
        let header = action.header.as_ref();
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let Some(part) = header.and_then(|header| header.get("chunk_size")).and_then(number).filter(|&part| part > 0)
        else {
            let opened = File::open(&file.path).map_err(reading)?;
            let mut told = Told { bytes: opened.take(file.size), file, done: 0, notify };
            self.client.put(&action.href, &mut told, file.size)?;
            return Ok(());
        };
        let numbered =
            header.into_iter().flatten().filter_map(|(key, value)| Some((key.parse().ok()?, value.as_str()?)));
        let parts: BTreeMap<u64, &str> = numbered.collect();
        if parts.len() as u64 != file.size.div_ceil(part) {
            let message = format!("gives {} addresses for the parts of {}", parts.len(), file.name);
            return Err(Failure::Unreachable(message));
        }
        let mut done = Vec::with_capacity(parts.len());
        for ((number, address), from) in parts.iter().zip((0..file.size).step_by(part.try_into().unwrap_or(usize::MAX)))
        {
            let mut opened = File::open(&file.path).map_err(reading)?;
            opened.seek(SeekFrom::Start(from)).map_err(reading)?;
            let size = part.min(file.size - from);
            let mut told = Told { bytes: opened.take(size), file, done: from, notify };
            let etag = self.client.put(address, &mut told, size)?;
            let etag =
                etag.ok_or_else(|| Failure::Unreachable(format!("no ETag for part {number} of {}", file.name)))?;
            done.push(json!({ "partNumber": number, "etag": etag }));
        }
        let body = json!({ "oid": oid, "parts": done });
        self.client.post_unread(&action.href, LFS, body.to_string().as_bytes(), self.repository)
    }
}
