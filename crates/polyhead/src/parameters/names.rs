//! Linear layers by their names.
//!
//! ```text
//! encoder.layer.11.attention.self.query    named by `query`, `self.query` ... and itself; without its number `attention.self.query`
//! ```

/// Whether a target names a layer: it is its name, or the last parts of it.
pub(super) fn names_layer(target: &str, name: &str) -> bool {
    name.strip_suffix(target).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The name of a layer without what leads to it: after the last part that is a number.
pub(crate) fn without_number(name: &str) -> &str {
    let mut rest = name;
    let mut start = 0;
    for part in name.split('.') {
        start += part.len() + 1;
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            rest = name.get(start..).unwrap_or_default();
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_the_last_parts_of_a_name() {
        let of = names_layer;
        assert!(of("query", "encoder.layer.0.attention.self.query") && of("query", "query"));
        assert!(of("output.dense", "encoder.layer.0.attention.output.dense"));
        assert!(of("attention.output.dense", "encoder.layer.0.attention.output.dense"));
        assert!(!of("attention.output.dense", "encoder.layer.0.output.dense"));
        assert!(!of("ery", "encoder.layer.0.attention.self.query") && !of("self", "attention.self.query"));
        assert_eq!(without_number("encoder.layer.11.attention.self.query"), "attention.self.query");
        assert_eq!(without_number("pooler.dense"), "pooler.dense");
        assert_eq!(without_number("layer.3"), "");
    }
}
