//! What a served text says of the folders of this machine: names alone.
//!
//! ```text
//! encoder /home/me/models/tiny, data /srv/data/train.conll:12   ->   encoder tiny, data train.conll:12
//! ```

use polyhead::report::html::escape;

/// Top folders of the systems that polyhead runs on; those of paths that are known come to them.
const TOPS: &[&str] = &[
    "Applications",
    "Library",
    "System",
    "Users",
    "Volumes",
    "app",
    "bin",
    "boot",
    "data",
    "dev",
    "etc",
    "home",
    "lib",
    "media",
    "mnt",
    "nix",
    "opt",
    "private",
    "proc",
    "root",
    "run",
    "sbin",
    "scratch",
    "snap",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
    "workspace",
];

/// A text, plain or HTML, with absolute paths cut to their last names. `known` are paths that may occur in it; they may hold
/// spaces, which otherwise end a path.
pub fn names_only(text: &str, known: &[String]) -> String {
    let mut literal: Vec<(String, &str)> = Vec::new();
    for path in known.iter().map(|path| path.trim_end_matches('/')).filter(|path| path.starts_with('/')) {
        let Some((_, name)) = path.rsplit_once('/').filter(|(before, name)| !before.is_empty() && !name.is_empty())
        else {
            continue;
        };
        literal.extend([(path.to_owned(), name), (escape(path), name)]);
    }
    literal.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    let mut text = text.replace("file:///", "/");
    for (path, name) in literal {
        text = replaced(&text, &path, &escape(name));
    }
    let tops: Vec<&str> =
        known.iter().filter_map(|path| path.strip_prefix('/')?.split('/').next()).chain(TOPS.iter().copied()).collect();
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut before) = (text.as_str(), None);
    while let Some(c) = rest.chars().next() {
        // Not in `and/or`, `../x`, `</b>`, `https://x`.
        let begins = c == '/'
            && before.is_none_or(|b: char| !b.is_alphanumeric() && !"/<._~-".contains(b))
            && !(before == Some(':') && rest.starts_with("//"));
        let path = if begins { rest.split(ends).next().unwrap_or("") } else { "" };
        let mut names = path.split('/').skip(1).filter(|name| !name.is_empty());
        match (names.next().filter(|top| tops.contains(top)), names.last()) {
            (Some(_), Some(last)) => {
                out.push_str(last);
                before = last.chars().next_back();
                rest = rest.get(path.len()..).unwrap_or("");
            }
            _ => {
                out.push(c);
                before = Some(c);
                rest = rest.get(c.len_utf8()..).unwrap_or("");
            }
        }
    }
    out
}

/// Every whole occurrence of a path and of what lies below it, replaced by the last name.
fn replaced(text: &str, path: &str, name: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(path) {
        let (before, found) = rest.split_at(at);
        let mut after = found.get(path.len()..).unwrap_or("");
        out.push_str(before);
        if after.starts_with('/') {
            let below = after.split(ends).next().unwrap_or("");
            out.push_str(below.rsplit('/').find(|name| !name.is_empty()).unwrap_or(name));
            after = after.get(below.len()..).unwrap_or("");
        } else {
            let whole = !after.starts_with(|c: char| c.is_alphanumeric() || "_-".contains(c));
            out.push_str(if whole { name } else { path });
        }
        rest = after;
    }
    out + rest
}

/// What a path ends before.
fn ends(c: char) -> bool {
    c.is_whitespace() || "\"'`<>&|;,()[]{}".contains(c)
}

/// The strings of a TOML or JSON text that are absolute paths.
pub fn paths_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for mut line in text.lines() {
        while let Some((at, quote)) = line.char_indices().find(|(_, c)| matches!(c, '"' | '\'')) {
            // Both are one byte long.
            let Some((string, after)) = line.get(at + 1..).and_then(|rest| rest.split_once(quote)) else { break };
            found.extend(string.starts_with('/').then(|| string.to_owned()));
            line = after;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_the_name_is_left_and_what_is_no_path_stays() {
        let known = ["/cluster/x/my runs/first".to_owned(), "/cluster/it's & so/train.conll".to_owned()];
        for (text, want) in [
            ("encoder /home/me/models/tiny, seed 7", "encoder tiny, seed 7"),
            ("<td>/srv/data/train.conll:12</td>", "<td>train.conll:12</td>"),
            ("&quot;/tmp/a/b.txt&quot; '/var/x/y/'", "&quot;b.txt&quot; 'y'"),
            ("at /cluster/x/my runs/first/recipe.toml, /cluster/else/z", "at recipe.toml, z"),
            ("/cluster/x/my runs/first-2", "my runs/first-2"),
            ("/cluster/it&#39;s &amp; so/train.conll", "train.conll"),
            ("and/or, 1/2, a / b, ../home/x, ~/home/x, https://home/tmp/x, </tmp/b>, /analyze, /v2/models/ner", ""),
            ("--set output=/tmp/x/runs", "--set output=runs"),
        ] {
            let want = if want.is_empty() { text } else { want };
            // A space ends a path that nobody named: its rest stays, but not its folders.
            let got = names_only(text, &known);
            assert_eq!(got, want, "{text}");
        }
        assert_eq!(paths_in("a = '/x/y' # it's\nb = [\"/it's z\", \"w/v\"]"), ["/x/y", "/it's z"]);
    }
}
