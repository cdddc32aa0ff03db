//! Keys that earlier versions called otherwise: recipes and run folders of these versions still read.

use super::keys;
use crate::error::{Error, Place, Result};

/// The old name of a key, and its name.
const RENAMED: &[(&str, &str)] = &[("train.mix", "train.sample")];

/// What earlier versions called a key.
pub(super) fn old_name(key: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(_, new)| *new == key).map(|(old, _)| *old)
}

/// `train.mix=x` as `train.sample=x`.
pub(super) fn in_overrides(pairs: &[String]) -> Vec<String> {
    pairs.iter().map(|pair| in_override(pair)).collect()
}

fn in_override(pair: &str) -> String {
    let (key, rest) = pair.split_at(pair.find('=').unwrap_or(pair.len()));
    match RENAMED.iter().find(|(old, _)| *old == key.trim()) {
        Some((_, new)) => format!("{new}{rest}"),
        None => pair.to_owned(),
    }
}

/// Gives the keys of a recipe their names of today. `place` says where a key stands.
///
/// # Errors
/// A key stands there under both names.
pub(super) fn in_table(recipe: &mut toml::Table, place: impl Fn(&str) -> Place) -> Result<()> {
    for (old, new) in RENAMED {
        let (Some((table, from)), Some((_, to))) = (old.rsplit_once('.'), new.rsplit_once('.')) else { continue };
        if keys::get(recipe, old).is_some() && keys::get(recipe, new).is_some() {
            return Err(Error::usage(format!("{old}: expected nothing beside {new}, whose old name it is"))
                .at(place(old))
                .hint(format!("leave {old} out")));
        }
        let Some(table) = recipe.get_mut(table).and_then(toml::Value::as_table_mut) else { continue };
        if let Some(value) = table.remove(from) {
            table.insert(to.to_owned(), value);
        }
    }
    Ok(())
}
