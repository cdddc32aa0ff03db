//! The files of the page to try the model on, all of them in the binary.

/// Into this the page writes a report that it has fetched with the key: a frame can send none.
const BLANK: &str = "<!doctype html><title>Report</title>";

/// Name, content type, text. But for `report.html` and `api.js`, the page of a model in a browser has them too.
pub const ASSETS: &[(&str, &str, &str)] = &[
    ("app.js", "text/javascript; charset=utf-8", include_str!("../assets/app.js")),
    ("api.js", "text/javascript; charset=utf-8", include_str!("../assets/api.js")),
    ("arcs.js", "text/javascript; charset=utf-8", include_str!("../assets/arcs.js")),
    ("tree.js", "text/javascript; charset=utf-8", include_str!("../assets/tree.js")),
    ("app.css", "text/css; charset=utf-8", include_str!("../assets/app.css")),
    ("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ("report.html", "text/html; charset=utf-8", BLANK),
];

/// Their names and content types.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    ASSETS.iter().map(|(name, kind, _)| (*name, *kind))
}
